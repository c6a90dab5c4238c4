//! `server`: the listener, its patience, and where data lives. Called by `Config::read`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::network::PublicUrl;
use super::reader::Reader;

/// Section `server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What clients see in front of cifra; `None`: answers carry relative URLs.
    pub public_url: Option<PublicUrl>,
    /// Absolute folder of everything that cifra keeps.
    pub data_dir: PathBuf,
    /// How long requests in flight may go on once the process was asked to stop.
    pub shutdown_timeout: Duration,
    /// How long a request body may stay silent.
    pub body_idle_timeout: Duration,
}

impl Server {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let read = Self {
            listen: from.take("listen", "127.0.0.1:8080", "IP address and port"),
            public_url: from
                .optional("public_url", "https://… in front of cifra; null = relative URLs in answers"),
            data_dir: from.take("data_dir", "./data", "everything that cifra keeps"),
            shutdown_timeout: from.take(
                "shutdown_timeout",
                "10s",
                "requests may go on for this long at a stop",
            ),
            body_idle_timeout: from.take("body_idle_timeout", "30s", "a body may be silent for this long"),
        };
        from.check(&["server.body_idle_timeout"], !read.body_idle_timeout.is_zero(), "more than zero");
        read
    }
}

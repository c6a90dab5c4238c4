//! `server`: the listener, its patience, and where data lives. Called by `Config::read`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::network::{PublicUrl, WebOrigin};
use super::reader::Reader;
use super::size::ByteSize;

/// Section `server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What clients see in front of cifra; `None`: answers carry relative URLs.
    pub public_url: Option<PublicUrl>,
    /// Absolute folder of everything that cifra keeps.
    pub data_dir: PathBuf,
    /// Whose word on a client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections at once; more are refused.
    pub max_connections: u32,
    /// How long requests in flight may go on once the process was asked to stop.
    pub shutdown_timeout: Duration,
    /// How long a request body may stay silent.
    pub body_idle_timeout: Duration,
    /// How long a connection may be open without a request.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// Bytes per second that a request body must bring, measured over as much waiting as `body_idle_timeout`.
    pub body_min_rate: ByteSize,
    /// Pages of these origins may call from a browser.
    pub allowed_origins: Vec<WebOrigin>,
}

impl Server {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let read = Self {
            listen: from.take("listen", "127.0.0.1:8080", "IP address and port"),
            public_url: from
                .optional("public_url", "https://… in front of cifra; null = relative URLs in answers"),
            data_dir: from.take("data_dir", "./data", "everything that cifra keeps"),
            trusted_proxies: from.take(
                "trusted_proxies",
                "[]",
                "addresses or networks whose X-Forwarded-For and Forwarded are believed",
            ),
            max_connections: from.take(
                "max_connections",
                "10000",
                "connections at once; more are answered 503",
            ),
            shutdown_timeout: from.take(
                "shutdown_timeout",
                "10s",
                "requests may go on for this long at a stop",
            ),
            body_idle_timeout: from.take("body_idle_timeout", "30s", "a body may be silent for this long"),
            body_min_rate: from.take(
                "body_min_rate",
                "16KiB",
                "a second, that a body must bring while it is waited for; 0 = any",
            ),
            idle_timeout: from.take(
                "idle_timeout",
                "75s",
                "a connection may be without a request for this long",
            ),
            write_timeout: from.take(
                "write_timeout",
                "60s",
                "a client that takes nothing of an answer for this long is left",
            ),
            allowed_origins: from.section("cors", |from| {
                from.take("allowed_origins", "[]", "pages of these origins may call from a browser")
            }),
        };
        from.check(&["server.idle_timeout"], !read.idle_timeout.is_zero(), "more than zero");
        from.check(&["server.write_timeout"], !read.write_timeout.is_zero(), "more than zero");
        from.check(&["server.body_idle_timeout"], !read.body_idle_timeout.is_zero(), "more than zero");
        from.check(&["server.max_connections"], read.max_connections > 0, "more than zero");
        read
    }
}

//! The HTTP client of the command line: uploads and downloads that resume, retry and verify.
//!
//! [`Client`] is one server and how patient to be with it; [`upload`] and [`download`] are the two long jobs;
//! `api` and `files` have a method for each call. Nothing here prints: what happens meanwhile is told as [`Event`]s to an
//! [`Observer`], and what went wrong is an [`Error`], whose [`Kind`] becomes the exit code. Called by `cli` only.

mod api;
mod cache;
pub mod download;
mod error;
mod files;
mod fingerprint;
mod probe;
mod retry;
pub mod upload;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Once};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;

pub use api::{Upload, UploadState};
pub use cache::Invalidate;
pub use error::{Error, Kind, Problem, Result};
pub use files::{FilePage, FileQuery, FileRecord};

/// Told what happens, as it happens; called from any thread, so it must be quick.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// What happens during an upload or a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The work begins, or begins anew: this many bytes in all.
    Started(u64),
    /// These many bytes need not travel: the other side, or this one, has them from an earlier run.
    Found(u64),
    /// These many bytes went out or came in.
    Moved(u64),
    /// These many of the moved bytes don't count: the attempt failed, they go again.
    Lost(u64),
    /// The server can't be reached, or is busy: the next attempt comes after the wait.
    Waiting {
        /// What the server said, or why it said nothing.
        why: String,
        /// How long.
        wait: Duration,
    },
    /// All bytes are there; the server makes them a file, and has looked at so many of them.
    Finishing {
        /// Bytes that are looked at.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Something that the user may want to know.
    Note(String),
}

/// Which server, with which key, and how patiently.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://` or `https://`, with a path if the service stands below one.
    pub server: String,
    /// Sent as a bearer token when there is one.
    pub key: Option<String>,
    /// For how long one request is repeated before the server counts as away; zero: not at all.
    pub retry_for: Duration,
}

/// A server. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
    retry_for: Duration,
}

/// A host that does not answer the connection's first packet in this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sent bytes that nobody acknowledges for so long: the way to the server is cut (RFC 5482).
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    /// A client of this server. Sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Settings`] for an address that is not `http(s)://host…`, for a key that no header can carry, and
    /// when TLS is needed but this machine has no certificate authorities.
    pub fn new(settings: &Settings) -> Result<Self> {
        let wrong = |why: String| Error::Settings(format!("server address `{}`: {why}", settings.server));
        let url = reqwest::Url::parse(&settings.server).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| wrong("expected http://HOST:PORT or https://HOST".to_owned()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("expected no query and no fragment".to_owned()));
        }
        install_tls_provider();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("cifra/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(settings.key.as_deref())?)
            .redirect(Policy::none()) // a redirected PUT would lose its body or its meaning
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(UNACKNOWLEDGED_TIMEOUT);
        if url.scheme() == "http" {
            // No TLS will be spoken: the machine's certificates need not be there, nor be read.
            let no_roots = rustls::RootCertStore::empty();
            let tls = rustls::ClientConfig::builder().with_root_certificates(no_roots).with_no_client_auth();
            builder = builder.tls_backend_preconfigured(tls);
        }
        if is_loopback(&url) {
            builder = builder.no_proxy(); // HTTP_PROXY is meant for other machines
        }
        let http = builder.build().map_err(|error| wrong(error::reason(&error)))?;
        let base = settings.server.trim_end_matches('/').to_owned();
        Ok(Self { http, base, retry_for: settings.retry_for })
    }

    /// `path_or_url`, which the server gave, as a full address.
    pub fn absolute(&self, path_or_url: &str) -> String {
        if path_or_url.starts_with('/') {
            format!("{}{path_or_url}", self.base)
        } else {
            path_or_url.to_owned()
        }
    }
}

fn headers(key: Option<&str>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let value = HeaderValue::try_from(format!("Bearer {key}"));
        let mut value = value.map_err(|_| {
            Error::Settings("the API key has characters that no HTTP header can carry".to_owned())
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// reqwest is built without a provider of its own: the one that sqlx brings serves both.
fn install_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the process has one already, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

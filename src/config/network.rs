//! Addresses as configuration values: where to listen, and the URL that clients see. Sections use them.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ipnet::IpNet;

use super::value::{Refusal, Value};

/// An `http` or `https` URL without credentials, query, fragment or trailing slash; paths are appended to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Scheme, host and port, as a browser would tell them.
    pub fn origin(&self) -> &str {
        let host = self.0.find("://").map_or(0, |scheme| scheme + 3);
        self.0[host..].find('/').map_or(&self.0, |path| &self.0[..host + path])
    }

    /// The URL, ready for a path that begins with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for PublicUrl {
    fn expected() -> String {
        "null or an http:// or https:// URL without credentials, query and fragment".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        let url = reqwest::Url::parse(text).map_err(|_| Refusal::Malformed)?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || !bare || !url.has_host() {
            return Err(Refusal::Malformed);
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

/// Where a page comes from: scheme, host and port, as a browser tells them (RFC 6454 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// As in the header `Origin`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for WebOrigin {
    fn expected() -> String {
        "an origin such as https://app.example.com, without a path".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        let url = reqwest::Url::parse(text).map_err(|_| Refusal::Malformed)?;
        let origin = url.origin().ascii_serialization();
        if !matches!(url.scheme(), "http" | "https")
            || !origin.eq_ignore_ascii_case(text.trim_end_matches('/'))
        {
            return Err(Refusal::Malformed);
        }
        Ok(Self(origin))
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

/// An address, or a network of them (`10.0.0.0/8`, `::1`).
impl Value for IpNet {
    fn expected() -> String {
        "an IP address or network, such as 127.0.0.1 or 10.0.0.0/8".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(Self::from));
        network.map_err(|_| Refusal::Malformed)
    }

    fn render(&self) -> String {
        if self.prefix_len() == self.max_prefix_len() { self.addr().to_string() } else { self.to_string() }
    }
}

impl Value for SocketAddr {
    fn expected() -> String {
        "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        text.parse().map_err(|_| Refusal::Malformed)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

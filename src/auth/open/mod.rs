//! Open mode's door: no key is asked for, so it must not be a browser that was sent by a foreign page.
//!
//! A page of a stranger can make a browser on this machine send requests here. It is told by its `Origin`
//! (RFC 6454 7); and one that had its own name point at this machine (DNS rebinding) by its `Host`. Pure.

use std::net::IpAddr;

use crate::base::{Code, Error, Result};
use crate::config::Config;

/// What is let in.
#[derive(Debug)]
pub(super) struct OpenDoor {
    /// `auth.allow_open_network`: the network is trusted with any name for this service.
    any_host: bool,
    /// `server.public_url`, without its path: scheme, `://`, host and port.
    public_origin: Option<String>,
    /// Pages that may call although they come from elsewhere.
    allowed_origins: Vec<String>,
}

impl OpenDoor {
    pub(super) fn of(config: &Config) -> Self {
        let public_origin = config.server.public_url.as_ref().map(|url| url.origin().to_owned());
        let allowed = config.server.allowed_origins.iter();
        let allowed_origins = allowed.map(|origin| origin.as_str().to_owned()).collect();
        Self { any_host: config.auth.allow_open_network, public_origin, allowed_origins }
    }

    /// Every one of `hosts` must be ours, and every one of `origins` ours or allowed. A browser always names its host,
    /// so a request without one (HTTP/1.0) is no browser's.
    pub(super) fn check(&self, hosts: &[&str], origins: &[&str]) -> Result<()> {
        let stranger = hosts.iter().find(|host| !self.any_host && !self.is_ours(host));
        if let Some(named) = stranger {
            let detail = format!(
                "without keys this service answers on this machine only, and `{named}` is not a name of it: \
                 call it as localhost, set server.public_url to the name that clients use, or use keys \
                 (auth.mode: keys)"
            );
            return Err(Error::new(Code::Forbidden, detail));
        }
        match origins.iter().find(|origin| !self.may_call(origin, hosts)) {
            None => Ok(()),
            Some(foreign) => {
                let detail = format!(
                    "a page of `{foreign}` may not call this service without keys: add it to \
                     server.cors.allowed_origins, or use keys (auth.mode: keys)"
                );
                Err(Error::new(Code::Forbidden, detail))
            }
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let public = self.public_origin.as_deref().and_then(|origin| origin.split_once("://"));
        let name = name_of(host);
        is_loopback(name) || public.is_some_and(|(_, public)| name_of(public).eq_ignore_ascii_case(name))
    }

    fn may_call(&self, origin: &str, hosts: &[&str]) -> bool {
        let listed = |known: &str| known.eq_ignore_ascii_case(origin);
        if self.public_origin.as_deref().is_some_and(listed)
            || self.allowed_origins.iter().any(|own| listed(own))
        {
            return true;
        }
        // A proxy in front may speak TLS: what must be the same is the name and the port.
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let same =
            |host: &&str| without_port(host, scheme).eq_ignore_ascii_case(without_port(authority, scheme));
        matches!(scheme, "http" | "https") && !hosts.is_empty() && hosts.iter().all(same)
    }
}

/// `host` without its port.
fn name_of(host: &str) -> &str {
    let bracketed = host.starts_with('[').then(|| host.find(']')).flatten();
    match bracketed {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or(host),
    }
}

/// `authority` without the port that `scheme` has anyway.
fn without_port<'a>(authority: &'a str, scheme: &str) -> &'a str {
    let usual = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(usual).unwrap_or(authority)
}

/// Names of this machine that nobody else can give to theirs (RFC 6761 6.3), and its own addresses.
fn is_loopback(name: &str) -> bool {
    let lower = name.trim_end_matches('.').to_ascii_lowercase();
    if lower == "localhost" || lower.ends_with(".localhost") {
        return true;
    }
    let address = lower.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests;

//! `redis`: what nodes share besides the database; and `sessions`, which says whether they do. Called by
//! `Config::read`; `crate::redis` connects to what is named here.

use std::fmt;
use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::secret::InFile;
use super::value::{Choice, Refusal, Value};
use crate::base::Secret;

/// Section `redis`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// Where it is; `None`: there is none.
    pub url: Option<RedisUrl>,
    /// Certificates (PEM) of those who sign the server's, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Redis {
    pub(super) fn read(from: &mut Reader<'_>) -> Self {
        let url: Option<RedisUrl> = from.optional(
            "url",
            "redis://USER:PASSWORD@HOST:PORT/NUMBER, rediss:// (TLS), redis+cluster://H1,H2",
        );
        let in_file: Option<InFile<RedisUrl>> = from.optional("url_file", "a file with the URL, instead");
        let ca_file =
            from.optional("ca_file", "PEM of who signed the server's certificate; null = the system's");
        from.check(&["redis.url_file", "redis.url"], url.is_none() || in_file.is_none(), "one of the two");
        let url = url.or(in_file.map(InFile::into_inner));
        from.check(
            &["redis.ca_file"],
            ca_file.is_none() || url.as_ref().is_none_or(RedisUrl::is_encrypted),
            "null, or a redis.url that begins with rediss:// or rediss+cluster://",
        );
        Self { url, ca_file }
    }
}

/// Section `sessions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// Where nodes tell each other of uploads.
    pub backend: SessionsBackend,
}

/// Where nodes tell each other of uploads on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionsBackend {
    /// In Redis if there is one.
    Auto,
    /// In Redis.
    Redis,
    /// In the database alone.
    Database,
}

impl Choice for SessionsBackend {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("redis", Self::Redis), ("database", Self::Database)];
}

impl Sessions {
    /// To be read after [`Redis`].
    pub(super) fn read(from: &mut Reader<'_>, redis: &Redis) -> Self {
        let backend = from.take("backend", "auto", "where nodes meet; auto = redis if it has a url");
        from.check(
            &["sessions.backend"],
            backend != SessionsBackend::Redis || redis.url.is_some(),
            "auto or database while redis.url is null",
        );
        Self { backend }
    }
}

/// Where Redis is, and who we are to it. Never shown with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    cluster: bool,
    encrypted: bool,
    /// `user:password`, as it stands in the URL.
    account: Option<Secret>,
    hosts: Vec<String>,
    number: u32,
}

impl RedisUrl {
    /// Several servers share the keys.
    pub fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// TLS.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// A URL for each server that is named, `redis://` or `rediss://`.
    pub fn servers(&self) -> Vec<Secret> {
        let scheme = if self.encrypted { "rediss" } else { "redis" };
        let account =
            self.account.as_ref().map_or_else(String::new, |account| format!("{}@", account.expose()));
        let server = |host: &String| Secret::new(format!("{scheme}://{account}{host}/{}", self.number));
        self.hosts.iter().map(server).collect()
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

/// Stands where a password is, in what is shown.
const HIDDEN: &str = "HIDDEN";

impl Value for RedisUrl {
    fn expected() -> String {
        "null or redis://, rediss://, redis+cluster:// or rediss+cluster:// with USER:PASSWORD@ where needed, HOST:PORT \
         (of clusters several, with commas between them), and the database's number (of clusters none)"
            .to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        let (scheme, rest) = text.split_once("://").ok_or(Refusal::Malformed)?;
        let (cluster, encrypted) = match scheme {
            "redis" => (false, false),
            "rediss" => (false, true),
            "redis+cluster" => (true, false),
            "rediss+cluster" => (true, true),
            _ => return Err(Refusal::Malformed),
        };
        // Parameters would be somebody else's words: what can be set has a key.
        if rest.contains(['?', '#']) {
            return Err(Refusal::Malformed);
        }
        let (account, rest) = match rest.rsplit_once('@') {
            Some((account, rest)) => (Some(account), rest),
            None => (None, rest),
        };
        if account.is_some_and(|account| account.ends_with(&format!(":{HIDDEN}"))) {
            return Err(Refusal::Expected("the password where HIDDEN stands"));
        }
        let (hosts, number) = rest.split_once('/').unwrap_or((rest, ""));
        let number = if number.is_empty() { 0 } else { number.parse().map_err(|_| Refusal::Malformed)? };
        let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
        let account = account.map(Secret::new);
        let read = Self { cluster, encrypted, account, hosts, number };
        let sound = |server: &Secret| {
            let url = reqwest::Url::parse(server.expose());
            url.is_ok_and(|url| url.has_host() && !url.host_str().unwrap_or_default().is_empty())
        };
        let one = cluster || read.hosts.len() == 1;
        if !one || (cluster && number != 0) || !read.servers().iter().all(sound) {
            return Err(Refusal::Malformed);
        }
        Ok(read)
    }

    fn render(&self) -> String {
        let scheme = match (self.cluster, self.encrypted) {
            (false, false) => "redis",
            (false, true) => "rediss",
            (true, false) => "redis+cluster",
            (true, true) => "rediss+cluster",
        };
        let account = self.account.as_ref().map_or_else(String::new, |account| {
            match account.expose().split_once(':') {
                Some((user, _)) => format!("{user}:{HIDDEN}@"),
                None => format!("{}@", account.expose()),
            }
        });
        let number = if self.number == 0 { String::new() } else { format!("/{}", self.number) };
        format!("{scheme}://{account}{}{number}", self.hosts.join(","))
    }

    /// It may hold a password, in more than one place.
    fn describe(_: &str) -> String {
        "another text (not shown, it may hold a password)".to_owned()
    }
}

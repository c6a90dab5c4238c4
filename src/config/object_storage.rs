//! Object stores: `s3`, `azure` and `gcs` below `file_upload.storage`. Called by `file_upload`; `blob::object` opens
//! what they name.

use std::fmt;

use super::reader::Reader;
use super::size::ByteSize;
use super::value::{Refusal, Value};
use crate::base::Secret;

/// Section `s3`: Amazon S3 and whatever speaks its language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// The bucket; it must be there.
    pub bucket: Option<ObjectName>,
    /// The region; without one `AWS_REGION`, `AWS_DEFAULT_REGION` or us-east-1.
    pub region: Option<ObjectName>,
    /// Before every object's name; empty for none.
    pub prefix: ObjectName,
    /// Of another store than Amazon's: `https://HOST:PORT`.
    pub endpoint: Option<Endpoint>,
    /// Without keys: `AWS_…` variables, or the role of the machine, task or pod.
    pub access_key_id: Option<ObjectName>,
    /// The key's secret.
    pub secret_access_key: Option<Secret>,
    /// Of keys that last for a while.
    pub session_token: Option<Secret>,
    /// Without TLS; only where nobody listens.
    pub allow_http: bool,
    /// The bucket stands in the host's name rather than in the path.
    pub virtual_hosted_style: bool,
    /// Every part but the last must have so many bytes.
    pub min_part_size: ByteSize,
    /// What the environment says for all programs.
    pub environment: CloudEnvironment,
}

/// Section `azure`: Azure Blob Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Azure {
    /// The container; it must be there.
    pub container: Option<ObjectName>,
    /// The storage account.
    pub account: Option<ObjectName>,
    /// Before every blob's name; empty for none.
    pub prefix: ObjectName,
    /// The account's key. Without one: `AZURE_…` variables, or a managed identity.
    pub access_key: Option<Secret>,
    /// Of another place than Azure's public cloud: `https://HOST:PORT/ACCOUNT`.
    pub endpoint: Option<Endpoint>,
    /// Azurite, on this machine.
    pub use_emulator: bool,
    /// Without TLS; only where nobody listens.
    pub allow_http: bool,
    /// What the environment says for all programs.
    pub environment: CloudEnvironment,
}

/// Section `gcs`: Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gcs {
    /// The bucket; it must be there.
    pub bucket: Option<ObjectName>,
    /// Before every object's name; empty for none.
    pub prefix: ObjectName,
    /// A service account's key, as JSON. Without one: `GOOGLE_…` variables, or the machine's service account.
    pub service_account_key: Option<Secret>,
    /// What the environment says for all programs.
    pub environment: CloudEnvironment,
}

/// A word of an object store: letters, digits and `- _ . /`; may be empty where that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectName(String);

/// `http(s)://HOST…`, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

/// Variables that a cloud's own programs understand. Debug output has their names only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CloudEnvironment(Vec<(String, String)>);

impl S3 {
    /// `wanted`: the store is one of these.
    pub(super) fn read(from: &mut Reader<'_>, wanted: bool) -> Self {
        let read = Self {
            bucket: from.optional("bucket", "must be there"),
            region: from.optional("region", "null = AWS_REGION, AWS_DEFAULT_REGION or us-east-1"),
            prefix: from.take("prefix", "", "folder for everything in the bucket"),
            endpoint: from.optional("endpoint", "https://HOST of another store than Amazon's"),
            access_key_id: from.optional("access_key_id", "null = AWS_… variables, or the machine's role"),
            secret_access_key: from.kept_secret("secret_access_key", "belongs to access_key_id"),
            session_token: from.kept_secret("session_token", "of keys that last for a while"),
            allow_http: from.take("allow_http", "false", "true = an endpoint without TLS may be used"),
            virtual_hosted_style: from.take(
                "virtual_hosted_style",
                "false",
                "true = the bucket stands in the host's name",
            ),
            min_part_size: from.take("min_part_size", "5MiB", "what the store demands of parts but the last"),
            environment: CloudEnvironment(from.variables("AWS_")),
        };
        require(from, "bucket", !wanted || read.bucket.is_some());
        let (key, secret) = (from.path("access_key_id"), from.path("secret_access_key"));
        let both = read.access_key_id.is_some() == read.secret_access_key.is_some();
        from.check(&[&key, &secret], both, "both, or none for AWS_… variables and roles");
        read
    }
}

impl Azure {
    /// `wanted`: the store is one of these.
    pub(super) fn read(from: &mut Reader<'_>, wanted: bool) -> Self {
        let read = Self {
            container: from.optional("container", "must be there"),
            account: from.optional("account", "null = AZURE_STORAGE_ACCOUNT_NAME"),
            prefix: from.take("prefix", "", "folder for everything in the container"),
            access_key: from.kept_secret("access_key", "null = AZURE_… variables, or a managed identity"),
            endpoint: from.optional("endpoint", "https://HOST/ACCOUNT elsewhere than in the public cloud"),
            use_emulator: from.take("use_emulator", "false", "true = Azurite, for tests"),
            allow_http: from.take("allow_http", "false", "true = an endpoint without TLS may be used"),
            environment: CloudEnvironment(from.variables("AZURE_")),
        };
        require(from, "container", !wanted || read.container.is_some());
        read
    }
}

impl Gcs {
    /// `wanted`: the store is one of these.
    pub(super) fn read(from: &mut Reader<'_>, wanted: bool) -> Self {
        let read = Self {
            bucket: from.optional("bucket", "must be there"),
            prefix: from.take("prefix", "", "folder for everything in the bucket"),
            service_account_key: from.kept_secret(
                "service_account_key",
                "JSON; null = GOOGLE_… variables, or the machine's service account",
            ),
            environment: CloudEnvironment(from.variables("GOOGLE_")),
        };
        require(from, "bucket", !wanted || read.bucket.is_some());
        read
    }
}

fn require(from: &mut Reader<'_>, name: &str, holds: bool) {
    let key = from.path(name);
    from.check(&[&key], holds, "the name of one that is there");
}

impl ObjectName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Endpoint {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CloudEnvironment {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the variable `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for CloudEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

impl Value for ObjectName {
    fn expected() -> String {
        "letters, digits and - _ . / only".to_owned()
    }

    fn parse(text: &str, _: &std::path::Path) -> Result<Self, Refusal> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        let plain = text.bytes().all(allowed) && !text.split('/').any(|part| part.starts_with('.'));
        if plain { Ok(Self(text.trim_matches('/').to_owned())) } else { Err(Refusal::Malformed) }
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

impl Value for Endpoint {
    fn expected() -> String {
        "http://HOST:PORT or https://HOST, without user, query and fragment".to_owned()
    }

    fn parse(text: &str, _: &std::path::Path) -> Result<Self, Refusal> {
        let url = reqwest::Url::parse(text).map_err(|_| Refusal::Malformed)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if plain { Ok(Self(text.trim_end_matches('/').to_owned())) } else { Err(Refusal::Malformed) }
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

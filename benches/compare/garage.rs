//! An object store below the servers: a private Garage with one bucket, on loopback, gone with its value.
//!
//! Servers write into it over S3; the reference sends its parts straight to it, by addresses signed before the clock
//! starts. Called by `servers` and `upload`.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path as Key;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use reqwest::Method;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::process;
use crate::servers::StoredFile;
use crate::throttle::Throttle;
use crate::{Result, fail};

/// The only bucket.
pub(crate) const BUCKET: &str = "compare";
/// What Garage calls its region.
pub(crate) const REGION: &str = "garage";
/// A key as Garage wants them; it is worth nothing outside the run.
pub(crate) const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
/// Its secret.
pub(crate) const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const START_LIMIT: Duration = Duration::from_secs(20);
const POLL_PAUSE: Duration = Duration::from_millis(20);
/// Longer than any run.
const SIGNED_FOR: Duration = Duration::from_mins(30);

/// A running store; dropping it ends the process and deletes its bytes.
pub(crate) struct Garage {
    child: Child,
    /// Where servers and the reference find it: itself, or the throttle before it.
    pub(crate) endpoint: SocketAddr,
    store: AmazonS3,
    runtime: Runtime,
    _throttle: Option<Throttle>,
    _folder: TempDir,
}

/// A blob that is put together from parts sent straight to the store.
pub(crate) struct Parts {
    key: Key,
    id: String,
    /// Path and query of each part's signed address.
    pub(crate) paths: Vec<String>,
}

impl Garage {
    /// Starts one; nobody gets more than `bytes_per_second` into it, if that is given.
    pub(crate) fn start(runs: &Path, bytes_per_second: Option<u64>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("cifra-compare-garage-").tempdir_in(runs)?;
        // Free now, and nobody on this machine hands out loopback ports between here and the bind.
        let (api, rpc) = (free_address()?, free_address()?);
        fs::write(folder.path().join("garage.toml"), config(folder.path(), api, rpc))?;
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program())
            .arg("-c")
            .arg(folder.path().join("garage.toml"))
            .args(["server", "--single-node", "--default-bucket"])
            .env("GARAGE_DEFAULT_BUCKET", BUCKET)
            .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        // The client of the store wants a provider of TLS, though nothing here speaks it.
        drop(rustls::crypto::ring::default_provider().install_default());
        let throttle = bytes_per_second.map(|rate| Throttle::before(api, rate)).transpose()?;
        let endpoint = throttle.as_ref().map_or(api, |throttle| throttle.address);
        let store = AmazonS3Builder::new()
            .with_endpoint(format!("http://{endpoint}"))
            .with_bucket_name(BUCKET)
            .with_region(REGION)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .with_allow_http(true)
            .build()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut garage = Self { child, endpoint, store, runtime, _throttle: throttle, _folder: folder };
        garage.wait_until_ready(api)?;
        Ok(garage)
    }

    /// The process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Begins a blob of `count` parts.
    pub(crate) fn begin(&self, name: &str, count: u64) -> Result<Parts> {
        self.runtime.block_on(async {
            let key = Key::from(name);
            let id = self.store.create_multipart(&key).await?;
            let mut paths = Vec::new();
            for number in 1..=count {
                let query =
                    [("partNumber".to_owned(), number.to_string()), ("uploadId".to_owned(), id.clone())];
                let options = SignedUrlOptions::new().with_query(query);
                let url = self.store.signed_url_opts(Method::PUT, &key, SIGNED_FOR, &options).await?;
                paths.push(format!("{}?{}", url.path(), url.query().unwrap_or_default()));
            }
            Ok(Parts { key, id, paths })
        })
    }

    /// Makes the blob of parts whose `ETag`s are these.
    pub(crate) fn complete(&self, parts: &Parts, etags: Vec<String>) -> Result<()> {
        let parts_of = etags.into_iter().map(|content_id| PartId { content_id }).collect();
        self.runtime.block_on(self.store.complete_multipart(&parts.key, &parts.id, parts_of))?;
        Ok(())
    }

    /// Every object whose size is one of `sizes`, read back.
    pub(crate) fn stored(&self, sizes: &[u64]) -> Result<Vec<StoredFile>> {
        self.runtime.block_on(async {
            let objects: Vec<_> = self.store.list(None).try_collect().await?;
            let mut found = Vec::new();
            for object in objects.into_iter().filter(|object| sizes.contains(&object.size)) {
                let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
                let mut bytes = self.store.get(&object.location).await?.into_stream();
                while let Some(frame) = bytes.next().await {
                    digest.update(&frame?);
                }
                found.push(StoredFile { size: object.size, crc64: digest.finalize() });
            }
            Ok(found)
        })
    }

    fn wait_until_ready(&mut self, api: SocketAddr) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return fail(format!("garage ended at start with {status}"));
            }
            let listed = TcpStream::connect(api).is_ok()
                && self.runtime.block_on(self.store.list(None).try_collect::<Vec<_>>()).is_ok();
            if listed {
                return Ok(());
            }
            if Instant::now() > deadline {
                return fail(format!("garage is not ready after {START_LIMIT:?}"));
            }
            thread::sleep(POLL_PAUSE);
        }
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        process::kill_group(self.child.id());
        let _ = self.child.wait();
    }
}

/// Installed by scripts/setup.sh for the tests.
fn program() -> PathBuf {
    let cache = std::env::var_os("CIFRA_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache/cifra")));
    cache.unwrap_or_default().join("tools/bin/garage")
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn config(folder: &Path, api: SocketAddr, rpc: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "metadata_dir = \"{folder}/meta\"
data_dir = \"{folder}/data\"
db_engine = \"sqlite\"
replication_factor = 1
metadata_fsync = false
data_fsync = false
compression_level = \"none\"
rpc_bind_addr = \"{rpc}\"
rpc_public_addr = \"{rpc}\"
rpc_secret = \"{SECRET_KEY}\"
[s3_api]
api_bind_addr = \"{api}\"
s3_region = \"{REGION}\"
"
    )
}

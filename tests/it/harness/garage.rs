//! A Garage server of this test process, the S3 of our tests: started by the first test that wants one, in a temporary
//! folder, on loopback; gone with the process, however that ends. Each test has a prefix or a bucket of its own.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cifra::config::Storage;

use super::config::loaded;
use super::tools;

/// The key that may do everything with the bucket, and its secret.
pub(crate) const KEY: &str = "GK0123456789abcdef01234567";
pub(crate) const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// The bucket that is there; tests use folders of it.
pub(crate) const BUCKET: &str = "tests";
pub(crate) const REGION: &str = "garage";

/// A cold server on a busy machine answers in this time.
const START_MAX: Duration = Duration::from_mins(1);

/// The server.
#[derive(Debug)]
pub(crate) struct Garage {
    port: u16,
    admin_port: u16,
    server: u32,
    prefixes: AtomicU32,
    /// Ends the server and removes the folder when its standard input ends: with this process.
    _guardian: Child,
}

/// The server of this process; started on the first call.
pub(crate) fn server() -> &'static Garage {
    static SERVER: OnceLock<Garage> = OnceLock::new();
    SERVER.get_or_init(Garage::start)
}

impl Garage {
    /// Starts one more server, for a test that stops or pauses it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("cifra-garage-").tempdir_in("/tmp").expect("a folder");
        let folder = folder.keep(); // the guardian removes it
        let [port, rpc, admin_port] = tools::free_ports();
        let config = config(&folder, port, rpc, admin_port);
        std::fs::write(folder.join("garage.toml"), config).expect("a file of ours");
        let mut guardian = guard(&folder);
        let server = tools::said_pid(&mut guardian);
        let garage = Self { port, admin_port, server, prefixes: AtomicU32::new(0), _guardian: guardian };
        garage.wait(&folder);
        garage
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A folder of [`BUCKET`] that nobody else uses.
    pub(crate) fn new_prefix(&self) -> String {
        let number = self.prefixes.fetch_add(1, Ordering::Relaxed);
        format!("test-{}-{number}", std::process::id())
    }

    /// A store of its own: a folder of [`BUCKET`].
    pub(crate) fn storage(&self) -> Storage {
        Self::storage_at(&self.endpoint(), &self.new_prefix())
    }

    /// A store in a folder of [`BUCKET`], reached by `endpoint` (ours, or one in front of it).
    pub(crate) fn storage_at(endpoint: &str, prefix: &str) -> Storage {
        loaded(&yaml(endpoint, prefix)).file_upload.storage
    }

    /// A store in a folder of another bucket.
    pub(crate) fn storage_in(&self, bucket: &str, prefix: &str) -> Storage {
        let bucket = format!("bucket: {bucket}");
        let endpoint = self.endpoint();
        loaded(&yaml(&endpoint, prefix).replace(&format!("bucket: {BUCKET}"), &bucket)).file_upload.storage
    }

    /// Stops it in its steps (SIGSTOP): connections stay, nobody answers.
    pub(crate) fn pause(&self) {
        tools::pause(self.server);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        tools::go_on(self.server);
    }

    /// Until it takes requests.
    fn wait(&self, folder: &Path) {
        let begun = Instant::now();
        while !tools::answers(self.admin_port, "/health") {
            if begun.elapsed() > START_MAX {
                let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
                panic!("Garage does not start:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn yaml(endpoint: &str, prefix: &str) -> String {
    // Garage takes parts of any size.
    format!(
        "file_upload: {{ storage: {{ backend: s3, s3: {{ endpoint: \"{endpoint}\", allow_http: true, \
         bucket: {BUCKET}, region: {REGION}, prefix: {prefix}, access_key_id: {KEY}, \
         secret_access_key: \"{SECRET}\", min_part_size: 64KiB }} }} }}"
    )
}

fn config(folder: &Path, port: u16, rpc: u16, admin: u16) -> String {
    let folder = folder.display();
    format!(
        r#"
metadata_dir = "{folder}/meta"
data_dir = "{folder}/data"
db_engine = "sqlite"
metadata_fsync = false
data_fsync = false
compression_level = "none"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{SECRET}"
[s3_api]
s3_region = "{REGION}"
api_bind_addr = "127.0.0.1:{port}"
[admin]
api_bind_addr = "127.0.0.1:{admin}"
"#
    )
}

/// A process that runs the server, says its process id, and ends it when its input ends, which is our end.
///
/// In a process group of its own, so that a Ctrl-C for us does not end it before its work.
fn guard(folder: &Path) -> Child {
    let script = "\"$0\" server --single-node --default-bucket >log 2>&1 </dev/null & echo $!; \
                  cat >/dev/null; kill -KILL $!; wait; cd /; rm -rf \"$FOLDER\"";
    Command::new("sh")
        .args(["-c", script])
        .arg(program())
        .env("GARAGE_CONFIG_FILE", folder.join("garage.toml"))
        .env("GARAGE_DEFAULT_ACCESS_KEY", KEY)
        .env("GARAGE_DEFAULT_SECRET_KEY", SECRET)
        .env("GARAGE_DEFAULT_BUCKET", BUCKET)
        .env("RUST_LOG", "warn")
        .env("FOLDER", folder)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh")
}

fn program() -> PathBuf {
    let program = tools::folder().join("bin/garage");
    assert!(program.exists(), "Garage is not installed (looked for {}): run `make setup`", program.display());
    program
}

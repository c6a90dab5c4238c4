//! An Azurite server of this test process, the Azure Blob Storage of our tests: started by the first test that wants
//! one, in memory, on loopback; gone with the process, however that ends. Each test has a prefix of its own.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cifra::config::Storage;

use super::config::loaded;
use super::tools;

/// The account that every Azurite has, and its key; both are public
/// (<https://learn.microsoft.com/en-us/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key>).
pub(crate) const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// The container that is there; tests use folders of it.
pub(crate) const CONTAINER: &str = "tests";

/// A cold Node on a busy machine answers in this time.
const START_MAX: Duration = Duration::from_mins(1);

/// The server.
#[derive(Debug)]
pub(crate) struct Azurite {
    port: u16,
    server: u32,
    prefixes: AtomicU32,
    /// Ends the server when its standard input ends: with this process.
    _guardian: Child,
}

/// The server of this process; started on the first call.
pub(crate) fn server() -> &'static Azurite {
    static SERVER: OnceLock<Azurite> = OnceLock::new();
    SERVER.get_or_init(Azurite::start)
}

impl Azurite {
    /// Starts one more server, for a test that stops or pauses it.
    pub(crate) fn start() -> Self {
        let [port] = tools::free_ports();
        let mut guardian = guard(port);
        let server = tools::said_pid(&mut guardian);
        let azurite = Self { port, server, prefixes: AtomicU32::new(0), _guardian: guardian };
        let begun = Instant::now();
        while !azurite.has_container() {
            assert!(begun.elapsed() < START_MAX, "Azurite does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        azurite
    }

    /// `http://127.0.0.1:PORT/ACCOUNT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }

    /// A folder of [`CONTAINER`] that nobody else uses.
    pub(crate) fn new_prefix(&self) -> String {
        let number = self.prefixes.fetch_add(1, Ordering::Relaxed);
        format!("test-{}-{number}", std::process::id())
    }

    /// A store of its own: a folder of [`CONTAINER`].
    pub(crate) fn storage(&self) -> Storage {
        Self::storage_at(&self.endpoint(), &self.new_prefix())
    }

    /// A store in a folder of [`CONTAINER`], reached by `endpoint` (ours, or one in front of it).
    pub(crate) fn storage_at(endpoint: &str, prefix: &str) -> Storage {
        let yaml = format!(
            "file_upload: {{ storage: {{ backend: azure, azure: {{ endpoint: \"{endpoint}\", allow_http: true, \
             container: {CONTAINER}, account: {ACCOUNT}, access_key: \"{KEY}\", prefix: {prefix} }} }} }}"
        );
        loaded(&yaml).file_upload.storage
    }

    /// Stops it in its steps (SIGSTOP): connections stay, nobody answers.
    pub(crate) fn pause(&self) {
        tools::pause(self.server);
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        tools::go_on(self.server);
    }

    /// Makes the container. `object_store` cannot; the request is signed by hand, once.
    fn has_container(&self) -> bool {
        let date = httpdate::fmt_http_date(std::time::SystemTime::UNIX_EPOCH + tools::since_1970());
        let version = "2021-08-06";
        // <https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key>; the account is in the
        // path of the emulator's URLs, so it stands there twice.
        let to_sign = format!(
            "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n\
             /{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        );
        let signature = tools::hmac_base64(KEY, &to_sign);
        let request = format!(
            "PUT /{ACCOUNT}/{CONTAINER}?restype=container HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\
             content-length: 0\r\nx-ms-date: {date}\r\nx-ms-version: {version}\r\n\
             authorization: SharedKey {ACCOUNT}:{signature}\r\n\r\n",
            self.port
        );
        let Some(answer) = tools::ask(self.port, &request) else { return false };
        assert!(answer.starts_with("HTTP/1.1 201"), "Azurite made no container: {answer}");
        true
    }
}

/// A process that runs the server, says its process id, and ends it when its input ends, which is our end.
fn guard(port: u16) -> Child {
    let script = "node \"$0\" --inMemoryPersistence --skipApiVersionCheck --silent --disableTelemetry \
                  --blobHost 127.0.0.1 --blobPort \"$1\" >/dev/null 2>&1 </dev/null & echo $!; \
                  cat >/dev/null; kill -KILL $!";
    let program = tools::folder().join("azurite/node_modules/azurite/dist/src/blob/main.js");
    assert!(
        program.exists(),
        "Azurite is not installed (looked for {}): run `make setup`",
        program.display()
    );
    Command::new("sh")
        .args(["-c", script])
        .arg(program)
        .arg(port.to_string())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh")
}

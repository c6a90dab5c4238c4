//! The servers under comparison: how each is configured, started, checked and stopped.
//!
//! Every run has a process of its own on a free loopback port with a temporary folder of its own; both are gone
//! when a [`Server`] is dropped, on an error and on a panic too, and `setpriv --pdeathsig` ends the process even
//! when this program is killed. How bytes are sent is in `upload` and `download`. Called by `scenario`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tempfile::TempDir;

use crate::garage::{self, Garage};
use crate::http::{Connection, Request};
use crate::payload::{Payload, crc64};
use crate::process::{self, Memory};
use crate::{Result, fail};

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(15);
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// A server with its configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// cifra, `checksum: crc64nvme`, `durability: none`.
    CifraCrc,
    /// cifra, `checksum: auto` (SHA-256 too), `durability: none`.
    CifraAuto,
    /// cifra as it comes: `checksum: auto`, `durability: finalize`, its log at `info`.
    CifraDefault,
    /// `@tus/server` with `@tus/file-store`.
    TusNode,
    /// rustus with file storage.
    Rustus,
    /// nginx: DAV PUT up, sendfile down.
    Nginx,
    /// `cifra-crc` on an object store: `checksum: crc64nvme`, S3 to a private Garage.
    CifraS3,
    /// `@tus/server` with `@tus/s3-store` on the same.
    TusNodeS3,
    /// Nobody between the client and Garage: parts of a multipart upload, by signed addresses.
    S3Direct,
}

/// How a server takes uploads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Chunks of one upload in any order over any number of connections.
    Cifra,
    /// tus 1.0: appends, one after the other; parallel only as several uploads.
    Tus,
    /// One PUT makes one file.
    Put,
    /// The parts of an S3 multipart upload.
    Parts,
}

impl Kind {
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::CifraCrc | Self::CifraAuto | Self::CifraDefault | Self::CifraS3 => Protocol::Cifra,
            Self::TusNode | Self::Rustus | Self::TusNodeS3 => Protocol::Tus,
            Self::Nginx => Protocol::Put,
            Self::S3Direct => Protocol::Parts,
        }
    }

    /// The name in flags and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CifraCrc => "cifra-crc",
            Self::CifraAuto => "cifra-auto",
            Self::CifraDefault => "cifra-default",
            Self::TusNode => "tus-node",
            Self::Rustus => "rustus",
            Self::Nginx => "nginx",
            Self::CifraS3 => "cifra-s3",
            Self::TusNodeS3 => "tus-node-s3",
            Self::S3Direct => "s3-direct",
        }
    }

    /// Those that keep their bytes on a filesystem.
    pub(crate) const ON_DISK: &'static [Self] =
        &[Self::CifraCrc, Self::CifraAuto, Self::CifraDefault, Self::TusNode, Self::Rustus, Self::Nginx];

    /// Those that keep them in an object store.
    pub(crate) const ON_S3: &'static [Self] = &[Self::CifraS3, Self::TusNodeS3, Self::S3Direct];

    /// `GET` of it answers 2xx, or at all where the peer has no such door, once the server takes requests.
    fn ready_path(self) -> &'static str {
        match self.protocol() {
            Protocol::Cifra => "/readyz",
            Protocol::Tus | Protocol::Put | Protocol::Parts => "/",
        }
    }
}

/// Where the programs are and where runs put their folders.
pub(crate) struct Places {
    pub(crate) cifra: PathBuf,
    pub(crate) peers: PathBuf,
    pub(crate) runs: PathBuf,
}

/// A file that must be on the server's disk after an upload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct StoredFile {
    pub(crate) size: u64,
    pub(crate) crc64: u64,
}

/// A running server; dropping it ends the process and deletes its folder.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// `None` where the store itself is the server.
    child: Option<Child>,
    folder: TempDir,
    /// Where the bytes go, if not into the folder. Ends after the server.
    pub(crate) store: Option<Garage>,
}

impl Server {
    /// Starts `kind` and waits until it takes requests. Its object store, where it has one, takes no more than
    /// `store_rate` bytes a second.
    pub(crate) fn start(kind: Kind, places: &Places, store_rate: Option<u64>) -> Result<Self> {
        let store =
            Kind::ON_S3.contains(&kind).then(|| Garage::start(&places.runs, store_rate)).transpose()?;
        let folder = tempfile::Builder::new().prefix("cifra-compare-").tempdir_in(&places.runs)?;
        fs::create_dir(folder.path().join("data"))?;
        // Free now, and nobody on this machine hands out loopback ports between here and the bind.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if let (Kind::S3Direct, Some(garage)) = (kind, &store) {
            return Ok(Self { kind, address: garage.endpoint, child: None, folder, store });
        }
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]);
        configure(&mut command, kind, places, folder.path(), address)?;
        if let Some(garage) = &store {
            configure_store(&mut command, kind, address, garage.endpoint);
        }
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let mut server = Self { kind, address, child: Some(child), folder, store };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// User and system time of the server's processes so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        process::cpu_time(self.process()?)
    }

    /// Memory of the server's processes.
    pub(crate) fn memory(&self) -> Result<Memory> {
        process::memory(self.process()?)
    }

    fn process(&self) -> Result<u32> {
        let own = self.child.as_ref().map(Child::id);
        own.or(self.store.as_ref().map(Garage::process)).map_or_else(|| fail("nothing runs".to_owned()), Ok)
    }

    /// Puts a file of `size` bytes straight into the folder that nginx serves; the path to get it by.
    pub(crate) fn place_file(&self, payload: &Payload, size: u64) -> Result<String> {
        let mut file = File::create(self.folder.path().join("data/placed"))?;
        let piece = 8 << 20;
        for index in 0..size.div_ceil(piece) {
            file.write_all(payload.chunk(index, piece, size))?;
        }
        Ok("/placed".to_owned())
    }

    /// Fails unless exactly the bytes of `expected` are in the server's folder, read back and compared by CRC.
    pub(crate) fn verify_stored(&self, expected: &[StoredFile]) -> Result<()> {
        let sizes: Vec<u64> = expected.iter().map(|file| file.size).collect();
        let mut found = match &self.store {
            Some(garage) => garage.stored(&sizes)?,
            None => files_of(&self.folder.path().join("data"), &sizes)?,
        };
        found.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        if found == expected {
            return Ok(());
        }
        fail(format!(
            "{} answered that all was stored, but it has {} of {} files, or other bytes",
            self.kind.name(),
            found.len(),
            expected.len()
        ))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                return fail(format!("ended at start with {status}: {}", self.log_tail()));
            }
            if self.is_ready(deadline) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return fail(format!("not ready after {START_LIMIT:?}: {}", self.log_tail()));
            }
            thread::sleep(POLL_PAUSE);
        }
    }

    fn is_ready(&self, deadline: Instant) -> bool {
        let request = Request { method: "GET", path: self.kind.ready_path(), headers: &[], body: &[] };
        let answer = Connection::open(self.address, deadline).and_then(|mut door| door.collect(&request));
        let must_be_good = self.kind.protocol() == Protocol::Cifra;
        answer.is_ok_and(|(head, _)| !must_be_good || head.status == 200)
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        if lines.is_empty() {
            return "it logged nothing".to_owned();
        }
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        process::terminate(child.id());
        let deadline = Instant::now() + STOP_LIMIT;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(POLL_PAUSE);
        }
        // Whatever is left of its group: a server that did not listen, or a worker that outlived its master.
        process::kill_group(child.id());
        let _ = child.wait();
    }
}

fn configure(
    command: &mut Command,
    kind: Kind,
    places: &Places,
    folder: &Path,
    address: SocketAddr,
) -> Result<()> {
    let data = folder.join("data");
    match kind {
        Kind::CifraCrc | Kind::CifraAuto | Kind::CifraDefault | Kind::CifraS3 => {
            // No variable of the caller's may change what is measured.
            command.env_clear().arg(&places.cifra).arg("serve");
            command.env("CIFRA__SERVER__LISTEN", address.to_string());
            command.env("CIFRA__SERVER__DATA_DIR", &data);
            if kind != Kind::CifraDefault {
                let checksum = if kind == Kind::CifraAuto { "auto" } else { "crc64nvme" };
                command.env("CIFRA__FILE_UPLOAD__CHECKSUM", checksum);
                command.env("CIFRA__FILE_UPLOAD__DURABILITY", "none");
                // The peers log nothing per request either.
                command.env("CIFRA__LOG__LEVEL", "warn");
            }
        }
        Kind::TusNode => {
            command.arg("node").arg(places.peers.join("tus-node/server.mjs"));
            command.arg(address.port().to_string()).arg(&data);
            command.env("NODE_ENV", "production");
        }
        Kind::TusNodeS3 => {
            command.arg("node").arg(places.peers.join("tus-node/server-s3.mjs"));
            command.env("NODE_ENV", "production");
        }
        Kind::S3Direct => {}
        Kind::Rustus => {
            fs::create_dir(folder.join("info"))?;
            command.arg(places.peers.join("rustus/bin/rustus"));
            command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
            command.arg("--data-dir").arg(&data).arg("--info-dir").arg(folder.join("info"));
            // Its default of 256 KiB would refuse the chunks; it collects a body in memory before it writes.
            command.args(["--log-level", "ERROR", "--max-body-size", "67108864"]);
        }
        Kind::Nginx => {
            fs::create_dir(folder.join("body"))?;
            fs::write(folder.join("nginx.conf"), nginx_config(folder, address))?;
            command.arg(nginx_program()).arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
            command.arg("-e").arg(folder.join("log"));
        }
    }
    Ok(())
}

/// Where its bytes go.
fn configure_store(command: &mut Command, kind: Kind, address: SocketAddr, endpoint: SocketAddr) {
    let endpoint = format!("http://{endpoint}");
    if kind == Kind::TusNodeS3 {
        command.args([&address.port().to_string(), &endpoint, garage::BUCKET, garage::REGION]);
        command.args([garage::ACCESS_KEY, garage::SECRET_KEY]);
        return;
    }
    command.env("CIFRA__FILE_UPLOAD__STORAGE__BACKEND", "s3");
    for (key, value) in [
        ("BUCKET", garage::BUCKET),
        ("REGION", garage::REGION),
        ("ENDPOINT", &endpoint),
        ("ALLOW_HTTP", "true"),
        ("ACCESS_KEY_ID", garage::ACCESS_KEY),
        ("SECRET_ACCESS_KEY", garage::SECRET_KEY),
    ] {
        command.env(format!("CIFRA__FILE_UPLOAD__STORAGE__S3__{key}"), value);
    }
}

/// The program; `/usr/sbin` is not in every user's path.
pub(crate) fn nginx_program() -> &'static str {
    if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}

/// nginx as fast as its documentation allows: a worker for each core, no logs, bodies written in large pieces
/// to a folder on the data's own filesystem (so that storing is a rename), sendfile for downloads. Without
/// `tcp_nopush`: with it a range of 64 KiB over loopback waits 40 ms for a delayed acknowledgement.
fn nginx_config(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    // As root its workers would become `nobody`, who may not write here.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "{user}
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    client_body_buffer_size 256k;
    proxy_temp_path {folder}/body;
    fastcgi_temp_path {folder}/body;
    uwsgi_temp_path {folder}/body;
    scgi_temp_path {folder}/body;
    keepalive_requests 1000000;
    sendfile on;
    server {{
        listen {address};
        root {folder}/data;
        dav_methods PUT;
    }}
}}
"
    )
}

/// Every file below `folder` whose size is one of `sizes`.
fn files_of(folder: &Path, sizes: &[u64]) -> Result<Vec<StoredFile>> {
    let mut paths = Vec::new();
    list_files(folder, &mut paths)?;
    let mut found = Vec::new();
    for path in paths {
        let size = fs::metadata(&path)?.len();
        if sizes.contains(&size) {
            found.push(StoredFile { size, crc64: file_crc64(&path)? });
        }
    }
    Ok(found)
}

fn list_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list_files(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn file_crc64(path: &Path) -> Result<u64> {
    // Small ones in one go; large ones in pieces, so that the check does not need their size in memory.
    if fs::metadata(path)?.len() <= 8 << 20 {
        return Ok(crc64(&fs::read(path)?));
    }
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize()),
            read => digest.update(&buffer[..read]),
        }
    }
}

//! The real binary in a process of its own: started on a folder, killed, stopped, started again on what it left.
//!
//! [`Server`] is the process and its data folder, [`Api`] speaks to it. What cannot be had in one process is
//! tested with these: SIGKILL at a fail point, SIGTERM, a full disk. Everything else belongs to the in-process app.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, prlimit};

use super::api::Api;
use super::rows::{COUNTED_WRONG, Rows};
use crate::client::cifra;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `look` finds something, and fails the test when it takes too long.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited for too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server process and its data. Killed when dropped; the folder goes with it.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    data: PathBuf,
    listen: String,
    settings: Vec<(String, String)>,
    starts: u32,
    child: Option<Child>,
    /// To speak to it.
    pub(crate) api: Api,
}

impl Server {
    /// A server on an empty folder, ready.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with settings (`file_upload.durability`) that all later starts have too.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::new();
        for (key, value) in settings {
            server.set(key, value);
        }
        server.begin(None).await;
        server
    }

    /// A folder, and nothing started on it yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Self::at(folder, data)
    }

    /// The same, with its data below `disk`.
    pub(crate) fn on(disk: &Path) -> Self {
        Self::at(tempfile::tempdir().unwrap(), disk.join("data"))
    }

    fn at(folder: tempfile::TempDir, data: PathBuf) -> Self {
        let mut server = Self {
            folder,
            data,
            listen: "127.0.0.1:0".to_owned(),
            settings: Vec::new(),
            starts: 0,
            child: None,
            api: Api::new(String::new()),
        };
        // The machine's disk may be nearly full, and the share would be of that.
        server.set("file_upload.min_free", "0");
        server
    }

    /// Sets a key of the configuration for later starts.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        let name = format!("CIFRA__{}", key.replace('.', "__").to_uppercase());
        self.settings.retain(|(present, _)| *present != name);
        self.settings.push((name, value.to_owned()));
    }

    /// Sets a variable of the environment for later starts.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Listens where it listens now at later starts too.
    pub(crate) fn keep_address(&mut self) {
        self.listen = self.api.url().strip_prefix("http://").unwrap().to_owned();
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("cifra.db")
    }

    /// A file of the test's own beside the data.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it logged since it was started last.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join(format!("log.{}", self.starts))
    }

    /// Starts it and waits until it is ready. `failpoint` as in `telemetry::failpoint`.
    pub(crate) async fn begin(&mut self, failpoint: Option<&str>) {
        self.launch(failpoint);
        assert!(self.is_up().await, "the server ended:\n{}", self.log());
        let api = self.api.clone();
        until("the server is ready", async || (api.get("/readyz").await.ok()?.status == 200).then_some(()))
            .await;
    }

    /// Starts it and does not wait: it may end at once.
    pub(crate) fn launch(&mut self, failpoint: Option<&str>) {
        assert!(self.child.is_none(), "it runs already");
        self.starts += 1;
        let log = File::create(self.log_file()).unwrap();
        let mut command = self.command();
        if let Some(failpoint) = failpoint {
            command.env("CIFRA_FAILPOINT", failpoint);
        }
        // A group of its own: Ctrl-C on the tests does not stop it in order, dropping this kills it.
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    fn listens_at(&self) -> Option<String> {
        let log = self.log();
        let (_, rest) = log.split_once("listens on ")?;
        let (address, _) = rest.split_once(|c: char| c.is_whitespace() || c == '"')?;
        Some(address.to_owned())
    }

    /// After [`Server::launch`]: waits until it is ready, or has ended.
    pub(crate) async fn is_up(&mut self) -> bool {
        let address = until("the server listens or ends", async || match self.exited() {
            Some(_) => Some(None),
            None => self.listens_at().map(Some),
        });
        let Some(address) = address.await else { return false };
        self.api = Api::new(address);
        true
    }

    /// Starts another process on the same data, which must end by itself; what it said.
    pub(crate) fn refuses(&self) -> String {
        let mut child = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > PATIENCE {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    }

    fn command(&self) -> Command {
        let mut command = cifra();
        command.arg("serve").current_dir(self.folder.path());
        command.env("CIFRA__SERVER__DATA_DIR", self.data()).env("CIFRA__SERVER__LISTEN", &self.listen);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Its status, if it has ended.
    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().unwrap().try_wait().unwrap()
    }

    /// A line of its `/proc/PID/status` that is in kB, in bytes: `VmRSS`, `VmHWM`.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let found = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
        let kilobytes: u64 = found.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        kilobytes << 10
    }

    /// From now on it gets no more memory than this of its own (`VmData`): who asks for more is refused, and a Rust
    /// program ends then.
    pub(crate) fn limit_memory(&self, bytes: u64) {
        let id = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        prlimit(Some(id), Resource::Data, limit).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = until("the server ends", async || self.exited()).await;
        self.child = None;
        status
    }

    /// Waits until a fail point has killed it.
    pub(crate) async fn died(&mut self) {
        let status = self.ended().await;
        assert_eq!(status.signal(), Some(9), "it was not killed but ended with {status}:\n{}", self.log());
        assert_eq!(self.count(COUNTED_WRONG).await, 0, "what tenants use is not what their rows add up to");
    }

    /// `kill -9`, from outside.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM; how it ended, and after how long.
    pub(crate) async fn stop(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        self.terminate();
        (self.ended().await, begun.elapsed())
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP: it stands still, its connections stay.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on where it was.
    pub(crate) fn unpause(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until a fail point has stopped it.
    pub(crate) async fn stands_still(&self) {
        let id = self.child.as_ref().unwrap().id();
        until("the server stands still", async || {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
            status.contains("State:\tT").then_some(())
        })
        .await;
    }

    /// Whether it has been started and not ended by us.
    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    fn signal(&self, signal: Signal) {
        let id = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// `kill -9` and a new start on what is left; the sweeper's first round begins at once.
    pub(crate) async fn restart(&mut self) {
        if self.child.is_some() {
            self.kill9();
        }
        self.begin(None).await;
    }

    /// Changes the database while nobody serves it.
    pub(crate) async fn sql(&self, text: &'static str) {
        assert!(self.child.is_none(), "the server is running");
        self.rows().change(text).await;
    }

    /// One number from the database.
    pub(crate) async fn count(&self, text: &'static str) -> i64 {
        self.rows().count(text).await
    }

    /// Ids from the database.
    pub(crate) async fn ids(&self, text: &'static str) -> Vec<String> {
        self.rows().ids(text).await
    }

    /// Its database.
    pub(crate) fn rows(&self) -> Rows {
        let mut settings = self.settings.iter();
        let url =
            settings.find_map(|(name, value)| (name == "CIFRA__DATABASE__URL").then_some(value.as_str()));
        Rows::at(url, &self.database())
    }

    /// Every file in the store besides its own two: `staging/…`, `tmp/…`, `blobs/…`, in order.
    pub(crate) fn stored(&self) -> Vec<PathBuf> {
        let root = self.data().join("blobs");
        let mut found = Vec::new();
        for folder in ["staging", "tmp", "blobs"] {
            collect(&root.join(folder), &mut found);
        }
        found.sort();
        found
    }

    /// The one file in `staging/`.
    pub(crate) fn staged(&self) -> PathBuf {
        let mut found = Vec::new();
        collect(&self.data().join("blobs/staging"), &mut found);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// What it has open, each by what it is.
    fn open(&self) -> Vec<PathBuf> {
        let folder = format!("/proc/{}/fd", self.child.as_ref().unwrap().id());
        let links = fs::read_dir(folder).unwrap().map(|entry| fs::read_link(entry.unwrap().path()));
        links.filter_map(Result::ok).collect()
    }

    /// How many files and sockets it has open.
    pub(crate) fn descriptors(&self) -> usize {
        self.open().len()
    }

    /// How many visible files of the store it has open.
    pub(crate) fn blobs_open(&self) -> usize {
        let blobs = self.data().join("blobs/blobs");
        self.open().iter().filter(|path| path.starts_with(&blobs) && **path != blobs).count()
    }

    /// Waits until the store has nothing but `blobs` visible files, and no row waits for a removal.
    pub(crate) async fn settled(&self, blobs: usize) {
        let waits = "SELECT (SELECT COUNT(*) FROM cifra_blob_deletions) + (SELECT COUNT(*) FROM cifra_uploads \
                     WHERE state IN ('aborted', 'expired') AND bytes_cleared = FALSE)";
        let outside = |path: &PathBuf| !path.starts_with(self.data().join("blobs/blobs"));
        until("nothing stays behind", async || {
            let stored = self.stored();
            let settled = stored.len() == blobs && !stored.iter().any(outside);
            (settled && self.count(waits).await == 0).then_some(())
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the server's log:\n{}", self.log());
        }
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let Ok(entry) = entry else { continue };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

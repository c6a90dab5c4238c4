//! A PostgreSQL server of this test process: started by the first test that wants one, in a temporary folder,
//! on a Unix socket; gone with the process, however that ends. Each test makes a database of its own in it.
//!
//! PostgreSQL refuses to run as root; then it runs as `nobody`. Missing binaries fail the test.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use cifra::db::{DatabaseUrl, Db};
use cifra::telemetry::Tasks;
use rustix::process::{Pid, Signal};
use sqlx::{Connection, PgConnection};
use tokio::sync::OnceCell;

/// The server.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    folder: PathBuf,
    databases: AtomicU32,
    /// A migrated database to be copied; made once.
    template: OnceCell<()>,
    /// Stops the server and removes the folder when its standard input ends: with this process.
    _guardian: Child,
}

/// The server of this process; started on the first call.
pub(crate) fn server() -> &'static PostgresServer {
    static SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SERVER.get_or_init(PostgresServer::start)
}

impl PostgresServer {
    /// Starts one more server, for a test that stops it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("cifra-pg-").tempdir_in("/tmp").expect("a folder");
        // Kept: the guardian removes it.
        let folder = folder.keep();
        let server = Self {
            _guardian: guard(&folder),
            folder,
            databases: AtomicU32::new(0),
            template: OnceCell::new(),
        };
        if as_root() {
            std::os::unix::fs::chown(&server.folder, Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        let data = server.folder.join("data");
        run(server.command("initdb").arg("-D").arg(&data).args([
            "--username=cifra",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]));
        server.resume();
        server
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn stop(&self) {
        run(self.command("pg_ctl").arg("-D").arg(self.folder.join("data")).args(["stop", "-m", "immediate"]));
    }

    /// Ends the server as `systemctl stop` would: what it was doing breaks off, what was committed stays.
    pub(crate) fn stop_in_order(&self) {
        run(self
            .command("pg_ctl")
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["stop", "-w", "-m", "fast"]));
    }

    /// Stops all of its processes (SIGSTOP): connections stay open, and nobody answers.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// After [`PostgresServer::pause`].
    pub(crate) fn unpause(&self) {
        self.signal(Signal::CONT);
    }

    /// To the server first, so that it makes no more processes, and then to those that it made.
    fn signal(&self, signal: Signal) {
        let pid_file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("it runs");
        let server: i32 = pid_file.lines().next().and_then(|pid| pid.parse().ok()).expect("a pid");
        let send = |pid: i32| {
            // One of its processes may have ended in the meantime.
            let _ = rustix::process::kill_process(Pid::from_raw(pid).expect("a pid"), signal);
        };
        send(server);
        let children = std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // "pid (name) state parent …"; a name may have spaces and brackets.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            (parent == server.to_string()).then_some(pid)
        });
        children.collect::<Vec<_>>().into_iter().for_each(send);
    }

    /// Ends the server in order: what is committed stays, also what was committed without waiting for the disk.
    pub(crate) fn shut_down(&self) {
        run(self.command("pg_ctl").arg("-D").arg(self.folder.join("data")).args(["stop", "-m", "fast"]));
    }

    /// Starts one more server, which waits for the disk as in earnest: for measurements.
    pub(crate) fn start_flushing() -> Self {
        let server = Self::start();
        server.shut_down();
        server.serve("on");
        server
    }

    /// Starts it, also again after [`PostgresServer::stop`].
    pub(crate) fn resume(&self) {
        self.serve("off");
    }

    fn serve(&self, flush: &str) {
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories={} -c fsync={flush} -c full_page_writes={flush} \
             -c max_connections=200 -c log_min_messages=warning",
            self.folder.display()
        );
        run(self
            .command("pg_ctl")
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-l")
            .arg(self.folder.join("log"))
            .args(["-w", "-t", "60", "-o", &options, "start"]));
    }

    /// The URL of a new, empty database.
    pub(crate) async fn new_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.create(&name, "template1").await
    }

    /// The URL of a new database in which every migration is applied already, which saves each test a moment.
    pub(crate) async fn new_service_database(&self) -> String {
        let make = async || {
            let url = DatabaseUrl::Postgres(self.create("migrated", "template1").await);
            let tasks = Tasks::default();
            let db = Db::connect(&url, &super::databases::options(), &tasks).await.expect("a database");
            db.migrate().await.expect("migrations");
            // Who is still connected keeps it from being copied.
            db.close().await;
        };
        self.template.get_or_init(make).await;
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.create(&name, "migrated").await
    }

    async fn create(&self, name: &str, template: &str) -> String {
        let mut admin = PgConnection::connect(&self.url("postgres")).await.expect("the private PostgreSQL");
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(&mut admin).await.expect("a database");
        admin.close().await.expect("the private PostgreSQL");
        self.url(name)
    }

    fn url(&self, database: &str) -> String {
        let socket = self.folder.to_str().expect("a path of ours").replace('/', "%2F");
        format!("postgres://cifra@{socket}/{database}")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = unprivileged(&bin().join(program));
        command.current_dir(&self.folder);
        command
    }
}

const NOBODY: u32 = 65534;

fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `program`, as `nobody` if we are root.
fn unprivileged(program: &Path) -> Command {
    if !as_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
        .arg("--clear-groups")
        .arg(program);
    command
}

/// A process that outlives us: waits for the end of its input, which is our end, then clears up.
///
/// In a process group of its own, so that a Ctrl-C for us does not end it before its work.
fn guard(folder: &Path) -> Child {
    let stop = "cat >/dev/null; \"$@\" >/dev/null 2>&1; rm -rf \"$FOLDER\"";
    let mut pg_ctl = unprivileged(&bin().join("pg_ctl"));
    pg_ctl.arg("-D").arg(folder.join("data")).args(["stop", "-m", "immediate"]);
    Command::new("sh")
        .args(["-c", stop, "guardian"])
        .arg(pg_ctl.get_program())
        .args(pg_ctl.get_args())
        .env("FOLDER", folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh")
}

/// Where Debian puts the newest version's programs.
fn bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max_by_key(|bin| bin.parent()?.file_name()?.to_str()?.parse::<u32>().ok());
    newest
        .expect("PostgreSQL is not installed (looked for /usr/lib/postgresql/*/bin/initdb): run `make setup`")
}

fn run(command: &mut Command) {
    // Not a pipe: the server would keep its other end open.
    let output = tempfile::tempfile().expect("a file");
    let status = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a file"))
        .stderr(output.try_clone().expect("a file"))
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run `make setup`"));
    if !status.success() {
        let mut text = String::new();
        let mut output = output;
        std::io::Seek::rewind(&mut output).expect("a file");
        let _ = std::io::Read::read_to_string(&mut output, &mut text);
        panic!("{command:?}: {status}\n{text}");
    }
}

//! Redis servers: one that all tests of this process share, and others that a test stops, empties or fails over.
//!
//! Each runs in a temporary folder on free ports of the loopback, and is gone with the process, however that ends.
//! Tests that share one have databases of their own, whose ids stand in every key. Missing programs fail the test.

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use cifra::config::{Sources, load};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server.
#[derive(Debug)]
pub(crate) struct RedisServer {
    folder: PathBuf,
    port: u16,
    /// `user:password@`, or nothing.
    account: &'static str,
    encrypted: bool,
    child: Mutex<Child>,
    /// Kills the server and removes the folder when its standard input ends: with this process.
    _guardian: Child,
}

/// How a server differs from the plainest one.
#[derive(Debug, Default)]
struct Traits {
    settings: String,
    account: &'static str,
    encrypted: bool,
}

/// The server of this process; started on the first call.
pub(crate) fn server() -> &'static RedisServer {
    static SERVER: OnceLock<RedisServer> = OnceLock::new();
    SERVER.get_or_init(RedisServer::start)
}

impl RedisServer {
    /// A server of a test's own.
    pub(crate) fn start() -> Self {
        Self::start_as(Traits::default())
    }

    /// One that lets nobody in but a user with a password that looks odd in a URL, and lets that one do only what
    /// cifra needs.
    pub(crate) fn with_account() -> Self {
        let settings = "user default off\n\
             user alice on >p@ss:word/1 ~cifra:* &cifra:* +@read +@write +@scripting +@pubsub +@connection +time\n\
             user root on >root ~* &* +@all\n"
            .to_owned();
        Self::start_as(Traits { settings, account: "alice:p%40ss%3Aword%2F1@", ..Traits::default() })
    }

    /// One that speaks TLS only, with a certificate that [`RedisServer::ca_file`] vouches for.
    pub(crate) fn with_tls() -> Self {
        Self::start_as(Traits { encrypted: true, ..Traits::default() })
    }

    /// One that this one's keys are copied to.
    pub(crate) fn replica(&self) -> Self {
        let settings = format!("replicaof 127.0.0.1 {}\nrepl-diskless-sync-delay 0\n", self.port);
        let replica = Self::start_as(Traits { settings, ..Traits::default() });
        let linked = || replica.command(&["INFO", "replication"]).contains("master_link_status:up");
        wait_until("the replica has its copy", linked);
        replica
    }

    fn start_as(traits: Traits) -> Self {
        let folder = tempfile::Builder::new().prefix("cifra-redis-").tempdir_in("/tmp").unwrap();
        // Kept: the guardian removes it.
        let folder = folder.keep();
        let guardian = guard(&folder);
        let Traits { mut settings, account, encrypted } = traits;
        let port = free_port();
        settings.push_str(
            "bind 127.0.0.1\nsave \"\"\nappendonly no\nloglevel warning\nlogfile log\npidfile pid\n\
             enable-debug-command yes\n",
        );
        if encrypted {
            make_certificates(&folder);
            write!(
                settings,
                "port 0\ntls-port {port}\ntls-cert-file server.pem\ntls-key-file server.key\n\
                 tls-ca-cert-file ca.pem\ntls-auth-clients no\n"
            )
            .unwrap();
        } else {
            writeln!(settings, "port {port}").unwrap();
        }
        std::fs::write(folder.join("redis.conf"), settings).unwrap();
        let child = Mutex::new(spawn(&folder));
        let server = Self { folder, port, account, encrypted, child, _guardian: guardian };
        server.wait_until_ready();
        server
    }

    /// As `redis.url` takes it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.encrypted { "rediss" } else { "redis" };
        format!("{scheme}://{}{}", self.account, self.address())
    }

    /// Section `redis` of a configuration that leads here.
    pub(crate) fn config(&self) -> cifra::config::Redis {
        let mut flags = vec![("redis.url".to_owned(), self.url())];
        if self.encrypted {
            flags.push(("redis.ca_file".to_owned(), self.ca_file().to_str().unwrap().to_owned()));
        }
        load(&Sources::of_process(None, flags).unwrap()).unwrap().config.redis
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Who signed its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// From here on it is there, but says nothing.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// After [`RedisServer::pause`]: it goes on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it at once, with all that it has.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// After [`RedisServer::kill`]: an empty one, in the same place.
    pub(crate) fn restart(&self) {
        *self.child.lock().unwrap() = spawn(&self.folder);
        self.wait_until_ready();
    }

    /// Forgets everything.
    pub(crate) fn flush(&self) {
        assert_eq!(self.command(&["FLUSHALL"]), "OK");
        assert_eq!(self.command(&["SCRIPT", "FLUSH"]), "OK");
    }

    /// What the server answers to this command, as `redis-cli` prints it.
    pub(crate) fn command(&self, words: &[&str]) -> String {
        let mut command = self.cli();
        let output = command.args(words).output().expect("redis-cli is needed: scripts/setup.sh test");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Every key that contains `part`, with the milliseconds that it still has; -1: for ever.
    pub(crate) fn keys(&self, part: &str) -> Vec<(String, i64)> {
        let script = "local found, cursor = {}, '0'
            repeat
                local page = redis.call('SCAN', cursor, 'MATCH', '*' .. ARGV[1] .. '*', 'COUNT', 1000)
                cursor = page[1]
                for _, key in ipairs(page[2]) do
                    found[#found + 1] = key .. ' ' .. redis.call('PTTL', key)
                end
            until cursor == '0'
            return found";
        let listed = self.command(&["EVAL", script, "0", part]);
        let read = |line: &str| {
            let (key, left) = line.rsplit_once(' ').unwrap();
            (key.to_owned(), left.parse().unwrap())
        };
        listed.lines().filter(|line| !line.is_empty()).map(read).collect()
    }

    fn cli(&self) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if self.encrypted {
            command.arg("--tls").arg("--cacert").arg(self.ca_file());
        }
        if !self.account.is_empty() {
            command.args(["--user", "root", "--pass", "root", "--no-auth-warning"]);
        }
        command
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.lock().unwrap().id();
        kill_process(Pid::from_raw(i32::try_from(id).unwrap()).unwrap(), signal).unwrap();
    }

    fn wait_until_ready(&self) {
        wait_until("Redis answers", || {
            TcpStream::connect(self.address()).is_ok() && self.command(&["PING"]) == "PONG"
        });
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Three servers that share the keys.
#[derive(Debug)]
pub(crate) struct RedisCluster {
    pub(crate) servers: Vec<RedisServer>,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        let server = |_| {
            let settings = format!(
                "cluster-enabled yes\ncluster-port {}\ncluster-node-timeout 2000\ncluster-config-file nodes.conf\n",
                free_port()
            );
            RedisServer::start_as(Traits { settings, ..Traits::default() })
        };
        let servers: Vec<RedisServer> = (0..3).map(server).collect();
        let mut create = servers[0].cli();
        create.args(["--cluster", "create"]).args(servers.iter().map(RedisServer::address));
        let made = create.args(["--cluster-yes"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let settled =
            |server: &RedisServer| server.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
        wait_until("the cluster is one", || servers.iter().all(settled));
        Self { servers }
    }

    /// As `redis.url` takes it; two of the servers are enough to find the third.
    pub(crate) fn url(&self) -> String {
        format!("redis+cluster://{},{}", self.servers[0].address(), self.servers[1].address())
    }
}

/// Free now, and hopefully still when the server takes it a moment later.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(folder: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("output")).unwrap();
    Command::new("redis-server")
        .arg("redis.conf")
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("redis-server is needed: scripts/setup.sh test")
}

/// A process that outlives us: waits for the end of its input, which is our end, then clears up.
///
/// In a process group of its own, so that a Ctrl-C for us does not end it before its work.
fn guard(folder: &Path) -> Child {
    let end = "cat >/dev/null; kill -9 $(cat \"$FOLDER/pid\"); rm -rf \"$FOLDER\"";
    Command::new("sh")
        .args(["-c", end])
        .env("FOLDER", folder)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh")
}

/// An authority of our own, and a certificate for 127.0.0.1 that it signed.
fn make_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
        let made = made.expect("openssl is needed: scripts/setup.sh test");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {new_key} -keyout ca.key -out ca.pem -days 2 -subj /CN=cifra-tests"));
    openssl(&format!("req {new_key} -keyout server.key -out server.csr -subj /CN=redis"));
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    );
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited for too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

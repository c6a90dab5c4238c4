//! What the harnesses of foreign servers share: where they are installed, ports, signals, one plain request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Where `make setup` puts programs that no package has.
pub(crate) fn folder() -> PathBuf {
    let cache = std::env::var_os("CIFRA_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/cifra");
    cache.unwrap_or_else(home).join("tools")
}

/// Ports of loopback that are free now.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    // All are taken before one is given back, so that they differ.
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.each_ref().map(|listener| listener.local_addr().expect("a port").port())
}

/// The process id that a guardian says on its first line.
pub(crate) fn said_pid(guardian: &mut Child) -> u32 {
    let mut line = String::new();
    let output = guardian.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("the guardian's first line");
    line.trim().parse().expect("a process id")
}

/// Stops a process in its steps, and waits until each of its threads stands.
pub(crate) fn pause(pid: u32) {
    signal(pid, rustix::process::Signal::STOP);
    let stands = |stat: &str| stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'));
    while !std::fs::read_dir(format!("/proc/{pid}/task"))
        .expect("its threads")
        .flatten()
        .all(|thread| std::fs::read_to_string(thread.path().join("stat")).is_ok_and(|stat| stands(&stat)))
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets it go on.
pub(crate) fn go_on(pid: u32) {
    signal(pid, rustix::process::Signal::CONT);
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid =
        rustix::process::Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("a process of ours");
}

/// Whether `GET path` is answered with 200.
pub(crate) fn answers(port: u16, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    ask(port, &request).is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Sends a request and reads the answer to its end; `None` if nobody is there.
pub(crate) fn ask(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned()).filter(|answer| !answer.is_empty())
}

/// HMAC-SHA-256 of `text` under a base64 key.
pub(crate) fn hmac_base64(key: &str, text: &str) -> String {
    let key = STANDARD.decode(key).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any key");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Foreign servers want the real time.
#[expect(clippy::disallowed_methods, reason = "a foreign server's clock is the machine's")]
pub(crate) fn since_1970() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970")
}

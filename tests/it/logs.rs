//! What the running program logs: one JSON object a line, with the id of each request, and every slow query.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};

use serde_json::Value;

use crate::client::cifra;

/// The program with its log as it comes; killed at the end if it still runs.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn start(folder: &std::path::Path, settings: &[(&str, &str)]) -> Self {
        let mut child = cifra()
            .arg("serve")
            .current_dir(folder)
            .env("CIFRA__SERVER__LISTEN", "127.0.0.1:0")
            .env("CIFRA__SERVER__DATA_DIR", folder)
            .env("CIFRA__FILE_UPLOAD__MIN_FREE", "0")
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Reads on to the first line that `wanted` likes.
    fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let mut read = String::new();
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ended without it: {read}");
            if wanted(&line) {
                return line;
            }
            read.push_str(&line);
        }
    }

    /// Reads on to the JSON line with this text in its message.
    fn json_line(&mut self, text: &str) -> Value {
        let line = self.line(|line| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            value["message"].as_str().is_some_and(|message| message.contains(text))
        });
        serde_json::from_str(&line).unwrap()
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is gone already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a path that is nobody's, as request `id`.
fn ask(address: &str, id: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /nowhere?secret=1 HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[test]
fn json_logs_are_an_object_a_line_with_the_request_s_id() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("CIFRA__LOG__FORMAT", "json"), ("CIFRA__LOG__LEVEL", "info,cifra=debug")];
    let mut running = Running::start(folder.path(), &settings);
    let listens = running.json_line("listens on");
    assert_eq!(listens["level"], "INFO");
    ask(listens["address"].as_str().unwrap(), "req-7");
    let answered = running.json_line("/nowhere");
    assert_eq!(answered["request_id"], "req-7");
    assert_eq!(answered["status"], 404);
    assert!(answered["duration_ms"].is_number(), "{answered}");
    assert!(!answered.to_string().contains("secret"), "a query is not logged: {answered}");
    running.stop();
}

#[test]
fn text_logs_are_plain_where_nobody_sees_colors() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(folder.path(), &[]);
    let line = running.line(|line| line.contains("listens on"));
    assert!(line.contains(" INFO ") && !line.contains('\u{1b}'), "{line}");
    running.stop();
}

#[test]
fn a_query_over_the_limit_is_a_warning_with_its_text_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("CIFRA__LOG__FORMAT", "json"), ("CIFRA__DATABASE__SLOW_QUERY_MS", "0")];
    let mut running = Running::start(folder.path(), &settings);
    let line = running.line(|line| line.contains("cifra_stores") && line.contains("WARN"));
    let warning: Value = serde_json::from_str(&line).unwrap();
    assert!(warning.to_string().contains("elapsed"), "{warning}");
    running.stop();
}

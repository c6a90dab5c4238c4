//! A file's record over HTTP, and nginx with the same bytes as a static file: as fast as they can, asked by wrk; then
//! both at half of cifra's rate, asked by us on time, so that an answer that is late makes the next ones late too.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{Connection, Request};
use crate::servers::{Kind, Places, Server};
use crate::{Result, fail};

const CONNECTIONS: usize = 64;
const SECONDS: u64 = 5;
/// Each waits for its own answers: enough of them that none is asked again before it has answered.
const PACED_CONNECTIONS: usize = 32;
const PATIENCE: Duration = Duration::from_mins(2);

/// How fast a server was.
pub(super) struct Rate {
    /// Requests in a second.
    pub(super) rate: f64,
    /// Of the server, for a request.
    pub(super) cpu_us: f64,
}

/// Both, right after each other.
pub(super) struct Round {
    pub(super) cifra: Rate,
    pub(super) nginx: Rate,
    /// Of cifra at half its rate, counted from when the request was due.
    pub(super) paced_p99_ms: f64,
    /// Of nginx at that rate: what the machine and who asks add.
    pub(super) nginx_paced_p99_ms: f64,
}

pub(super) fn round(places: &Places, round: usize) -> Result<Round> {
    let deadline = Instant::now() + PATIENCE;
    let server = Server::start(Kind::CifraCrc, places, None)?;
    let (path, record) = some_file(&server, deadline)?;
    let nginx = Server::start(Kind::Nginx, places, None)?;
    let mut door = Connection::open(nginx.address, deadline)?;
    door.expect(201, &Request { method: "PUT", path: "/record.json", headers: &[], body: &record })?;
    // Who is first changes.
    let static_file = "/record.json";
    let (cifra, of_nginx) = if round.is_multiple_of(2) {
        let cifra = fastest(&server, &path)?;
        (cifra, fastest(&nginx, static_file)?)
    } else {
        let of_nginx = fastest(&nginx, static_file)?;
        (fastest(&server, &path)?, of_nginx)
    };
    let half = cifra.rate / 2.0;
    let (paced_p99_ms, nginx_paced_p99_ms) =
        (paced(&server, &path, half)?, paced(&nginx, static_file, half)?);
    eprintln!(
        "a record: {:.0}/s, nginx {:.0}/s, p99 {paced_p99_ms:.2} ms at half, nginx {nginx_paced_p99_ms:.2} ms",
        cifra.rate, of_nginx.rate
    );
    Ok(Round { cifra, nginx: of_nginx, paced_p99_ms, nginx_paced_p99_ms })
}

/// Makes a file; the path of its record, and the record.
fn some_file(server: &Server, deadline: Instant) -> Result<(String, Vec<u8>)> {
    let mut door = Connection::open(server.address, deadline)?;
    let create = Request {
        method: "POST",
        path: "/api/files?filename=report.pdf&metadata.project=apollo",
        headers: &[("Content-Type", "application/pdf")],
        body: b"%PDF-1.7 nothing in it",
    };
    let (head, _) = door.expect(201, &create)?;
    let path = head.header("location").map(str::to_owned);
    let Some(path) = path else { return fail("a file was made, but its place was not told".to_owned()) };
    let show = Request { method: "GET", path: &path, headers: &[], body: &[] };
    let (_, record) = door.expect(200, &show)?;
    Ok((path, record))
}

fn fastest(server: &Server, path: &str) -> Result<Rate> {
    let url = format!("http://{}{path}", server.address);
    // Until connections and caches are warm.
    wrk(&url, 1)?;
    let before = server.cpu_time()?;
    let (requests, rate) = wrk(&url, SECONDS)?;
    let cpu = server.cpu_time()?.saturating_sub(before);
    Ok(Rate { rate, cpu_us: cpu.as_secs_f64() * 1e6 / requests })
}

/// Requests in all, and in a second.
fn wrk(url: &str, seconds: u64) -> Result<(f64, f64)> {
    let output = Command::new("wrk")
        .args(["-t", "1", "-c", &CONNECTIONS.to_string(), "-d", &format!("{seconds}s"), url])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        return fail(format!("wrk {url}: {text}"));
    }
    let number = |line: Option<&str>| -> Option<f64> { line?.split_whitespace().next()?.parse().ok() };
    let rate = number(text.lines().find_map(|line| line.strip_prefix("Requests/sec:")));
    let requests = number(text.lines().find(|line| line.contains(" requests in ")));
    match (requests, rate) {
        (Some(requests), Some(rate)) if requests > 0.0 => Ok((requests, rate)),
        _ => fail(format!("wrk said something else: {text}")),
    }
}

/// Milliseconds within which 99 of 100 requests are answered that are due `rate` times a second.
fn paced(server: &Server, path: &str, rate: f64) -> Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    let every = Duration::from_secs_f64(PACED_CONNECTIONS as f64 / rate);
    let begin = Instant::now() + Duration::from_millis(100);
    let one = |number: usize| -> Result<Vec<Duration>> {
        let mut door = Connection::open(server.address, deadline)?;
        let show = Request { method: "GET", path, headers: &[], body: &[] };
        let mut due = begin + every.mul_f64(number as f64 / PACED_CONNECTIONS as f64);
        let mut waited = Vec::new();
        while due < begin + Duration::from_secs(SECONDS) {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            door.expect(200, &show)?;
            waited.push(due.elapsed());
            due += every;
        }
        Ok(waited)
    };
    let mut all = thread::scope(|scope| {
        let asking: Vec<_> = (0..PACED_CONNECTIONS).map(|number| scope.spawn(move || one(number))).collect();
        let mut all = Vec::new();
        for thread in asking {
            all.extend(thread.join().map_err(|_| "a client panicked")??);
        }
        Result::Ok(all)
    })?;
    all.sort_unstable();
    Ok(all[(all.len() * 99 / 100).min(all.len() - 1)].as_secs_f64() * 1e3)
}

//! The HTTP/1.1 client of the load: one blocking connection, nothing hidden.
//!
//! It exists because the client shares the machine with the server under test: what it burns is taken from
//! every server alike, so it must be little and the same. No pool, no retry, no TLS, no redirect; one write of
//! head and body together, one reused read buffer. Called by `upload`, `download` and `servers` (readiness).

use std::fmt::Write as _;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Result, fail, interrupt};

/// No single system call waits longer; the slowest thing waited for is the finalize of 10 GiB.
const SYSCALL_TIMEOUT: Duration = Duration::from_mins(1);
/// What one `read` takes at most; the same for every server.
const READ_BUFFER_BYTES: usize = 256 << 10;
/// No answer that is collected (rather than counted) is larger.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// One request; the body is sent with its `Content-Length`.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// Status line and headers of an answer; header names in lower case.
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The value of `name` (lower case), if the server sent it.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn body_length(&self, method: &str) -> Result<BodyLength> {
        if method == "HEAD" || self.status == 204 || self.status == 304 {
            return Ok(BodyLength::Known(0));
        }
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(BodyLength::Chunked);
        }
        match self.header("content-length") {
            Some(value) => Ok(BodyLength::Known(value.parse()?)),
            None => Ok(BodyLength::UntilClose),
        }
    }
}

enum BodyLength {
    Known(u64),
    Chunked,
    UntilClose,
}

/// One keep-alive connection; opened again when the server asked to close it.
pub(crate) struct Connection {
    address: SocketAddr,
    host: String,
    deadline: Instant,
    stream: TcpStream,
    must_reopen: bool,
    buffer: Box<[u8]>,
    filled: std::ops::Range<usize>,
}

impl Connection {
    /// Connects; no request and no part of an answer is waited for after `deadline`.
    pub(crate) fn open(address: SocketAddr, deadline: Instant) -> Result<Self> {
        Ok(Self {
            address,
            host: address.to_string(),
            deadline,
            stream: connect(address)?,
            must_reopen: false,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            filled: 0..0,
        })
    }

    /// Sends `request`, collects the answer's body, and fails unless the status is `expected`.
    pub(crate) fn expect(&mut self, expected: u16, request: &Request<'_>) -> Result<(Head, Vec<u8>)> {
        let (head, body) = self.collect(request)?;
        if head.status == expected {
            return Ok((head, body));
        }
        let text = String::from_utf8_lossy(&body);
        let Request { method, path, .. } = request;
        fail(format!("{method} {path} answered {}, expected {expected}: {}", head.status, text.trim()))
    }

    /// Sends `request` and collects the answer's body, whatever its status.
    pub(crate) fn collect(&mut self, request: &Request<'_>) -> Result<(Head, Vec<u8>)> {
        let mut body = Vec::new();
        let head = self.stream_to(request, &mut |bytes| body.extend_from_slice(bytes))?;
        if body.len() > ANSWER_BYTES_MAX {
            return fail(format!("the answer to {} has {} bytes", request.path, body.len()));
        }
        Ok((head, body))
    }

    /// Sends `request` and hands the answer's body to `sink` piece by piece.
    pub(crate) fn stream_to(&mut self, request: &Request<'_>, sink: &mut dyn FnMut(&[u8])) -> Result<Head> {
        self.check_deadline()?;
        if self.must_reopen {
            self.stream = connect(self.address)?;
            self.must_reopen = false;
            self.filled = 0..0;
        }
        // A server that refuses early closes while we still write; its answer says why, so it is read first.
        let sent = self.send(request);
        let head = match (self.read_head(), sent) {
            (Ok(head), _) => head,
            (Err(_), Err(error)) => return Err(error.into()),
            (Err(error), Ok(())) => return Err(error),
        };
        let length = head.body_length(request.method)?;
        self.must_reopen = matches!(length, BodyLength::UntilClose)
            || head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        match length {
            BodyLength::Known(bytes) => self.read_exactly(bytes, sink)?,
            BodyLength::Chunked => self.read_chunked(sink)?,
            BodyLength::UntilClose => while self.read_some(u64::MAX, sink)? > 0 {},
        }
        Ok(head)
    }

    fn send(&mut self, request: &Request<'_>) -> io::Result<()> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, self.host);
        for (name, value) in request.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !request.body.is_empty() || matches!(request.method, "POST" | "PUT" | "PATCH") {
            let _ = write!(head, "Content-Length: {}\r\n", request.body.len());
        }
        head.push_str("\r\n");
        let mut head = head.as_bytes();
        let mut body = request.body;
        while !head.is_empty() || !body.is_empty() {
            let written = self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let of_head = written.min(head.len());
            head = &head[of_head..];
            body = &body[written - of_head..];
        }
        Ok(())
    }

    fn read_head(&mut self) -> Result<Head> {
        loop {
            let status_line = self.read_line()?;
            let Some(status) = status_line.split(' ').nth(1) else {
                return fail(format!("not an HTTP status line: {status_line:?}"));
            };
            let status: u16 = status.parse()?;
            let mut headers = Vec::new();
            loop {
                let line = self.read_line()?;
                if line.is_empty() {
                    break;
                }
                if let Some((name, value)) = line.split_once(':') {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
            }
            // 1xx answers precede the final one (RFC 9110 15.2).
            if status >= 200 {
                return Ok(Head { status, headers });
            }
        }
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            if self.filled.is_empty() && self.fill()? == 0 {
                return fail("the server closed the connection before its answer was whole".to_owned());
            }
            let known = &self.buffer[self.filled.clone()];
            let newline = known.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&known[..newline.unwrap_or(known.len())]);
            self.filled.start += newline.map_or(known.len(), |at| at + 1);
            if newline.is_some() {
                return Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
            }
        }
    }

    fn read_chunked(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        loop {
            let line = self.read_line()?;
            let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)?;
            if size == 0 {
                while !self.read_line()?.is_empty() {}
                return Ok(());
            }
            self.read_exactly(size, sink)?;
            self.read_line()?;
        }
    }

    fn read_exactly(&mut self, mut missing: u64, sink: &mut dyn FnMut(&[u8])) -> Result<()> {
        while missing > 0 {
            match self.read_some(missing, sink)? {
                0 => return fail(format!("the server closed the connection {missing} bytes early")),
                read => missing -= read,
            }
        }
        Ok(())
    }

    fn read_some(&mut self, at_most: u64, sink: &mut dyn FnMut(&[u8])) -> Result<u64> {
        if self.filled.is_empty() && self.fill()? == 0 {
            return Ok(0);
        }
        let taken = usize::try_from(at_most).unwrap_or(usize::MAX).min(self.filled.len());
        let end = self.filled.start + taken;
        sink(&self.buffer[self.filled.start..end]);
        self.filled.start = end;
        Ok(taken as u64)
    }

    fn fill(&mut self) -> Result<usize> {
        self.check_deadline()?;
        let read = self.stream.read(&mut self.buffer)?;
        self.filled = 0..read;
        Ok(read)
    }

    fn check_deadline(&self) -> Result<()> {
        interrupt::check()?;
        if Instant::now() < self.deadline {
            return Ok(());
        }
        fail("the run took longer than its time limit".to_owned())
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, SYSCALL_TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SYSCALL_TIMEOUT))?;
    stream.set_write_timeout(Some(SYSCALL_TIMEOUT))?;
    Ok(stream)
}

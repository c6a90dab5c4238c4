//! `multipart/form-data` cut into parts (RFC 7578, RFC 2046 5.1): bytes in, events out. Pure, and strict.
//!
//! Our own, because what there is buffers as much as a client likes to send before a boundary or in a part's head,
//! and reads quoted names its own way. Here a frame is held, and a delimiter's length beside it; data is not copied.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::{Bytes, BytesMut};

use crate::base::{Code, Error, Result};

/// What may stand before the first boundary and after the last one, which nobody reads (RFC 2046 5.1.1).
const MARGIN_BYTES_MAX: usize = 4 << 10;
/// A part's head: a filename of 1,024 bytes takes 3,072 when it is percent-encoded.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Lines of a part's head.
const HEAD_LINES_MAX: usize = 16;
/// RFC 2046 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;

/// What comes next in a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins, with these headers.
    Part(HeaderMap),
    /// Bytes of the part.
    Data(Bytes),
    /// The part is over.
    PartEnd,
    /// Nothing can be said before more bytes are fed.
    Hungry,
    /// The form is over.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary; so many bytes were passed over.
    Margin(usize),
    /// Behind a boundary, on its line.
    Boundary,
    Head,
    Data,
    /// Behind the last boundary; so many bytes were passed over.
    End(usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scanner {
    /// CRLF, two hyphens, and the boundary.
    delimiter: Vec<u8>,
    buffer: Bytes,
    state: State,
}

impl Scanner {
    /// For a form whose `Content-Type` names this boundary.
    ///
    /// # Errors
    /// `InvalidRequest` if it cannot be one.
    pub(super) fn new(boundary: &str) -> Result<Self> {
        // RFC 2046 5.1.1: bcharsnospace, and spaces but at the end.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let sound = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()) && !boundary.ends_with(' ');
        if !sound || !boundary.bytes().all(allowed) {
            return Err(malformed("its boundary is not one of RFC 2046: 1 to 70 of its characters"));
        }
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first boundary may be the first line: then the body itself has no CRLF before it.
        Ok(Self { delimiter, buffer: Bytes::from_static(b"\r\n"), state: State::Margin(0) })
    }

    /// Takes more bytes; to be called when the scanner is [`Event::Hungry`].
    pub(super) fn feed(&mut self, frame: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = frame;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.buffer.len() + frame.len());
        joined.extend_from_slice(&self.buffer);
        joined.extend_from_slice(&frame);
        self.buffer = joined.freeze();
    }

    /// No more bytes come.
    ///
    /// # Errors
    /// `InvalidRequest` if the form is not over.
    pub(super) fn finish(&self) -> Result<()> {
        match self.state {
            State::End(_) => Ok(()),
            _ => Err(malformed("it ends before its last boundary")),
        }
    }

    /// # Errors
    /// `InvalidRequest` for what is no form; then nothing more is to be asked.
    pub(super) fn next(&mut self) -> Result<Event> {
        loop {
            match self.state {
                State::Margin(passed) => match self.take_data() {
                    Some(bytes) if passed + bytes.len() > MARGIN_BYTES_MAX => {
                        return Err(malformed("it does not begin with its boundary"));
                    }
                    Some(bytes) if bytes.is_empty() => self.state = State::Boundary,
                    Some(bytes) => self.state = State::Margin(passed + bytes.len()),
                    None => return Ok(Event::Hungry),
                },
                State::Boundary => {
                    if !self.pass_boundary_line()? {
                        return Ok(Event::Hungry);
                    }
                }
                State::Head => return self.head(),
                State::Data => {
                    return Ok(match self.take_data() {
                        Some(bytes) if bytes.is_empty() => {
                            self.state = State::Boundary;
                            Event::PartEnd
                        }
                        Some(bytes) => Event::Data(bytes),
                        None => Event::Hungry,
                    });
                }
                State::End(passed) => {
                    let passed = passed + std::mem::take(&mut self.buffer).len();
                    if passed > MARGIN_BYTES_MAX {
                        return Err(malformed("too much comes behind its last boundary"));
                    }
                    self.state = State::End(passed);
                    return Ok(Event::End);
                }
            }
        }
    }

    /// Bytes before the next delimiter; none at all if it is what comes next, and then it is taken. `None` if that
    /// cannot be told yet.
    fn take_data(&mut self) -> Option<Bytes> {
        match memchr::memmem::find(&self.buffer, &self.delimiter) {
            Some(0) => {
                let _ = self.buffer.split_to(self.delimiter.len());
                Some(Bytes::new())
            }
            Some(at) => Some(self.buffer.split_to(at)),
            None => {
                // What may be the beginning of a delimiter stays.
                let from = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                let mut starts = memchr::memchr_iter(b'\r', &self.buffer[from..]).map(|at| from + at);
                let kept = starts.find(|&at| self.delimiter.starts_with(&self.buffer[at..]));
                let certain = kept.unwrap_or(self.buffer.len());
                (certain > 0).then(|| self.buffer.split_to(certain))
            }
        }
    }

    /// Behind a boundary: two hyphens end the form, blanks and CRLF begin a part (RFC 2046 5.1.1). `false` if
    /// more bytes are needed to tell.
    fn pass_boundary_line(&mut self) -> Result<bool> {
        let blanks = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if blanks > MARGIN_BYTES_MAX {
            return Err(malformed("a boundary is followed by something else"));
        }
        match &self.buffer[blanks..] {
            [b'-', b'-', ..] if blanks == 0 => {
                let _ = self.buffer.split_to(2);
                self.state = State::End(0);
                Ok(true)
            }
            [b'\r', b'\n', ..] => {
                // Its CRLF stays: a head without lines is then found like any other.
                let _ = self.buffer.split_to(blanks);
                self.state = State::Head;
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            [b'-'] if blanks == 0 => Ok(false),
            _ => Err(malformed("a boundary is followed by something else")),
        }
    }

    fn head(&mut self) -> Result<Event> {
        let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") else {
            // Three bytes of its end may be there already.
            if self.buffer.len() > HEAD_BYTES_MAX + 3 {
                return Err(too_long_a_head());
            }
            return Ok(Event::Hungry);
        };
        if end > HEAD_BYTES_MAX {
            return Err(too_long_a_head());
        }
        let head = self.buffer.split_to(end + 4).split_off(2);
        self.state = State::Data;
        // An empty part's delimiter shares no CRLF with the head: RFC 2046 gives each its own.
        read_head(&head).map(Event::Part)
    }
}

fn read_head(head: &[u8]) -> Result<HeaderMap> {
    let mut lines = [httparse::EMPTY_HEADER; HEAD_LINES_MAX];
    let parsed = httparse::parse_headers(head, &mut lines);
    let Ok(httparse::Status::Complete((_, lines))) = parsed else {
        return Err(malformed("the head of a part cannot be read, or has more than 16 lines"));
    };
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(line.name.as_bytes()), HeaderValue::from_bytes(line.value))
        else {
            return Err(malformed("the head of a part has a line that is no header"));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

fn too_long_a_head() -> Error {
    malformed("the head of a part has more than 16 KiB")
}

/// What is wrong with the form.
pub(super) fn malformed(why: &str) -> Error {
    Error::new(Code::InvalidRequest, format!("the form cannot be read: {why}"))
}

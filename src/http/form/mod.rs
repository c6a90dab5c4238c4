//! A form with files on its way in: fields of metadata first, then files, each part read as it comes.
//!
//! [`Form::next`] answers what comes next; a file's bytes are a stream that is read before the next call. What a form
//! may have in it is decided here, because it is the shape of a request; what a file may be is the service's.
//! `scanner` finds the parts, `disposition` reads their names. Called by `intake`.

mod disposition;
mod scanner;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, HeaderName, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;

use self::disposition::Disposition;
use self::scanner::{Event, Scanner, malformed};
use super::{digests, extract};
use crate::base::digest::Declared;
use crate::base::metadata::{self, Metadata};
use crate::base::stream::StreamError;
use crate::base::{ByteStream, Code, Error, Result};

/// More files are refused: what a form takes in stays unseen until its last byte.
pub(super) const FILES_MAX: usize = 100;
/// A field has this name and a key behind it.
const METADATA: &str = "metadata.";
/// RFC 7578 4.7: deprecated; these say that nothing was done.
const PLAIN_ENCODINGS: &[&str] = &["7bit", "8bit", "binary"];

/// A form as it comes in.
pub(super) struct Form {
    parts: Slot,
    metadata: BTreeMap<String, String>,
    files: usize,
}

/// Where the parts are while nobody reads one of them.
type Slot = Arc<Mutex<Option<Parts>>>;

/// A file in a form.
pub(super) struct FilePart {
    /// As its sender calls it.
    pub(super) filename: String,
    /// What its sender says it is.
    pub(super) content_type: Option<String>,
    /// Digests that must hold for it.
    pub(super) declared: Vec<Declared>,
    /// Its bytes; to be read to the end, or dropped with the form.
    pub(super) body: ByteStream,
}

impl Form {
    /// Whether a request is a form: then its boundary, if it tells one.
    pub(super) fn boundary(headers: &HeaderMap) -> Option<Result<String>> {
        let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let (essence, parameters) = value.split_at(value.find(';').unwrap_or(value.len()));
        if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = disposition::parameters(parameters).map(|mut found| found.remove("boundary"));
        Some(boundary.and_then(|found| found.ok_or_else(|| malformed("its Content-Type names no boundary"))))
    }

    /// A form of `body`.
    ///
    /// # Errors
    /// `InvalidRequest` if `boundary` cannot be one.
    pub(super) fn new(boundary: &str, body: ByteStream) -> Result<Self> {
        let parts = Parts { scanner: Scanner::new(boundary)?, body, fault: None };
        Ok(Self { parts: Arc::new(Mutex::new(Some(parts))), metadata: BTreeMap::new(), files: 0 })
    }

    /// The next file; `None` after the last one.
    ///
    /// # Errors
    /// `InvalidRequest` for what is no form, or not one of ours; `RequestTimeout`.
    pub(super) async fn next(&mut self) -> Result<Option<FilePart>> {
        let mut parts = self.take_back()?;
        loop {
            let headers = match parts.event().await? {
                Event::Part(headers) => headers,
                Event::End if self.files == 0 => {
                    return Err(Error::new(
                        Code::InvalidRequest,
                        "the form has no file: a part with a filename",
                    ));
                }
                Event::End => return parts.finish().await.map(|()| None),
                _ => return Err(malformed("a part was not read to its end")),
            };
            let Disposition { name, filename } = disposition_of(&headers)?;
            check_encodings(&headers)?;
            let Some(filename) = filename else {
                self.field(&name, &mut parts).await?;
                continue;
            };
            self.files += 1;
            if self.files > FILES_MAX {
                let detail = format!(
                    "the form has more than {FILES_MAX} files; send the others in a form of their own"
                );
                return Err(Error::new(Code::InvalidRequest, detail));
            }
            let content_type = content_type_of(&headers)?;
            let declared = digests::declared(&headers)?;
            let body = Reading::stream(parts, Arc::clone(&self.parts));
            return Ok(Some(FilePart { filename, content_type, declared, body }));
        }
    }

    /// What is wrong with the form rather than with the file that could not be taken: the body's reader only
    /// learns that it broke off.
    pub(super) fn fault(&self) -> Option<Error> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.fault.take()
    }

    /// The pairs for all files.
    ///
    /// # Errors
    /// `InvalidRequest` if they are too many or too long.
    pub(super) fn metadata(&self) -> Result<Metadata> {
        Metadata::new(self.metadata.clone())
    }

    fn take_back(&mut self) -> Result<Parts> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        parts.ok_or_else(|| Error::internal("the form was lost", "a part is still being read"))
    }

    async fn field(&mut self, name: &str, parts: &mut Parts) -> Result<()> {
        let Some(key) = name.strip_prefix(METADATA) else {
            return Err(wrong_field(
                name,
                "is not a field of this form: metadata.KEY, and files with a filename",
            ));
        };
        if self.files > 0 {
            return Err(wrong_field(
                name,
                "comes after a file; metadata applies to all files and comes first",
            ));
        }
        let mut value = Vec::new();
        loop {
            match parts.event().await? {
                Event::Data(bytes) if value.len() + bytes.len() > metadata::BYTES_MAX => {
                    return Err(wrong_field(name, &format!("has more than {} bytes", metadata::BYTES_MAX)));
                }
                Event::Data(bytes) => value.extend_from_slice(&bytes),
                _ => break,
            }
        }
        let value = String::from_utf8(value).map_err(|_| wrong_field(name, "is not UTF-8"))?;
        if self.metadata.insert(key.to_owned(), value).is_some() {
            return Err(wrong_field(name, "is there twice"));
        }
        // Refused at the first that is too much, not when all have been kept.
        self.metadata().map(drop)
    }
}

/// The form's bytes, and where in them the reader is.
struct Parts {
    scanner: Scanner,
    body: ByteStream,
    fault: Option<Error>,
}

impl Parts {
    async fn event(&mut self) -> Result<Event> {
        loop {
            match self.scanner.next()? {
                Event::Hungry => {}
                event => return Ok(event),
            }
            let Some(frame) = self.body.next().await else {
                self.scanner.finish()?;
                return Ok(Event::End);
            };
            self.scanner.feed(frame.map_err(broken)?);
        }
    }

    /// Reads what comes behind the last boundary: a request that breaks off there was not sent whole.
    async fn finish(&mut self) -> Result<()> {
        while let Some(frame) = self.body.next().await {
            self.scanner.feed(frame.map_err(broken)?);
            self.scanner.next()?;
        }
        Ok(())
    }
}

/// A part being read; the form gets its parts back when this is dropped.
struct Reading {
    parts: Option<Parts>,
    home: Slot,
}

impl Reading {
    fn stream(parts: Parts, home: Slot) -> ByteStream {
        let reading = Self { parts: Some(parts), home };
        let bytes = stream::unfold(reading, |mut reading| async move {
            let frame = reading.next().await.transpose()?;
            Some((frame, reading))
        });
        bytes.boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        let Some(parts) = &mut self.parts else { return Ok(None) };
        match parts.event().await {
            Ok(Event::Data(bytes)) => Ok(Some(bytes)),
            Ok(_) => Ok(None),
            Err(error) => {
                let told = StreamError::Cut(error.to_string());
                parts.fault = Some(error);
                Err(told)
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.parts.take();
    }
}

fn disposition_of(headers: &HeaderMap) -> Result<Disposition> {
    let mut values = headers.get_all(header::CONTENT_DISPOSITION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => disposition::parse(value.as_bytes()),
        _ => Err(malformed("a part has not one Content-Disposition")),
    }
}

/// # Errors
/// `UnsupportedMediaType` for a part that is not simply its bytes.
fn check_encodings(headers: &HeaderMap) -> Result<()> {
    const TRANSFER: HeaderName = HeaderName::from_static("content-transfer-encoding");
    extract::refuse_encoding(headers)?;
    let plain = |value: &[u8]| PLAIN_ENCODINGS.iter().any(|name| value.eq_ignore_ascii_case(name.as_bytes()));
    if headers.get_all(TRANSFER).iter().any(|value| !plain(value.as_bytes())) {
        let detail = "Content-Transfer-Encoding is not taken here: send the bytes as they are";
        return Err(Error::new(Code::UnsupportedMediaType, detail));
    }
    Ok(())
}

fn content_type_of(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| malformed("a part's Content-Type is not a media type"))?;
    if text.trim_start().to_ascii_lowercase().starts_with("multipart/") {
        // RFC 7578 4.3: files of one field come as parts of their own.
        return Err(malformed("a part is a form itself; send each file as a part of its own"));
    }
    Ok(Some(text.to_owned()))
}

fn wrong_field(name: &str, why: &str) -> Error {
    let error = Error::new(Code::InvalidRequest, format!("form field `{name}` {why}"));
    error.with("errors", json!([{ "pointer": format!("/{name}"), "detail": why }]))
}

fn broken(error: StreamError) -> Error {
    match error {
        StreamError::TimedOut => Error::new(Code::RequestTimeout, "the body stopped coming"),
        _ => Error::new(Code::InvalidRequest, "the body broke off").caused_by(error),
    }
}

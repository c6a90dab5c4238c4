//! The readers of what strangers send, opened for the fuzz targets in `fuzz/`; behind the feature `fuzzing`, which
//! nothing else turns on.
//!
//! They are private because handlers are all who may call them, and a fuzzer that went through a socket would try
//! hundreds of inputs in a second instead of many thousands. Nothing is decided here: each function calls one reader
//! as its handler does.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use ipnet::IpNet;

use super::fields::{Fields, Params};
use super::form::{FilePart, Form};
use super::{client_address, digests, serve};
use crate::base::digest::Declared;
use crate::base::metadata::Metadata;
use crate::base::{ByteStream, Code, Error, Result};

/// A file of a form.
#[derive(Debug, PartialEq, Eq)]
pub struct FormFile {
    /// As its sender calls it.
    pub filename: String,
    /// What its sender says it is.
    pub content_type: Option<String>,
    /// Digests that are to hold for it.
    pub declared: Vec<Declared>,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// Everything in the form that a request with `headers` has as its body, which comes in pieces of `piece` bytes;
/// `None` if the request is no form.
///
/// # Errors
/// As the service refuses it.
///
/// # Panics
/// If the reader waits although there are bytes.
pub fn form(headers: &HeaderMap, body: &[u8], piece: usize) -> Option<Result<(Vec<FormFile>, Metadata)>> {
    let boundary = Form::boundary(headers)?;
    let frames: Vec<_> = body.chunks(piece.max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let body = stream::iter(frames).boxed();
    let read = async { read_form(&boundary?, body).await };
    Some(read.now_or_never().expect("INVARIANT: nothing waits for a stream that is all there"))
}

async fn read_form(boundary: &str, body: ByteStream) -> Result<(Vec<FormFile>, Metadata)> {
    let mut form = Form::new(boundary, body)?;
    let mut files = Vec::new();
    while let Some(FilePart { filename, content_type, declared, mut body }) = form.next().await? {
        let mut bytes = Vec::new();
        while let Some(frame) = body.next().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame),
                Err(error) => {
                    drop(body);
                    let broken = || Error::new(Code::InvalidRequest, "the body broke off").caused_by(error);
                    return Err(form.fault().unwrap_or_else(broken));
                }
            }
        }
        files.push(FormFile { filename, content_type, declared, bytes });
    }
    Ok((files, form.metadata()?))
}

/// The `Content-Disposition` of an answer with a file of this name and type.
pub fn content_disposition(filename: &str, content_type: &str, download: bool) -> HeaderValue {
    let wish = if download { serve::Disposition::Attachment } else { serve::Disposition::ByType };
    serve::content_disposition(filename, content_type, wish)
}

/// The digests that a request or a part of a form declares.
///
/// # Errors
/// As the service refuses them.
pub fn digests(headers: &HeaderMap) -> Result<Vec<Declared>> {
    digests::declared(headers)
}

/// A JSON request with fields of each kind: the string `filename`, the number `size`, the object `metadata`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct JsonRequest {
    /// A string.
    pub filename: Option<String>,
    /// A whole number.
    pub size: Option<u64>,
    /// An object of strings, not too many and not too long.
    pub metadata: Option<Metadata>,
}

/// Reads a JSON request.
///
/// # Errors
/// As the service refuses it.
pub fn json(body: &[u8]) -> Result<JsonRequest> {
    let mut fields = Fields::parse(body)?;
    let request = JsonRequest {
        filename: fields.string("filename"),
        size: fields.number("size"),
        metadata: fields.metadata(),
    };
    fields.finish().map(|()| request)
}

/// The number `limit` and the pairs `metadata.KEY` of a query string.
///
/// # Errors
/// As the service refuses it.
pub fn query(text: &str) -> Result<(Option<u32>, BTreeMap<String, String>)> {
    let mut params = Params::parse(text);
    let read = (params.one("limit")?, params.pairs("metadata.")?);
    params.finish().map(|()| read)
}

/// The address of whoever sent a request with `headers` that came from `peer`.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    client_address::of(peer, headers, trusted).0
}

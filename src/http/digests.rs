//! Digests in headers: `Content-Digest` (RFC 9530) and `X-Checksum-Crc64nvme` (as S3 writes it).
//!
//! Only reading what a client declared; whether it holds is checked where the bytes pass.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::base::digest::{Algorithm, Declared};
use crate::base::{Code, Error, Result};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const X_CHECKSUM_CRC64NVME: HeaderName = HeaderName::from_static("x-checksum-crc64nvme");

/// Every digest that the request declares for its body; unknown algorithms beside known ones are passed over.
///
/// # Errors
/// `InvalidDigest` if a header cannot be read, names unknown algorithms only, or if two values of one algorithm
/// differ.
pub(super) fn declared(headers: &HeaderMap) -> Result<Vec<Declared>> {
    let mut all = Vec::new();
    for value in headers.get_all(X_CHECKSUM_CRC64NVME) {
        let bytes = STANDARD.decode(value.as_bytes()).ok();
        let declared = bytes.and_then(|bytes| Declared::new(Algorithm::Crc64Nvme, &bytes));
        add(&mut all, declared.ok_or_else(|| invalid("X-Checksum-Crc64nvme is not the base64 of 8 bytes"))?)?;
    }
    let lines: Vec<&[u8]> = headers.get_all(CONTENT_DIGEST).iter().map(HeaderValue::as_bytes).collect();
    if !lines.is_empty() {
        let mut known = false;
        // Each member on its own: a dictionary would silently let the last of two equal names win.
        for member in lines.join(&b","[..]).split(|byte| *byte == b',') {
            if let Some(declared) = member_of_content_digest(member)? {
                add(&mut all, declared)?;
                known = true;
            }
        }
        if !known {
            return Err(invalid(
                "Content-Digest names no algorithm that is known here: sha-256, sha-512, crc32c",
            ));
        }
    }
    Ok(all)
}

/// One member of the dictionary. Splitting at commas is safe: neither names nor byte sequences contain any.
fn member_of_content_digest(member: &[u8]) -> Result<Option<Declared>> {
    let malformed = || invalid("Content-Digest is not of the form sha-256=:BASE64:");
    let trimmed = member.trim_ascii();
    let parsed: Dictionary = Parser::new(trimmed).parse().map_err(|_| malformed())?;
    let (name, entry) = parsed.iter().next().ok_or_else(malformed)?;
    let ListEntry::Item(item) = entry else { return Err(malformed()) };
    let BareItem::ByteSequence(bytes) = &item.bare_item else { return Err(malformed()) };
    let algorithm = match name.as_str() {
        "sha-256" => Algorithm::Sha256,
        "sha-512" => Algorithm::Sha512,
        "crc32c" => Algorithm::Crc32c,
        _ => return Ok(None),
    };
    Declared::new(algorithm, bytes).map(Some).ok_or_else(|| {
        invalid(format!("Content-Digest: a {name} has {} bytes, not {}", algorithm.len_bytes(), bytes.len()))
    })
}

fn add(all: &mut Vec<Declared>, declared: Declared) -> Result<()> {
    match all.iter().find(|other| other.algorithm() == declared.algorithm()) {
        None => all.push(declared),
        Some(other) if *other == declared => {}
        Some(_) => {
            let name = declared.algorithm().name();
            return Err(invalid(format!("two different {name} digests are declared; both cannot hold")));
        }
    }
    Ok(())
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Code::InvalidDigest, detail)
}

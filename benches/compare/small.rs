//! Many small files, each in one request: cifra's `POST /api/files`, tus' creation with upload.
//!
//! The same bytes over the same number of connections, one request a file. Whether they are stored, `servers` checks.
//! Called by `scenario`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::http::{Connection, Request};
use crate::payload::{Payload, crc64};
use crate::servers::{Protocol, Server, StoredFile};
use crate::upload::each;
use crate::{Result, fail};

/// A small file has this many bytes.
pub(crate) const FILE_BYTES: u64 = 10 << 10;

/// Sends `count` files from the `first` on; how long that took, and what must be stored then.
pub(crate) fn run(
    server: &Server,
    payload: &Payload,
    files: std::ops::Range<u64>,
    connections: usize,
    deadline: Instant,
) -> Result<(Duration, Vec<StoredFile>)> {
    let opened: Result<Vec<_>> =
        (0..connections).map(|_| Connection::open(server.address, deadline)).collect();
    let mut connections = opened?;
    let checksums: Vec<String> = files
        .clone()
        .map(|number| BASE64.encode(crc64(payload.small(number, FILE_BYTES)).to_be_bytes()))
        .collect();
    let next = AtomicU64::new(files.start);
    let started = Instant::now();
    each(&mut connections, |_, connection| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= files.end {
                return Ok(());
            }
            let checksum = &checksums[usize::try_from(number - files.start)?];
            send(server.kind.protocol(), connection, number, checksum, payload.small(number, FILE_BYTES))?;
        }
    })?;
    let elapsed = started.elapsed();
    let stored = files.map(|number| {
        let crc64 = crc64(payload.small(number, FILE_BYTES));
        StoredFile { size: FILE_BYTES, crc64 }
    });
    Ok((elapsed, stored.collect()))
}

fn send(
    protocol: Protocol,
    connection: &mut Connection,
    number: u64,
    checksum: &str,
    body: &[u8],
) -> Result<()> {
    match protocol {
        Protocol::Cifra => {
            let path = format!("/api/files?filename=small-{number}.bin");
            let headers = [("Content-Type", "application/octet-stream"), ("X-Checksum-Crc64nvme", checksum)];
            connection.expect(201, &Request { method: "POST", path: &path, headers: &headers, body })?;
        }
        Protocol::Tus => {
            let name = BASE64.encode(format!("small-{number}.bin"));
            let headers = [
                ("Tus-Resumable", "1.0.0"),
                ("Upload-Length", &FILE_BYTES.to_string()),
                ("Upload-Metadata", &format!("filename {name}")),
                ("Content-Type", "application/offset+octet-stream"),
            ];
            let create = Request { method: "POST", path: "/files", headers: &headers, body };
            let (head, _) = connection.expect(201, &create)?;
            if head.header("upload-offset") != Some(&FILE_BYTES.to_string()) {
                return fail(format!("a creation took {:?} bytes", head.header("upload-offset")));
            }
        }
        Protocol::Put => {
            let path = format!("/small-{number}");
            connection.expect(201, &Request { method: "PUT", path: &path, headers: &[], body })?;
        }
        Protocol::Parts => return fail("a small file has no parts".to_owned()),
    }
    Ok(())
}

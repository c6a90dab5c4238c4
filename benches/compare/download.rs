//! Downloads, timed: a whole file, and many small ranges of it.
//!
//! What arrives is counted, not looked at: a client that hashed would hide the server. The first pass, before
//! the clock, reads the file whole and compares its CRC64NVME. Called by `scenario`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::http::{Connection, Request};
use crate::payload::split_mix;
use crate::upload::each;
use crate::{Result, fail};

/// Length of one range.
pub(crate) const RANGE_BYTES: u64 = 64 << 10;

/// A file on a server.
pub(crate) struct Target<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) size: u64,
    pub(crate) deadline: Instant,
}

/// Reads the file once and fails unless it has this CRC64NVME. Also brings it into the page cache.
pub(crate) fn check(target: &Target<'_>, expected_crc64: u64) -> Result<()> {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    let mut connection = Connection::open(target.address, target.deadline)?;
    let head = connection.stream_to(&get(target.path, &[]), &mut |bytes| digest.update(bytes))?;
    if head.status == 200 && digest.finalize() == expected_crc64 {
        return Ok(());
    }
    fail(format!("the download (status {}) is not what was uploaded", head.status))
}

/// Downloads the whole file once on each connection.
pub(crate) fn whole(target: &Target<'_>, connections: usize) -> Result<Duration> {
    timed(target, connections, |_, connection| {
        let mut received = 0;
        let head =
            connection.stream_to(&get(target.path, &[]), &mut |bytes| received += bytes.len() as u64)?;
        expect_bytes(head.status, 200, received, target.size)
    })
}

/// Downloads `requests` ranges in all, at places that look random but are the same for every server.
pub(crate) fn ranges(target: &Target<'_>, connections: usize, requests: u64) -> Result<Duration> {
    timed(target, connections, |number, connection| {
        let mut place = number as u64;
        for _ in 0..requests / connections as u64 {
            let first = split_mix(&mut place) % (target.size - RANGE_BYTES);
            let range = format!("bytes={first}-{}", first + RANGE_BYTES - 1);
            let mut received = 0;
            let request = [("Range", range.as_str())];
            let head = connection
                .stream_to(&get(target.path, &request), &mut |bytes| received += bytes.len() as u64)?;
            expect_bytes(head.status, 206, received, RANGE_BYTES)?;
        }
        Ok(())
    })
}

fn timed(
    target: &Target<'_>,
    connections: usize,
    work: impl Fn(usize, &mut Connection) -> Result<()> + Sync,
) -> Result<Duration> {
    let opened: Result<Vec<_>> =
        (0..connections).map(|_| Connection::open(target.address, target.deadline)).collect();
    let mut connections = opened?;
    let started = Instant::now();
    each(&mut connections, work)?;
    Ok(started.elapsed())
}

fn get<'a>(path: &'a str, headers: &'a [(&'a str, &'a str)]) -> Request<'a> {
    Request { method: "GET", path, headers, body: &[] }
}

fn expect_bytes(status: u16, expected_status: u16, received: u64, expected: u64) -> Result<()> {
    if status == expected_status && received == expected {
        return Ok(());
    }
    fail(format!("status {status} with {received} bytes, expected {expected_status} with {expected}"))
}

//! CRC-64/NVME: the checksum of every byte that cifra stores.
//!
//! It costs next to nothing (carry-less multiplication) and is linear: the checksum of a whole file is
//! computed from its chunks' by [`Crc64::then`], in any order of arrival, without reading a byte again.
//! S3 names the same function CRC64NVME. Detects accidents, not attacks: for those there is SHA-256.

use std::fmt;

use crc_fast::{CrcAlgorithm, checksum_combine};
use serde::{Deserialize, Serialize};

/// A CRC-64/NVME value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Crc64(u64);

impl Crc64 {
    /// The checksum of no bytes.
    pub const EMPTY: Self = Self(0);

    /// From the number.
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number.
    pub fn value(self) -> u64 {
        self.0
    }

    /// As the database keeps it: the same 64 bits in a signed integer.
    pub fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// The reverse of [`Crc64::to_i64`].
    pub fn from_i64(value: i64) -> Self {
        Self(value.cast_unsigned())
    }

    /// The checksum of these bytes followed by others: `next` is theirs, `next_len` how many they are.
    #[must_use]
    pub fn then(self, next: Self, next_len: u64) -> Self {
        if next_len == 0 {
            return self;
        }
        Self(checksum_combine(CrcAlgorithm::Crc64Nvme, self.0, next.0, next_len))
    }
}

impl fmt::Display for Crc64 {
    /// 16 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Puts checksums of pieces together that all have the same length, but perhaps the last.
///
/// The same as [`Crc64::then`], which computes its operator anew for every call (60 µs, most of the time that a
/// file of many small chunks took to finalize). The operator is linear: what it does to each of the 64 bits is
/// computed once, and a checksum's bits are added up.
#[derive(Debug, Clone)]
pub struct Crc64Joiner {
    piece_len: u64,
    shifted_bits: [u64; 64],
    sum: Crc64,
}

impl Crc64Joiner {
    /// For pieces of `piece_len` bytes.
    pub fn new(piece_len: u64) -> Self {
        let shifted_bits = std::array::from_fn(|bit| Crc64(1 << bit).then(Crc64::EMPTY, piece_len).0);
        Self { piece_len, shifted_bits, sum: Crc64::EMPTY }
    }

    /// Adds the next piece, of `len` bytes.
    pub fn add(&mut self, piece: Crc64, len: u64) {
        if len != self.piece_len {
            self.sum = self.sum.then(piece, len);
            return;
        }
        let bits = (0..64).filter(|bit| self.sum.0 >> bit & 1 == 1);
        let shifted = bits.fold(0, |shifted, bit| shifted ^ self.shifted_bits[bit]);
        self.sum = Crc64(shifted ^ piece.0);
    }

    /// The checksum of all pieces so far.
    pub fn finish(&self) -> Crc64 {
        self.sum
    }
}

/// Computes a [`Crc64`] of bytes that come in pieces.
#[derive(Debug, Clone)]
pub struct Crc64Hasher(crc_fast::Digest);

impl Default for Crc64Hasher {
    fn default() -> Self {
        Self(crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme))
    }
}

impl Crc64Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes so far.
    pub fn finish(&self) -> Crc64 {
        Crc64(self.0.finalize())
    }
}

/// The checksum of `bytes`.
pub fn of(bytes: &[u8]) -> Crc64 {
    let mut hasher = Crc64Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

//! Digests: of a chunk as its sender declared them, and of a whole file.
//!
//! [`ChunkHasher`] sees a chunk's bytes once and computes what must be known of them; [`Checksum`] is a whole
//! file's digest as JSON writes it; [`Sha256State`] can be put away and taken up again (checkpoints).
//! How digests look in HTTP headers is `http`'s business.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256, Sha512};

use super::crc::{Crc64, Crc64Hasher};
use super::error::{Code, Error, Result};

/// A digest algorithm that a sender may declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-512 (FIPS 180-4).
    Sha512,
    /// CRC-32C (Castagnoli, RFC 9260 appendix A).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
}

impl Algorithm {
    /// As JSON writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
        }
    }

    /// The length of its value in bytes.
    pub fn len_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
        }
    }
}

/// One digest that came with some bytes and must hold for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    algorithm: Algorithm,
    value: Vec<u8>,
}

impl Declared {
    /// A digest of `value` (CRCs big-endian); `None` if it has not the algorithm's length.
    pub fn new(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        (value.len() == algorithm.len_bytes()).then(|| Self { algorithm, value: value.to_vec() })
    }

    /// Which algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The same as a whole file's SHA-256, if it is one.
    pub fn sha256(&self) -> Option<Checksum> {
        let value = (self.algorithm == Algorithm::Sha256).then_some(&self.value)?;
        value.as_slice().try_into().ok().map(Checksum::Sha256)
    }
}

/// Hashes a chunk on its way: its CRC64NVME always, and whatever was declared for it.
#[derive(Debug)]
pub struct ChunkHasher {
    crc64: Crc64Hasher,
    declared: Vec<(Declared, Running)>,
}

#[derive(Debug)]
enum Running {
    Sha256(Sha256),
    Sha512(Sha512),
    Crc32c(crc_fast::Digest),
    /// Computed anyway.
    Crc64,
}

impl ChunkHasher {
    /// A hasher that will check `declared`.
    pub fn new(declared: Vec<Declared>) -> Self {
        let start = |declared: Declared| {
            let running = match declared.algorithm {
                Algorithm::Sha256 => Running::Sha256(Sha256::new()),
                Algorithm::Sha512 => Running::Sha512(Sha512::new()),
                Algorithm::Crc32c => {
                    Running::Crc32c(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi))
                }
                Algorithm::Crc64Nvme => Running::Crc64,
            };
            (declared, running)
        };
        Self { crc64: Crc64Hasher::default(), declared: declared.into_iter().map(start).collect() }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.crc64.update(bytes);
        for (_, running) in &mut self.declared {
            match running {
                Running::Sha256(hasher) => hasher.update(bytes),
                Running::Sha512(hasher) => hasher.update(bytes),
                Running::Crc32c(hasher) => hasher.update(bytes),
                Running::Crc64 => {}
            }
        }
    }

    /// The CRC64NVME of all bytes.
    ///
    /// # Errors
    /// `ChecksumMismatch` `{ algorithm, expected, actual }` for the first declared digest that does not hold.
    pub fn verify(self) -> Result<Crc64> {
        let crc64 = self.crc64.finish();
        for (declared, running) in self.declared {
            let actual = match running {
                Running::Sha256(hasher) => hasher.finalize().to_vec(),
                Running::Sha512(hasher) => hasher.finalize().to_vec(),
                Running::Crc32c(hasher) => {
                    let value = hasher.finalize().to_be_bytes();
                    value[4..].to_vec() // the 32 bits stand at the low end
                }
                Running::Crc64 => crc64.value().to_be_bytes().to_vec(),
            };
            if actual != declared.value {
                return Err(mismatch(declared.algorithm, &declared.value, &actual));
            }
        }
        Ok(crc64)
    }
}

fn mismatch(algorithm: Algorithm, expected: &[u8], actual: &[u8]) -> Error {
    let name = algorithm.name();
    let (expected, actual) =
        (format!("{name}:{}", hex::encode(expected)), format!("{name}:{}", hex::encode(actual)));
    Error::new(Code::ChecksumMismatch, format!("the bytes received have {actual}, declared was {expected}"))
        .with("algorithm", name)
        .with("expected", expected)
        .with("actual", actual)
}

/// A whole file's digest: `sha256:<64 hex>` or `crc64nvme:<16 hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256.
    Sha256([u8; 32]),
    /// CRC-64/NVME.
    Crc64Nvme(Crc64),
}

impl Checksum {
    /// Which algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Crc64Nvme(_) => Algorithm::Crc64Nvme,
        }
    }

    /// Checks that the file's digest is this one.
    ///
    /// # Errors
    /// `ChecksumMismatch` `{ algorithm, expected, actual }`.
    pub fn expect(&self, actual: &Self) -> Result<()> {
        if self == actual {
            return Ok(());
        }
        let name = self.algorithm().name();
        Err(Error::new(Code::ChecksumMismatch, format!("the file has {actual}, declared was {self}"))
            .with("algorithm", name)
            .with("expected", self.to_string())
            .with("actual", actual.to_string()))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(value) => write!(f, "sha256:{}", hex::encode(value)),
            Self::Crc64Nvme(value) => write!(f, "crc64nvme:{value}"),
        }
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Checksum {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            let detail = format!(
                "`{text}` is not a checksum: expected sha256:<64 hex digits> or crc64nvme:<16 hex digits>"
            );
            Error::new(Code::InvalidDigest, detail)
        };
        let (name, digits) = text.split_once(':').ok_or_else(invalid)?;
        let bytes = hex::decode(digits).map_err(|_| invalid())?;
        match name {
            "sha256" => bytes.try_into().map(Self::Sha256).map_err(|_| invalid()),
            "crc64nvme" => {
                let value: [u8; 8] = bytes.try_into().map_err(|_| invalid())?;
                Ok(Self::Crc64Nvme(Crc64::new(u64::from_be_bytes(value))))
            }
            _ => Err(invalid()),
        }
    }
}

/// A SHA-256 in the middle of its work, which can be put away as bytes and taken up again.
#[derive(Debug, Clone, Default)]
pub struct Sha256State(Sha256);

impl Sha256State {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far.
    pub fn finish(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }

    /// The state as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize().to_vec()
    }

    /// The reverse of [`Sha256State::to_bytes`]; `None` for bytes that are no state.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let state = SerializedState::<Sha256>::try_from(bytes).ok()?;
        Sha256::deserialize(&state).ok().map(Self)
    }
}

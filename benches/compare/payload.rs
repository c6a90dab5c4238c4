//! What is sent: a block of noise, repeated to the length of each file, and its checksums.
//!
//! Made once, before any clock runs, so that neither making bytes nor hashing them in the client is measured.
//! Called by `upload` (chunks and their declared CRC64NVME) and `servers` (what must be on disk afterwards).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::{CrcAlgorithm, Digest};

/// Large enough not to live in a CPU cache, small enough to be made in a moment.
const BLOCK_BYTES: usize = 64 << 20;

/// The noise every file consists of. Chunk sizes must divide [`BLOCK_BYTES`].
pub(crate) struct Payload {
    block: Vec<u8>,
}

impl Payload {
    /// The same noise in every run: splitmix64 from a fixed seed; not compressible.
    pub(crate) fn new() -> Self {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let mut state = 0x00c1_f7a0_u64;
        while block.len() < BLOCK_BYTES {
            block.extend_from_slice(&split_mix(&mut state).to_le_bytes());
        }
        Self { block }
    }

    /// Bytes `index * chunk_size ..` of a file of `file_size` bytes; the last chunk may be shorter.
    pub(crate) fn chunk(&self, index: u64, chunk_size: u64, file_size: u64) -> &[u8] {
        let offset = index * chunk_size;
        let length = to_usize(chunk_size.min(file_size - offset));
        let start = to_usize(offset % BLOCK_BYTES as u64);
        &self.block[start..start + length]
    }

    /// The bytes of small file `number`.
    pub(crate) fn small(&self, number: u64, size: u64) -> &[u8] {
        let start = to_usize(number * size % (BLOCK_BYTES as u64 - size));
        &self.block[start..start + to_usize(size)]
    }

    /// `X-Checksum-Crc64nvme` of each different chunk; chunk `n` has entry `n % len`.
    pub(crate) fn chunk_headers(&self, chunk_size: u64) -> Vec<String> {
        let chunks = self.block.chunks(to_usize(chunk_size));
        chunks.map(|chunk| BASE64.encode(crc64(chunk).to_be_bytes())).collect()
    }

    /// CRC64NVME of a whole file of `file_size` bytes.
    pub(crate) fn file_crc64(&self, file_size: u64) -> u64 {
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        let mut missing = file_size;
        while missing > 0 {
            let piece = missing.min(BLOCK_BYTES as u64);
            digest.update(&self.block[..to_usize(piece)]);
            missing -= piece;
        }
        digest.finalize()
    }

    /// The block itself, for the SHA-256 reference.
    pub(crate) fn block(&self) -> &[u8] {
        &self.block
    }
}

/// CRC64NVME of `bytes`.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// The next number of the splitmix64 generator (Steele, Lea, Flood 2014).
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("INVARIANT: sizes in memory fit the address space")
}

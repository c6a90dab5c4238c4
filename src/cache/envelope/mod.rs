//! How a value lies in the second tier: with its times, the tokens that it stands by, and its key once more.
//!
//! Whatever cannot be read exactly as it was written is nothing: of another layout, cut, longer, damaged, under another
//! key. Golden files of every layout that ever was are in `fixtures/cache`. Not here: what makes a value stand.

#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};

use super::key::{CacheKey, TAGS};
use super::tier::Token;
use crate::base::{Timestamp, crc};

/// The layout, by its first byte. One that changes gets another number; what has an old one is a miss.
const LAYOUT: u8 = 1;
/// There is a value.
const VALUE: u8 = 0;
/// It is known that there is none.
const ABSENT: u8 = 1;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    /// When the database was asked.
    pub(super) created: Timestamp,
    /// Until when it is believed.
    pub(super) expires: Timestamp,
    /// Those of the key's tags, from before the database was asked.
    pub(super) tokens: [Token; TAGS],
    /// The value as JSON; `None`: there is none.
    pub(super) body: Option<Bytes>,
}

impl Envelope {
    /// The bytes: layout, kind, created, expires, five tokens, the key's length and bytes, the body's, and the CRC-64/NVME
    /// of all that. Numbers are little-endian.
    pub(super) fn encode(&self, key: &CacheKey) -> Bytes {
        let (key, body) = (key.as_str().as_bytes(), self.body.as_deref().unwrap_or_default());
        let mut bytes = BytesMut::with_capacity(2 + 16 + 8 * TAGS + 4 + key.len() + 4 + body.len() + 8);
        bytes.put_u8(LAYOUT);
        bytes.put_u8(if self.body.is_some() { VALUE } else { ABSENT });
        bytes.put_i64_le(self.created.as_micros());
        bytes.put_i64_le(self.expires.as_micros());
        for token in self.tokens {
            bytes.put_u64_le(token.0);
        }
        for part in [key, body] {
            // Keys are short, and values are at most 1 MiB.
            bytes.put_u32_le(u32::try_from(part.len()).unwrap_or(u32::MAX));
            bytes.put_slice(part);
        }
        let crc = crc::of(&bytes).value();
        bytes.put_u64_le(crc);
        bytes.freeze()
    }

    /// What `bytes` hold of `key`; `None` if they are anything else.
    pub(super) fn decode(bytes: &Bytes, key: &CacheKey) -> Option<Self> {
        let (written, crc) = bytes.split_last_chunk::<8>()?;
        if crc::of(written).value() != u64::from_le_bytes(*crc) {
            return None;
        }
        let mut rest = written;
        let [layout, kind] = *take(&mut rest)?;
        let [created, expires] = [take(&mut rest)?, take(&mut rest)?].map(|at| i64::from_le_bytes(*at));
        let mut tokens = [Token(0); TAGS];
        for token in &mut tokens {
            *token = Token(u64::from_le_bytes(*take(&mut rest)?));
        }
        if layout != LAYOUT || take_part(&mut rest)? != key.as_str().as_bytes() {
            return None;
        }
        let body = take_part(&mut rest)?;
        let body = match kind {
            VALUE => Some(bytes.slice_ref(body)),
            ABSENT if body.is_empty() => None,
            _ => return None,
        };
        let [created, expires] = [created, expires].map(Timestamp::from_micros);
        rest.is_empty().then_some(Self { created, expires, tokens, body })
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(taken)
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(u32::from_le_bytes(*take(rest)?)).ok()?;
    let (part, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(part)
}

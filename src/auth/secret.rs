//! Keys as texts: how they are made, taken apart and compared. Pure but for the system's randomness.
//!
//! A key is `cifra_<id>_<secret>`: 32 and 64 hex digits. The id is public and finds the row; the secret has 244
//! bits of the system's randomness. Only the SHA-256 of the whole text is stored. A slow hash would add nothing:
//! it protects secrets that can be guessed, and nobody guesses 244 bits; but every request would pay for it. The
//! comparison is of two hashes, in constant time, and happens also for ids that nobody has.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::base::{KeyId, Secret};

/// What every key begins with, so that people and scanners recognize one where it should not be.
const PREFIX: &str = "cifra_";
const ID_CHARS: usize = 32;
const SECRET_CHARS: usize = 64;

/// The id of the first operator key, whose text its owner chooses: any text that is not made like the others.
pub(super) const FIRST_KEY: KeyId = KeyId::from_uuid(Uuid::nil());

/// What is stored of a key.
#[derive(Clone, Copy)]
pub(super) struct Hash([u8; 32]);

impl Hash {
    pub(super) fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    pub(super) fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// Whether it is the hash in a row; `None` (no such row) takes as long and is never equal.
    pub(super) fn is(self, stored: Option<&[u8; 32]>) -> bool {
        let equal = self.0.ct_eq(stored.unwrap_or(&[0; 32]));
        bool::from(equal) && stored.is_some()
    }
}

/// A new key of this id.
pub(super) fn generate(id: KeyId) -> Secret {
    Secret::new(format!("{PREFIX}{}_{}", id.as_uuid().simple(), random_hex()))
}

/// A new text for the first operator key.
pub(super) fn generate_first() -> Secret {
    Secret::new(format!("{PREFIX}admin_{}", random_hex()))
}

/// The id that a key names. Every other text could only be the first operator key.
pub(super) fn id_of(key: &str) -> KeyId {
    made_here(key).unwrap_or(FIRST_KEY)
}

/// The id in a text that is made like a key of [`generate`].
pub(super) fn made_here(key: &str) -> Option<KeyId> {
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if id.len() != ID_CHARS || secret.len() != SECRET_CHARS || !hex(id) || !hex(secret) {
        return None;
    }
    Uuid::try_parse(id).ok().map(KeyId::from_uuid)
}

/// 32 bytes that nobody can guess.
pub(super) fn random_bytes() -> [u8; 32] {
    Sha256::digest(random_hex()).into()
}

/// 64 hex digits: two random UUIDs, of which 244 bits are the system's randomness (RFC 9562 5.4).
fn random_hex() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;

    #[test]
    fn a_key_names_its_id_and_nothing_else_does() {
        let id = KeyId::new(Timestamp::from_micros(1));
        let key = generate(id);
        assert_eq!(made_here(key.expose()), Some(id));
        assert_ne!(key.expose(), generate(id).expose());
        assert_eq!(key.expose().len(), 103);
        let text = key.expose();
        for other in
            ["", "cifra_", &text[1..], &text[..102], &text.to_uppercase(), &text.replace("cifra_", "cifra-")]
        {
            assert_eq!(id_of(other), FIRST_KEY, "{other}");
        }
        assert_eq!(id_of(generate_first().expose()), FIRST_KEY);
    }

    #[test]
    fn only_the_stored_hash_is_equal() {
        let hash = Hash::of("a");
        assert!(hash.is(Some(&Hash::of("a").bytes())));
        assert!(!hash.is(Some(&Hash::of("b").bytes())));
        assert!(!hash.is(None));
        assert!(!Hash([0; 32]).is(None), "no row has no hash, not a hash of zeros");
    }
}

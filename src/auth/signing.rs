//! Signed claims: what is handed out so that its holder needs no key. `links` and `tokens` say what the claims are.
//!
//! The text is `<claims>.<mac>`, both base64url: the claims as JSON, readable by whoever holds them, and an
//! HMAC-SHA256 (RFC 2104) over the kind, the claims and the hash of the API key that issued them. So one kind never
//! passes for another, and what a key issued ends with it, also when an operator's key got another text. The keys
//! that sign are in the database, so that any node verifies what another one signed; a new one is made every
//! thirty days, and each verifies for as long as anything that it signed can live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use super::{AuthService, secret};
use crate::base::principal::Actor;
use crate::base::{Code, Error, KeyId, Principal, Result, TenantId, Timestamp};
use crate::db::signing_keys::{self, SigningKey};
use crate::db::{Urgency, upload_tokens};

/// Nothing that is signed lives longer.
pub(super) const LIFE_MAX: Duration = Duration::from_hours(7 * 24);
/// A key signs for this long.
const SIGNS_FOR: Duration = Duration::from_hours(30 * 24);
/// The longest text that is looked at: claims of a token with all the metadata that it may give.
const TEXT_LEN_MAX: usize = 16 * 1024;
/// At most this many rows are dropped in one transaction.
const ROWS_AT_ONCE: u32 = 2_000;
/// Stands for the issuer's hash where everybody is the issuer.
const NO_KEY: [u8; 32] = [0; 32];

/// What all signed claims say, besides their own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Claims<T> {
    /// Which key signed them.
    kid: Uuid,
    /// The API key whose holder issued them; none in open mode.
    issuer: Option<KeyId>,
    /// Where they count.
    tenant: String,
    /// Microseconds since 1970; from then on they count no more.
    expires_at: i64,
    /// What the kind says.
    #[serde(flatten)]
    pub(super) own: T,
}

/// Claims that hold.
pub(super) struct Verified<T> {
    pub(super) tenant: TenantId,
    pub(super) expires_at: Timestamp,
    /// Who issued them.
    pub(super) issuer: Actor,
    pub(super) own: T,
}

/// The keys that were read.
#[derive(Debug, Default)]
pub(super) struct Signers(Mutex<HashMap<Uuid, Arc<SigningKey>>>);

impl Signers {
    fn note(&self, key: SigningKey) -> Arc<SigningKey> {
        let key = Arc::new(key);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id, Arc::clone(&key));
        key
    }

    fn get(&self, id: Uuid) -> Option<Arc<SigningKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn newest(&self) -> Option<Arc<SigningKey>> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.values().max_by_key(|key| key.created_at).cloned()
    }
}

impl AuthService {
    /// Signs `own` in the name of `who`, for `life`; answers the text and when it ends.
    ///
    /// # Errors
    /// `InvalidRequest` for a life of nothing or of more than seven days, or for claims that are too long;
    /// `Forbidden` for who holds no key.
    pub(super) async fn sign<T: Serialize>(
        &self,
        who: &Principal,
        kind: &str,
        life: Duration,
        own: T,
    ) -> Result<(String, Timestamp)> {
        if life.is_zero() || life > LIFE_MAX {
            let detail = format!("must be 1 to {} (7 days)", LIFE_MAX.as_secs());
            return Err(invalid("expires_in_seconds", &detail));
        }
        let issuer = match who.actor() {
            Actor::Everybody => None,
            Actor::Key { id, .. } => Some(*id),
            Actor::CommandLine | Actor::Service | Actor::UploadToken { .. } => {
                return Err(Error::new(Code::Forbidden, "only the holder of a key hands something out"));
            }
        };
        let (_, bound) = self.issuer(issuer).await?.ok_or_else(refused)?;
        let (key, expires_at) = (self.signing_key().await?, self.clock.now().plus(life));
        let claims = Claims {
            kid: key.id,
            issuer,
            tenant: who.tenant().to_string(),
            expires_at: expires_at.as_micros(),
            own,
        };
        let claims =
            serde_json::to_vec(&claims).map_err(|error| Error::internal("claims are JSON", error))?;
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let mac = mac(&key, kind, &claims, &bound).finalize().into_bytes();
        let text = format!("{claims}.{}", URL_SAFE_NO_PAD.encode(mac));
        if text.len() > TEXT_LEN_MAX {
            return Err(Error::new(Code::InvalidRequest, "this would be too long: give less metadata"));
        }
        Ok((text, expires_at))
    }

    /// What `text` claims, if it was signed here, still counts, and whoever issued it still may.
    ///
    /// # Errors
    /// `Unauthenticated`, in the same words whatever was wrong.
    pub(super) async fn verify<T: DeserializeOwned>(&self, kind: &str, text: &str) -> Result<Verified<T>> {
        let (claims, shown) =
            text.split_once('.').filter(|_| text.len() <= TEXT_LEN_MAX).ok_or_else(refused)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| refused());
        let shown = decode(shown)?;
        // Nothing of it is believed yet; it only says which keys to try.
        let read: Claims<T> = serde_json::from_slice(&decode(claims)?).map_err(|_| refused())?;
        let key = self.signing_key_of(read.kid).await?.ok_or_else(refused)?;
        let (issuer, bound) = self.issuer(read.issuer).await?.ok_or_else(refused)?;
        mac(&key, kind, claims, &bound).verify_slice(&shown).map_err(|_| refused())?;
        let expires_at = Timestamp::from_micros(read.expires_at);
        if expires_at <= self.clock.now() {
            return Err(refused());
        }
        let tenant = read.tenant.parse().map_err(|_| refused())?;
        Ok(Verified { tenant, expires_at, issuer, own: read.own })
    }

    /// Who issues or issued something, and the hash of their key; `None` when that key is not good any more, or when
    /// nobody issued it and keys are asked for.
    async fn issuer(&self, id: Option<KeyId>) -> Result<Option<(Actor, [u8; 32])>> {
        let Some(id) = id else { return Ok(self.open.is_some().then_some((Actor::Everybody, NO_KEY))) };
        let row = self.find(id).await?.filter(|row| row.is_good_at(self.clock.now()));
        Ok(row.map(|row| (Actor::Key { id, name: row.name.as_str().into() }, row.sha256)))
    }

    /// The key that signs now; a new one when the last is too old.
    async fn signing_key(&self) -> Result<Arc<SigningKey>> {
        let now = self.clock.now();
        let signs = |key: &SigningKey| now.since(key.created_at) < SIGNS_FOR;
        if let Some(key) = self.signers.newest().filter(|key| signs(key)) {
            return Ok(key);
        }
        let newest = self.db.read(|c| Box::pin(async move { signing_keys::newest(c).await })).await?;
        if let Some(key) = newest.filter(signs) {
            return Ok(self.signers.note(key));
        }
        let new = SigningKey { id: Uuid::new_v4(), secret: secret::random_bytes().to_vec(), created_at: now };
        let row = new.clone();
        self.db
            .write_durable(Urgency::Normal, move |c| {
                let row = row.clone();
                Box::pin(async move { signing_keys::insert(c, &row).await })
            })
            .await?;
        tracing::info!(key = %new.id, "links and tokens are signed with a new key, {}", new.id);
        Ok(self.signers.note(new))
    }

    async fn signing_key_of(&self, id: Uuid) -> Result<Option<Arc<SigningKey>>> {
        if let Some(key) = self.signers.get(id) {
            return Ok(Some(key));
        }
        let row = self.db.read(move |c| Box::pin(async move { signing_keys::get(c, id).await })).await?;
        Ok(row.map(|row| self.signers.note(row)))
    }

    /// Drops the keys that signed nothing that could still live, and what is known of tokens that ended.
    pub async fn prune_grants(&self) -> Result<()> {
        let now = self.clock.now();
        let before = now.minus(SIGNS_FOR + LIFE_MAX);
        let prune = self.db.write(Urgency::Background, move |c| {
            Box::pin(async move {
                signing_keys::prune(c, before).await?;
                upload_tokens::prune(c, now, ROWS_AT_ONCE).await
            })
        });
        prune.await.map(drop)
    }
}

fn mac(key: &SigningKey, kind: &str, claims: &str, bound: &[u8; 32]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(&key.secret).expect("INVARIANT: HMAC takes keys of any length");
    for part in [kind.as_bytes(), b".", claims.as_bytes(), b".", bound] {
        mac.update(part);
    }
    mac
}

/// What is wrong with a field of a request.
pub(super) fn invalid(field: &str, detail: &str) -> Error {
    let errors = serde_json::json!([{ "pointer": format!("/{field}"), "detail": detail }]);
    Error::new(Code::InvalidRequest, format!("/{field} {detail}")).with("errors", errors)
}

/// Whatever was wrong: who tries learns nothing, and who came too late learns what to do.
pub(super) fn refused() -> Error {
    Error::new(Code::Unauthenticated, "this link or token has ended, or was never good: ask for a new one")
}

//! Upload tokens: for a browser or program that may only upload, a little, for a while. Called by `http`; what a
//! token allows travels in it and becomes its bearer's [`Grant`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AuthService;
use super::signing::invalid;
use crate::base::grant::{Grant, TypePattern};
use crate::base::metadata::Metadata;
use crate::base::principal::Scope;
use crate::base::{Principal, Result, Secret, Timestamp, TokenId};
use crate::db::Urgency;
use crate::db::audit::{self, Action, Entry};

const KIND: &str = "upload-token";
/// What every token begins with: no key does.
const PREFIX: &str = "cifra_upload_";
/// More media types than anybody lists.
const CONTENT_TYPES_MAX: usize = 32;

/// What a new token is to allow.
#[derive(Debug, Clone)]
pub struct NewUploadToken {
    /// Bytes of each file at most.
    pub max_size: u64,
    /// What each file may be; `None`: anything.
    pub content_types: Option<Vec<TypePattern>>,
    /// Pairs that each of its files has.
    pub metadata: Metadata,
    /// Files at most; `None`: any number.
    pub max_files: Option<u64>,
    /// For how long.
    pub life: Duration,
}

/// A token that was issued.
#[derive(Debug)]
pub struct UploadToken {
    /// Its id, in the audit log.
    pub id: TokenId,
    /// To be sent as `Authorization: Bearer`.
    pub text: Secret,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct TokenClaims {
    id: TokenId,
    max_size: u64,
    max_files: Option<u64>,
    content_types: Option<Vec<TypePattern>>,
    metadata: Metadata,
}

impl AuthService {
    /// Signs a token that may upload in the tenant of `who`.
    ///
    /// # Errors
    /// `Forbidden`; `InvalidRequest` for a life of nothing or of more than seven days, for what are no media types, or
    /// for more metadata than a token can carry.
    pub async fn issue_upload_token(&self, who: &Principal, new: NewUploadToken) -> Result<UploadToken> {
        who.require(Scope::Write)?;
        let listed = new.content_types.as_ref().map_or(0, Vec::len);
        if new.max_files == Some(0) {
            return Err(invalid("max_files", "must be at least 1; leave it out for any number"));
        }
        if listed > CONTENT_TYPES_MAX || new.content_types.as_ref().is_some_and(Vec::is_empty) {
            let detail =
                format!("has {listed} items; 1 to {CONTENT_TYPES_MAX} are taken, or none of it for all");
            return Err(invalid("content_types", &detail));
        }
        let now = self.clock.now();
        let NewUploadToken { max_size, content_types, metadata, max_files, life } = new;
        let id = TokenId::new(now);
        let claims = TokenClaims { id, max_size, max_files, content_types, metadata };
        let (text, expires_at) = self.sign(who, KIND, life, claims).await?;
        let entry =
            Entry::new(who, Action::UploadTokenIssued, &id, now).with("expires_at", expires_at.to_string());
        self.db
            .write(Urgency::Normal, move |c| {
                let entry = entry.clone();
                Box::pin(async move { audit::insert(c, &entry).await })
            })
            .await?;
        Ok(UploadToken { id, text: Secret::new(format!("{PREFIX}{text}")), expires_at })
    }

    /// Who shows an upload token; `None` if the text is none.
    ///
    /// # Errors
    /// `Unauthenticated`, in the same words whatever is wrong with it.
    pub(super) async fn open_upload_token(&self, shown: &str) -> Result<Option<Principal>> {
        let Some(text) = shown.strip_prefix(PREFIX) else { return Ok(None) };
        let token = self.verify::<TokenClaims>(KIND, text).await?;
        let TokenClaims { id, max_size, max_files, content_types, metadata } = token.own;
        let expires_at = token.expires_at;
        let grant = Grant { token: id, expires_at, max_size, max_files, content_types, metadata };
        Ok(Some(Principal::uploader(token.tenant, grant)))
    }
}

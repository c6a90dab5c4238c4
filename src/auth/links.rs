//! Links: a file's content, or a thumbnail of it, for whoever has the URL, for a while. Called by `http`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AuthService;
use super::signing::refused;
use crate::base::principal::{Scope, Scopes};
use crate::base::{FileId, Principal, Result, Timestamp};
use crate::db::Urgency;
use crate::db::audit::{self, Action, Entry};
use crate::db::idempotency_keys::{self, Answered};

const KIND: &str = "link";

/// What a link shows, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shown {
    /// In place, where its type allows.
    Inline,
    /// To be saved.
    Download,
    /// Not the content, but its thumbnail of this size.
    Thumbnail(String),
}

/// Who comes by a link.
#[derive(Debug, Clone)]
pub struct Guest {
    /// May read, in the link's tenant; the caller lets them only at what the link is for.
    pub who: Principal,
    /// From then on the link is refused.
    pub until: Timestamp,
}

/// A link that was issued.
#[derive(Debug, Clone)]
pub struct Link {
    /// The value of the parameter `link`.
    pub text: String,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct LinkClaims {
    file: FileId,
    shown: Shown,
}

impl AuthService {
    /// Signs a link to what is `shown` of `file`, which the caller has seen that `who` may read. To publish is to change
    /// something: it needs the scope `write`, and is noted. What `keep` makes of it is kept with it.
    ///
    /// # Errors
    /// `Forbidden`, `IdempotencyConflict`; `InvalidRequest` for a life of nothing or of more than seven days.
    pub async fn issue_link(
        &self,
        who: &Principal,
        file: FileId,
        shown: Shown,
        life: Duration,
        keep: impl Fn(&Link) -> Option<Answered>,
    ) -> Result<Link> {
        who.require(Scope::Write)?;
        let (text, expires_at) = self.sign(who, KIND, life, LinkClaims { file, shown }).await?;
        let entry = Entry::new(who, Action::LinkIssued, &file, self.clock.now())
            .with("expires_at", expires_at.to_string());
        let link = Link { text, expires_at };
        let answered = keep(&link);
        self.db
            .write(Urgency::Normal, move |c| {
                let (entry, answered) = (entry.clone(), answered.clone());
                Box::pin(async move {
                    if let Some(answered) = &answered {
                        idempotency_keys::insert(c, answered).await?;
                    }
                    audit::insert(c, &entry).await
                })
            })
            .await?;
        Ok(link)
    }

    /// Who comes by a link to what is `shown` of `file`.
    ///
    /// # Errors
    /// `Unauthenticated`, in the same words whatever is wrong.
    pub async fn open_link(&self, text: &str, file: FileId, shown: &Shown) -> Result<Guest> {
        let link = self.verify::<LinkClaims>(KIND, text).await?;
        if link.own.file != file || link.own.shown != *shown {
            return Err(refused());
        }
        let who = Principal::of_tenant(link.tenant, Scopes::from_iter([Scope::Read]), link.issuer);
        Ok(Guest { who, until: link.expires_at })
    }
}

//! Who may: keys and tenants, the first operator key, the rules of open mode, and the audit log's reading.
//!
//! [`AuthService::authenticate`] turns what a request shows into a [`Principal`]; `http` calls it once for each
//! request, before any handler. What a principal may do is asked by each service ([`Principal::require`]).
//! Managing (`manage`) is called by `http` and by the command line, while `serve` runs or not.

mod first_key;
mod known;
mod manage;
mod open;
mod secret;

use std::sync::Arc;

use self::known::Known;
use self::open::OpenDoor;
use self::secret::Hash;
use crate::base::principal::Actor;
use crate::base::{Clock, Code, Error, KeyId, Principal, Result, TenantId};
use crate::config::{AuthMode, Config};
use crate::db::keys::Key;
use crate::db::{Db, keys, tenants};

pub use self::manage::{Issued, NewKey};
pub use crate::db::audit::Noted;
pub use crate::db::keys::Key as KeyRecord;
pub use crate::db::tenants::Tenant;

/// See the module.
#[derive(Debug)]
pub struct AuthService {
    db: Db,
    clock: Arc<dyn Clock>,
    /// `None`: callers need keys.
    open: Option<OpenDoor>,
    known: Known,
}

impl AuthService {
    /// A service on the tenants and keys in `db`; as strict as `config` says.
    pub fn new(db: Db, clock: Arc<dyn Clock>, config: &Config) -> Self {
        let open = (config.auth.mode == AuthMode::Open).then(|| OpenDoor::of(config));
        Self { db, clock, open, known: Known::default() }
    }

    /// In open mode: refuses what a foreign web page makes a browser send, before anything else is looked at.
    /// `hosts` and `origins` are all that the request names.
    ///
    /// # Errors
    /// `Forbidden`, with what to do about it.
    pub fn admit(&self, hosts: &[&str], origins: &[&str]) -> Result<()> {
        self.open.as_ref().map_or(Ok(()), |door| door.check(hosts, origins))
    }

    /// Who it is that shows `key` and asks for `tenant`: operators (and everybody in open mode) act in the tenant
    /// that they name, or in `default`.
    ///
    /// Takes the same way for every key: one row is looked for by the key's public part, and hashes are compared
    /// in constant time, also when there is no such row. A key that was revoked anywhere is refused at most half
    /// a second later.
    ///
    /// # Errors
    /// `Unauthenticated`, in the same words whatever was wrong with the key; `Forbidden` for another's tenant;
    /// `TenantNotFound`.
    pub async fn authenticate(&self, key: Option<&str>, tenant: Option<&str>) -> Result<Principal> {
        if self.open.is_some() {
            return Ok(Principal::open(self.chosen(tenant).await?));
        }
        let shown = key.unwrap_or_default();
        let (id, hash) = (secret::id_of(shown), Hash::of(shown));
        let row = self.find(id).await?;
        let now = self.clock.now();
        let same = hash.is(row.as_ref().map(|row| &row.sha256));
        let good = |row: &Arc<Key>| {
            row.revoked_at.is_none() && row.expires_at.is_none_or(|expires_at| now < expires_at)
        };
        let row = row.filter(|row| same && good(row)).ok_or_else(unauthenticated)?;
        let actor = Actor::Key { id, name: row.name.as_str().into() };
        match (&row.tenant, tenant) {
            (None, tenant) => Ok(Principal::operator(self.chosen(tenant).await?, actor)),
            (Some(own), Some(named)) if named != own.as_str() => {
                let detail = format!("your key is of the tenant `{own}`; only an operator names another one");
                Err(Error::new(Code::Forbidden, detail))
            }
            (Some(own), _) => Ok(Principal::of_tenant(own.clone(), row.scopes, actor)),
        }
    }

    /// The tenant that an operator names, which must be there.
    async fn chosen(&self, named: Option<&str>) -> Result<TenantId> {
        let Some(named) = named else { return Ok(TenantId::default_tenant()) };
        let wrong = |why| Error::new(Code::InvalidRequest, format!("X-Cifra-Tenant: `{named}` is {why}"));
        let tenant: TenantId = named.parse().map_err(wrong)?;
        if self.known.is_tenant(&tenant) {
            return Ok(tenant);
        }
        let id = tenant.clone();
        let row = self.db.read(move |c| Box::pin(async move { tenants::get(c, &id).await })).await?;
        if row.is_none() {
            let detail =
                format!("there is no tenant `{tenant}`; an operator makes it with POST /api/tenants");
            return Err(Error::new(Code::TenantNotFound, detail));
        }
        self.known.note_tenant(tenant.clone());
        Ok(tenant)
    }

    /// The row of a key, at most half a second old.
    async fn find(&self, id: KeyId) -> Result<Option<Arc<Key>>> {
        let asked_at = self.clock.uptime();
        if let Some(row) = self.known.key(id, asked_at) {
            return Ok(Some(row));
        }
        let row = self.db.read(move |c| Box::pin(async move { keys::get(c, id).await })).await?;
        Ok(row.map(|row| self.known.note_key(row, asked_at)))
    }
}

fn unauthenticated() -> Error {
    let detail = "this needs a valid key: send it as `Authorization: Bearer <key>`";
    Error::new(Code::Unauthenticated, detail)
}

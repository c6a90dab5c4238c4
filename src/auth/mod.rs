//! Who may: keys and tenants, the first operator key, the rules of open mode, and the audit log's reading.
//!
//! [`AuthService::authenticate`] turns what a request shows into a [`Principal`]; `http` calls it once for each
//! request, before any handler. What a principal may do is asked by each service ([`Principal::require`]).
//! Managing (`manage`) is called by `http` and by the command line, while `serve` runs or not.

mod first_key;
mod known;
mod links;
mod manage;
mod open;
mod secret;
mod signing;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use self::known::Known;
use self::open::OpenDoor;
use self::secret::Hash;
use self::signing::Signers;
use crate::base::principal::Actor;
use crate::base::{Clock, Code, EntityName, Error, KeyId, Principal, Result, TenantId, Timestamp};
use crate::cache::{Cache, CacheKey, Entity, Read};
use crate::config::{AuthMode, Config};
use crate::db::keys::Key;
use crate::db::{Db, Urgency, keys, tenants};
use crate::telemetry::Tasks;

pub use self::links::{Guest, Link, Shown};
pub use self::manage::{Issued, NewKey};
pub use self::tokens::{NewUploadToken, UploadToken};
pub use crate::db::audit::Noted;
pub use crate::db::keys::Key as KeyRecord;
pub use crate::db::tenants::Tenant;

/// Of [`Tenant`], as the cache keeps it: raised when it changes.
const TENANT_SHAPE: u32 = 1;
/// How exactly a key's last use is known.
const USE_EVERY: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub struct AuthService {
    db: Db,
    clock: Arc<dyn Clock>,
    /// `None`: callers need keys.
    open: Option<OpenDoor>,
    known: Known,
    /// For how long the audit log remembers.
    retention: Duration,
    tasks: Tasks,
    cache: Cache,
    /// How tenants are kept.
    tenants: Entity,
    signers: Signers,
}

impl AuthService {
    /// A service on the tenants and keys in `db`; as strict as `config` says.
    pub fn new(db: Db, clock: Arc<dyn Clock>, tasks: Tasks, cache: Cache, config: &Config) -> Self {
        let open = (config.auth.mode == AuthMode::Open).then(|| OpenDoor::of(config));
        let (known, retention, signers) = (Known::default(), config.audit.retention, Signers::default());
        let tenants = cache.entity(EntityName::of(EntityName::TENANT), TENANT_SHAPE);
        Self { db, clock, open, known, retention, tasks, cache, tenants, signers }
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
        if let Some(key) = key
            && let Some(uploader) = self.open_upload_token(key).await?
        {
            return Ok(uploader);
        }
        if self.open.is_some() {
            return Ok(Principal::open(self.chosen(tenant).await?));
        }
        let shown = key.unwrap_or_default();
        let (id, hash) = (secret::id_of(shown), Hash::of(shown));
        let row = self.find(id).await?;
        let now = self.clock.now();
        let same = hash.is(row.as_ref().map(|row| &row.sha256));
        let row = row.filter(|row| same && row.is_good_at(now)).ok_or_else(unauthenticated)?;
        self.note_use(&row, now);
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
        // Who asks is not known yet.
        if self.tenant_row(&Principal::open(tenant.clone()), &tenant).await?.value.is_none() {
            let detail =
                format!("there is no tenant `{tenant}`; an operator makes it with POST /api/tenants");
            return Err(Error::new(Code::TenantNotFound, detail));
        }
        Ok(tenant)
    }

    /// The row of a tenant, through the cache.
    async fn tenant_row(&self, who: &Principal, id: &TenantId) -> Result<Read<Tenant>> {
        let (db, wanted) = (self.db.clone(), id.clone());
        let key = CacheKey::record(None, &self.tenants, id.as_str());
        let load =
            async move || db.read(move |c| Box::pin(async move { tenants::get(c, &wanted).await })).await;
        self.cache.read(&self.tenants, &key, who, load).await
    }

    /// The command line acts as an operator in `tenant`, which must be there, or in `default`.
    ///
    /// # Errors
    /// `TenantNotFound`.
    pub async fn command_line(&self, tenant: Option<&TenantId>) -> Result<Principal> {
        let tenant = self.chosen(tenant.map(TenantId::as_str)).await?;
        Ok(Principal::operator(tenant, Actor::CommandLine))
    }

    /// Remembers that a key was used, once a minute at most: who cleans up wants to know. Nobody waits for it.
    fn note_use(&self, key: &Key, now: Timestamp) {
        let (id, noted) = (key.id, key.last_used_at);
        if noted.is_some_and(|at| now.since(at) < USE_EVERY) || !self.known.is_new_use(id, now) {
            return;
        }
        let db = self.db.clone();
        self.tasks.spawn("note a key's use", async move {
            let noted = db.write(Urgency::Background, move |c| Box::pin(keys::set_used(c, id, now)));
            if let Err(error) = noted.await {
                tracing::warn!(key.id = %id, %error, "the use of key {id} was not noted: {error}");
            }
        });
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

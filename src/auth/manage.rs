//! Making and listing tenants and keys, taking keys back, reading the audit log.

use std::sync::Arc;
use std::time::Duration;

use super::secret::{self, Hash};
use super::{AuthService, KeyRecord, Noted, Tenant};
use crate::base::principal::{Scope, Scopes};
use crate::base::{
    Code, EntityName, Error, KeyId, Page, Principal, Result, Secret, TenantId, Timestamp, page,
};
use crate::cache::{CacheKey, Invalidation, Seen};
use crate::db::audit::{self, Action, Entry};
use crate::db::{Urgency, keys, tenants};

/// A name is for people; a longer one is none.
const NAME_CHARS_MAX: usize = 100;

/// Of a key that somebody made without saying what it may do.
const USUAL_SCOPE: Scope = Scope::Write;
/// How long a key may be good for, if it is to end.
const LIFE_MIN: Duration = Duration::from_secs(1);
const LIFE_MAX: Duration = Duration::from_hours(24 * 36_500);
/// At most this many entries are dropped in one transaction, so that no receipt waits for long.
const ENTRIES_AT_ONCE: u32 = 2_000;

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// For people.
    pub name: String,
    /// What it allows in the tenant of who asks for it; `None`: to read and write, or everything for an operator.
    pub scopes: Option<Scopes>,
    /// An operator's, of no tenant.
    pub operator: bool,
    /// For how long it is good; `None`: until it is revoked.
    pub expires_in: Option<Duration>,
}

/// A new key, with what nobody will see again.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Its row.
    pub record: KeyRecord,
    /// The key itself.
    pub key: Secret,
}

impl AuthService {
    /// Makes a tenant.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator; `TenantExists`.
    pub async fn create_tenant(&self, who: &Principal, id: TenantId) -> Result<Tenant> {
        who.require_operator()?;
        let tenant = Tenant { id, created_at: self.clock.now() };
        let entry =
            Entry::new(who, Action::TenantCreated, &tenant.id, tenant.created_at).of(Some(&tenant.id));
        let (row, id) = (tenant.clone(), tenant.id.clone());
        self.db
            .write_durable(Urgency::Normal, move |c| {
                let (row, entry) = (row.clone(), entry.clone());
                Box::pin(async move {
                    if !tenants::insert(c, &row).await? {
                        let detail = format!("there is a tenant `{}` already", row.id);
                        return Err(Error::new(Code::TenantExists, detail));
                    }
                    audit::insert(c, &entry).await
                })
            })
            .await?;
        let entity = EntityName::of(EntityName::TENANT);
        let made = Invalidation::Record { tenant: None, entity, id: id.to_string() };
        self.cache.invalidate(&[made]).await;
        tracing::info!("made the tenant {id}");
        Ok(tenant)
    }

    /// The tenant `id`.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator; `TenantNotFound`.
    pub async fn tenant(&self, who: &Principal, id: &TenantId) -> Result<Seen<Arc<Tenant>>> {
        who.require_operator()?;
        let missing = || Error::new(Code::TenantNotFound, format!("there is no tenant `{id}`"));
        self.tenant_row(who, id).await?.or_else(missing)
    }

    /// All tenants, by id.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator; `InvalidRequest` for a cursor of another list.
    pub async fn tenants(
        &self,
        who: &Principal,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Seen<Page<Tenant>>> {
        const LIST: &str = "tenants";
        who.require_operator()?;
        let after = cursor.map(|cursor| page::decode_cursor(cursor, LIST)).transpose()?;
        let (at_most, begins) = (limit.to_string(), after.clone().unwrap_or_default());
        let fields = [("limit", at_most.as_str()), ("after", begins.as_str())];
        let key = CacheKey::list(None, &self.tenants, fields);
        let db = self.db.clone();
        let load = async move || {
            let read = db.read(move |c| {
                Box::pin(async move { tenants::list(c, after.as_deref(), limit + 1).await.map(Some) })
            });
            read.await
        };
        let read = self.cache.read(&self.tenants, &key, who, load).await?;
        let seen = read.or_else(|| Error::internal("the list cannot be read", "a loader without a page"))?;
        Ok(seen.map(|items: Arc<Vec<Tenant>>| {
            paged(items.to_vec(), limit, LIST, |tenant| tenant.id.to_string())
        }))
    }

    /// Makes a key in the tenant of `who`, or an operator's. From the commit on it is good.
    ///
    /// # Errors
    /// `Forbidden` without the scope `admin`, or for an operator's key unless `who` is one; `InvalidRequest` for a
    /// name that is none, for no scope and for an end that has passed.
    pub async fn create_key(&self, who: &Principal, new: NewKey) -> Result<Issued> {
        who.require(Scope::Admin)?;
        if new.operator {
            who.require_operator()?;
        }
        check(&new)?;
        let now = self.clock.now();
        let id = KeyId::new(now);
        let key = secret::generate(id);
        let record = KeyRecord {
            id,
            tenant: (!new.operator).then(|| who.tenant().clone()),
            name: new.name,
            scopes: if new.operator { Scopes::ALL } else { new.scopes.unwrap_or(USUAL_SCOPE.into()) },
            sha256: Hash::of(key.expose()).bytes(),
            created_at: now,
            expires_at: new.expires_in.map(|time| now.plus(time)),
            revoked_at: None,
            last_used_at: None,
        };
        let what = if record.tenant.is_some() { record.scopes.to_string() } else { "operator".to_owned() };
        let entry = Entry::new(who, Action::KeyCreated, &id, now).of(record.tenant.as_ref());
        let entry = entry.with("name", record.name.as_str()).with("scopes", what);
        let row = record.clone();
        self.db
            .write_durable(Urgency::Normal, move |c| {
                let (row, entry) = (row.clone(), entry.clone());
                Box::pin(async move {
                    keys::put(c, &row).await?;
                    audit::insert(c, &entry).await
                })
            })
            .await?;
        tracing::info!(key.id = %id, "made the key {id}");
        Ok(Issued { record, key })
    }

    /// The keys of the tenant of `who`, all keys for an operator; revoked ones too, newest first.
    ///
    /// # Errors
    /// `Forbidden` without the scope `admin`; `InvalidRequest` for a cursor of another list.
    pub async fn keys(&self, who: &Principal, limit: u32, cursor: Option<&str>) -> Result<Page<KeyRecord>> {
        who.require(Scope::Admin)?;
        let tenant = (!who.is_operator()).then(|| who.tenant().clone());
        let list = format!("keys {tenant:?}");
        let after = cursor.map(|cursor| position(cursor, &list)).transpose()?;
        let after = after.map(|(at, id)| (at, KeyId::from_uuid(id)));
        let items = self
            .db
            .read(move |c| Box::pin(async move { keys::list(c, tenant.as_ref(), after, limit + 1).await }));
        Ok(paged(items.await?, limit, &list, |key| format!("{} {}", key.created_at.as_micros(), key.id)))
    }

    /// Takes a key back: refused here from now on, and by every other process within a second. Again: the same
    /// answer.
    ///
    /// # Errors
    /// `Forbidden` without the scope `admin`; `KeyNotFound`, also for another tenant's and for an operator's unless
    /// `who` is one.
    pub async fn revoke_key(&self, who: &Principal, id: KeyId) -> Result<()> {
        who.require(Scope::Admin)?;
        let (who, now) = (who.clone(), self.clock.now());
        self.db
            .write_durable(Urgency::Normal, move |c| {
                let who = who.clone();
                Box::pin(async move {
                    let key = keys::get(c, id).await?;
                    let theirs =
                        |key: &KeyRecord| who.is_operator() || key.tenant.as_ref() == Some(who.tenant());
                    let key = key.filter(theirs).ok_or_else(|| not_found(id))?;
                    if keys::revoke(c, id, now).await? {
                        let entry = Entry::new(&who, Action::KeyRevoked, &id, now).of(key.tenant.as_ref());
                        audit::insert(c, &entry.with("name", key.name)).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        self.known.forget_key(id);
        tracing::info!(key.id = %id, "revoked the key {id}");
        Ok(())
    }

    /// What was changed by whom, newest first; in `tenant`, or everywhere.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator; `InvalidRequest` for a cursor of another list.
    pub async fn audit(
        &self,
        who: &Principal,
        tenant: Option<TenantId>,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<Noted>> {
        who.require_operator()?;
        let list = format!("audit {tenant:?}");
        let after = cursor.map(|cursor| position(cursor, &list)).transpose()?;
        let items = self
            .db
            .read(move |c| Box::pin(async move { audit::list(c, tenant.as_ref(), after, limit + 1).await }));
        Ok(paged(items.await?, limit, &list, |noted| {
            format!("{} {}", noted.created_at.as_micros(), noted.id)
        }))
    }

    /// Drops what the audit log need not remember any more, in small transactions, until nothing is left to drop or
    /// `stop` says so; answers how many entries.
    pub async fn prune_audit(&self, stop: impl Fn() -> bool) -> Result<u64> {
        let (before, mut all) = (self.clock.now().minus(self.retention), 0);
        while !stop() {
            let dropped = self.db.write(Urgency::Background, move |c| {
                Box::pin(async move { audit::prune(c, before, ENTRIES_AT_ONCE).await })
            });
            let dropped = dropped.await?;
            all += dropped;
            if dropped == 0 {
                break;
            }
        }
        Ok(all)
    }
}

fn check(new: &NewKey) -> Result<()> {
    let wrong = |detail: &'static str| Err(Error::new(Code::InvalidRequest, detail));
    if !(1..=NAME_CHARS_MAX).contains(&new.name.chars().count()) || new.name.chars().any(char::is_control) {
        return wrong("`name` must have 1 to 100 characters, without control characters");
    }
    if new.operator && new.scopes.is_some() {
        return wrong("an operator's key may do everything: leave `scopes` out");
    }
    if new.scopes.is_some_and(|scopes| scopes.iter().next().is_none()) {
        return wrong("`scopes` must name at least one of read, write and admin");
    }
    if new.expires_in.is_some_and(|time| !(LIFE_MIN..=LIFE_MAX).contains(&time)) {
        return wrong(
            "a key is good for at least a second and at most 36500 days; leave its end out for no end",
        );
    }
    Ok(())
}

fn not_found(id: KeyId) -> Error {
    Error::new(Code::KeyNotFound, format!("there is no key `{id}`"))
}

/// The page of `items`, of which one more than `limit` was asked for.
fn paged<T>(mut items: Vec<T>, limit: u32, list: &str, position: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let seen = items.last().filter(|_| more);
    let next_cursor = seen.map(|seen| page::encode_cursor(&position(seen), list));
    Page { items, next_cursor }
}

fn position(cursor: &str, list: &str) -> Result<(Timestamp, uuid::Uuid)> {
    let position = page::decode_cursor(cursor, list)?;
    let parsed = position
        .split_once(' ')
        .and_then(|(micros, id)| Some((Timestamp::from_micros(micros.parse().ok()?), id.parse().ok()?)));
    parsed.ok_or_else(|| Error::new(Code::InvalidRequest, "`cursor` is not one of this list"))
}

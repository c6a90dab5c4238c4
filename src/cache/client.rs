//! The cache for who wants more of it than [`Cache::read`]: single values put, looked at and taken away, any loader cached
//! in one line, and writes that leave their value behind.
//!
//! What is put stands by what was seen before it was put, as everything else does. Not here: who may; that is asked before.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::flight::Found;
use super::generations::Seen;
use super::glob::Glob;
use super::key::{CacheKey, Invalidation, Tag};
use super::load::{self, Asked, Brought, Looked, found};
use super::memory::Worth;
use super::trust::micros;
use super::{Cache, Entity, Policy, Read, Source, Value};
use crate::base::{EntityName, Principal, Result, TenantId};

/// The kind of what is of no kind.
const LOOSE: &str = "Cached";

/// Whose a value is that [`Cache::cached`] keeps.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// Everybody's: one value for all tenants.
    Everybody,
    /// A tenant's.
    Tenant(&'a TenantId),
    /// One caller's alone: others never get it.
    Caller(&'a Principal),
}

impl Cache {
    /// Keeps what `load` answers for `ttl`: the one line for whatever takes long. It has the name `prefix`, in which
    /// everything may stand that tells it from others, such as the loader's arguments.
    ///
    /// # Errors
    /// As [`Cache::read`].
    pub async fn cached<T, F, L>(
        &self,
        ttl: Duration,
        whose: Whose<'_>,
        prefix: &str,
        load: F,
    ) -> Result<Read<T>>
    where
        T: Value,
        F: FnOnce() -> L + Send + 'static,
        L: Future<Output = Result<Option<T>>> + Send + 'static,
    {
        let loose = self.0.loose.get_or_init(|| self.entity(EntityName::of(LOOSE), 1));
        let entity = loose.clone().believed(Policy { ttl, negative_ttl: None });
        let everybody;
        let (tenant, subject, who) = match whose {
            Whose::Everybody => {
                everybody = Principal::service(TenantId::default_tenant());
                (None, None, &everybody)
            }
            Whose::Tenant(tenant) => {
                everybody = Principal::service(tenant.clone());
                (Some(tenant), None, &everybody)
            }
            Whose::Caller(who) => (Some(who.tenant()), Some(who.subject()), who),
        };
        let key = CacheKey::named(tenant, &entity, subject.as_deref(), prefix);
        self.read(&entity, &key, who, load).await
    }

    /// What the tiers have of `key`, if it is fresh; the database is not asked.
    pub async fn get<T: Value>(&self, entity: &Entity, key: &CacheKey) -> Option<Read<T>> {
        let inner = &self.0;
        let begun = inner.clock.uptime();
        let Found { value, source } = self.peek::<T>(entity, key).await?;
        let value = value.map(Arc::downcast::<T>).transpose().ok()?;
        Some(Read { value, source, took: inner.clock.uptime().saturating_sub(begun) })
    }

    /// Whether [`Cache::get`] would find something.
    pub async fn exists<T: Value>(&self, entity: &Entity, key: &CacheKey) -> bool {
        self.get::<T>(entity, key).await.is_some()
    }

    async fn peek<T: Value>(&self, entity: &Entity, key: &CacheKey) -> Option<Found> {
        let inner = &self.0;
        if !inner.switches.is_on_globally() {
            return None;
        }
        let now = micros(inner.clock.uptime());
        if let Some((entry, Worth::Fresh | Worth::Due)) = inner.memory.look(key, &inner.trust, now) {
            return Some(found(&entry, Source::L1));
        }
        let (l2, seen) = (inner.l2.as_ref()?, inner.memory.seen(key));
        match inner.look(l2, key, entity, seen, load::decode::<T>).await {
            Looked::Has(entry, Worth::Fresh | Worth::Due) => {
                inner.memory.put(key, Arc::clone(&entry));
                Some(found(&entry, Source::L2))
            }
            _ => None,
        }
    }

    /// Keeps `value` in all tiers, as if it had just been read from the database.
    pub async fn set<T: Value>(&self, entity: &Entity, key: &CacheKey, value: T) {
        if !self.0.switches.is_on_globally() {
            return;
        }
        let (seen, asked) = self.ask(entity, key).await;
        self.put(entity, key, seen, &Brought::new(value), &asked).await;
    }

    /// Takes what has this key out of all tiers, with everything else that changes when it does. Other nodes forget it when
    /// they hear of an [`Invalidation`].
    pub async fn delete(&self, key: &CacheKey) {
        let [.., own] = key.tags();
        // L2 remembers what it could not be told.
        let _ = self.renew(std::slice::from_ref(own)).await;
        if let Some(l2) = &self.0.l2 {
            let _ = l2.remove(key).await;
        }
    }

    /// Removes what has a key that matches `pattern` (see [`Glob`]), here and in the second tier, and answers how many
    /// entries that were in the fuller one. Other nodes forget theirs when they hear of an [`Invalidation`].
    ///
    /// # Errors
    /// Those of [`super::CacheTier::remove_matching`]. Here they are gone all the same.
    pub async fn delete_pattern(&self, pattern: &str) -> Result<u64> {
        let Some(l2) = &self.0.l2 else { return Ok(self.forget_matching(pattern).await) };
        let removed = l2.remove_matching(pattern).await;
        // After it, since until then somebody may have read from there and kept it here.
        let forgotten = self.forget_matching(pattern).await;
        Ok(removed?.max(forgotten))
    }

    /// Removes what is in memory here under keys that match `pattern`, also what is being read now, and answers how many
    /// there were.
    pub async fn forget_matching(&self, pattern: &str) -> u64 {
        let (inner, pattern) = (Arc::clone(&self.0), Glob::new(pattern));
        // All keys are looked at.
        tokio::task::spawn_blocking(move || inner.memory.remove_matching(&pattern)).await.unwrap_or_default()
    }

    /// Writes through: `write` changes the database and answers what is there now; what `changed` names is invalidated,
    /// and the value is kept here, unless somebody else here changed something of it meanwhile. Who reads elsewhere asks
    /// the database: which of two nodes was the last to write only that knows.
    ///
    /// # Errors
    /// Those of `write`. What it may have done all the same is invalidated.
    pub async fn write_through<T: Value>(
        &self,
        entity: &Entity,
        key: &CacheKey,
        changed: &[Invalidation],
        write: impl Future<Output = Result<T>>,
    ) -> Result<()> {
        let inner = &self.0;
        let seen = inner.memory.seen(key);
        let (at, created) = (micros(inner.clock.uptime()), inner.clock.now());
        let written = write.await;
        let tags: Vec<Tag> = changed.iter().flat_map(Invalidation::tags).collect();
        if let Some(l2) = inner.l2.as_ref().filter(|_| !tags.is_empty()) {
            // L2 remembers what it could not be told.
            let _ = l2.renew(&tags).await;
        }
        let seen = inner.memory.invalidate_alone(&seen, &tags);
        let value = written?;
        if let Some(seen) = seen.filter(|_| inner.switches.is_on_globally()) {
            let asked = Asked { at, created, tokens: None };
            inner.keep(key, entity, seen, Some(&Brought::new(value)), &asked);
        }
        Ok(())
    }

    async fn ask(&self, entity: &Entity, key: &CacheKey) -> (Seen, Asked) {
        let inner = &self.0;
        let seen = inner.memory.seen(key);
        let tokens = match &inner.l2 {
            Some(l2) => l2.tokens(key, inner.kept_for(entity.policy.ttl)).await.ok(),
            None => None,
        };
        (seen, Asked { at: micros(inner.clock.uptime()), created: inner.clock.now(), tokens })
    }

    async fn put(&self, entity: &Entity, key: &CacheKey, seen: Seen, value: &Brought, asked: &Asked) {
        let inner = &self.0;
        if let Some(put) = inner.keep(key, entity, seen.clone(), Some(value), asked) {
            inner.put_behind(key, &seen, put).await;
        }
    }
}

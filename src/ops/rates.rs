//! How often a tenant may ask: a bucket of tokens for each, kept in this process.
//!
//! A bucket is one number, the time at which it will be full again (the generic cell rate algorithm): a request
//! moves it on by the time that one token takes, and is refused where that is more than a second ahead. So a tenant
//! that was quiet may ask for a second's worth at once. Called by `http` for each request that names a tenant.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::base::{Clock, Code, Error, Result, TenantId};

/// Tokens of this much time may gather.
const BURST: Duration = Duration::from_secs(1);
/// Callers lock one of so many maps, and for a few instructions only.
const SHARDS: usize = 16;
/// Buckets that are full again are forgotten when a map has so many; whoever then finds no place shares one.
const BUCKETS_PER_SHARD_MAX: usize = 4_096;

/// Who asks too often.
#[derive(Debug)]
pub struct Rates {
    clock: Arc<dyn Clock>,
    tenants: Option<Buckets<TenantId>>,
}

impl Rates {
    /// At most `per_second` requests of each tenant, on average; `None`: any number.
    pub fn new(per_second: Option<u32>, clock: Arc<dyn Clock>) -> Self {
        Self { clock, tenants: per_second.map(Buckets::new) }
    }

    /// Takes a token of `tenant`.
    ///
    /// # Errors
    /// `RateLimited`, with the time after which there is one.
    pub fn admit(&self, tenant: &TenantId) -> Result<()> {
        let Some(tenants) = &self.tenants else { return Ok(()) };
        tenants.take(tenant, self.clock.uptime()).map_err(|wait| {
            let detail =
                format!("the tenant may make {} requests a second: wait, then go on", tenants.per_second);
            // Whole seconds, and not too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Error::new(Code::RateLimited, detail).retry_after(Duration::from_secs(seconds.max(1)))
        })
    }
}

/// When each bucket is full again, by whose it is.
#[derive(Debug)]
struct Buckets<K> {
    per_second: u32,
    shards: [Mutex<Shard<K>>; SHARDS],
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard<K> {
    full_at: HashMap<K, Duration>,
    /// Of all those for whom there was no place.
    others_full_at: Duration,
}

impl<K: Eq + Hash + Clone> Buckets<K> {
    fn new(per_second: u32) -> Self {
        let shard = |_| Mutex::new(Shard { full_at: HashMap::new(), others_full_at: Duration::ZERO });
        Self { per_second, shards: std::array::from_fn(shard), hasher: RandomState::new() }
    }

    /// Takes a token at `now`, or answers how long to wait for one.
    fn take(&self, key: &K, now: Duration) -> Result<(), Duration> {
        let shard = self.hasher.hash_one(key) % SHARDS as u64;
        let shard = &self.shards[usize::try_from(shard).unwrap_or(0)];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = shard.bucket(key, now);
        let after = (*full_at).max(now) + Duration::from_secs(1) / self.per_second;
        match after.checked_sub(now + BURST) {
            None | Some(Duration::ZERO) => {
                *full_at = after;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }
}

impl<K: Eq + Hash + Clone> Shard<K> {
    fn bucket(&mut self, key: &K, now: Duration) -> &mut Duration {
        if !self.full_at.contains_key(key) {
            if self.full_at.len() >= BUCKETS_PER_SHARD_MAX {
                self.full_at.retain(|_, full_at| *full_at > now);
            }
            if self.full_at.len() >= BUCKETS_PER_SHARD_MAX {
                return &mut self.others_full_at;
            }
        }
        self.full_at.entry(key.clone()).or_insert(Duration::ZERO)
    }
}

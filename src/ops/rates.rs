//! How often a tenant may ask, and a client without a key: a bucket of tokens for each, kept in this process.
//!
//! A bucket is one number, the time at which it will be full again (the generic cell rate algorithm): a request
//! moves it on by the time that one token takes, and is refused where that is more than a second ahead. So a tenant
//! that was quiet may ask for a second's worth at once. Called by `http` for each request that names a tenant.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Those who showed no key, or a wrong one.
    strangers: Option<Buckets<IpAddr>>,
}

impl Rates {
    /// At most `per_second` requests of each tenant, on average, and of each client without a key; `None`: any number.
    pub fn new(per_second: Option<u32>, clock: Arc<dyn Clock>) -> Self {
        Self { clock, tenants: per_second.map(Buckets::new), strangers: per_second.map(Buckets::new) }
    }

    /// Takes a token of `tenant`.
    ///
    /// # Errors
    /// `RateLimited`, with the time after which there is one.
    pub fn admit(&self, tenant: &TenantId) -> Result<()> {
        let Some(tenants) = &self.tenants else { return Ok(()) };
        tenants.take(tenant, self.clock.uptime()).map_err(|wait| {
            refused(
                format!("the tenant may make {} requests a second: wait, then go on", tenants.per_second),
                wait,
            )
        })
    }

    /// Before a key is looked at: whether `client` showed too many wrong ones. Right ones are not looked at then
    /// either, or guessing would be as fast as ever.
    ///
    /// # Errors
    /// `RateLimited`.
    pub fn admit_stranger(&self, client: IpAddr) -> Result<()> {
        let Some(strangers) = &self.strangers else { return Ok(()) };
        let wait = strangers.wait(&network(client), self.clock.uptime());
        wait.map_or(Ok(()), |wait| {
            Err(refused("too many requests came from your address without a valid key", wait))
        })
    }

    /// `client` showed no key, or a wrong one.
    pub fn count_stranger(&self, client: IpAddr) {
        if let Some(strangers) = &self.strangers {
            // A bucket that is empty cannot become emptier.
            let _ = strangers.take(&network(client), self.clock.uptime());
        }
    }
}

fn refused(detail: impl Into<Cow<'static, str>>, wait: Duration) -> Error {
    // Whole seconds, and not too early.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Error::new(Code::RateLimited, detail).retry_after(Duration::from_secs(seconds.max(1)))
}

/// Who has one IPv6 address has 2^64 of them.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(client) => IpAddr::V6((u128::from(client) >> 64 << 64).into()),
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
        let mut shard = self.shard(key);
        let full_at = shard.bucket(key, now);
        match self.lacking(*full_at, now) {
            None => {
                *full_at = self.after(*full_at, now);
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// How long to wait for a token, if there is none at `now`.
    fn wait(&self, key: &K, now: Duration) -> Option<Duration> {
        let full_at = self.shard(key).full_at.get(key).copied()?;
        self.lacking(full_at, now)
    }

    fn lacking(&self, full_at: Duration, now: Duration) -> Option<Duration> {
        self.after(full_at, now).checked_sub(now + BURST).filter(|wait| !wait.is_zero())
    }

    /// When a bucket is full again once a token more is taken.
    fn after(&self, full_at: Duration, now: Duration) -> Duration {
        full_at.max(now) + Duration::from_secs(1) / self.per_second
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K>> {
        let shard = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
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

//! How much a tenant may keep, and who is refused.
//!
//! The row `cifra_tenant_usage` decides, in the transaction that adds an upload or a file: it counts what is stored
//! and what open uploads announced. A body that comes in one request has no row until it is a file; while it
//! comes it is counted here, as [`Incoming`], so that it is refused early. Called by `upload` and `files`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;

use crate::base::stream::StreamError;
use crate::base::{ByteStream, Error, Result, TenantId};
use crate::config;
use crate::db::usage::{self, Limits, Usage, over_quota};
use crate::db::{Db, Urgency};

/// A body of unknown length takes its room in steps of this size.
const STEP_BYTES: u64 = 1 << 20;

/// The limits, and what is on its way.
#[derive(Debug)]
pub struct Quota {
    db: Db,
    limits: Limits,
    /// Bytes by tenant; only those who have any.
    incoming: Arc<Mutex<HashMap<TenantId, u64>>>,
}

impl Quota {
    /// As the operator set it.
    pub fn new(db: Db, config: &config::Limits) -> Self {
        let limits = Limits {
            open_uploads: config.open_uploads.into(),
            bytes: config.tenant_max_bytes.map_or(u64::MAX, config::ByteSize::bytes),
        };
        Self { db, limits, incoming: Arc::default() }
    }

    /// For the transaction that adds a file.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// For what is announced now: what is on its way already has its room.
    pub fn limits_beside_incoming(&self, tenant: &TenantId) -> Limits {
        let taken = lock(&self.incoming).get(tenant).copied().unwrap_or(0);
        Limits { bytes: self.limits.bytes.saturating_sub(taken), ..self.limits }
    }

    /// What `tenant` keeps and has announced.
    pub async fn usage(&self, tenant: &TenantId) -> Result<Usage> {
        let tenant = tenant.clone();
        self.db.read(move |c| Box::pin(async move { usage::get(c, &tenant).await })).await
    }

    /// Counts again where a tenant's row is not what its rows add up to, which only a mistake, ours or of whoever wrote
    /// into the database, can do.
    ///
    /// # Errors
    /// `Unavailable` where there is too much to add up in 4 s; then nothing was changed.
    pub async fn recount(&self) -> Result<()> {
        for tenant in self.db.read(|c| Box::pin(usage::wrong(c))).await? {
            let whose = tenant.clone();
            let counted = self.db.write(Urgency::Background, move |c| {
                let tenant = whose.clone();
                Box::pin(async move { usage::recount(c, &tenant).await })
            });
            if let Some(was) = counted.await? {
                tracing::error!(%tenant, ?was, "the usage of tenant {tenant} was counted wrong and is right again");
            }
        }
        Ok(())
    }

    /// A body for `tenant` that comes in one request, of `announced` bytes if its client told. It has its room
    /// until the value is dropped: drop it when the file is committed, or given up.
    ///
    /// # Errors
    /// `QuotaExceeded` `{ limit_bytes, used_bytes }`.
    pub async fn expect(&self, tenant: &TenantId, announced: Option<u64>) -> Result<Incoming> {
        // Without a limit nobody looks.
        let used = match self.limits.bytes {
            u64::MAX => 0,
            _ => self.usage(tenant).await?.used_bytes(),
        };
        let mut held = Held {
            tenant: tenant.clone(),
            limit: self.limits.bytes,
            used,
            bytes: 0,
            all: Arc::clone(&self.incoming),
            refusal: None,
        };
        if self.limits.bytes < u64::MAX {
            held.hold(announced.unwrap_or(0))?;
        }
        Ok(Incoming(Arc::new(Mutex::new(held))))
    }
}

/// A body on its way, counted until it is dropped.
#[derive(Debug)]
pub struct Incoming(Arc<Mutex<Held>>);

impl Incoming {
    /// Goes on with `body`, but not beyond the quota: then it breaks off, and [`Incoming::refusal`] tells why.
    pub fn watch(&self, body: ByteStream) -> ByteStream {
        let (held, mut bytes) = (Arc::clone(&self.0), 0);
        Box::pin(body.map(move |frame| {
            let frame = frame?;
            bytes += frame.len() as u64;
            let grown = lock(&held).grow_to(bytes);
            grown.map(|()| frame).map_err(|()| StreamError::Cut("the quota is used up".to_owned()))
        }))
    }

    /// `QuotaExceeded` `{ limit_bytes, used_bytes }`, if that is why the body broke off.
    pub fn refusal(&self) -> Option<Error> {
        lock(&self.0).refusal.take()
    }
}

/// The room of one body.
#[derive(Debug)]
struct Held {
    tenant: TenantId,
    limit: u64,
    /// By others, when it began.
    used: u64,
    bytes: u64,
    all: Arc<Mutex<HashMap<TenantId, u64>>>,
    refusal: Option<Error>,
}

impl Held {
    /// The body has `bytes` by now. Cheap: most calls only compare two numbers.
    fn grow_to(&mut self, bytes: u64) -> Result<(), ()> {
        if bytes <= self.bytes || self.limit == u64::MAX {
            return Ok(());
        }
        // Near the limit a whole step may be too much where what came is not.
        let grown = self.hold(bytes.saturating_add(STEP_BYTES)).or_else(|_| self.hold(bytes));
        grown.map_err(|error| self.refusal = Some(error))
    }

    fn hold(&mut self, bytes: u64) -> Result<()> {
        let mut all = lock(&self.all);
        let others = all.get(&self.tenant).copied().unwrap_or(0).saturating_sub(self.bytes);
        let used = self.used.saturating_add(others);
        if bytes > self.limit.saturating_sub(used) {
            return Err(over_quota(self.limit, used));
        }
        if others + bytes > 0 {
            all.insert(self.tenant.clone(), others + bytes);
        }
        drop(all);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        if let Some(bytes) = all.get_mut(&self.tenant) {
            *bytes = bytes.saturating_sub(self.bytes);
            if *bytes == 0 {
                all.remove(&self.tenant);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

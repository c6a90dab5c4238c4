//! Room for bytes that wait to be sent: one bound for all requests and stores of this process.
//!
//! Whoever needs room waits in line, a tenant's requests in a line of their own before that: no tenant holds more
//! than half, and a large request is not passed by small ones for ever. Room is given back when [`Room`] is dropped,
//! however that happens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::blob::{BlobError, BlobErrorKind, BlobKey, BlobResult};
use crate::telemetry::metrics;

/// A client that waits longer for room had better come back.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Permits are counted in units of so many bytes, so that 32 bits are enough for any part.
const UNIT_BYTES: u64 = 1 << 10;
/// A larger part would leave no room for others.
const SHARE_OF_A_PART: u64 = 4;

/// The bound. Clones are the same one.
#[derive(Debug, Clone)]
pub struct PartBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes: u64,
    wait_max: Duration,
    all: Arc<Semaphore>,
    /// One line for each tenant that has or wants room; removed with the last of them.
    tenants: Mutex<HashMap<String, Line>>,
}

#[derive(Debug)]
struct Line {
    room: Arc<Semaphore>,
    users: usize,
}

/// Room that was given; dropping gives it back.
#[derive(Debug)]
pub(super) struct Room {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    line: InLine,
}

/// A place in a tenant's line.
#[derive(Debug)]
struct InLine {
    shared: Arc<Shared>,
    tenant: String,
}

impl PartBudget {
    /// Room for so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self::waiting(bytes, WAIT_MAX)
    }

    fn waiting(bytes: u64, wait_max: Duration) -> Self {
        let all = Arc::new(Semaphore::new(permits(bytes)));
        Self { shared: Arc::new(Shared { bytes, wait_max, all, tenants: Mutex::default() }) }
    }

    /// A part may have so many bytes.
    pub fn part_bytes_max(&self) -> u64 {
        // Whole units, so that what fits in bytes fits in permits.
        (self.shared.bytes / SHARE_OF_A_PART / UNIT_BYTES * UNIT_BYTES).max(UNIT_BYTES)
    }

    /// Waits for room for `bytes` of the tenant of `key`, whose first folder is its name.
    ///
    /// # Errors
    /// `Busy` when there was none in time.
    pub(super) async fn reserve(&self, key: &BlobKey, bytes: u64) -> BlobResult<Room> {
        let tenant = key.as_str().split('/').next().unwrap_or_default();
        let (line, own) = self.line(tenant);
        // More than a tenant's share could never be had.
        let units = permits(bytes).max(1).min(permits(self.shared.bytes / 2));
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let given = timeout(self.shared.wait_max, async {
            let own = own.acquire_many_owned(units).await.ok()?;
            let all = Arc::clone(&self.shared.all).acquire_many_owned(units).await.ok()?;
            Some((own, all))
        });
        let Ok(Some((own, all))) = given.await else {
            let context = format!("no room for {bytes} bytes of `{key}` among the parts in flight");
            return Err(BlobError::new(BlobErrorKind::Busy, context));
        };
        let room = Room { _all: all, _own: own, line };
        room.line.shared.measure();
        Ok(room)
    }

    fn line(&self, tenant: &str) -> (InLine, Arc<Semaphore>) {
        let mut tenants = self.shared.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let line = tenants.entry(tenant.to_owned()).or_insert_with(|| Line {
            room: Arc::new(Semaphore::new(permits(self.shared.bytes / 2))),
            users: 0,
        });
        line.users += 1;
        let room = Arc::clone(&line.room);
        (InLine { shared: Arc::clone(&self.shared), tenant: tenant.to_owned() }, room)
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut tenants = self.shared.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = tenants.get_mut(&self.tenant) {
            line.users -= 1;
            if line.users == 0 {
                tenants.remove(&self.tenant);
            }
        }
        // The last field of a room: its bytes were given back.
        self.shared.measure();
    }
}

impl Shared {
    fn measure(&self) {
        let free = self.all.available_permits() as u64 * UNIT_BYTES;
        metrics::parts_in_flight(self.bytes.saturating_sub(free));
    }
}

fn permits(bytes: u64) -> usize {
    usize::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> BlobKey {
        BlobKey::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_tenant_has_half_and_others_have_the_rest() {
        let budget = PartBudget::waiting(8 << 20, Duration::from_millis(20));
        let (one, two) = (key("one/x"), key("two/x"));
        let first = budget.reserve(&one, 4 << 20).await.unwrap();
        assert_eq!(budget.reserve(&one, 1).await.unwrap_err().kind(), BlobErrorKind::Busy);
        let second = budget.reserve(&two, 4 << 20).await.unwrap();
        assert_eq!(budget.reserve(&key("three/x"), 1).await.unwrap_err().kind(), BlobErrorKind::Busy);
        drop(first);
        budget.reserve(&one, 2 << 20).await.unwrap();
        drop(second);
        assert!(budget.shared.tenants.lock().unwrap().is_empty(), "lines of nobody go");
        assert_eq!(budget.shared.all.available_permits(), 8 << 10);
    }

    #[tokio::test]
    async fn who_came_first_is_served_first() {
        let budget = PartBudget::new(8 << 20);
        let held = budget.reserve(&key("one/x"), 3 << 20).await.unwrap();
        let other = budget.reserve(&key("two/x"), 3 << 20).await.unwrap();
        let (large, small) = (key("three/x"), key("four/x"));
        let large = budget.reserve(&large, 4 << 20);
        let small = budget.reserve(&small, 1 << 20);
        let (mut large, mut small) = (Box::pin(large), Box::pin(small));
        assert!(futures_util::poll!(&mut large).is_pending());
        assert!(futures_util::poll!(&mut small).is_pending(), "it would fit, but it came later");
        drop(held);
        large.await.unwrap();
        small.await.unwrap();
        drop(other);
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_holds_nothing() {
        let budget = PartBudget::new(8 << 20);
        let held = budget.reserve(&key("one/x"), 4 << 20).await.unwrap();
        let key = key("one/y");
        let mut waiting = Box::pin(budget.reserve(&key, 4 << 20));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
        drop(held);
        assert_eq!(budget.shared.all.available_permits(), 8 << 10);
        assert!(budget.shared.tenants.lock().unwrap().is_empty());
    }
}

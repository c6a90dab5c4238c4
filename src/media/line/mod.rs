//! Who goes next, of the pictures that wait for memory: a pure data structure. Its one user is `pool`.
//!
//! Tenants take turns by what they were given, so that a thousand pictures of one delay another's first one by a few at
//! most. Of one tenant's pictures the smallest goes first. A large one is overtaken [`OVERTAKEN_MAX`] times at most:
//! then its own tenant's wait for it, and when it is its tenant's turn and it finds no room, everybody does.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::base::TenantId;

/// So many may be taken before a picture that came earlier.
pub(super) const OVERTAKEN_MAX: u32 = 16;
/// What a picture counts for beside its bytes: tiny ones cost something too.
const OVERHEAD_BYTES: u64 = 1 << 20;

/// Names a place in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// See the module. `T` is whom to tell.
#[derive(Debug)]
pub(super) struct Line<T> {
    /// In the order in which they came.
    waiting: Vec<Waiting<T>>,
    /// What each tenant in the line was given, counted from where the line was when it came.
    given: HashMap<TenantId, u64>,
    /// Where the line is: what the tenant had been given whose turn was last.
    position: u64,
    places: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    place: Place,
    tenant: TenantId,
    bytes: u64,
    overtaken: u32,
    whom: T,
}

impl<T> Line<T> {
    /// Nobody waits.
    pub(super) fn new() -> Self {
        Self { waiting: Vec::new(), given: HashMap::new(), position: 0, places: 0 }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a place for a picture of `bytes`.
    pub(super) fn join(&mut self, tenant: &TenantId, bytes: u64, whom: T) -> Place {
        let place = Place(self.places);
        self.places += 1;
        self.given.entry(tenant.clone()).or_insert(self.position);
        self.waiting.push(Waiting { place, tenant: tenant.clone(), bytes, overtaken: 0, whom });
        place
    }

    /// Gives up a place; `false` if it was given up, or called, before.
    pub(super) fn leave(&mut self, place: Place) -> bool {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.place == place) else { return false };
        self.waiting.remove(at);
        self.forget_the_gone();
        true
    }

    /// Calls who is next if `free` bytes are free: their bytes, and whom to tell. `None` if nobody waits or has to go
    /// on waiting.
    pub(super) fn call(&mut self, free: u64) -> Option<(u64, T)> {
        let mut passed: Vec<usize> = Vec::new();
        for tenant in self.by_turn() {
            let Some(first) = self.first_of(&tenant) else { continue };
            let waiting = &self.waiting[first];
            if waiting.bytes <= free {
                for at in passed {
                    self.waiting[at].overtaken += 1;
                }
                return Some(self.take(first));
            }
            if waiting.overtaken >= OVERTAKEN_MAX {
                return None;
            }
            passed.push(first);
        }
        None
    }

    /// The tenants in the line: who was given least is first; of two alike, who came first.
    fn by_turn(&self) -> Vec<TenantId> {
        let mut tenants: Vec<(u64, Place, &TenantId)> = Vec::new();
        for waiting in &self.waiting {
            if !tenants.iter().any(|(_, _, tenant)| *tenant == &waiting.tenant) {
                let given = self.given.get(&waiting.tenant).copied().unwrap_or(self.position);
                tenants.push((given, waiting.place, &waiting.tenant));
            }
        }
        tenants.sort_unstable_by_key(|(given, place, _)| (*given, *place));
        tenants.into_iter().map(|(_, _, tenant)| tenant.clone()).collect()
    }

    /// Of a tenant's pictures the one that goes first.
    fn first_of(&self, tenant: &TenantId) -> Option<usize> {
        let own = || self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.tenant == *tenant);
        let waited_enough = own().find(|(_, waiting)| waiting.overtaken >= OVERTAKEN_MAX);
        let smallest = || own().min_by_key(|(_, waiting)| (waiting.bytes, waiting.place));
        waited_enough.or_else(smallest).map(|(at, _)| at)
    }

    fn take(&mut self, at: usize) -> (u64, T) {
        let taken = self.waiting.remove(at);
        for earlier in &mut self.waiting[..at] {
            if earlier.tenant == taken.tenant {
                earlier.overtaken += 1;
            }
        }
        if let Some(given) = self.given.get_mut(&taken.tenant) {
            self.position = self.position.max(*given);
            *given += taken.bytes + OVERHEAD_BYTES;
        }
        self.forget_the_gone();
        (taken.bytes, taken.whom)
    }

    /// What a tenant was given is remembered while it counts: as long as it waits, or has been given more than others.
    fn forget_the_gone(&mut self) {
        if self.waiting.is_empty() {
            self.given.clear();
            return;
        }
        let (position, waiting) = (self.position, &self.waiting);
        let waits = |tenant: &TenantId| waiting.iter().any(|waiting| waiting.tenant == *tenant);
        self.given.retain(|tenant, given| *given > position || waits(tenant));
    }
}

//! What the cache did, counted. Called for every answer, so that nothing here may wait.
//!
//! Each kind of value has a place, given once, so that to count is to add to a number. Not here: when something counts;
//! the parent says that.

use std::time::Duration;

use super::Source;
use crate::base::EntityName;

/// The place of a kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityIndex(usize);

/// What a loader came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// A value, or that there is none.
    Answered,
    /// An error, or nothing in time.
    Failed,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Figures {}

impl Figures {
    /// The place of `entity`: the same at every call.
    pub(super) fn index_of(&self, entity: &EntityName) -> EntityIndex {
        let _ = (self, entity);
        EntityIndex(0)
    }

    /// Somebody was answered from `source`, after `took`.
    pub(super) fn answered(&self, entity: EntityIndex, source: Source, took: Duration) {
        let _ = (self, entity.0, source, took);
    }

    #[expect(dead_code, reason = "nothing is loaded through the cache yet")]
    /// The database was asked for a value, and took so long.
    pub(super) fn loaded(&self, entity: EntityIndex, took: Duration, outcome: Loaded) {
        let _ = (self, entity.0, took, outcome);
    }
}

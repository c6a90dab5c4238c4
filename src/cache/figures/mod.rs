//! What the cache did, counted. Called for every answer, so that nothing here may wait.
//!
//! Each kind of value has a place, given once, so that to count is to add to a few numbers (`counted`). About once a second
//! they go into the database (`ledger`), which has those of all nodes together and keeps them; what people see is made of
//! that (`shown`). Not here: when something counts; the parent says that.

mod counted;
mod ledger;
mod shown;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

use self::counted::Counted;
use self::ledger::Ledger;
pub use self::shown::{EntityFigures, ResponseTimes, Saved, Shown, TierFigures};
use super::Source;
use crate::base::EntityName;

/// So many kinds of values have places of their own; all others share the last one.
const PLACES: usize = 256;
/// What those that share a place are called.
const OTHERS: &str = "Others";

/// The place of a kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityIndex(usize);

impl EntityIndex {
    /// Of what is not counted.
    pub(super) const NONE: Self = Self(usize::MAX);
}

/// What a loader came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// A value, or that there is none.
    Answered,
    /// An error, or nothing in time.
    Failed,
}

/// See the module.
#[derive(Debug)]
pub struct Figures {
    places: Box<[OnceLock<Place>]>,
    ledger: tokio::sync::Mutex<Ledger>,
}

#[derive(Debug)]
struct Place {
    entity: EntityName,
    counted: Counted,
}

impl Default for Figures {
    fn default() -> Self {
        let places = (0..PLACES).map(|_| OnceLock::new()).collect();
        Self { places, ledger: tokio::sync::Mutex::default() }
    }
}

impl Figures {
    /// The place of `entity`: the same at every call.
    pub fn index_of(&self, entity: &EntityName) -> EntityIndex {
        let last = self.places.len() - 1;
        for (index, place) in self.places[..last].iter().enumerate() {
            if place.get_or_init(|| Place::of(entity.clone())).entity == *entity {
                return EntityIndex(index);
            }
        }
        self.places[last].get_or_init(|| Place::of(EntityName::of(OTHERS)));
        EntityIndex(last)
    }

    /// Somebody was answered from `source`, after `took`. Each read is told once, whoever's load it waited for.
    pub fn answered(&self, entity: EntityIndex, source: Source, took: Duration) {
        if let Some(place) = self.place(entity) {
            place.counted.answered(source, took);
        }
    }

    /// The database was asked for a value, and took so long. Not told of what bypasses the cache: there an answer is a
    /// load.
    pub fn loaded(&self, entity: EntityIndex, took: Duration, outcome: Loaded) {
        if let Some(place) = self.place(entity) {
            place.counted.loaded(took, outcome);
        }
    }

    /// The names of all kinds of values that are read through this cache, in the order in which they came.
    pub fn entities(&self) -> impl Iterator<Item = &EntityName> {
        self.places().map(|place| &place.entity)
    }

    fn place(&self, entity: EntityIndex) -> Option<&Place> {
        self.places.get(entity.0)?.get()
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().map_while(OnceLock::get)
    }
}

impl Place {
    fn of(entity: EntityName) -> Self {
        Self { entity, counted: Counted::default() }
    }
}

//! What a service answers of what it read through the cache.

use std::sync::Arc;
use std::time::Duration;

use super::{Read, Source};
use crate::base::{Error, Result};

/// Something that there is, with where it came from.
#[derive(Debug, Clone)]
pub struct Seen<T> {
    /// What it is.
    pub value: T,
    /// Which tier had it.
    pub source: Source,
    /// How long that took.
    pub took: Duration,
}

impl<T> Seen<T> {
    /// The same of something that was made of it.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Seen<U> {
        Seen { value: make(self.value), source: self.source, took: self.took }
    }
}

impl<T> Read<T> {
    /// What was read, which must be there.
    ///
    /// # Errors
    /// What `missing` says if it is not.
    pub fn or_else(self, missing: impl FnOnce() -> Error) -> Result<Seen<Arc<T>>> {
        let value = self.value.ok_or_else(missing)?;
        Ok(Seen { value, source: self.source, took: self.took })
    }
}

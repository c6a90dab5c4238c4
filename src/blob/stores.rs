//! All stores that are configured, by the names that rows have: one takes new bytes, the others keep what they have.
//!
//! Built by `app`; the services ask it for the store that a row names, or for the default one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::PartStore;
use crate::base::{Error, Result};

/// See the module. Clones are the same stores.
#[derive(Debug, Clone)]
pub struct Stores {
    by_name: Arc<BTreeMap<String, Arc<dyn PartStore>>>,
    default: Arc<dyn PartStore>,
    default_name: Arc<str>,
}

impl Stores {
    /// New bytes go to `default`, which is called `name`.
    pub fn new(name: &str, default: Arc<dyn PartStore>) -> Self {
        let by_name = Arc::new(BTreeMap::from([(name.to_owned(), Arc::clone(&default))]));
        Self { by_name, default, default_name: name.into() }
    }

    /// With another store, whose bytes stay where they are.
    #[must_use]
    pub fn with(mut self, name: &str, store: Arc<dyn PartStore>) -> Self {
        Arc::make_mut(&mut self.by_name).insert(name.to_owned(), store);
        self
    }

    /// Where new bytes go.
    pub fn default_store(&self) -> &Arc<dyn PartStore> {
        &self.default
    }

    /// The name of the store where new bytes go.
    pub fn default_name(&self) -> &str {
        &self.default_name
    }

    /// The store that a row calls `name`.
    ///
    /// # Errors
    /// `Internal` if there is none: the start refuses that, but another node may have moved on to a new store since.
    pub fn named(&self, name: &str) -> Result<&Arc<dyn PartStore>> {
        self.by_name.get(name).ok_or_else(|| {
            Error::internal(
                "the bytes cannot be reached",
                format!(
                    "a row names the store `{name}`, which is not configured here; \
                     name it in file_upload.other_stores and start this node again"
                ),
            )
        })
    }

    /// All of them by name, the default one among them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<dyn PartStore>)> {
        self.by_name.iter().map(|(name, store)| (name.as_str(), store))
    }
}

//! For whom the cache is on. Looked at by every read, so that nothing here may wait.

use crate::base::{EntityName, Principal};
use crate::config;

/// See the module.
#[derive(Debug)]
pub(super) struct Switches {
    configured: bool,
}

impl Switches {
    /// As configured: `cache.enabled: false` beats everything else.
    pub(super) fn new(config: &config::Cache) -> Self {
        Self { configured: config.enabled }
    }

    /// Whether `who` reads values of `entity` through the cache. Uploads never are.
    pub(super) fn is_on(&self, entity: &EntityName, who: &Principal) -> bool {
        let _ = who;
        self.configured && entity.as_str() != EntityName::UPLOAD
    }
}

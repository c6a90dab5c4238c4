//! For whom the cache is on. Looked at by every read, so that nothing here may wait.
//!
//! What is switched off has a row in the database, and so holds for all nodes and after a restart; each node has a copy,
//! which is read again when the feed says so ([`Switches::reload`]). Who may switch is decided in `ops/cache`.

use std::collections::HashSet;
use std::fmt;

use arc_swap::ArcSwap;

use crate::base::{EntityName, Principal, Result};
use crate::config;
use crate::db::{Db, cache_switches};

/// Something that can be switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch {
    /// The cache, for everybody.
    Global,
    /// The cache, for one subject ([`Principal::subject`]).
    Subject(String),
    /// That changes of rows make values of configured entities a miss by themselves. Built-in ones always are exact.
    AutoInvalidate,
}

impl fmt::Display for Switch {
    /// As its row calls it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Subject(subject) => write!(f, "subject:{subject}"),
            Self::AutoInvalidate => f.write_str("auto-invalidate"),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Switches {
    configured: bool,
    off: ArcSwap<Off>,
    /// One reads at a time, so that who read later is who writes later.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Off {
    global: bool,
    auto_invalidate: bool,
    subjects: HashSet<String>,
}

impl Switches {
    /// As configured: `cache.enabled: false` beats everything else. Until [`Switches::reload`] all is on.
    pub(super) fn new(config: &config::Cache) -> Self {
        Self { configured: config.enabled, off: ArcSwap::default(), reading: tokio::sync::Mutex::default() }
    }

    /// Whether `who` reads values of `entity` through the cache. Uploads never are.
    pub(super) fn is_on(&self, entity: &EntityName, who: &Principal) -> bool {
        if !self.configured || entity.as_str() == EntityName::UPLOAD {
            return false;
        }
        let off = self.off.load();
        // Whose subject it is costs more than the rest of a hit: mostly nobody has to know.
        !off.global && (off.subjects.is_empty() || !off.subjects.contains(&who.subject()))
    }

    /// Whether anybody reads through the cache.
    pub fn is_on_globally(&self) -> bool {
        self.configured && !self.off.load().global
    }

    /// Whether `who` has not switched it off for themselves.
    pub fn is_on_by_themselves(&self, who: &Principal) -> bool {
        !self.off.load().subjects.contains(&who.subject())
    }

    /// Whether changes of rows count for configured entities.
    pub fn auto_invalidates(&self) -> bool {
        !self.off.load().auto_invalidate
    }

    /// Reads what is switched off.
    ///
    /// # Errors
    /// Those of the database; then everything stays as it was.
    pub async fn reload(&self, db: &Db) -> Result<()> {
        let _reading = self.reading.lock().await;
        let mut off = Off::default();
        for name in db.read(|c| Box::pin(cache_switches::off(c))).await? {
            if name == Switch::Global.to_string() {
                off.global = true;
            } else if name == Switch::AutoInvalidate.to_string() {
                off.auto_invalidate = true;
            } else if let Some(subject) = name.strip_prefix("subject:") {
                off.subjects.insert(subject.to_owned());
            }
        }
        self.off.store(off.into());
        Ok(())
    }
}

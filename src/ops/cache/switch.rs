//! Switching the cache off and on: for everybody, for oneself; and whether changes of rows count by themselves.
//!
//! A switch is a row, so that it holds on all nodes within a second and after a restart. Setting one to what it is does
//! nothing.

use super::CacheAdmin;
use crate::base::principal::{Actor, Scope};
use crate::base::{Principal, Result};
use crate::cache::switches::Switch;
use crate::cache::{Invalidation, announce};
use crate::db::audit::{self, Action, Entry};
use crate::db::{Urgency, cache_switches};

/// What a switch says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// As it is by default.
    On,
    /// Until somebody switches it on.
    Off,
}

impl From<bool> for Switched {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

impl CacheAdmin {
    /// The cache, for everybody. Whether it is on then: `cache.enabled: false` beats the switch.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator.
    pub async fn switch_all(&self, who: &Principal, to: Switched) -> Result<bool> {
        who.require_operator()?;
        self.switch(who, &Switch::Global, to).await?;
        Ok(self.cache.switches().is_on_globally())
    }

    /// Whether changes of rows make values of configured entities a miss by themselves.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator.
    pub async fn switch_auto_invalidate(&self, who: &Principal, to: Switched) -> Result<()> {
        who.require_operator()?;
        self.switch(who, &Switch::AutoInvalidate, to).await
    }

    /// The cache, for whoever has the key of `who`: to compare what it is like with and without. Answers as whom the
    /// audit log knows them.
    ///
    /// # Errors
    /// `Forbidden` without the scope `read`.
    pub async fn switch_own(&self, who: &Principal, to: Switched) -> Result<String> {
        who.require(Scope::Read)?;
        self.switch(who, &Switch::Subject(who.subject()), to).await?;
        Ok(match who.actor() {
            Actor::Key { name, .. } => name.to_string(),
            _ => who.subject(),
        })
    }

    async fn switch(&self, who: &Principal, switch: &Switch, to: Switched) -> Result<()> {
        let (name, now) = (switch.to_string(), self.clock.now());
        let entry = Entry::new(who, Action::CacheSwitched, &name, now).with("enabled", to == Switched::On);
        let entry = if matches!(switch, Switch::Subject(_)) { entry } else { entry.of(None) };
        let mut told = vec![Invalidation::Switches];
        if (switch, to) == (&Switch::AutoInvalidate, Switched::On) {
            // What changed meanwhile was passed over.
            let configured = self.cache.figures().entities().filter(|entity| !entity.is_built_in());
            told.extend(configured.cloned().map(Invalidation::Everywhere));
        }
        let changed = self.db.write(Urgency::Normal, move |c| {
            let (name, entry, told) = (name.clone(), entry.clone(), told.clone());
            Box::pin(async move {
                let changed = match to {
                    Switched::Off => cache_switches::turn_off(c, &name, now).await?,
                    Switched::On => cache_switches::turn_on(c, &name).await?,
                };
                if changed {
                    announce(c, &told).await?;
                    audit::insert(c, &entry).await?;
                }
                Ok(changed)
            })
        });
        if changed.await? {
            self.cache.switches().reload(&self.db).await?;
        }
        Ok(())
    }
}

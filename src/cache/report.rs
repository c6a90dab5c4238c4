//! What the cache tells of itself. Called by `ops/cache`.

use super::figures::Figures;
use super::switches::Switches;
use super::{Cache, TierSize};

/// What is where, on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Memory of this process.
    pub l1: TierSize,
    /// The tier behind it, if there is one.
    pub l2: Option<L2Report>,
}

/// The second tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L2Report {
    /// `redis` or `sqlite`.
    pub name: &'static str,
    /// Whether it is read now.
    pub is_current: bool,
    /// As far as it can tell.
    pub size: TierSize,
}

impl Cache {
    /// What it did.
    pub fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// For whom it is on.
    pub fn switches(&self) -> &Switches {
        &self.0.switches
    }

    /// What it has.
    pub async fn report(&self) -> Report {
        let l1 = self.0.memory.size();
        let l2 = match &self.0.l2 {
            None => None,
            Some(tier) => {
                Some(L2Report { name: tier.name(), is_current: tier.is_current(), size: tier.size().await })
            }
        };
        Report { l1, l2 }
    }
}

//! Making values a miss by hand: a record, an entity, a tenant, keys of a pattern, everything.
//!
//! What was asked for is also told to the other nodes, by rows that their feeds read within a second.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::CacheAdmin;
use crate::base::id::InvalidId;
use crate::base::principal::Scope;
use crate::base::{Code, EntityName, Error, Principal, Result, TenantId, Timestamp};
use crate::cache::{Invalidation, announce};
use crate::db::Urgency;
use crate::db::audit::{self, Action, Entry};

/// What belongs to all tenants; in keys too.
const GLOBAL: &str = "global";
/// No key is longer, and few ids are.
const TEXT_BYTES_MAX: usize = 512;

/// Whose values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// A tenant's.
    Tenant(TenantId),
    /// Those of no tenant, `global`.
    Nobody,
}

impl FromStr for Whose {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text == GLOBAL { Ok(Self::Nobody) } else { text.parse().map(Self::Tenant) }
    }
}

/// What is to be read from the database again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whose; `None`: those of the tenant that is acted in, and for an operator also nobody's.
    pub tenant: Option<Whose>,
    /// Of this kind only.
    pub entity: Option<EntityName>,
    /// This record only, and all lists of its kind.
    pub id: Option<String>,
    /// Keys like this one, in place of all of the above.
    pub pattern: Option<String>,
}

/// What was made a miss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalidated {
    /// As patterns of keys.
    pub what: Vec<String>,
    /// From then on nobody is answered with what was there before; on other nodes a second later.
    pub at: Timestamp,
}

impl CacheAdmin {
    /// Makes what is `wanted` a miss. Again: the same.
    ///
    /// # Errors
    /// `Forbidden` without the scope `write`, and for another tenant's values unless `who` is an operator;
    /// `InvalidRequest` for an id without its entity, for an entity that is none, for a pattern beside the rest, and for
    /// any pattern where the second tier is a Redis cluster.
    pub async fn invalidate(&self, who: &Principal, mut wanted: Wanted) -> Result<Invalidated> {
        who.require(Scope::Write)?;
        self.check(who, &wanted)?;
        if let (Some(entity), Some(id)) = (&wanted.entity, &wanted.id) {
            wanted.id = Some(self.entities.id_of(entity, id).await?);
        }
        let changed = plan(who, wanted);
        self.tell(&changed, None).await?;
        Ok(Invalidated { what: changed.iter().flat_map(patterns).collect(), at: self.clock.now() })
    }

    /// Makes everything a miss.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator.
    pub async fn clear(&self, who: &Principal) -> Result<Timestamp> {
        who.require_operator()?;
        let entry = Entry::new(who, Action::CacheCleared, &"cache", self.clock.now()).of(None);
        self.tell(&[Invalidation::All], Some(entry)).await?;
        // Nothing of it stands; its memory is free too.
        self.cache.forget_matching("*").await;
        Ok(self.clock.now())
    }

    fn check(&self, who: &Principal, wanted: &Wanted) -> Result<()> {
        let refuse = |detail: String| Err(Error::new(Code::InvalidRequest, detail));
        if let Some(pattern) = &wanted.pattern {
            if wanted.entity.is_some() || wanted.id.is_some() || wanted.tenant.is_some() {
                return refuse("a pattern says all by itself: leave out tenant, entity and id".to_owned());
            }
            if pattern.is_empty() || pattern.len() > TEXT_BYTES_MAX {
                return refuse(format!("a pattern has 1 to {TEXT_BYTES_MAX} bytes"));
            }
            let own = format!("cifra:{}:", who.tenant());
            if !who.is_operator() && !pattern.starts_with(&own) {
                let detail = format!("your patterns begin with `{own}`; others need an operator's key");
                return Err(Error::new(Code::Forbidden, detail));
            }
        }
        let own = matches!(&wanted.tenant, Some(Whose::Tenant(tenant)) if tenant == who.tenant());
        if wanted.tenant.is_some() && !own {
            who.require_operator()?;
        }
        match (&wanted.entity, &wanted.id) {
            (None, Some(_)) => return refuse("an id needs the entity that it is of: send both".to_owned()),
            (Some(_), Some(id)) if id.is_empty() || id.len() > TEXT_BYTES_MAX => {
                return refuse(format!("an id has 1 to {TEXT_BYTES_MAX} bytes"));
            }
            (Some(entity), _) if !self.knows(entity) || !self.entities.may_see(who, entity) => {
                let mut known = BTreeSet::from(EntityName::BUILT_IN);
                let visible = self.cache.figures().entities().filter(|name| self.entities.may_see(who, name));
                known.extend(visible.map(EntityName::as_str));
                let known = Vec::from_iter(known).join(", ");
                return refuse(format!("there is no entity `{entity}`: there are {known}"));
            }
            (Some(entity), _) if self.entities.is_shared(entity) && !who.is_operator() => {
                let detail = format!("`{entity}` belongs to all tenants: that needs an operator's key");
                return Err(Error::new(Code::Forbidden, detail));
            }
            _ => {}
        }
        Ok(())
    }

    fn knows(&self, entity: &EntityName) -> bool {
        entity.is_built_in() || self.cache.figures().entities().any(|known| known == entity)
    }

    /// Writes it down for the other nodes, with `entry`, and does it here.
    async fn tell(&self, changed: &[Invalidation], entry: Option<Entry>) -> Result<()> {
        // First what the second tier may refuse.
        for pattern in changed.iter().filter_map(Invalidation::pattern) {
            self.cache.delete_pattern(pattern).await?;
        }
        let others = changed.to_vec();
        self.db
            .write(Urgency::Normal, move |c| {
                let (others, entry) = (others.clone(), entry.clone());
                Box::pin(async move {
                    announce(c, &others).await?;
                    match entry {
                        Some(entry) => audit::insert(c, &entry).await,
                        None => Ok(()),
                    }
                })
            })
            .await?;
        self.cache.invalidate(changed).await;
        Ok(())
    }
}

/// What is asked for, for each tenant whose it may be.
fn plan(who: &Principal, wanted: Wanted) -> Vec<Invalidation> {
    if let Some(pattern) = wanted.pattern {
        return vec![Invalidation::Pattern(pattern)];
    }
    let own = || Some(who.tenant().clone());
    let tenants = match wanted.tenant {
        Some(Whose::Tenant(tenant)) => vec![Some(tenant)],
        Some(Whose::Nobody) => vec![None],
        None if who.is_operator() => vec![own(), None],
        None => vec![own()],
    };
    let one = |tenant| match (wanted.entity.clone(), wanted.id.clone()) {
        (Some(entity), Some(id)) => Invalidation::Record { tenant, entity, id },
        (Some(entity), None) => Invalidation::Entity { tenant, entity },
        (None, _) => Invalidation::Tenant(tenant),
    };
    tenants.into_iter().map(one).collect()
}

/// Which keys it concerns.
fn patterns(changed: &Invalidation) -> Vec<String> {
    let whose = |tenant: &Option<TenantId>| tenant.as_ref().map_or(GLOBAL, TenantId::as_str).to_owned();
    match changed {
        Invalidation::Record { tenant, entity, id } => {
            let before = format!("cifra:{}:{entity}", whose(tenant));
            vec![format!("{before}:{id}:*"), format!("{before}:list:*"), format!("{before}:by:*")]
        }
        Invalidation::Entity { tenant, entity } => vec![format!("cifra:{}:{entity}:*", whose(tenant))],
        Invalidation::Everywhere(entity) => vec![format!("cifra:*:{entity}:*")],
        Invalidation::Tenant(tenant) => vec![format!("cifra:{}:*", whose(tenant))],
        Invalidation::Pattern(pattern) => vec![pattern.clone()],
        Invalidation::All => vec!["cifra:*".to_owned()],
        Invalidation::Switches => Vec::new(),
    }
}

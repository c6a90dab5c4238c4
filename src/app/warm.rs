//! Warming: what is likely to be asked for is read through the cache before anybody does: at start, and when an operator
//! says so. Bounded in number and in time, one read after the other, so that nobody waits because of it.

use std::sync::Arc;
use std::time::Duration;

use super::Services;
use crate::base::page::Limit;
use crate::base::principal::Actor;
use crate::base::{Principal, Result, TenantId};
use crate::telemetry::Tasks;

/// It ends after this, wherever it is.
const WARMED_FOR: Duration = Duration::from_secs(30);
/// The feed follows changes by then, or the database is away.
const FEED_WAIT_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// At most so many tenants, and so many of each of them where an entity's rows are of tenants.
const TENANTS_MAX: u32 = 500;
/// Files that were read last.
const FILES_MAX: u32 = 1_000;

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Warmed {
    /// Tenants.
    pub tenants: u64,
    /// Files, those that were read last.
    pub files: u64,
    /// First pages of entities that are marked `warm`.
    pub pages: u64,
}

impl Services {
    /// Reads tenants, the files that were read last and the first pages of entities that are marked `warm`; as much of it as
    /// half a minute allows. Nothing while the cache is off.
    ///
    /// # Errors
    /// `Forbidden` unless `who` is an operator; `Unavailable`.
    pub async fn warm(&self, who: &Principal) -> Result<Warmed> {
        who.require_operator()?;
        let mut warmed = Warmed::default();
        if !self.cache.switches().is_on_globally() {
            // Nothing of it would be kept.
            return Ok(warmed);
        }
        // What is not read by then is read when somebody asks for it.
        if let Ok(done) = tokio::time::timeout(WARMED_FOR, self.read_all(&mut warmed)).await {
            done?;
        } else {
            tracing::info!("warming the cache took too long, the rest is left");
        }
        Ok(warmed)
    }

    async fn read_all(&self, warmed: &mut Warmed) -> Result<()> {
        let operator = Principal::operator(TenantId::default_tenant(), Actor::Service);
        let tenants = self.auth.tenants(&operator, TENANTS_MAX, None).await?.value.items;
        for tenant in &tenants {
            self.auth.tenant(&operator, &tenant.id).await?;
            warmed.tenants += 1;
        }
        for (entity, of_tenants) in self.entities.warm() {
            let own = tenants.iter().map(|tenant| Principal::operator(tenant.id.clone(), Actor::Service));
            let whose: Vec<Principal> = if of_tenants { own.collect() } else { vec![operator.clone()] };
            for who in whose {
                match self.entities.list(&who, entity, &Vec::new(), Limit::default(), None).await {
                    Ok(_) => warmed.pages += 1,
                    // Its table may have changed; that is told to whoever asks for it.
                    Err(error) => {
                        tracing::warn!(%entity, %error, "`{entity}` was not warmed: {error}");
                        break;
                    }
                }
            }
        }
        for (tenant, file) in self.files.read_last(FILES_MAX).await? {
            // It may be deleted meanwhile.
            let read = self.files.record(&Principal::service(tenant), file).await;
            warmed.files += u64::from(read.is_ok());
        }
        Ok(())
    }
}

/// Warms beside everything else.
pub(super) fn start(services: &Arc<Services>, tasks: &Tasks) {
    let (services, stopping) = (Arc::clone(services), tasks.stopping().clone());
    tasks.spawn("warm the cache", async move {
        let operator = Principal::operator(TenantId::default_tenant(), Actor::Service);
        let warming = async {
            // What is read before the feed begins to follow changes would not count after that.
            let watched = async {
                while !services.cache.is_watched() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            drop(tokio::time::timeout(FEED_WAIT_MAX, watched).await);
            services.warm(&operator).await
        };
        match stopping.run_until_cancelled(warming).await {
            Some(Ok(Warmed { tenants, files, pages })) => tracing::debug!(
                tenants,
                files,
                pages,
                "warmed the cache: {tenants} tenants, {files} files, {pages} pages of entities"
            ),
            Some(Err(error)) => tracing::warn!(%error, "the cache was not warmed: {error}"),
            None => {}
        }
    });
}

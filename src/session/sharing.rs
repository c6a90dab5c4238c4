//! What sessions are to several nodes: who writes a chunk anywhere, what others did, what need not be asked for twice.
//! Where there is one node, or no Redis, the same methods answer for this process and the database alone.

use std::time::Duration;

use tokio::time::Instant;

use super::nodes::{Answer, Nodes};
use super::outbox::Outbox;
use super::{Claim, Sessions};
use crate::base::{ChunkIndex, Result, TenantId, UploadId};
use crate::db::Db;
use crate::db::parts::{self, Receipt};
use crate::db::uploads::Upload;
use crate::redis::Redis;
use crate::telemetry::Tasks;

/// A claim of another node is waited for this long: it may be that of a sender who has just left.
const CLAIM_WAIT_MAX: Duration = Duration::from_millis(100);
const CLAIM_TRY_EVERY: Duration = Duration::from_millis(20);
/// How often somebody looks for what other nodes did while these are not heard.
const LOOK_EVERY_UNHEARD: Duration = Duration::from_millis(750);
/// And where there is nothing to look for, or it is heard.
const LOOK_EVERY: Duration = Duration::from_secs(15);

impl Sessions {
    /// The same, with other nodes that are met in Redis.
    #[must_use]
    pub fn with_nodes(mut self, redis: Redis, tasks: &Tasks) -> Self {
        let outbox = Outbox::default();
        self.signals.tell(outbox.clone());
        self.nodes = Some(Nodes::join(redis, self.node, tasks, outbox, &self.claims, &self.signals));
        self
    }

    /// Claims a chunk; `None` while somebody else has it, on any node.
    pub async fn claim(&self, id: UploadId, index: ChunkIndex) -> Option<Claim> {
        let mut claim = self.claims.take(id, index)?;
        let Some(nodes) = &self.nodes else { return Some(claim) };
        let patience = Instant::now() + CLAIM_WAIT_MAX;
        loop {
            match nodes.claim(id, index, claim.cut()).await {
                Answer::Taken(pledge, copy) => {
                    claim.add(pledge, copy);
                    return Some(claim);
                }
                Answer::Busy if Instant::now() >= patience => return None,
                Answer::Busy => tokio::time::sleep(CLAIM_TRY_EVERY).await,
            }
        }
    }

    /// Whether anybody is writing to `id`, on any node that is heard of.
    pub async fn is_written(&self, id: UploadId) -> bool {
        if self.claims.any(id) {
            return true;
        }
        match &self.nodes {
            None => false,
            Some(nodes) => nodes.others(id).await.is_some_and(|count| count > 0),
        }
    }

    /// Tells all writers of `id` to let go, and waits until those of this process have, and, for a while, those of
    /// others. To be called when the journal takes no more receipts for it, so that no writer comes after.
    pub async fn drain(&self, id: UploadId) {
        let elsewhere = async {
            if let Some(nodes) = &self.nodes {
                nodes.drain(id).await;
            }
        };
        tokio::join!(self.claims.drain(id), elsewhere);
    }

    /// How often to look for changes beside the signals: another node may give none.
    pub fn look_every(&self) -> Duration {
        match (&self.nodes, &self.db) {
            (Some(nodes), _) if nodes.hears() => LOOK_EVERY,
            // Nobody else has this database.
            (_, Db::Sqlite(_)) => LOOK_EVERY,
            _ => LOOK_EVERY_UNHEARD,
        }
    }

    /// How many bytes of the upload are hashed for its end, as told by whoever works on it; or as they have kept.
    pub async fn progress(&self, id: UploadId, total_size: u64) -> Result<u64> {
        if let Some(nodes) = &self.nodes
            && let Some(done) = nodes.progress(id).await
        {
            return Ok(done.min(total_size));
        }
        Ok(self.checkpoint(id, total_size).await?.map_or(0, |kept| kept.offset))
    }

    /// The session and the receipt of the chunk that `claim` is for, both of the same moment.
    pub async fn load_claimed(
        &self,
        tenant: &TenantId,
        claim: &Claim,
    ) -> Result<Option<(Upload, Option<Receipt>)>> {
        let (owner, id, index) = (tenant.clone(), claim.upload(), claim.index());
        if let Some(copy) = claim.copy().filter(|copy| copy.tenant == *tenant) {
            let read = self
                .db
                .read(move |c| Box::pin(async move { parts::read_moving(c, &owner, id, index).await }));
            let read = read.await?;
            return Ok(read.map(|(moving, receipt)| (moving.of(copy.clone()), receipt)));
        }
        let read = self.db.read(move |c| Box::pin(async move { parts::read(c, &owner, id, index).await }));
        let read = read.await?;
        if let (Some(nodes), Some((upload, _))) = (&self.nodes, &read) {
            nodes.keep_copy(upload);
        }
        Ok(read)
    }
}

//! The other nodes, by way of Redis: who writes which chunk anywhere, who is told of what, how far a finalize is.
//!
//! Nothing here is the truth. While Redis is away claims are those of the process alone, and signals are looked for in
//! the database: a receipt counts once all the same. Keys are `cifra:{database}:…:{upload}`, the upload's id being the
//! hash tag, and all of them end by themselves. Called by [`super::Sessions`], `claims` and `signals`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::outbox::{News, Outbox};
use super::{Claims, Signals, copy, scripts};
use crate::base::{ChunkIndex, UploadId};
use crate::db::uploads::Upload;
use crate::redis::{Away, Heard, Redis, Script};
use crate::telemetry::Tasks;

/// A claim whose holder is not heard of for this long is nobody's. A node that was killed keeps others waiting for as
/// long; one that was stopped for longer finds out before it journals.
pub(super) const CLAIM_TTL: Duration = Duration::from_secs(10);
/// Chunks that take longer have their claims renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// While the service stops, whether the last writer has ended is looked for this often.
const STOP_LOOK_EVERY: Duration = Duration::from_millis(20);
/// How far a finalize is, of which nothing more was told.
const PROGRESS_TTL: Duration = Duration::from_mins(1);
/// How long an end waits for writers on other nodes.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(5);
const DRAIN_LOOK_EVERY_MAX: Duration = Duration::from_millis(100);
/// What changes in this time is told at once.
const BETWEEN_TELLINGS: Duration = Duration::from_millis(20);
/// At most this many uploads are named in one message.
const IDS_PER_MESSAGE: usize = 1_000;

/// A message begins with the node that sends it, and this.
const CHANGED: u8 = b'c';
const CUT: u8 = b'x';
const HEAD_BYTES: usize = 17;
const ID_BYTES: usize = 16;

/// See the module. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Nodes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    redis: Redis,
    node: Uuid,
    tasks: Tasks,
    outbox: Outbox,
    serial: AtomicU64,
    held: Mutex<HashMap<Token, Held>>,
    claim: Script,
    release: Script,
    others: Script,
}

/// The node, and a number that is never used again.
type Token = [u8; 24];

/// A claim that this node has in Redis, or may have.
#[derive(Debug)]
struct Held {
    upload: UploadId,
    index: ChunkIndex,
    confirmed: Instant,
    lost: CancellationToken,
}

/// What became of a claim.
pub(super) enum Answer {
    /// It is ours; the hot copy, if there is one.
    Taken(Pledge, Option<Box<Upload>>),
    /// Another node has it.
    Busy,
}

/// A claim in Redis, or one that could not be asked for there. To be given back.
#[derive(Debug)]
pub(super) struct Pledge {
    nodes: Nodes,
    token: Token,
}

impl Nodes {
    /// Joins the others: hears them from now on, and tells them what is in `outbox`.
    pub(super) fn join(
        redis: Redis,
        node: Uuid,
        tasks: &Tasks,
        outbox: Outbox,
        claims: &Claims,
        signals: &Signals,
    ) -> Self {
        let nodes = Self(Arc::new(Shared {
            redis,
            node,
            tasks: tasks.clone(),
            outbox,
            serial: AtomicU64::default(),
            held: Mutex::default(),
            claim: Script::new(scripts::CLAIM),
            release: Script::new(scripts::RELEASE),
            others: Script::new(scripts::OTHERS),
        }));
        // Who waits for signals begins to look, or to trust in them again.
        let (mut works, signals_of_change) = (nodes.0.redis.watch(), signals.clone());
        let stopping = tasks.stopping().clone();
        tasks.spawn("notice redis", async move {
            let noticing = async {
                while works.changed().await.is_ok() {
                    signals_of_change.heard_of_all();
                }
            };
            stopping.run_until_cancelled(noticing).await;
        });
        let (claims, signals) = (claims.clone(), signals.clone());
        nodes.0.redis.listen(move |heard| match heard {
            Heard::Gap => signals.heard_of_all(),
            Heard::Message(message) => take_message(message, node, &claims, &signals),
        });
        let (teller, keeper, stopping) = (nodes.clone(), nodes.clone(), tasks.stopping().clone());
        tasks.spawn("tell other nodes", async move {
            stopping.run_until_cancelled(teller.tell_for_ever()).await;
        });
        // Writers finish while the service stops: their claims are kept until the last of them.
        let stopping = tasks.stopping().clone();
        tasks.spawn("keep claims", async move {
            while !(stopping.is_cancelled() && keeper.held().is_empty()) {
                tokio::select! {
                    () = stopping.cancelled(), if !stopping.is_cancelled() => {}
                    () = tokio::time::sleep(pause(&stopping)) => keeper.renew_all().await,
                }
            }
        });
        nodes
    }

    /// Whether other nodes are heard: then nobody has to look for what they did.
    pub(super) fn hears(&self) -> bool {
        self.0.redis.works() && self.0.redis.hears()
    }

    /// Claims a chunk against other nodes. With Redis away it is ours as far as anybody knows. `lost` is cancelled when
    /// it turns out to be somebody else's.
    pub(super) async fn claim(
        &self,
        upload: UploadId,
        index: ChunkIndex,
        lost: &CancellationToken,
    ) -> Answer {
        let token = self.new_token();
        // Kept before it is asked for: an answer that does not come in time may be a yes.
        let held = Held { upload, index, confirmed: Instant::now(), lost: lost.clone() };
        self.held().insert(token, held);
        let pledge = Pledge { nodes: self.clone(), token };
        match self.ask(upload, index, &token).await {
            Ok((1, bytes)) => {
                let copy = bytes.and_then(|bytes| copy::decode(upload, &bytes));
                Answer::Taken(pledge, copy.map(Box::new))
            }
            Ok(_) => Answer::Busy,
            Err(Away) => Answer::Taken(pledge, None),
        }
    }

    async fn ask(
        &self,
        upload: UploadId,
        index: ChunkIndex,
        token: &Token,
    ) -> Result<(u32, Option<Vec<u8>>), Away> {
        let (claims, copy) = (self.key("claims", upload), self.key("copy", upload));
        let (index, ttl) = (index.get().to_string(), CLAIM_TTL.as_millis().to_string());
        let arguments: [&[u8]; 3] = [index.as_bytes(), token, ttl.as_bytes()];
        self.0.redis.run(&self.0.claim, &[&claims, &copy], &arguments).await
    }

    /// Keeps a copy until `ttl` is over, in the background.
    pub(super) fn keep_copy(&self, upload: &Upload) {
        let (nodes, key, bytes) = (self.clone(), self.key("copy", upload.id), copy::encode(upload));
        let ttl = upload.expires_at.since(upload.updated_at).max(CLAIM_TTL);
        self.0.tasks.spawn("keep copy", async move { nodes.set(&key, &bytes, ttl).await });
    }

    async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), Away> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("PX").arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX >> 1));
        self.0.redis.command(&command).await
    }

    /// How many chunks of `upload` other nodes are writing now; `None` while nobody can tell.
    pub(super) async fn others(&self, upload: UploadId) -> Option<u64> {
        let key = self.key("claims", upload);
        self.0.redis.run(&self.0.others, &[&key], &[self.0.node.as_bytes()]).await.ok()
    }

    /// Tells the writers of `upload` on other nodes to let go, and waits until they have, but not for ever: whoever
    /// does not hear this finds that the journal takes no receipt of theirs.
    pub(super) async fn drain(&self, upload: UploadId) {
        let (patience, mut pause) = (Instant::now() + DRAIN_WAIT_MAX, Duration::from_millis(2));
        while self.others(upload).await.is_some_and(|count| count > 0) && Instant::now() < patience {
            let _ = self.0.redis.publish(&self.message(CUT, [upload])).await;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(DRAIN_LOOK_EVERY_MAX);
        }
    }

    /// How far the finalize of `upload` is, as the node that works on it told.
    pub(super) async fn progress(&self, upload: UploadId) -> Option<u64> {
        let mut command = redis::cmd("GET");
        command.arg(self.key("front", upload));
        self.0.redis.command(&command).await.ok().flatten()
    }

    async fn tell_for_ever(&self) {
        loop {
            let news = self.0.outbox.take().await;
            // While Redis is away the others look for themselves.
            let _ = self.tell(news).await;
            tokio::time::sleep(BETWEEN_TELLINGS).await;
        }
    }

    async fn tell(&self, news: News) -> Result<(), Away> {
        let ids: Vec<UploadId> = news.keys().copied().collect();
        let progress = news.into_iter().filter_map(|(id, done)| Some((id, done?)));
        let told = join_all(progress.map(|(id, done)| async move {
            self.set(&self.key("front", id), done.to_string().as_bytes(), PROGRESS_TTL).await
        }));
        told.await.into_iter().collect::<Result<(), Away>>()?;
        for some in ids.chunks(IDS_PER_MESSAGE) {
            self.0.redis.publish(&self.message(CHANGED, some.iter().copied())).await?;
        }
        Ok(())
    }

    fn message(&self, kind: u8, ids: impl IntoIterator<Item = UploadId>) -> Vec<u8> {
        let mut message = self.0.node.as_bytes().to_vec();
        message.push(kind);
        for id in ids {
            message.extend_from_slice(id.as_uuid().as_bytes());
        }
        message
    }

    async fn renew_all(&self) {
        let due: Vec<(Token, UploadId, ChunkIndex)> = self
            .held()
            .iter()
            .filter(|(_, held)| held.confirmed.elapsed() >= RENEW_EVERY && !held.lost.is_cancelled())
            .map(|(token, held)| (*token, held.upload, held.index))
            .collect();
        for (token, upload, index) in due {
            self.renew(&token, upload, index).await;
        }
    }

    /// `false` if somebody else has it by now.
    async fn renew(&self, token: &Token, upload: UploadId, index: ChunkIndex) -> bool {
        let asked = Instant::now();
        let answer = self.ask(upload, index, token).await;
        let mut all = self.held();
        match (answer, all.get_mut(token)) {
            (Ok((1, _)), Some(held)) => held.confirmed = asked,
            // Given back meanwhile, and taken again by this renewal.
            (Ok((1, _)), None) => {
                drop(all);
                self.give_back(*token, upload, index);
            }
            (Ok(_), held) => {
                if let Some(held) = held {
                    held.lost.cancel();
                }
                return false;
            }
            (Err(Away), _) => {}
        }
        true
    }

    /// In the background. While Redis is away it waits for it, for as long as the claim would last there: else another
    /// node would be kept waiting for somebody who is done.
    fn give_back(&self, token: Token, upload: UploadId, index: ChunkIndex) {
        if tokio::runtime::Handle::try_current().is_err() {
            return; // the process ends, and has not stopped in order: the claim lapses
        }
        let (nodes, stopping) = (self.clone(), self.0.tasks.stopping().clone());
        self.0.tasks.spawn("give claim back", async move {
            let key = nodes.key("claims", upload);
            let index = index.get().to_string();
            let release = async || {
                let arguments: [&[u8]; 2] = [index.as_bytes(), &token];
                nodes.0.redis.run::<u32>(&nodes.0.release, &[&key], &arguments).await
            };
            if release().await.is_ok() {
                return;
            }
            let healed = tokio::time::timeout(CLAIM_TTL, nodes.0.redis.healed());
            if let Some(Ok(())) = stopping.run_until_cancelled(healed).await {
                let _ = release().await;
            }
        });
    }

    fn new_token(&self) -> Token {
        let mut token = [0; 24];
        token[..16].copy_from_slice(self.0.node.as_bytes());
        token[16..].copy_from_slice(&self.0.serial.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        token
    }

    fn key(&self, what: &str, upload: UploadId) -> String {
        format!("{}:{what}:{{{upload}}}", self.0.redis.prefix())
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Token, Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(stopping: &CancellationToken) -> Duration {
    if stopping.is_cancelled() { STOP_LOOK_EVERY } else { RENEW_EVERY }
}

fn take_message(message: &[u8], node: Uuid, claims: &Claims, signals: &Signals) {
    // Of another version, or our own: the one means nothing, the other nothing new.
    let Some((head, ids)) = message.split_at_checked(HEAD_BYTES) else { return };
    if &head[..ID_BYTES] == node.as_bytes() {
        return;
    }
    for id in ids.chunks_exact(ID_BYTES) {
        let Ok(id) = Uuid::from_slice(id).map(UploadId::from_uuid) else { continue };
        match head[ID_BYTES] {
            CHANGED => signals.heard_of(id),
            CUT => claims.cut(id),
            _ => {}
        }
    }
}

impl Pledge {
    /// Whether it still is ours. Asks only if that is not sure: the process may have been stopped for a while.
    pub(super) async fn stands(&self) -> bool {
        let (upload, index) = match self.nodes.held().get(&self.token) {
            None => return false,
            Some(held) if held.lost.is_cancelled() => return false,
            Some(held) if held.confirmed.elapsed() < CLAIM_TTL => return true,
            Some(held) => (held.upload, held.index),
        };
        self.nodes.renew(&self.token, upload, index).await
    }
}

impl Drop for Pledge {
    fn drop(&mut self) {
        let held = self.nodes.held().remove(&self.token);
        if let Some(held) = held {
            self.nodes.give_back(self.token, held.upload, held.index);
        }
    }
}

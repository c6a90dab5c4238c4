//! Reads of the first tier: ours in this program, bentocache's in a process of its own, the same keys and as many.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use cifra::base::{EntityName, Principal, SystemClock, TenantId};
use cifra::cache::{Cache, CacheKey, Entity, Source};
use cifra::config::Config;
use cifra::telemetry::Tasks;
use serde::{Deserialize, Serialize};

use crate::servers::Places;
use crate::{Result, fail};

const KEYS: usize = 10_000;
const READS: usize = 1_000_000;
/// Each of these is timed alone.
const TIMED: usize = 100_000;

/// How fast a cache was.
#[derive(Deserialize)]
pub(super) struct Speed {
    /// Reads in a second, on one core.
    pub(super) per_second: f64,
    /// Half of all reads take no longer.
    pub(super) p50_ns: f64,
}

/// Both, right after each other.
pub(super) struct Round {
    pub(super) cifra: Speed,
    pub(super) bentocache: Speed,
}

pub(super) fn round(places: &Places, round: usize) -> Result<Round> {
    // Who is first changes.
    let (cifra, bentocache) = if round.is_multiple_of(2) {
        let cifra = ours(places)?;
        (cifra, theirs(places)?)
    } else {
        let theirs = theirs(places)?;
        (ours(places)?, theirs)
    };
    eprintln!("memory: {:.0}/s, bentocache {:.0}/s", cifra.per_second, bentocache.per_second);
    Ok(Round { cifra, bentocache })
}

fn theirs(places: &Places) -> Result<Speed> {
    let folder = places.peers.join("bentocache");
    let mut node = Command::new("node");
    node.arg("bentocache.mjs").args([KEYS.to_string(), READS.to_string()]);
    let output = node.current_dir(folder).env("NODE_ENV", "production").output()?;
    if !output.status.success() {
        return fail(format!("bentocache: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Something of the size that bentocache has too.
#[derive(Serialize, Deserialize)]
struct Contact {
    id: usize,
    filename: String,
    size: u64,
    content_type: String,
    metadata: std::collections::BTreeMap<String, String>,
}

impl Contact {
    fn number(id: usize) -> Self {
        Self {
            id,
            filename: format!("report-{id}.pdf"),
            size: 123_456,
            content_type: "application/pdf".to_owned(),
            metadata: [("project".to_owned(), "apollo".to_owned())].into(),
        }
    }
}

fn ours(places: &Places) -> Result<Speed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = Config::builtin(&places.runs).cache;
    runtime.block_on(async {
        let cache = Cache::new(&config, Arc::new(SystemClock::default()), Tasks::default(), None);
        let contact = cache.entity(EntityName::of("Contact"), 1);
        let tenant: TenantId = "acme".parse()?;
        let who = Principal::open(tenant.clone());
        let keys: Vec<CacheKey> =
            (0..KEYS).map(|id| CacheKey::record(Some(&tenant), &contact, &id.to_string())).collect();
        for (id, key) in keys.iter().enumerate() {
            read(&cache, &contact, key, &who, id).await?;
        }
        let mut order = Order(1);
        for _ in 0..READS / 4 {
            let id = order.next();
            read(&cache, &contact, &keys[id], &who, id).await?;
        }
        let begun = Instant::now();
        for _ in 0..READS {
            let id = order.next();
            if read(&cache, &contact, &keys[id], &who, id).await? != Source::L1 {
                return fail("a miss".to_owned());
            }
        }
        let per_second = READS as f64 / begun.elapsed().as_secs_f64();
        let mut each = Vec::with_capacity(TIMED);
        for _ in 0..TIMED {
            let id = order.next();
            let from = Instant::now();
            read(&cache, &contact, &keys[id], &who, id).await?;
            each.push(from.elapsed());
        }
        each.sort_unstable();
        Ok(Speed { per_second, p50_ns: each[TIMED / 2].as_secs_f64() * 1e9 })
    })
}

async fn read(cache: &Cache, contact: &Entity, key: &CacheKey, who: &Principal, id: usize) -> Result<Source> {
    let read = cache.read(contact, key, who, move || async move { Ok(Some(Contact::number(id))) }).await?;
    match read.value {
        Some(value) if value.id == id => Ok(read.source),
        _ => fail("another value".to_owned()),
    }
}

/// The same order of keys as bentocache's.
struct Order(u64);

impl Order {
    fn next(&mut self) -> usize {
        self.0 = (self.0 * 1_103_515_245 + 12_345) & 0x7fff_ffff;
        usize::try_from(self.0).unwrap_or_default() % KEYS
    }
}

//! Every metric: its name, unit and labels. Code elsewhere calls these functions, never `metrics` itself.
//!
//! The recorder belongs to the process: several apps in one process (tests) count together.

mod many;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const HTTP_REQUESTS: &str = "cifra_http_requests_total";
const HTTP_SECONDS: &str = "cifra_http_request_duration_seconds";
const STAGE_SECONDS: &str = "cifra_chunk_stage_duration_seconds";
const RECEIVED_BYTES: &str = "cifra_chunk_received_bytes_total";
const CHUNKS: &str = "cifra_chunks_total";
const UPLOADS: &str = "cifra_uploads_total";
const FINALIZE_SECONDS: &str = "cifra_finalize_stage_duration_seconds";
const CONNECTIONS_REFUSED: &str = "cifra_http_connections_refused_total";
const IN_FLIGHT: &str = "cifra_http_requests_in_flight";
const FILES: &str = "cifra_files_created_total";
const FILE_BYTES: &str = "cifra_files_created_bytes_total";
const WATCHERS: &str = "cifra_upload_watchers";
const CONNECTIONS: &str = "cifra_http_connections";
const REDIS_COMMANDS: &str = "cifra_redis_commands_total";
const REDIS_SECONDS: &str = "cifra_redis_command_duration_seconds";
const REDIS_WORKS: &str = "cifra_redis_works";
const PARTS_IN_FLIGHT: &str = "cifra_parts_in_flight_bytes";
const SWEPT: &str = "cifra_sweeper_actions_total";
const THUMBNAIL_SECONDS: &str = "cifra_thumbnail_stage_duration_seconds";
const THUMBNAIL_DECODES: &str = "cifra_thumbnail_decodes_total";
const THUMBNAIL_REJECTS: &str = "cifra_thumbnail_rejects_total";
const THUMBNAIL_ANSWERS: &str = "cifra_thumbnail_answers_total";
const THUMBNAIL_BYTES: &str = "cifra_thumbnail_admitted_bytes";
const THUMBNAIL_QUEUE: &str = "cifra_thumbnail_queue_length";
const WRITE_BEHIND: &str = "cifra_write_behind_writes_total";
const CLOCK_OFFSET: &str = "cifra_clock_offset_seconds";
const CLOCK_CERTAIN: &str = "cifra_clock_certain";
const CACHE_READS: &str = "cifra_cache_reads_total";
const CACHE_LOADS: &str = "cifra_cache_loads_total";
const CACHE_EVICTED: &str = "cifra_cache_evicted_total";
const CACHE_BYTES: &str = "cifra_cache_bytes";
const CACHE_ENTRIES: &str = "cifra_cache_entries";
const CACHE_FEED_LAG: &str = "cifra_cache_feed_lag_seconds";
const CACHE_L2_CURRENT: &str = "cifra_cache_l2_current";
const CACHE_ANSWER_SECONDS: &str = "cifra_cache_answer_duration_seconds";

/// From a chunk journalled in half a millisecond to a finalize of a minute.
const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What happens to a chunk, one after the other; the stages of one chunk add up to its request.
#[derive(Debug, Clone, Copy)]
pub enum ChunkStage {
    /// Waiting for bytes from the client.
    Receive,
    /// Computing checksums.
    Hash,
    /// Writing to the store.
    Write,
    /// Waiting until the bytes are safe from a loss of power (`durability: chunk` only).
    Flush,
    /// Committing the receipt.
    Journal,
}

impl ChunkStage {
    fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Hash => "hash",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Journal => "journal",
        }
    }
}

/// Installs the recorder on the first call; answers what `/metrics` renders from.
///
/// # Panics
/// Never: the buckets are not empty, and nobody else installs a recorder.
pub fn install() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)
            .expect("INVARIANT: the buckets are not empty")
            .install_recorder()
            .expect("INVARIANT: nobody else installs a recorder");
        describe();
        handle
    })
}

fn describe() {
    describe_counter!(HTTP_REQUESTS, "Requests answered, by method, route and status");
    describe_histogram!(HTTP_SECONDS, Unit::Seconds, "From the request's head to the answer's head");
    describe_counter!(CONNECTIONS_REFUSED, "Connections refused because server.max_connections were open");
    describe_gauge!(IN_FLIGHT, "Requests being answered now");
    describe_gauge!(CONNECTIONS, "Connections open now");
    describe_histogram!(STAGE_SECONDS, Unit::Seconds, "What a chunk spent in each stage");
    describe_counter!(RECEIVED_BYTES, Unit::Bytes, "Bytes of accepted chunks");
    describe_counter!(CHUNKS, "Chunks by outcome: accepted, repeated, refused");
    describe_counter!(UPLOADS, "Uploads by event: created, completed, aborted, expired");
    describe_histogram!(FINALIZE_SECONDS, Unit::Seconds, "What a finalize spent in each stage");
    describe_counter!(FILES, "Files that came in one request");
    describe_counter!(FILE_BYTES, Unit::Bytes, "Bytes of files that came in one request");
    describe_gauge!(WATCHERS, "Requests that watch an upload now");
    describe_counter!(REDIS_COMMANDS, "Commands to Redis by outcome: done, failed, skipped (it was away)");
    describe_histogram!(REDIS_SECONDS, Unit::Seconds, "From a command to Redis to its answer");
    describe_gauge!(REDIS_WORKS, "1 while Redis is used, 0 while it is away");
    describe_gauge!(PARTS_IN_FLIGHT, Unit::Bytes, "Reserved now of file_upload.parts_in_flight");
    describe_histogram!(THUMBNAIL_SECONDS, Unit::Seconds, "What a picture spent in each stage");
    describe_counter!(THUMBNAIL_DECODES, "Pictures decoded; each is decoded once for all its thumbnails");
    describe_counter!(THUMBNAIL_REJECTS, "Pictures without thumbnails, by reason");
    describe_counter!(THUMBNAIL_ANSWERS, "Thumbnails answered, by where they came from: memory, store");
    describe_gauge!(THUMBNAIL_BYTES, Unit::Bytes, "What is given now of thumbnails.memory");
    describe_gauge!(THUMBNAIL_QUEUE, "Pictures that wait for memory or for a thread");
    describe_counter!(
        WRITE_BEHIND,
        "Writes that are applied later, by what became of them: queued, applied, failed, dropped"
    );
    describe_counter!(SWEPT, "What the sweeper did, by action");
    describe_counter!(
        CACHE_READS,
        "Reads through the cache, by entity and by what answered: l1, l2, stale, database, bypass"
    );
    describe_counter!(
        CACHE_LOADS,
        "What the cache asked the database, by entity and outcome: answered, failed"
    );
    describe_counter!(CACHE_EVICTED, "Entries that made room for others, by tier");
    describe_gauge!(CACHE_BYTES, Unit::Bytes, "What a tier of the cache has");
    describe_gauge!(CACHE_ENTRIES, "Entries in a tier of the cache");
    describe_gauge!(CACHE_FEED_LAG, Unit::Seconds, "How old what this node knows of changes of others is");
    describe_gauge!(CACHE_L2_CURRENT, "1 while the second tier is read, 0 while it is away or behind");
    describe_gauge!(
        CLOCK_OFFSET,
        Unit::Seconds,
        "What is added to this machine's time to have the database's"
    );
    describe_gauge!(
        CLOCK_CERTAIN,
        "1: that was measured and is at most 60 s; 0: nothing expires on this node"
    );
}

/// A request was answered.
pub fn http_request(method: &str, route: &str, status: u16, elapsed: Duration) {
    let (method, route) = (method.to_owned(), route.to_owned());
    counter!(HTTP_REQUESTS, "method" => method.clone(), "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    histogram!(HTTP_SECONDS, "method" => method, "route" => route).record(elapsed);
}

/// A connection was refused: there are as many as are allowed.
pub fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

/// Requests in flight: `delta` more, or less.
pub fn http_in_flight(delta: i32) {
    gauge!(IN_FLIGHT).increment(f64::from(delta));
}

/// Connections open: `delta` more, or less.
pub fn http_connections(delta: i32) {
    gauge!(CONNECTIONS).increment(f64::from(delta));
}

/// A chunk spent `elapsed` in `stage`.
pub fn chunk_stage(stage: ChunkStage, elapsed: Duration) {
    histogram!(STAGE_SECONDS, "stage" => stage.name()).record(elapsed);
}

/// A chunk of `bytes` was accepted.
pub fn chunk_accepted(bytes: u64) {
    counter!(CHUNKS, "outcome" => "accepted").increment(1);
    counter!(RECEIVED_BYTES).increment(bytes);
}

/// A chunk was `repeated` (the same bytes again) or `refused`.
pub fn chunk_not_stored(outcome: &'static str) {
    counter!(CHUNKS, "outcome" => outcome).increment(1);
}

/// An upload was `created`, `completed`, `aborted` or `expired`.
pub fn upload(event: &'static str) {
    counter!(UPLOADS, "event" => event).increment(1);
}

/// A file of `bytes` came in one request.
pub fn file_created(bytes: u64) {
    counter!(FILES).increment(1);
    counter!(FILE_BYTES).increment(bytes);
}

/// A finalize spent `elapsed` in `stage`: `digest`, `store` or `journal`.
pub fn finalize_stage(stage: &'static str, elapsed: Duration) {
    histogram!(FINALIZE_SECONDS, "stage" => stage).record(elapsed);
}

/// Requests that watch an upload: `delta` more, or less.
pub fn upload_watchers(delta: i32) {
    gauge!(WATCHERS).increment(f64::from(delta));
}

/// A command to Redis was `done`, has `failed`, or was `skipped`.
pub fn redis_command(outcome: &'static str) {
    counter!(REDIS_COMMANDS, "outcome" => outcome).increment(1);
}

/// Redis answered a command.
pub fn redis_answered(elapsed: Duration) {
    histogram!(REDIS_SECONDS).record(elapsed);
}

/// Whether Redis is used.
pub fn redis_works(works: bool) {
    gauge!(REDIS_WORKS).set(f64::from(u8::from(works)));
}

/// Room for parts that wait to be sent: so many bytes are reserved now.
pub fn parts_in_flight(reserved: u64) {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 bytes it is exact")]
    gauge!(PARTS_IN_FLIGHT).set(reserved as f64);
}

/// A picture spent `elapsed` in `stage`: `queue`, `fetch`, `decode`, `resize`, `encode` or `store`.
pub fn thumbnail_stage(stage: &'static str, elapsed: Duration) {
    histogram!(THUMBNAIL_SECONDS, "stage" => stage).record(elapsed);
}

/// A picture was decoded.
pub fn thumbnail_decoded() {
    counter!(THUMBNAIL_DECODES).increment(1);
}

/// A picture has no thumbnails, for this reason.
pub fn thumbnail_rejected(reason: &'static str) {
    counter!(THUMBNAIL_REJECTS, "reason" => reason).increment(1);
}

/// A thumbnail was answered from `memory` or from the `store`.
pub fn thumbnail_answered(from: &'static str) {
    counter!(THUMBNAIL_ANSWERS, "from" => from).increment(1);
}

/// Pictures have `bytes` of memory together, and so many wait for some.
pub fn thumbnails_admitted(bytes: u64, queue_len: usize) {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 bytes it is exact")]
    gauge!(THUMBNAIL_BYTES).set(bytes as f64);
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 it is exact")]
    gauge!(THUMBNAIL_QUEUE).set(queue_len as f64);
}

/// The sweeper did `count` times `action`.
pub fn swept(action: &'static str, count: u64) {
    counter!(SWEPT, "action" => action).increment(count);
}

/// So many writes of `kind` were queued, applied, failed or dropped.
pub fn write_behind(kind: &'static str, outcome: &'static str, writes: usize) {
    counter!(WRITE_BEHIND, "kind" => kind, "outcome" => outcome).increment(writes as u64);
}

/// The machine's clock was compared with the database's.
pub fn clock(offset_micros: i64, certain: bool) {
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    gauge!(CLOCK_OFFSET).set(offset_micros as f64 / 1e6);
    gauge!(CLOCK_CERTAIN).set(if certain { 1.0 } else { 0.0 });
}

/// What the service has counted, in Prometheus' text format.
pub fn render() -> String {
    let mut text = install().render();
    many::render(&mut text);
    text
}

/// So many reads of `entity` were answered from `source`: `l1`, `l2`, `stale`, `database` or `bypass`.
pub fn cache_reads(entity: &str, source: &'static str, count: u64) {
    counter!(CACHE_READS, "entity" => entity.to_owned(), "source" => source).increment(count);
}

/// The database was asked so often for values of `entity`, and `answered`, or `failed`.
pub fn cache_loads(entity: &str, outcome: &'static str, count: u64) {
    counter!(CACHE_LOADS, "entity" => entity.to_owned(), "outcome" => outcome).increment(count);
}

/// Answers of `tier`, `nanos` together: each at least so many nanoseconds, so many times. There may be millions a second.
pub fn cache_answers(tier: &'static str, nanos: u64, answers: impl Iterator<Item = (u64, u64)>) {
    many::add(CACHE_ANSWER_SECONDS, ("tier", tier), nanos, answers);
}

/// Entries of `tier` made room for others.
pub fn cache_evicted(tier: &'static str, count: u64) {
    counter!(CACHE_EVICTED, "tier" => tier).increment(count);
}

/// How much is in `tier`; what it does not know it does not tell.
pub fn cache_size(tier: &'static str, entries: Option<u64>, bytes: Option<u64>) {
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    let tell = |name, number: Option<u64>| {
        if let Some(number) = number {
            gauge!(name, "tier" => tier).set(number as f64);
        }
    };
    tell(CACHE_ENTRIES, entries);
    tell(CACHE_BYTES, bytes);
}

/// What this node knows of changes is so old.
pub fn cache_feed_lag(lag: Duration) {
    gauge!(CACHE_FEED_LAG).set(lag.as_secs_f64());
}

/// Whether the second tier is read.
pub fn cache_l2_current(current: bool) {
    gauge!(CACHE_L2_CURRENT).set(f64::from(u8::from(current)));
}

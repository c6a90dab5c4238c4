//! The tier in a SQLite file: left for the next process, bounded, damaged, somebody else's; what it costs.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cifra::base::{Clock, ManualClock, SystemClock, Timestamp};
use cifra::cache::{Away, CacheTier, Cursor, SqliteOptions, SqliteTier, Tag};
use cifra::telemetry::Tasks;
use sqlx::{ConnectOptions, Connection};
use uuid::Uuid;

use crate::child;
use crate::harness::process::until;
use crate::suites::bytes;
use crate::suites::cache_tier::{fill, it_tells_how_much_is_in_it as tells, key, stands, tenant};

const KEEP: Duration = Duration::from_mins(5);
const MIB: u64 = 1024 * 1024;

/// A file in a folder of its own, and what a process needs to open it.
struct Home {
    folder: tempfile::TempDir,
    options: SqliteOptions,
}

/// A process that has it open.
struct Process {
    tier: SqliteTier,
    tasks: Tasks,
}

impl Home {
    fn new() -> Self {
        Self::bounded(64 * MIB)
    }

    fn bounded(max_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (file, database, boot) = (folder.path().join("data/cache.db"), Uuid::new_v4(), Uuid::new_v4());
        Self { folder, options: SqliteOptions { file, max_bytes, database, boot } }
    }

    async fn open(&self) -> Process {
        self.open_at(Arc::new(SystemClock::default())).await
    }

    async fn open_at(&self, clock: Arc<dyn Clock>) -> Process {
        let tasks = Tasks::default();
        let tier = SqliteTier::start(self.options.clone(), clock, &tasks).await;
        Process { tier, tasks }
    }

    /// Bytes of the file and its log.
    fn len(&self) -> u64 {
        ["data/cache.db", "data/cache.db-wal"]
            .iter()
            .filter_map(|name| fs::metadata(self.folder.path().join(name)).ok())
            .map(|file| file.len())
            .sum()
    }
}

impl Process {
    /// As the feed does.
    fn clear_doubts(&self) {
        self.tier.mark_current(self.tier.doubts());
    }

    async fn end(self) {
        assert!(self.tasks.finish(Duration::from_secs(5)).await);
    }
}

/// What happens to a file while no process has it.
type Change<'a> = &'a dyn Fn(&mut Home);

macro_rules! run {
    ($suite:ident, $name:ident) => {
        let home = super::Home::new();
        let process = home.open().await;
        process.clear_doubts();
        crate::suites::$suite::$name(&process.tier).await;
        process.end().await;
    };
}
use run;

crate::suites::tier_suite!(run);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_how_much_is_in_it() {
    let home = Home::new();
    let process = home.open().await;
    process.clear_doubts();
    tells(&process.tier).await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_leaves_the_next_one_finds() {
    let home = Home::new();
    let process = home.open().await;
    let (kept, changed, at) = (key("kept"), key("changed"), Cursor { place: 7, text: "seven".to_owned() });
    let of_kept = fill(&process.tier, &kept, b"value").await;
    let of_changed = fill(&process.tier, &changed, b"value").await;
    process.tier.advance(&at).await.unwrap();
    process.end().await;
    let mode = fs::metadata(&home.options.file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let process = home.open().await;
    assert!(!process.tier.is_current());
    assert_eq!(process.tier.get(&kept).await, Err(Away), "nobody knows yet what happened meanwhile");
    assert_eq!(process.tier.cursor().await.unwrap(), Some(at));
    process.tier.renew(&changed.tags()[4..]).await.unwrap();
    process.clear_doubts();
    assert!(stands(&process.tier, &kept, &of_kept).await);
    assert!(!stands(&process.tier, &changed, &of_changed).await);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_another_time_is_made_anew() {
    let mut home = Home::new();
    let other_boot = |home: &mut Home| home.options.boot = Uuid::new_v4();
    let other_database = |home: &mut Home| home.options.database = Uuid::new_v4();
    let cut = |home: &mut Home| {
        fs::File::options().write(true).open(&home.options.file).unwrap().set_len(5_000).unwrap();
    };
    let no_database = |home: &mut Home| fs::write(&home.options.file, "no database at all").unwrap();
    let empty = |home: &mut Home| fs::write(&home.options.file, "").unwrap();
    let older = |home: &mut Home| {
        let file = fs::File::options().write(true).open(&home.options.file).unwrap();
        // `user_version` (sqlite.org/fileformat.html, 1.3).
        file.write_all_at(&[0, 0, 0, 77], 60).unwrap();
    };
    let changes: [(&str, Change<'_>); 6] = [
        ("another run of the kernel", &other_boot),
        ("another database", &other_database),
        ("cut off", &cut),
        ("not a database", &no_database),
        ("empty", &empty),
        ("another layout", &older),
    ];
    for (what, change) in changes {
        let process = home.open().await;
        fill(&process.tier, &key("1"), b"value").await;
        process.tier.advance(&Cursor { place: 7, text: "seven".to_owned() }).await.unwrap();
        process.end().await;
        until("it is closed", async || {
            (!home.folder.path().join("data/cache.db-wal").exists()).then_some(())
        })
        .await;
        change(&mut home);

        let process = home.open().await;
        assert_eq!(process.tier.cursor().await.unwrap(), None, "{what}");
        process.clear_doubts();
        assert_eq!(process.tier.get(&key("1")).await.unwrap().entry, None, "{what}");
        fill(&process.tier, &key("1"), b"value").await;
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_programs_database_is_left_alone() {
    let home = Home::new();
    fs::create_dir(home.folder.path().join("data")).unwrap();
    let theirs =
        sqlx::sqlite::SqliteConnectOptions::new().filename(&home.options.file).create_if_missing(true);
    let mut connection = theirs.connect().await.unwrap();
    sqlx::query("CREATE TABLE contacts (id INTEGER)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let before = fs::read(&home.options.file).unwrap();

    let process = home.open().await;
    assert_eq!(process.tier.cursor().await, Err(Away));
    assert_eq!(process.tier.tokens(&key("1"), KEEP).await, Err(Away));
    assert!(fs::read(&home.options.file).unwrap() == before);
    // As soon as it is out of the way, a file is made.
    fs::rename(&home.options.file, home.folder.path().join("theirs.db")).unwrap();
    until("it is made", async || process.tier.cursor().await.ok()).await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_damaged_while_it_is_used_is_made_anew_and_not_believed() {
    let home = Home::new();
    let process = home.open().await;
    process.clear_doubts();
    for id in 0..2_000 {
        process.tier.put(&key(&id.to_string()), bytes(1_000, id), KEEP).await.unwrap();
    }
    process.tier.advance(&Cursor { place: 7, text: "seven".to_owned() }).await.unwrap();
    let (doubts, len) = (process.tier.doubts(), home.len());
    for name in ["data/cache.db", "data/cache.db-wal"] {
        let file = fs::File::options().write(true).open(home.folder.path().join(name)).unwrap();
        let noise = bytes(usize::try_from(file.metadata().unwrap().len()).unwrap(), 1);
        file.write_all_at(&noise[100..], 100).unwrap();
    }
    assert!(len > 2 * MIB);
    // Whatever is answered until somebody notices is what was put, or nothing.
    let noticed = async || {
        for id in 0..2_000 {
            if let Ok(found) = process.tier.get(&key(&id.to_string())).await {
                assert!(found.entry.is_none_or(|entry| entry == bytes(1_000, id)), "{id}");
            }
        }
        (process.tier.doubts() > doubts).then_some(())
    };
    until("it is noticed", noticed).await;
    assert_eq!(process.tier.get(&key("1")).await, Err(Away));
    let cursor = until("it is made anew", async || process.tier.cursor().await.ok()).await;
    assert_eq!(cursor, None);
    process.clear_doubts();
    let tokens = fill(&process.tier, &key("1"), b"value").await;
    assert!(stands(&process.tier, &key("1"), &tokens).await);
    process.end().await;
    // And what is there then is sound.
    let process = home.open().await;
    process.clear_doubts();
    assert!(stands(&process.tier, &key("1"), &tokens).await);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_grows_no_further_than_it_may_and_keeps_what_is_read() {
    let home = Home::bounded(4 * MIB);
    let process = home.open().await;
    process.clear_doubts();
    let favorite = key("favorite");
    let tokens = fill(&process.tier, &favorite, b"value").await;
    let put_many = async |from: u64, size: usize, count: u64| {
        let mut longest = 0;
        for id in from..from + count {
            process.tier.put(&key(&id.to_string()), bytes(size, id), KEEP).await.unwrap();
            process.tier.tokens(&key(&id.to_string()), KEEP).await.unwrap();
            process.tier.get(&favorite).await.unwrap();
            longest = longest.max(home.len());
        }
        longest
    };
    for (from, size, count) in [(0, 1_000, 4_000), (10_000, 100_000, 60)] {
        let longest = put_many(from, size, count).await;
        assert!(longest <= 4 * MIB, "{longest} bytes, of entries of {size}");
        // What came last is there, or was refused for a moment; what came first is gone.
        assert_eq!(process.tier.get(&key(&from.to_string())).await.unwrap().entry, None, "{size}");
        let entries = process.tier.size().await.entries.unwrap();
        assert!(entries >= 2 * MIB / (size as u64 + 300), "{entries} entries of {size}");
    }
    assert!(stands(&process.tier, &favorite, &tokens).await);
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_lapsed_is_cleared_away() {
    let home = Home::new();
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_000_000)));
    let process = home.open_at(clock.clone()).await;
    process.clear_doubts();
    for id in 0..1_000 {
        process.tier.put(&key(&id.to_string()), bytes(1_000, id), Duration::from_secs(10)).await.unwrap();
    }
    clock.advance(Duration::from_secs(9));
    assert!(process.tier.get(&key("1")).await.unwrap().entry.is_some());
    clock.advance(Duration::from_secs(1));
    assert_eq!(process.tier.get(&key("1")).await.unwrap().entry, None);
    assert_eq!(process.tier.size().await.entries, Some(1_000));
    process.end().await;
    let process = home.open_at(clock).await;
    let size = process.tier.size().await;
    assert_eq!(size.entries, Some(0));
    assert!(size.bytes.unwrap() < 100_000, "{size:?}");
    process.end().await;
}

#[test]
fn on_a_full_disk_it_begins_anew() {
    child::on_a_small_disk("cache_tiers::sqlite::on_a_full_disk_it_begins_anew", async |disk| {
        let mut home = Home::new();
        home.options.file = disk.join("cache.db");
        let process = home.open().await;
        process.clear_doubts();
        fill(&process.tier, &key("first"), b"value").await;
        let mut put = 0;
        while process.tier.put(&key(&put.to_string()), bytes(100_000, put), KEEP).await.is_ok() {
            put += 1;
        }
        assert!((20..80).contains(&put), "{put} entries of 100 kB");
        assert_eq!(process.tier.get(&key("first")).await, Err(Away));
        until("it is made anew", async || process.tier.cursor().await.ok()).await;
        process.clear_doubts();
        assert_eq!(process.tier.get(&key("first")).await.unwrap().entry, None);
        let tokens = fill(&process.tier, &key("first"), b"value").await;
        assert!(stands(&process.tier, &key("first"), &tokens).await);
        process.end().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a million entries; part of `make soak`"]
async fn soak_a_tenant_of_a_million_entries_is_invalidated_in_two_milliseconds() {
    let home = Home::bounded(2_048 * MIB);
    let process = home.open().await;
    process.clear_doubts();
    let beside = sqlx::sqlite::SqliteConnectOptions::new().filename(&home.options.file);
    let mut connection = beside.connect().await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000000)
         INSERT INTO entries (id, until, crc, key, entry)
         SELECT random(), 1 << 62, 0, 'cifra:acme:Contact:' || n || ':v1', zeroblob(100) FROM n",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    // One transaction of this length is not what happens; what it leaves behind is not to be measured.
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(process.tier.size().await.entries, Some(1_000_000));
    let tokens = fill(&process.tier, &key("7"), b"value").await;
    let (mut hits, mut renewals) = (Vec::new(), Vec::new());
    for _ in 0..1_001 {
        let begun = Instant::now();
        assert!(stands(&process.tier, &key("7"), &tokens).await);
        hits.push(begun.elapsed());
    }
    for _ in 0..101 {
        process.tier.tokens(&key("7"), KEEP).await.unwrap();
        let begun = Instant::now();
        process.tier.renew(&[Tag::Tenant(Some(tenant("acme")))]).await.unwrap();
        renewals.push(begun.elapsed());
    }
    hits.sort();
    renewals.sort();
    eprintln!(
        "a hit: p50 {:?}; an invalidation: p50 {:?}, most {:?}",
        hits[500], renewals[50], renewals[100]
    );
    assert!(renewals[50] <= Duration::from_millis(2), "{renewals:?}");
    assert!(!stands(&process.tier, &key("7"), &tokens).await);
    process.end().await;
}

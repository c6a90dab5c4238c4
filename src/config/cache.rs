//! `cache`: how long what was read is believed, and where it is kept meanwhile. Called by `Config::read`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::Reader;
use super::redis::Redis;
use super::size::ByteSize;
use super::value::{Choice, Refusal, Value};
use crate::base::EntityName;

/// Section `cache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Whether anything is cached; `false` beats the switch that is kept in the database.
    pub enabled: bool,
    /// A value older than its TTL by no more than this is answered where no other is to be had in time.
    pub stale_max: Duration,
    /// Who could be answered with an aged value waits no longer than this for a new one.
    pub soft_timeout: Duration,
    /// Nobody waits longer than this for a value.
    pub hard_timeout: Duration,
    /// A value that is asked for after this part of its TTL is read again beside the request, 1 to 100 percent; 100:
    /// never.
    pub refresh_ahead: u32,
    /// A TTL is shorter by up to this many percent, at random, 0 to 50.
    pub jitter: u32,
    /// A node that reads a value for all of them is waited for so long.
    pub lock_ttl: Duration,
    /// The tier in this process.
    pub l1: L1,
    /// The tier behind it.
    pub l2: L2,
    /// The TTL of what has none of its own.
    pub ttl_default: Duration,
    /// TTLs by entity.
    pub ttl: Vec<(EntityName, Duration)>,
}

/// Section `cache.l1`: memory of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L1 {
    /// All entries together.
    pub max_bytes: ByteSize,
    /// No entry is believed for longer without a look into the next tier.
    pub ttl: Duration,
}

/// Section `cache.l2`: shared by nodes, or left from the process before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct L2 {
    /// Where it is.
    pub backend: L2Backend,
    /// An entry is kept for this long, or for its TTL where that is longer.
    pub ttl: Duration,
    /// All entries in the SQLite file together. Redis has a limit of its own.
    pub max_bytes: ByteSize,
    /// The SQLite file.
    pub file: PathBuf,
}

/// Where the second tier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum L2Backend {
    /// In the Redis that `redis.url` names.
    Redis,
    /// In a SQLite file of its own.
    Sqlite,
    /// Nowhere.
    None,
}

/// As it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Auto,
    One(L2Backend),
}

impl Choice for Written {
    const ALL: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("redis", Self::One(L2Backend::Redis)),
        ("sqlite", Self::One(L2Backend::Sqlite)),
        ("none", Self::One(L2Backend::None)),
    ];
}

/// The name in `cache.ttl` that stands for all others.
const DEFAULT: &str = "default";

/// TTLs by entity, unless somebody writes others.
const TTLS: &[(&str, &str)] = &[
    (DEFAULT, "5m"),
    ("User", "5m"),
    ("Contact", "10m"),
    ("Deal", "10m"),
    ("Product", "1h"),
    ("Category", "24h"),
    ("Settings", "24h"),
    ("Session", "2h"),
    ("Otp", "5m"),
    ("Order", "2m"),
    ("Restaurant", "1h"),
    ("Menu", "30m"),
    ("Config", "12h"),
];

impl Cache {
    /// To be read after [`Redis`].
    pub(super) fn read(from: &mut Reader<'_>, data_dir: &Path, redis: &Redis) -> Self {
        let mut read = Self {
            enabled: from.take("enabled", "true", "false: everything is read from the database"),
            stale_max: from.take(
                "stale_max",
                "1h",
                "so long after its TTL a value is answered, marked STALE, if no other is to be had",
            ),
            soft_timeout: from.take(
                "soft_timeout",
                "100ms",
                "who could have an aged value waits so long for a new one",
            ),
            hard_timeout: from.take("hard_timeout", "4s", "nobody waits longer for a value"),
            refresh_ahead: from.take(
                "refresh_ahead",
                "80",
                "percent of the TTL after which a request has it read again; 100 = never",
            ),
            jitter: from.take("jitter", "10", "percent by which a TTL may be shorter, at random"),
            lock_ttl: from.take("lock_ttl", "2s", "one node reads for all; they wait for it so long"),
            l1: from.section("l1", L1::read),
            l2: from.section("l2", |from| L2::read(from, data_dir, redis)),
            ttl_default: Duration::ZERO,
            ttl: Vec::new(),
        };
        let ttls = from.named_values("ttl", TTLS, "how long a value of this entity is believed");
        for (name, ttl) in ttls {
            match name {
                TtlName::Default => read.ttl_default = ttl,
                TtlName::Entity(name) => read.ttl.push((name, ttl)),
            }
        }
        from.check(
            &["cache.refresh_ahead"],
            (1..=100).contains(&read.refresh_ahead),
            "a number from 1 to 100 (percent)",
        );
        from.check(&["cache.jitter"], read.jitter <= 50, "a number from 0 to 50 (percent)");
        from.check(
            &["cache.hard_timeout"],
            (Duration::from_millis(10)..=Duration::from_mins(1)).contains(&read.hard_timeout),
            "10ms to 1m",
        );
        from.check(
            &["cache.lock_ttl"],
            (Duration::from_millis(10)..=Duration::from_mins(1)).contains(&read.lock_ttl),
            "10ms to 1m",
        );
        read
    }

    /// How long a value of `entity` is believed, unless the entity's own section says otherwise.
    pub fn ttl_of(&self, entity: &EntityName) -> Duration {
        let own = self.ttl.iter().find(|(name, _)| name == entity);
        own.map_or(self.ttl_default, |(_, ttl)| *ttl)
    }
}

impl L1 {
    fn read(from: &mut Reader<'_>) -> Self {
        Self {
            max_bytes: from.take("max_bytes", "64MiB", "all entries in memory"),
            ttl: from.take("ttl", "5m", "after this the next tier is asked again"),
        }
    }
}

impl L2 {
    fn read(from: &mut Reader<'_>, data_dir: &Path, redis: &Redis) -> Self {
        let written =
            from.take("backend", "auto", "auto = redis if it has a url, else a SQLite file of its own");
        let backend = match written {
            Written::One(backend) => backend,
            Written::Auto if redis.url.is_some() => L2Backend::Redis,
            Written::Auto => L2Backend::Sqlite,
        };
        from.check(
            &["cache.l2.backend"],
            backend != L2Backend::Redis || redis.url.is_some(),
            "auto, sqlite or none while redis.url is null",
        );
        Self {
            backend,
            ttl: from.take("ttl", "1h", "an entry is kept so long, or for its TTL if that is longer"),
            max_bytes: from.take("max_bytes", "512MiB", "of the SQLite file; Redis has a limit of its own"),
            file: data_dir.join("cache.db"),
        }
    }
}

/// A name in `cache.ttl`.
enum TtlName {
    Default,
    Entity(EntityName),
}

impl Value for TtlName {
    fn expected() -> String {
        "default, or the name of an entity: a letter, then letters, digits and _".to_owned()
    }

    fn parse(text: &str, _: &Path) -> Result<Self, Refusal> {
        if text == DEFAULT {
            return Ok(Self::Default);
        }
        text.parse().map(Self::Entity).map_err(|_| Refusal::Malformed)
    }

    fn render(&self) -> String {
        match self {
            Self::Default => DEFAULT.to_owned(),
            Self::Entity(name) => name.to_string(),
        }
    }
}

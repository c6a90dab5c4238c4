//! Keys and tags: the only place that makes them, so that no two things ever have the same.
//!
//! A key is `cifra:{tenant}:{entity}:{id}:v{version}`; of a list `…:list:{field}={value}:…`, the fields in order; of a
//! look-up by another field `…:by:{field}={value}`. Segments are percent-escaped; a key that is too long has a hash in
//! place of its middle.

use std::fmt::{self, Write};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Entity;
use crate::base::{EntityName, TenantId};

/// The tenant of what belongs to all.
const GLOBAL: &str = "global";
/// A longer key is hashed. Redis would take 512 MiB, people's terminals don't.
const KEY_BYTES_MAX: usize = 512;

/// The id of a longer one is hashed in its tag.
const TAG_ID_BYTES_MAX: usize = 128;

/// Under what a value is kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CacheKey(Arc<KeyParts>);

#[derive(Debug)]
struct KeyParts {
    text: String,
    tags: [Tag; TAGS],
}

/// How many tags a key has: everything, its tenant's, its entity's, its entity's of its tenant, and its own.
pub const TAGS: usize = 5;

/// What values are invalidated by, all that have it at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tag {
    /// Everything.
    All,
    /// All of a tenant; `None`: what belongs to all.
    Tenant(Option<TenantId>),
    /// All of an entity, whoever's.
    Everywhere(EntityName),
    /// All of an entity of a tenant.
    Entity(Option<TenantId>, EntityName),
    /// Its lists and its look-ups by other fields.
    Lists(Option<TenantId>, EntityName),
    /// One record.
    Record(Option<TenantId>, EntityName, String),
}

/// A change, as it is told to the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalidation {
    /// One record was added, changed or removed: it, and all lists and look-ups of its entity.
    Record {
        /// Whose; `None`: of no tenant.
        tenant: Option<TenantId>,
        /// Of what kind.
        entity: EntityName,
        /// Its id, as it is in keys.
        id: String,
    },
    /// Any number of records of one tenant.
    Entity {
        /// Whose; `None`: of no tenant.
        tenant: Option<TenantId>,
        /// Of what kind.
        entity: EntityName,
    },
    /// Any number of records of any tenant.
    Everywhere(EntityName),
    /// Everything of a tenant.
    Tenant(Option<TenantId>),
    /// Keys that match a pattern with `*`, `?` and `[…]`, as Redis understands it.
    Pattern(String),
    /// Everything.
    All,
    /// Nothing that is kept: the switches, which are to be read again.
    Switches,
}

impl CacheKey {
    /// One record by its id.
    pub fn record(tenant: Option<&TenantId>, entity: &Entity, id: &str) -> Self {
        let tag = Tag::Record(tenant.cloned(), entity.name().clone(), id.to_owned());
        // No record is called like what begins a list or a look-up.
        let escaped = match id {
            "list" => "%6Cist".to_owned(),
            "by" => "%62y".to_owned(),
            _ => escape(id),
        };
        Self::new(tenant, entity, &escaped, tag)
    }

    /// A list of what has these values in these fields, in any order. Cursor, limit and order are fields too.
    pub fn list<'a>(
        tenant: Option<&TenantId>,
        entity: &Entity,
        filter: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut fields: Vec<String> =
            filter.into_iter().map(|(field, value)| format!("{}={}", escape(field), escape(value))).collect();
        fields.sort_unstable();
        fields.insert(0, "list".to_owned());
        Self::new(tenant, entity, &fields.join(":"), Tag::Lists(tenant.cloned(), entity.name().clone()))
    }

    /// The record that has `value` in `field`, such as a user by an e-mail address.
    pub fn lookup(tenant: Option<&TenantId>, entity: &Entity, field: &str, value: &str) -> Self {
        let what = format!("by:{}={}", escape(field), escape(value));
        Self::new(tenant, entity, &what, Tag::Lists(tenant.cloned(), entity.name().clone()))
    }

    /// Anything that has a name of its own; `subject`: as one caller gets it. It goes when the record of that name changes.
    pub fn named(tenant: Option<&TenantId>, entity: &Entity, subject: Option<&str>, name: &str) -> Self {
        let tag = Tag::Record(tenant.cloned(), entity.name().clone(), name.to_owned());
        let what = match subject {
            None => format!("named:{}", escape(name)),
            Some(subject) => format!("for:{}:{}", escape(subject), escape(name)),
        };
        Self::new(tenant, entity, &what, tag)
    }

    fn new(tenant: Option<&TenantId>, entity: &Entity, what: &str, own: Tag) -> Self {
        let (name, version) = (entity.name(), entity.version());
        let whose = tenant.map_or(GLOBAL, TenantId::as_str);
        let mut text = format!("cifra:{whose}:{name}:{what}:v{version}");
        if text.len() > KEY_BYTES_MAX {
            let kind = what
                .split(':')
                .next()
                .filter(|kind| matches!(*kind, "list" | "by" | "named" | "for"))
                .unwrap_or("long");
            text = format!("cifra:{whose}:{name}:{kind}:%{}:v{version}", hex::encode(Sha256::digest(what)));
        }
        let tags = [
            Tag::All,
            Tag::Tenant(tenant.cloned()),
            Tag::Everywhere(name.clone()),
            Tag::Entity(tenant.cloned(), name.clone()),
            own,
        ];
        Self(Arc::new(KeyParts { text, tags }))
    }

    /// As it is in all tiers.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// What it is invalidated by.
    pub fn tags(&self) -> &[Tag; TAGS] {
        &self.0.tags
    }
}

/// The text says everything: the tags follow from it.
impl PartialEq for CacheKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.text.hash(hasher);
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Display for Tag {
    /// As L2 calls it. No two tags look alike: a tenant is a slug, an entity a word, ids are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = |tenant: &Option<TenantId>| tenant.as_ref().map_or(GLOBAL, TenantId::as_str).to_owned();
        match self {
            Self::All => f.write_str("*"),
            Self::Tenant(tenant) => f.write_str(&whose(tenant)),
            Self::Everywhere(entity) => write!(f, "*:{entity}"),
            Self::Entity(tenant, entity) => write!(f, "{}:{entity}", whose(tenant)),
            Self::Lists(tenant, entity) => write!(f, "{}:{entity}:*", whose(tenant)),
            Self::Record(tenant, entity, id) if id.len() > TAG_ID_BYTES_MAX => {
                // Anybody may ask for what is not there.
                write!(f, "{}:{entity}:#{}", whose(tenant), hex::encode(Sha256::digest(id)))
            }
            Self::Record(tenant, entity, id) => write!(f, "{}:{entity}:={}", whose(tenant), escape(id)),
        }
    }
}

impl Invalidation {
    /// The pattern of the keys that it takes away, if it goes by that.
    pub fn pattern(&self) -> Option<&str> {
        match self {
            Self::Pattern(pattern) => Some(pattern),
            _ => None,
        }
    }

    /// The tags that it takes away; none of a pattern, which has to be looked for, and of switches.
    pub fn tags(&self) -> Vec<Tag> {
        match self {
            Self::Record { tenant, entity, id } => vec![
                Tag::Record(tenant.clone(), entity.clone(), id.clone()),
                Tag::Lists(tenant.clone(), entity.clone()),
            ],
            Self::Entity { tenant, entity } => vec![Tag::Entity(tenant.clone(), entity.clone())],
            Self::Everywhere(entity) => vec![Tag::Everywhere(entity.clone())],
            Self::Tenant(tenant) => vec![Tag::Tenant(tenant.clone())],
            Self::All => vec![Tag::All],
            Self::Pattern(_) | Self::Switches => Vec::new(),
        }
    }
}

/// `text` without what has a meaning in keys and patterns.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'@' | b'+' | b'/') {
            escaped.push(char::from(byte));
        } else {
            // Writing into a String does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

//! Lists of files: what may be asked for, and where the next page begins.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::with_pictures;
use super::{File, FileFilter, FileRecord, FileService, Order, TypeFilter};
use crate::base::metadata::{FILENAME_BYTES_MAX, KEYS_MAX};
use crate::base::page::{self, Limit};
use crate::base::principal::Scope;
use crate::base::{Code, Error, Principal, Result, Timestamp, filename_key};
use crate::cache::{CacheKey, Seen};
use crate::db::files::{self, After, Direction, SortKey};

impl FileService {
    /// The tenant's files that `filter` lets through, a page of them. Pages follow each other without gap or
    /// repetition, whatever is added or deleted meanwhile.
    ///
    /// # Errors
    /// `InvalidRequest` for a cursor of another list, more pairs of metadata than a file can have, or a text that no
    /// file can have.
    pub async fn list(
        &self,
        who: &Principal,
        filter: FileFilter,
        order: Order,
        limit: Limit,
        cursor: Option<&str>,
    ) -> Result<Seen<Listed>> {
        who.require(Scope::Read)?;
        check(&filter)?;
        let scope = format!("files {} {filter:?} {order:?}", who.tenant());
        let (after, begins) = match cursor {
            None => (None, None),
            Some(cursor) => {
                let begins = page::decode_cursor(cursor, &scope)?;
                (Some(read_position(&begins, order)?), Some(begins))
            }
        };
        let (db, tenant, limit) = (self.db.clone(), who.tenant().clone(), limit.get());
        let fields = fields(&filter, order, limit, begins);
        let fields = fields.iter().map(|(field, value)| (field.as_str(), value.as_str()));
        let key = CacheKey::list(Some(&tenant), &self.entities.file, fields);
        let load = async move || {
            let read = db.read(move |c| {
                Box::pin(async move {
                    // One more than is answered, to know whether there is one.
                    let mut rows = files::list(c, &tenant, &filter, order, after, limit + 1).await?;
                    let more = rows.len() > limit as usize;
                    rows.truncate(limit as usize);
                    Ok(Some(Part { items: with_pictures(c, &tenant, rows).await?, more }))
                })
            });
            read.await
        };
        let read = self.cache.read(&self.entities.file, &key, who, load).await?;
        let seen = read.or_else(|| Error::internal("the list cannot be read", "a loader without a page"))?;
        Ok(seen.map(|part| {
            let last = part.items.last().filter(|_| part.more);
            let next_cursor = last.map(|last| page::encode_cursor(&position(&last.file, order), &scope));
            Listed { part, next_cursor }
        }))
    }
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    part: Arc<Part>,
    /// Where the next page begins; `None` after the last one.
    pub next_cursor: Option<String>,
}

impl Listed {
    /// The files, in the order of the list.
    pub fn items(&self) -> &[FileRecord] {
        &self.part.items
    }
}

/// What is kept of a page.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    items: Vec<FileRecord>,
    /// Whether there are any after them.
    more: bool,
}

/// What makes a page another one, whole and in one way of writing it.
fn fields(filter: &FileFilter, order: Order, limit: u32, begins: Option<String>) -> Vec<(String, String)> {
    let FileFilter { content_type, name_begins, created_after, created_before, metadata } = filter;
    let time = |time: &Option<Timestamp>| time.map(|time| time.as_micros().to_string());
    let content_type = content_type.as_ref().map(|content_type| match content_type {
        TypeFilter::Kind(kind) => format!("{kind}/*"),
        TypeFilter::Type(media_type) => media_type.clone(),
    });
    let fields = [
        ("content_type", content_type),
        ("q", name_begins.as_deref().map(filename_key)),
        ("created_after", time(created_after)),
        ("created_before", time(created_before)),
        ("sort", Some(format!("{order:?}"))),
        ("limit", Some(limit.to_string())),
        ("after", begins),
    ];
    let fields = fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?)));
    fields.chain(metadata.iter().map(|(key, value)| (format!("metadata.{key}"), value.clone()))).collect()
}

/// Texts that a database would choke on, and filters that nobody needs.
fn check(filter: &FileFilter) -> Result<()> {
    let refuse = |detail: String| Err(Error::new(Code::InvalidRequest, detail));
    if filter.metadata.len() > KEYS_MAX {
        return refuse(format!("at most {KEYS_MAX} pairs of metadata can be asked for"));
    }
    if filter.metadata.iter().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
        return refuse("`metadata` contains a NUL character".to_owned());
    }
    let name = filter.name_begins.as_deref().unwrap_or_default();
    if name.len() > FILENAME_BYTES_MAX || name.contains('\0') {
        return refuse(format!(
            "`q` is not the beginning of a filename: at most {FILENAME_BYTES_MAX} bytes, no NUL"
        ));
    }
    Ok(())
}

/// Where the page after `last` begins: its id, and what the list is sorted by.
fn position(last: &File, order: Order) -> String {
    match order.key {
        SortKey::CreatedAt => format!("{} {}", last.id, last.created_at.as_micros()),
        SortKey::Filename => format!("{} {}", last.id, filename_key(&last.filename)),
        SortKey::Size => format!("{} {}", last.id, last.size),
    }
}

/// Reads what [`position`] wrote. A cursor is not signed: whoever makes one up reads their own list from there.
fn read_position(position: &str, order: Order) -> Result<After> {
    let read = || {
        let (id, value) = position.split_once(' ')?;
        let id = id.parse().ok()?;
        Some(match order.key {
            SortKey::CreatedAt | SortKey::Size => After::Number(value.parse().ok()?, id),
            SortKey::Filename if value.contains('\0') => return None,
            SortKey::Filename => After::Name(value.to_owned(), id),
        })
    };
    read().ok_or_else(|| Error::new(Code::InvalidRequest, "`cursor` is not one of this list"))
}

/// Why a list cannot be sorted or filtered so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unlistable(&'static str);

impl fmt::Display for Unlistable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unlistable {}

impl Default for Order {
    /// Newest first.
    fn default() -> Self {
        Self { key: SortKey::CreatedAt, direction: Direction::Descending }
    }
}

impl FromStr for Order {
    type Err = Unlistable;

    fn from_str(text: &str) -> Result<Self, Unlistable> {
        let (name, direction) = match text.strip_prefix('-') {
            Some(name) => (name, Direction::Descending),
            None => (text, Direction::Ascending),
        };
        let key = match name {
            "created_at" => SortKey::CreatedAt,
            "filename" => SortKey::Filename,
            "size" => SortKey::Size,
            _ => {
                return Err(Unlistable(
                    "must be created_at, filename or size, with a - before it to turn it round",
                ));
            }
        };
        Ok(Self { key, direction })
    }
}

impl FromStr for TypeFilter {
    type Err = Unlistable;

    /// `image/png`, or `image/*`. Case does not matter.
    fn from_str(text: &str) -> Result<Self, Unlistable> {
        let token = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
            !part.is_empty() && part.bytes().all(allowed)
        };
        match text.split_once('/') {
            Some((kind, "*")) if token(kind) => Ok(Self::Kind(kind.to_ascii_lowercase())),
            Some((kind, subtype)) if token(kind) && token(subtype) => {
                Ok(Self::Type(text.to_ascii_lowercase()))
            }
            _ => Err(Unlistable("must be a media type like image/png, or all of a kind like image/*")),
        }
    }
}

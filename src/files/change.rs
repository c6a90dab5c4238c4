//! Changing a file's record: its name and metadata. Its bytes never change.

use super::{File, FileService, not_found};
use crate::base::metadata::{self, Metadata};
use crate::base::principal::Scope;
use crate::base::{Code, Error, FileId, Principal, Result};
use crate::db::audit::{self, Action, Entry};
use crate::db::{Urgency, files};

/// How often a change is made anew because somebody else's came between.
const ATTEMPTS_MAX: u32 = 16;

/// What is to be different; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileChange {
    /// Another name.
    pub filename: Option<String>,
    /// Other metadata, in place of all that was there.
    pub metadata: Option<Metadata>,
}

/// Which versions a client takes for the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is.
    Any,
    /// One of these.
    OneOf(Vec<i64>),
}

impl FileService {
    /// Changes the record and answers how it is now, one version on. Where nothing would be different nothing is
    /// written, and the version stays. Of two changes at once each is made to what the other left.
    ///
    /// # Errors
    /// `PreconditionFailed` `{ etag }` if the file's version is not `expected`; `FileNotFound`, `InvalidRequest`.
    pub async fn change(
        &self,
        who: &Principal,
        id: FileId,
        change: FileChange,
        expected: Expected,
    ) -> Result<File> {
        who.require(Scope::Write)?;
        if let Some(filename) = &change.filename {
            metadata::check_filename(filename)?;
        }
        for _ in 0..ATTEMPTS_MAX {
            let file = self.find(who, id).await?.ok_or_else(|| not_found(id))?;
            require(&file, &expected)?;
            let changed = self.changed(&file, &change);
            if (&changed.filename, &changed.metadata) == (&file.filename, &file.metadata) {
                return Ok(file);
            }
            let (row, entry) =
                (changed.clone(), Entry::new(who, Action::FileChanged, &id, changed.updated_at));
            let write = self.db.write(Urgency::Normal, move |c| {
                let (row, entry) = (row.clone(), entry.clone());
                Box::pin(async move {
                    if !files::change(c, &row).await? {
                        return Ok(false);
                    }
                    audit::insert(c, &entry).await?;
                    Ok(true)
                })
            });
            if write.await? {
                self.note_change(who.tenant(), [id]).await;
                tracing::info!(file.id = %id, version = changed.version, "changed file {id}");
                return Ok(changed);
            }
        }
        Err(Error::new(Code::Overloaded, format!("file `{id}` is being changed by many at once; try again")))
    }

    fn changed(&self, file: &File, change: &FileChange) -> File {
        File {
            filename: change.filename.clone().unwrap_or_else(|| file.filename.clone()),
            metadata: change.metadata.clone().unwrap_or_else(|| file.metadata.clone()),
            // Time does not go back, whatever the clock does.
            updated_at: self.clock.now().max(file.updated_at),
            version: file.version + 1,
            ..file.clone()
        }
    }
}

fn require(file: &File, expected: &Expected) -> Result<()> {
    match expected {
        Expected::OneOf(versions) if !versions.contains(&file.version) => {
            let detail = format!(
                "If-Match does not hold: file `{}` has version {}; look at it again before you change it",
                file.id, file.version
            );
            Err(Error::new(Code::PreconditionFailed, detail).with("etag", file.etag()))
        }
        _ => Ok(()),
    }
}

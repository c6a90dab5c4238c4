//! What a file's record says of its picture and its thumbnails. Called by `http`, for one file or for a page of them.

use super::ThumbnailService;
use crate::base::Result;
use crate::base::thumbnail::{NamedSize, SpecVersion};
use crate::db::files::File;
use crate::db::images;
use crate::db::thumbnails::{self, Outcome, Stored, Thumbnail};
use crate::files::FileRecord;

pub use crate::db::images::Image;

/// A file that may be a picture.
#[derive(Debug, Clone, Default)]
pub struct Pictured {
    /// What it is; `None` while nobody has looked, and if it is none.
    pub image: Option<Image>,
    /// Every size that there is, small ones first; none of a file that is no picture.
    pub thumbnails: Vec<Shown>,
}

/// A size of a picture.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Which, and by which spec it is or will be made.
    pub size: NamedSize,
    /// The spec's.
    pub version: SpecVersion,
    /// Where it stands.
    pub state: ShownState,
}

/// Where a thumbnail stands.
#[derive(Debug, Clone)]
pub enum ShownState {
    /// Not made yet, or not by this spec; asked for, it is.
    Pending,
    /// There it is.
    Ready {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// How many it has.
        bytes: u64,
        /// What they are.
        content_type: String,
        /// The picture's end is missing.
        truncated: bool,
    },
    /// There is none, and will be none: left alone.
    Skipped(&'static str),
    /// There is none, and will be none: tried in vain.
    Failed(&'static str),
}

impl ThumbnailService {
    /// What `record` says of its picture.
    pub fn describe(&self, record: &FileRecord) -> Pictured {
        self.pictured(&record.file, record.image.as_ref(), &record.thumbnails)
    }

    /// What is known of a file's picture at this moment: for who has just changed it, or watches it change.
    pub async fn describe_one(&self, file: &File) -> Result<Pictured> {
        if !file.is_picture() {
            return Ok(Pictured::default());
        }
        let (tenant, id) = (file.tenant.clone(), file.id);
        let read = self.db.read(move |c| {
            Box::pin(async move {
                // They come together: who sees a thumbnail first sees what it is of.
                let rows = thumbnails::of_files(c, &tenant, &[id]).await?;
                Ok((images::get(c, &tenant, id).await?, rows))
            })
        });
        let (image, rows) = read.await?;
        Ok(self.pictured(file, image.as_ref(), &rows))
    }

    /// A file that is about to be made: nothing is known of it yet.
    pub fn describe_new(&self, file: &File) -> Pictured {
        self.pictured(file, None, &[])
    }

    fn pictured(&self, file: &File, image: Option<&Image>, rows: &[Thumbnail]) -> Pictured {
        if !file.is_picture() {
            return Pictured::default();
        }
        let truncated = image.is_some_and(|image| image.truncated);
        let shown = |(size, version): (&NamedSize, &SpecVersion)| {
            let row = rows.iter().find(|row| row.size == size.name && row.serves(version));
            let state = row.map_or(ShownState::Pending, |row| state(&row.outcome, truncated));
            Shown { size: size.clone(), version: version.clone(), state }
        };
        Pictured {
            image: image.cloned(),
            thumbnails: self.sizes.iter().zip(&self.versions).map(shown).collect(),
        }
    }
}

fn state(outcome: &Outcome, truncated: bool) -> ShownState {
    match outcome {
        Outcome::Ready(Stored { width, height, bytes, content_type, .. }) => ShownState::Ready {
            width: *width,
            height: *height,
            bytes: *bytes,
            content_type: content_type.clone(),
            truncated,
        },
        Outcome::Without(reason) if reason.is_skip() => ShownState::Skipped(reason.as_str()),
        Outcome::Without(reason) => ShownState::Failed(reason.as_str()),
    }
}

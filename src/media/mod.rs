//! Thumbnails of files: when they are made, by whom, where they are kept, how they are found.
//!
//! How a picture becomes smaller is not known here but in `imaging`. Called by `http`, by `app` (which registers the
//! job) and, for pictures that are in no store at all, by programs that use this crate as a library.

mod create;
mod fetch;
mod flights;
mod get;
mod hot;
mod line;
mod make;
mod pool;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::flights::Flights;
use self::get::not_an_image;
use self::hot::Hot;
use self::pool::{Pool, PoolOptions};
use crate::base::thumbnail::{NamedSize, SpecVersion};
use crate::base::{Clock, Code, Error, Result, Timestamp};
use crate::blob::Stores;
use crate::config::Thumbnails;
use crate::db::Db;
use crate::files::{File, FileService};
use crate::imaging::Limits;
use crate::jobs::Jobs;
use crate::telemetry::Tasks;

pub use self::create::{CreateError, create_thumbnails};
pub use self::view::{Image, Pictured, Shown, ShownState};

/// Jobs a thread that are looked at together: those that wait for their turn are put in order of size.
const JOBS_PER_THREAD: usize = 8;

/// See the module.
pub struct ThumbnailService {
    db: Db,
    files: Arc<FileService>,
    stores: Stores,
    jobs: Jobs,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    /// Small ones first; with their versions.
    sizes: Vec<NamedSize>,
    versions: Vec<SpecVersion>,
    wait: Duration,
    timeout: Duration,
    /// What one picture may take; all of them share the memory.
    limits: Limits,
    threads: usize,
    pool: Pool,
    flights: Flights,
    hot: Hot,
}

/// A thumbnail, ready to be sent.
#[derive(Debug)]
pub struct Ready {
    /// The encoded picture.
    pub bytes: Bytes,
    /// What they are.
    pub content_type: String,
    /// By which spec it was made.
    pub version: SpecVersion,
    /// A strong entity tag, with its quotes: other bytes have another one.
    pub etag: String,
}

impl fmt::Debug for ThumbnailService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThumbnailService").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

impl ThumbnailService {
    /// A service for the files of `files`, which makes thumbnails as `config` says and keeps them in the default store.
    ///
    /// # Errors
    /// If its threads do not start.
    pub fn new(
        db: Db,
        files: Arc<FileService>,
        stores: Stores,
        jobs: Jobs,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        config: &Thumbnails,
    ) -> Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.threads.map_or_else(cores, |threads| threads as usize);
        let (memory, queue_len_max) = (config.memory.bytes(), config.queue_len_max as usize);
        let pool = Pool::new(PoolOptions { memory, threads, queue_len_max })?;
        Ok(Self {
            db,
            files,
            stores,
            jobs,
            clock,
            tasks,
            versions: config.sizes.iter().map(|size| size.spec.version()).collect(),
            sizes: config.sizes.clone(),
            wait: config.wait,
            timeout: config.timeout,
            limits: Limits { pixels_max: config.max_pixels, memory_max: memory },
            threads,
            pool,
            flights: Flights::new(queue_len_max),
            hot: Hot::new(config.hot.bytes(), config.sizes.len()),
        })
    }

    /// So many jobs are worth taking at once.
    pub fn jobs_at_once(&self) -> usize {
        self.threads * JOBS_PER_THREAD
    }

    /// By which spec the thumbnail of `file` that is called `name` is made; it is a part of its address.
    ///
    /// # Errors
    /// `UnknownThumbnailSize` `{ sizes }`; `NotAnImage` `{ reason }` for a file that is no picture.
    pub fn version_of(&self, file: &File, name: &str) -> Result<&SpecVersion> {
        let size = self.place_of(name)?;
        if file.is_picture() { Ok(&self.versions[size]) } else { Err(not_an_image(file.id)) }
    }

    /// The time, as everything here has it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Which size is called `name`.
    fn place_of(&self, name: &str) -> Result<usize> {
        self.sizes.iter().position(|size| size.name.as_str() == name).ok_or_else(|| {
            let sizes: Vec<&str> = self.sizes.iter().map(|size| size.name.as_str()).collect();
            let detail = match sizes.as_slice() {
                [] => "there are no thumbnails here".to_owned(),
                sizes => format!("there is no size of this name; there are {}", sizes.join(", ")),
            };
            Error::new(Code::UnknownThumbnailSize, detail).with("sizes", sizes)
        })
    }
}

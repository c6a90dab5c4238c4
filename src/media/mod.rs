//! Thumbnails of files: when they are made, by whom, where they are kept, how they are found.
//!
//! How a picture becomes smaller is not known here but in `imaging`. Called by `http`, by `app` (which registers the
//! job) and, for pictures that are in no store at all, by programs that use this crate as a library.

mod create;
mod line;
#[cfg_attr(not(test), expect(dead_code, reason = "its one user, the service, comes next"))]
mod pool;

pub use create::{CreateError, create_thumbnails};

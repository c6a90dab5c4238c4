//! All integration tests, in one binary: it is linked once.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

#![expect(clippy::unwrap_used, reason = "a test that can't go on should stop")]

mod blob_local;
mod child;
mod cli;
mod client;
mod suites;

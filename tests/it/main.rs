//! All integration tests, in one binary: it is linked once.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod blob_local;
mod child;
mod cli;
mod client;
mod db;
mod harness;
mod round_trip;
mod suites;

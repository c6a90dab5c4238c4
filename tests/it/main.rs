//! All integration tests, in one binary: it is linked once.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod blob_local;
mod child;
mod cli;
mod client;
mod db;
mod files;
mod files_content;
mod harness;
mod health;
mod http_edges;
mod http_wire;
mod logs;
mod readme;
mod resources_away;
mod round_trip;
mod suites;
mod tidy;
mod uploads_chunks;
mod uploads_create;
mod uploads_ends;
mod uploads_finalize;
mod uploads_status;

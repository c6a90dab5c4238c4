//! All integration tests, in one binary: it is linked once.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod blob_local;
mod child;
mod cli;
mod client;
mod corruption;
mod crash_creation;
mod crash_points;
mod db;
mod documentation;
mod files;
mod files_content;
mod files_create;
mod full_disk;
mod harness;
mod health;
mod history;
mod http_edges;
mod http_wire;
mod logs;
mod openapi;
mod power_cut;
mod quota;
mod races;
mod readme;
mod resources_away;
mod round_trip;
mod soak;
mod suites;
mod tidy;
mod uploads_chunks;
mod uploads_create;
mod uploads_ends;
mod uploads_finalize;
mod uploads_finalize_slow;
mod uploads_status;

//! t

mod blob_local;
mod suites;

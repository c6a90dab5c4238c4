//! All integration tests, in one binary: it is linked once.

mod blob_local;
mod cli;
mod client;
mod suites;

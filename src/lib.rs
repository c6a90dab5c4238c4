//! cifra: a self-hosted store for large files that arrive in resumable, checksummed chunks.
//!
//! # Floors
//! The house has floors. A module imports only from floors below its own (`tests/it/tidy.rs` holds it):
//!
//! | floor | modules | what happens there |
//! |---|---|---|
//! | 8 | [`cli`] | commands: parse, call, print, exit code |
//! | 7 | [`http`] | routes, headers, problem+json; translates, decides nothing |
//! | 6 | [`app`] | the one place where stores and services are built and stopped |
//! | 5 | [`upload`], [`files`], [`media`], [`entities`], [`ops`] | services: decide |
//! | 4 | [`auth`], [`idempotency`], [`jobs`] | who may: keys, tenants, the rules of open mode; what was answered, for requests that are repeated; what runs later |
//! | 3 | [`blob`], [`session`], [`cache`] | stores: bytes, what is known of an upload on its way, what was read a moment ago |
//! | 2 | [`db`], [`redis`] | connections, statements, migrations; what nodes tell each other beside them |
//! | 1 | [`config`], [`telemetry`], [`client`], [`imaging`] | settings; logs, metrics, tasks; the HTTP client of the CLI; pictures in, thumbnails out |
//! | 0 | [`base`] | ids, errors, time, digests, ranges, streams: pure, no I/O |
//!
//! # One chunk from top to bottom
//! `PUT /api/uploads/{id}/chunks/{n}`: the route in [`http`] → `http::uploads::put_chunk` →
//! [`upload::UploadService::write_chunk`] → the claim and the journal in [`session`] → the bytes through
//! [`blob::PartStore::write`], hashed on their way → the receipt in [`db`]: its commit is the acknowledgement.
//!
//! # One cached read from top to bottom
//! `GET /api/files/{id}`: `http::files` → [`files::FileService`], which asks [`cache::Cache::read`] with a key and a loader →
//! memory of this process, if what is there still stands → else one flight for all who ask: Redis or the file behind it, and
//! only then the loader, a statement in [`db`]. Whoever changes a row calls [`cache::Cache::invalidate`] before they answer;
//! what others change comes by triggers and [`cache::Feed`].
//!
//! # One thumbnail from top to bottom
//! `GET /api/files/{id}/thumbnails/{size}`: `http::thumbnails` → [`media::ThumbnailService::get`] → memory, or the row and
//! its blob. Not made yet: a job in [`jobs`], which any node takes → the file's bytes, let in by the memory that they
//! will need → [`imaging::make`], once for all sizes → blobs through [`blob`], then all rows in one transaction.

pub mod app;
pub mod auth;
pub mod base;
pub mod blob;
pub mod cache;
pub mod cli;
pub mod client;
pub mod config;
pub mod db;
pub mod entities;
pub mod files;
pub mod http;
pub mod idempotency;
pub mod imaging;
pub mod jobs;
pub mod media;
pub mod ops;
pub mod redis;
pub mod session;
pub mod telemetry;
pub mod upload;

//! What tests stand on: a service of their own ([`TestApp`]) with its answers, raw connections and uploads; private
//! servers and databases.
//!
//! Nothing is shared between tests but the process: each has its folder, its database and its port.

mod answer;
pub(crate) mod api;
mod app;
pub(crate) mod azurite;
pub(crate) mod bucket;
pub(crate) mod cluster;
pub(crate) mod config;
mod contract;
pub(crate) mod databases;
mod events;
pub(crate) mod garage;
pub(crate) mod gate;
pub(crate) mod logs;
pub(crate) mod nginx;
pub(crate) mod pictures;
pub(crate) mod postgres;
pub(crate) mod process;
mod raw;
pub(crate) mod redis;
pub(crate) mod relay;
pub(crate) mod rows;
pub(crate) mod s3_faults;
pub(crate) mod s3_wire;
mod stack;
pub(crate) mod tools;
mod uncached;
mod uploads;

pub(crate) use answer::Answer;
pub(crate) use app::{OPERATOR, TestApp};
pub(crate) use raw::{Raw, prior_knowledge};
pub(crate) use uncached::uncached;
pub(crate) use uploads::{TestUpload, bytes, content_digest, crc64_header, crc64_text, sha256_text};

/// An id that nothing has.
pub(crate) const NOBODY: &str = "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c";

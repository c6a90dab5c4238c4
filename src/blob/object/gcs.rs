//! Google Cloud Storage: opening a bucket. Uploads by parts are those of its XML API, which has S3's limits
//! (<https://cloud.google.com/storage/quotas>). No server of it runs on a machine of ours: what is tested is how it is
//! opened and how files are cut for it.

use std::sync::Arc;

use object_store::ClientOptions;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use super::transport::{Transport, retries};
use super::{Kind, ObjectOptions, ObjectStore, wrong};
use crate::blob::{BlobResult, PartLimits};
use crate::config::Gcs;

const PART_BYTES_MIN: u64 = 5 << 20;
const PART_BYTES_MAX: u64 = 5 << 30;
const PARTS_MAX: u32 = 10_000;

pub(super) fn open(config: &Gcs, options: ObjectOptions) -> BlobResult<ObjectStore> {
    let bucket = config.bucket.as_ref().ok_or_else(|| wrong("no bucket is named".to_owned()))?;
    let mut builder = GoogleCloudStorageBuilder::new();
    let mut idle = Vec::new();
    for (name, value) in config.environment.iter() {
        match name.to_ascii_lowercase().parse::<GoogleConfigKey>() {
            // How requests are sent is decided in `transport`.
            Ok(GoogleConfigKey::Client(_)) | Err(_) => idle.push(name),
            Ok(key) => builder = builder.with_config(key, value),
        }
    }
    if !idle.is_empty() {
        tracing::warn!("set, but without effect on the store: {}", idle.join(", "));
    }
    if let Some(key) = &config.service_account_key {
        builder = builder.with_service_account_key(key.expose());
    }
    let store = builder
        .with_bucket_name(bucket.as_str())
        .with_retry(retries())
        .with_client_options(ClientOptions::new())
        .with_http_connector(Transport::default())
        .build()
        .map_err(|error| wrong("opening the bucket".to_owned()).caused_by(error))?;
    let limits = PartLimits { min_bytes: PART_BYTES_MIN, max_bytes: PART_BYTES_MAX, count_max: PARTS_MAX };
    ObjectStore::over(Kind::Gcs, Arc::new(store), config.prefix.as_str(), limits, options)
}

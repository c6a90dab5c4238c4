//! Azure Blob Storage: opening a container. Parts are blocks with names by chance, so that a part that is sent again
//! never takes the place of one that was counted; the list that completes the blob names those that count. Blocks in
//! no list go by themselves a week after the last one came: Azure has no request that drops them.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::{ClientConfigKey, ClientOptions};

use super::transport::{Transport, retries};
use super::{Kind, ObjectOptions, ObjectStore, wrong};
use crate::blob::{BlobResult, PartLimits};
use crate::config::Azure;

/// <https://learn.microsoft.com/en-us/azure/storage/blobs/scalability-targets>
const BLOCK_BYTES_MAX: u64 = 4_000 << 20;
const BLOCKS_MAX: u32 = 50_000;

pub(super) fn open(config: &Azure, options: ObjectOptions) -> BlobResult<ObjectStore> {
    let container = config.container.as_ref().ok_or_else(|| wrong("no container is named".to_owned()))?;
    let mut builder = MicrosoftAzureBuilder::new();
    let mut idle = Vec::new();
    for (name, value) in config.environment.iter() {
        match name.to_ascii_lowercase().parse::<AzureConfigKey>() {
            // How requests are sent is decided in `transport`.
            Ok(AzureConfigKey::Client(key)) if !matches!(key, ClientConfigKey::AllowHttp) => idle.push(name),
            Ok(key) => builder = builder.with_config(key, value),
            Err(_) => idle.push(name),
        }
    }
    if !idle.is_empty() {
        tracing::warn!("set, but without effect on the store: {}", idle.join(", "));
    }
    if let Some(account) = &config.account {
        builder = builder.with_account(account.as_str());
    }
    if let Some(key) = &config.access_key {
        builder = builder.with_access_key(key.expose());
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().to_owned());
    }
    let allow_http = config.allow_http || config.use_emulator;
    let store = builder
        .with_container_name(container.as_str())
        .with_use_emulator(config.use_emulator)
        .with_retry(retries())
        .with_client_options(ClientOptions::new().with_allow_http(allow_http))
        .with_http_connector(Transport::default())
        .build()
        .map_err(|error| wrong("opening the container".to_owned()).caused_by(error))?;
    let limits =
        PartLimits { min_bytes: super::PART_BYTES_MIN, max_bytes: BLOCK_BYTES_MAX, count_max: BLOCKS_MAX };
    ObjectStore::over(Kind::Azure, Arc::new(store), config.prefix.as_str(), limits, options)
}

//! Amazon S3 and its like: opening a bucket. Its requests are `object_store`'s, but for those in `ours`.

pub(super) mod ours;
mod xml;

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::HttpConnector;
use object_store::{ClientConfigKey, ClientOptions};

use self::ours::Bucket;
use super::transport::{Transport, retries};
use super::{Kind, ObjectOptions, ObjectStore, wrong};
use crate::blob::{BlobError, BlobErrorKind, BlobResult, PartLimits};
use crate::config::S3;

/// S3 takes no larger part, and no blob of more parts
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const PART_BYTES_MAX: u64 = 5 << 30;
const PARTS_MAX: u32 = 10_000;

pub(super) fn open(config: &S3, options: ObjectOptions) -> BlobResult<ObjectStore> {
    let name = config.bucket.as_ref().ok_or_else(|| wrong("no bucket is named".to_owned()))?.as_str();
    let transport = Transport { roots: roots(config)? };
    let mut builder = AmazonS3Builder::new();
    let mut idle = Vec::new();
    for (name, value) in config.environment.iter() {
        match name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            // A key of the file's never goes with a secret or token of the environment's.
            Ok(
                AmazonS3ConfigKey::AccessKeyId
                | AmazonS3ConfigKey::SecretAccessKey
                | AmazonS3ConfigKey::Token,
            ) if config.access_key_id.is_some() => {}
            Ok(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)) => {}
            // How requests are sent is decided in `transport`, and what names a part in `tag`.
            Ok(AmazonS3ConfigKey::Client(_) | AmazonS3ConfigKey::Checksum | AmazonS3ConfigKey::S3Express) => {
                idle.push(name);
            }
            Ok(key) => builder = builder.with_config(key, value),
            Err(_) if name == CA_BUNDLE => {}
            Err(_) => idle.push(name),
        }
    }
    if !idle.is_empty() {
        tracing::warn!("set, but without effect on the store: {}", idle.join(", "));
    }
    if let Some(region) = &config.region {
        builder = builder.with_region(region.as_str());
    }
    if let (Some(key), Some(secret)) = (&config.access_key_id, &config.secret_access_key) {
        builder = builder.with_access_key_id(key.as_str()).with_secret_access_key(secret.expose());
    }
    if let Some(token) = &config.session_token {
        builder = builder.with_token(token.expose());
    }
    let region =
        builder.get_config_value(&AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
    let endpoint = endpoint(config, &builder, name, &region)?;
    let allow_http =
        config.allow_http || config.environment.get("AWS_ALLOW_HTTP").is_some_and(|on| on == "true");
    let client = ClientOptions::new().with_allow_http(allow_http);
    let store = builder
        .with_bucket_name(name)
        .with_region(&region)
        .with_virtual_hosted_style_request(true)
        .with_endpoint(&endpoint)
        .with_config(AmazonS3ConfigKey::S3Endpoint, &endpoint) // of the two this one would win
        .with_unsigned_payload(true) // TLS protects the bytes; hashing them once more would cost as much as all else
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_bulk_delete(true) // not every store has it
        .with_retry(retries())
        .with_client_options(client.clone())
        .with_http_connector(transport.clone())
        .build()
        .map_err(|error| wrong("opening the bucket".to_owned()).caused_by(error))?;
    let http = transport
        .connect(&client)
        .map_err(|error| wrong("making an HTTP client".to_owned()).caused_by(error))?;
    let bucket = Bucket { http, credentials: Arc::clone(store.credentials()), region, endpoint };
    let min_bytes = config.min_part_size.bytes().clamp(super::PART_BYTES_MIN, PART_BYTES_MAX);
    let limits = PartLimits { min_bytes, max_bytes: PART_BYTES_MAX, count_max: PARTS_MAX };
    ObjectStore::over(Kind::S3(bucket), Arc::new(store), config.prefix.as_str(), limits, options)
}

/// Where the bucket's objects are, without a slash at its end.
fn endpoint(config: &S3, builder: &AmazonS3Builder, bucket: &str, region: &str) -> BlobResult<String> {
    let known = config.endpoint.as_ref().map(|endpoint| endpoint.as_str().to_owned());
    let known = known
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::S3Endpoint))
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let in_host = config.virtual_hosted_style;
    match known {
        None if in_host => Ok(format!("https://{bucket}.s3.{region}.amazonaws.com")),
        None => Ok(format!("https://s3.{region}.amazonaws.com/{bucket}")),
        Some(endpoint) if in_host => match endpoint.split_once("://") {
            Some((scheme, rest)) => Ok(format!("{scheme}://{bucket}.{}", rest.trim_end_matches('/'))),
            None => Err(wrong(format!("the endpoint `{endpoint}` is no URL"))),
        },
        Some(endpoint) => Ok(format!("{}/{bucket}", endpoint.trim_end_matches('/'))),
    }
}

/// The variable by which programs of Amazon's are told of certificate authorities.
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

fn roots(config: &S3) -> BlobResult<Vec<reqwest::Certificate>> {
    let Some(path) = config.environment.get(CA_BUNDLE) else { return Ok(Vec::new()) };
    let context = || format!("{CA_BUNDLE} names `{path}`");
    let pem = std::fs::read(path).map_err(|error| BlobError::io(context(), error))?;
    reqwest::Certificate::from_pem_bundle(&pem)
        .map_err(|error| BlobError::new(BlobErrorKind::Internal, context()).caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::PartStore;
    use crate::blob::object::PartBudget;
    use crate::config::{Environment, Sources, load};
    use crate::telemetry::Tasks;

    /// The bucket `media` with these settings below `s3` and this environment.
    fn opened(settings: &[(&str, &str)], environment: &[(&str, &str)]) -> (ObjectStore, Bucket) {
        let mut flags = vec![
            ("file_upload.storage.backend".to_owned(), "s3".to_owned()),
            ("file_upload.storage.s3.bucket".to_owned(), "media".to_owned()),
        ];
        let key = |name: &str| format!("file_upload.storage.s3.{name}");
        flags.extend(settings.iter().map(|(name, value)| (key(name), (*value).to_owned())));
        let folder = tempfile::tempdir().unwrap();
        let environment: Environment = environment.iter().copied().collect();
        let sources = Sources { file: None, environment, flags, working_dir: folder.path().to_owned() };
        let storage = load(&sources).unwrap().config.file_upload.storage;
        let options = ObjectOptions { budget: PartBudget::new(256 << 20), tasks: Tasks::default() };
        let store = open(&storage.s3, options).unwrap();
        let Kind::S3(Bucket { http, credentials, region, endpoint }) = &store.inner.kind else { panic!() };
        let (http, credentials) = (http.clone(), Arc::clone(credentials));
        let bucket = Bucket { http, credentials, region: region.clone(), endpoint: endpoint.clone() };
        (store, bucket)
    }

    #[test]
    fn a_bucket_is_found_by_its_settings_or_those_of_all_programs() {
        let elsewhere: &[_] = &[("endpoint", "https://s3.example.com/"), ("region", "here")];
        let hosted: &[_] = &[("endpoint", "https://s3.example.com"), ("virtual_hosted_style", "true")];
        for (settings, environment, region, endpoint) in [
            (&[][..], &[][..], "us-east-1", "https://s3.us-east-1.amazonaws.com/media"),
            (&[("region", "eu-west-3")], &[], "eu-west-3", "https://s3.eu-west-3.amazonaws.com/media"),
            (
                &[("virtual_hosted_style", "true")],
                &[],
                "us-east-1",
                "https://media.s3.us-east-1.amazonaws.com",
            ),
            (elsewhere, &[], "here", "https://s3.example.com/media"),
            (hosted, &[], "us-east-1", "https://media.s3.example.com"),
            (
                &[],
                &[("AWS_DEFAULT_REGION", "eu-west-3")],
                "eu-west-3",
                "https://s3.eu-west-3.amazonaws.com/media",
            ),
            (&[], &[("AWS_ENDPOINT_URL", "https://a.example")], "us-east-1", "https://a.example/media"),
            (&[], &[("AWS_ENDPOINT_URL_S3", "https://a.example")], "us-east-1", "https://a.example/media"),
            (
                elsewhere,
                &[("AWS_ENDPOINT_URL_S3", "https://a.example")],
                "here",
                "https://s3.example.com/media",
            ),
        ] {
            let (_, bucket) = opened(settings, environment);
            assert_eq!((bucket.region.as_str(), bucket.endpoint.as_str()), (region, endpoint));
        }
    }

    #[tokio::test]
    async fn a_key_of_the_file_never_goes_with_a_secret_or_token_of_the_environment() {
        let theirs =
            [("AWS_ACCESS_KEY_ID", "THEIRS"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
        let (_, bucket) = opened(&[("access_key_id", "OURS"), ("secret_access_key", "ours")], &theirs);
        let ours = bucket.credentials.get_credential().await.unwrap();
        assert_eq!((ours.key_id.as_str(), ours.secret_key.as_str(), &ours.token), ("OURS", "ours", &None));
        let (_, bucket) = opened(&[], &theirs);
        let theirs = bucket.credentials.get_credential().await.unwrap();
        assert_eq!((theirs.key_id.as_str(), theirs.token.as_deref()), ("THEIRS", Some("t")));
    }

    #[test]
    fn parts_have_at_least_five_mebibytes_and_at_most_a_quarter_of_the_budget() {
        let (store, _) = opened(&[], &[("AWS_CHECKSUM_ALGORITHM", "SHA256")]);
        assert_eq!(store.limits(), PartLimits { min_bytes: 5 << 20, max_bytes: 64 << 20, count_max: 10_000 });
    }
}

//! What really is in a folder of the S3 bucket, past the service: its blobs and its unfinished uploads.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};

use super::garage::{self, BUCKET, KEY, REGION, SECRET};

/// A folder of the bucket that one test has for itself.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    /// Straight to the store.
    endpoint: String,
    prefix: String,
}

impl Folder {
    /// A new one, of the server that tests share.
    pub(crate) fn new() -> Self {
        let server = garage::server();
        Self { endpoint: server.endpoint(), prefix: server.new_prefix() }
    }

    /// Where the store listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// What a service is told to keep its bytes here, as keys and values of its configuration; it reaches the store by
    /// `endpoint`.
    pub(crate) fn settings(&self, endpoint: String) -> Vec<(String, String)> {
        let within = |(key, value): (&str, String)| (format!("file_upload.storage.{key}"), value);
        [
            ("backend", "s3".to_owned()),
            ("s3.endpoint", endpoint),
            ("s3.allow_http", "true".to_owned()),
            ("s3.bucket", BUCKET.to_owned()),
            ("s3.region", REGION.to_owned()),
            ("s3.prefix", self.prefix.clone()),
            ("s3.access_key_id", KEY.to_owned()),
            ("s3.secret_access_key", SECRET.to_owned()),
            // Garage takes parts of any size.
            ("s3.min_part_size", "64KiB".to_owned()),
        ]
        .map(within)
        .into()
    }

    /// The keys of its blobs, without those of the service's own (`cifra-…`).
    pub(crate) async fn blobs(&self) -> BTreeSet<String> {
        let found = self.ask(&[("list-type", "2"), ("prefix", &self.within(""))]).await;
        self.keys(&found, "Contents")
    }

    /// The keys of uploads that nobody ended, one for each.
    pub(crate) async fn unfinished(&self) -> Vec<String> {
        let found = self.ask(&[("prefix", &self.within("")), ("uploads", "")]).await;
        let keys = elements(&found, "Upload").filter_map(|upload| elements(upload, "Key").next());
        keys.filter_map(|key| key.strip_prefix(&self.within(""))).map(str::to_owned).collect()
    }

    /// Aborts unfinished uploads with such keys, as a rule of the bucket does with old ones; how many these were.
    pub(crate) async fn abort(&self, such: impl Fn(&str) -> bool) -> usize {
        let mut count = 0;
        let found = self.ask(&[("prefix", &self.within("")), ("uploads", "")]).await;
        for upload in elements(&found, "Upload") {
            let [key, id] = ["Key", "UploadId"].map(|name| elements(upload, name).next().unwrap());
            if !such(key.strip_prefix(&self.within("")).unwrap()) {
                continue;
            }
            count += 1;
            let url = format!("{}/{BUCKET}/{key}?uploadId={id}", self.endpoint);
            assert_eq!(send(reqwest::Method::DELETE, &url).await.0, 204);
        }
        count
    }

    fn within(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    fn keys(&self, text: &str, of: &str) -> BTreeSet<String> {
        assert!(!text.contains("<IsTruncated>true"), "too many for one page");
        let keys = elements(text, of).filter_map(|entry| elements(entry, "Key").next());
        let keys = keys.filter_map(|key| key.strip_prefix(&self.within("")));
        keys.filter(|key| key.contains('/')).map(str::to_owned).collect()
    }

    async fn ask(&self, query: &[(&str, &str)]) -> String {
        let query: Vec<_> =
            query.iter().map(|(name, value)| format!("{name}={}", value.replace('/', "%2F"))).collect();
        let (status, text) =
            send(reqwest::Method::GET, &format!("{}/{BUCKET}?{}", self.endpoint, query.join("&"))).await;
        assert_eq!(status, 200, "{text}");
        text
    }
}

/// What stands between `<name>` and `</name>`, each time.
fn elements<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, from) = rest.split_once(&begin)?;
        let (found, after) = from.split_once(&end)?;
        rest = after;
        Some(found)
    })
}

/// Signed as the service's own key.
async fn send(method: reqwest::Method, url: &str) -> (u16, String) {
    let credential = AwsCredential { key_id: KEY.to_owned(), secret_key: SECRET.to_owned(), token: None };
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    (*request.method_mut(), *request.uri_mut()) = (method.clone(), url.parse().unwrap());
    AwsAuthorizer::new(&credential, "s3", REGION).try_authorize(&mut request, None).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.request(method, url).headers(request.headers().clone()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

//! A plain client of the HTTP contract, for tests that speak to a server in another process.
//!
//! One method for each call; no retries, nothing is interpreted. A call whose connection broke is an `Err`.

use bytes::Bytes;
use cifra::base::crc;
use futures_util::Stream;
use reqwest::{Body, Method, RequestBuilder};
use serde_json::{Value, json};

/// Where the server is.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    url: String,
    http: reqwest::Client,
}

/// What it said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `null` where the body is no JSON.
    pub(crate) json: Value,
    pub(crate) retry_after: Option<String>,
    pub(crate) location: Option<String>,
}

impl Answer {
    /// Status and `code` of a problem.
    pub(crate) fn problem(&self) -> (u16, &str) {
        (self.status, self.json["code"].as_str().unwrap_or("no code"))
    }
}

pub(crate) type Result<T = Answer> = std::result::Result<T, reqwest::Error>;

impl Api {
    pub(crate) fn new(url: String) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // No pool: a connection to a process that was killed must not be tried again.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        Self { url, http }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Result {
        answer(self.request(Method::GET, path)).await
    }

    /// A body that is not JSON.
    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        self.request(Method::GET, path).send().await?.text().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result {
        answer(self.request(Method::DELETE, path)).await
    }

    /// Begins an upload of `total` bytes in chunks of 64 KiB; answers its id.
    pub(crate) async fn create(&self, total: usize) -> String {
        let wanted = json!({ "filename": "a.bin", "total_size": total, "chunk_size": CHUNK });
        let created = self.create_as(&wanted).await.unwrap();
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(created.json["chunk_size"], CHUNK);
        created.json["upload_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn create_as(&self, wanted: &Value) -> Result {
        answer(self.request(Method::POST, "/api/uploads").json(wanted)).await
    }

    /// Makes a file in one request.
    pub(crate) async fn create_file(&self, filename: &str, bytes: &[u8]) -> Result {
        let request = self.request(Method::POST, &format!("/api/files?filename={filename}"));
        answer(request.body(bytes.to_vec()).header(CRC_HEADER, crc_of(bytes))).await
    }

    /// Makes a file of what is said to be of a type.
    pub(crate) async fn create_claimed(&self, filename: &str, content_type: &str, bytes: Vec<u8>) -> Result {
        let request = self.request(Method::POST, &format!("/api/files?filename={filename}"));
        answer(request.header("Content-Type", content_type).body(bytes)).await
    }

    /// Makes a file of `bytes`; answers its id.
    pub(crate) async fn file(&self, bytes: &[u8]) -> String {
        let created = self.create_file("a.bin", bytes).await.unwrap();
        assert_eq!(created.status, 201, "{created:?}");
        created.json["id"].as_str().unwrap().to_owned()
    }

    /// Creates `a.bin` in one request, under a key.
    pub(crate) async fn create_file_once(&self, key: &str, bytes: &[u8]) -> Result {
        let request = self.request(Method::POST, "/api/files?filename=a.bin");
        answer(request.body(bytes.to_vec()).header("Idempotency-Key", key)).await
    }

    /// Begins an upload, under a key.
    pub(crate) async fn create_once(&self, key: &str, wanted: &Value) -> Result {
        answer(self.request(Method::POST, "/api/uploads").header("Idempotency-Key", key).json(wanted)).await
    }

    /// Sends a chunk, with its CRC declared.
    pub(crate) async fn put(&self, id: &str, index: usize, bytes: &[u8]) -> Result {
        answer(self.chunk(id, index, "").body(bytes.to_vec()).header(CRC_HEADER, crc_of(bytes))).await
    }

    /// Sends a chunk in place of the one that was accepted.
    pub(crate) async fn replace(&self, id: &str, index: usize, bytes: &[u8]) -> Result {
        answer(self.chunk(id, index, "?replace=true").body(bytes.to_vec())).await
    }

    /// Sends a chunk whose bytes come when `body` likes; `query` begins with a question mark.
    pub(crate) async fn put_stream<S>(&self, id: &str, index: usize, query: &str, body: S) -> Result
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        answer(self.chunk(id, index, query).body(Body::wrap_stream(body))).await
    }

    fn chunk(&self, id: &str, index: usize, query: &str) -> RequestBuilder {
        self.request(Method::PUT, &format!("/api/uploads/{id}/chunks/{index}{query}"))
    }

    pub(crate) async fn upload(&self, id: &str) -> Result {
        self.get(&format!("/api/uploads/{id}")).await
    }

    pub(crate) async fn finalize(&self, id: &str) -> Result {
        answer(self.request(Method::POST, &format!("/api/uploads/{id}/finalize"))).await
    }

    pub(crate) async fn finalize_as(&self, id: &str, checksum: &str) -> Result {
        let path = format!("/api/uploads/{id}/finalize");
        answer(self.request(Method::POST, &path).json(&json!({ "checksum": checksum }))).await
    }

    pub(crate) async fn abort(&self, id: &str) -> Result {
        self.delete(&format!("/api/uploads/{id}")).await
    }

    pub(crate) async fn delete_file(&self, id: &str) -> Result {
        self.delete(&format!("/api/files/{id}")).await
    }

    /// The file's bytes; `None` if there is no such file.
    pub(crate) async fn content(&self, id: &str) -> Option<Bytes> {
        let response = self.request(Method::GET, &format!("/api/files/{id}/content")).send().await.unwrap();
        match response.status().as_u16() {
            200 => Some(response.bytes().await.unwrap()),
            404 => None,
            status => panic!("the content of {id} was answered with {status}"),
        }
    }

    /// An answer, and its body as it came; an `Err` where that ended before its announced length.
    pub(crate) async fn bytes(&self, path: &str) -> Result<(Answer, Bytes)> {
        let response = self.request(Method::GET, path).send().await?;
        let (status, retry_after) =
            (response.status().as_u16(), response.headers().get("retry-after").cloned());
        let bytes = response.bytes().await?;
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let retry_after = retry_after.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        Ok((Answer { status, json, retry_after, location: None }, bytes))
    }

    /// The chunks that the server misses.
    pub(crate) async fn missing(&self, id: &str) -> Vec<usize> {
        let status = self.upload(id).await.unwrap();
        assert_eq!(status.status, 200, "{status:?}");
        assert_eq!(status.json["state"], "receiving", "{status:?}");
        ranges(&status.json["missing"])
    }

    /// Sends what is missing of `content`.
    pub(crate) async fn fill(&self, id: &str, content: &[u8]) {
        for index in self.missing(id).await {
            let put = self.put(id, index, chunk(content, index)).await.unwrap();
            assert_eq!(put.status, 200, "{put:?}");
        }
    }

    /// Finalizes (again), and checks that the file is `content`.
    pub(crate) async fn finish(&self, id: &str, content: &[u8]) {
        let done = self.finalize(id).await.unwrap();
        assert!(matches!(done.status, 200 | 201), "{done:?}");
        let crc64 = format!("crc64nvme:{}", crc::of(content));
        assert_eq!(done.json["crc64nvme"], crc64, "{done:?}");
        let checksum = &done.json["checksum"];
        assert!(*checksum == sha256(content) || *checksum == crc64, "{done:?}");
        assert!(self.content(id).await.unwrap() == content, "the file {id} has other bytes");
        let again = self.finalize(id).await.unwrap();
        assert_eq!((again.status, &again.json), (200, &done.json));
    }
}

/// The smallest chunks that the server takes.
pub(crate) const CHUNK: usize = 64 << 10;

const CRC_HEADER: &str = "X-Checksum-Crc64nvme";

/// The bytes of one chunk.
pub(crate) fn chunk(content: &[u8], index: usize) -> &[u8] {
    let start = index * CHUNK;
    &content[start..content.len().min(start + CHUNK)]
}

/// `[[first, last], …]` as single numbers.
pub(crate) fn ranges(value: &Value) -> Vec<usize> {
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    value.as_array().unwrap().iter().flat_map(|range| number(&range[0])..=number(&range[1])).collect()
}

/// As JSON has it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

fn crc_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(crc::of(bytes).value().to_be_bytes())
}

async fn answer(request: RequestBuilder) -> Result {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after, location) = (header("retry-after"), header("location"));
    let json = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
    Ok(Answer { status, json, retry_after, location })
}

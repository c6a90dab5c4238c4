//! The calls of the HTTP API about files, and what a file is to a client. Each method is a single attempt, as in `api`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{CONTENT_LENGTH, IF_RANGE, RANGE};
use reqwest::{Method, Response};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::api::{CALL_TIMEOUT, SLOWEST_BYTES_PER_SECOND, answer, checked, json_of};
use super::{Client, Error, Observer, Result};
use crate::base::FileId;
use crate::base::crc::Crc64;
use crate::base::digest::Checksum;

/// A file on the server.
#[derive(Debug, Clone)]
pub struct FileRecord {
    /// Its id.
    pub id: FileId,
    /// What it is called: any text, to be distrusted as a path.
    pub filename: String,
    /// In bytes.
    pub size: u64,
    /// What every byte of it must add up to.
    pub checksum: Checksum,
    /// Where its bytes are: a path on the server, or a URL.
    pub content_url: String,
    /// The whole record as the server wrote it.
    pub json: Value,
}

/// What to send with `POST /api/files`, beside the bytes.
#[derive(Debug)]
pub(super) struct NewFile<'a> {
    pub(super) filename: &'a str,
    pub(super) size: u64,
    pub(super) crc: Crc64,
    /// Strings only.
    pub(super) metadata: &'a Map<String, Value>,
    /// The same for repeats of one attempt to create one file.
    pub(super) idempotency_key: &'a str,
}

/// Which files to list, and in which order.
#[derive(Debug)]
pub struct FileQuery {
    /// How their names begin.
    pub filename_start: Option<String>,
    /// Their type: `image/png`, `image/*`.
    pub content_type: Option<String>,
    /// `created_at`, `filename` or `size`, with `-` for descending.
    pub sort: String,
}

/// A page of a list of files, as the server wrote them.
#[derive(Debug, Deserialize)]
pub struct FilePage {
    /// The files.
    pub items: Vec<Value>,
    /// Where the next page begins; `None` at the end.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct FileFields {
    id: FileId,
    filename: String,
    size: u64,
    checksum: String,
    #[serde(default)]
    crc64nvme: Option<String>,
    content_url: String,
}

impl FileRecord {
    /// # Errors
    /// [`Error::Foreign`] for what is no file record.
    pub(super) fn from_json(json: Value) -> Result<Self> {
        let fields = FileFields::deserialize(&json).map_err(|error| Error::Foreign(error.to_string()))?;
        // The CRC64NVME costs a fiftieth of a SHA-256, and accidents are what is looked for.
        let text = fields
            .crc64nvme
            .map(|value| if value.contains(':') { value } else { format!("crc64nvme:{value}") });
        let checksum = text.unwrap_or(fields.checksum).parse();
        let checksum = checksum.map_err(|error: crate::base::Error| Error::Foreign(error.to_string()))?;
        let FileFields { id, filename, size, content_url, .. } = fields;
        Ok(Self { id, filename, size, checksum, content_url, json })
    }
}

impl Client {
    /// The record of a file.
    pub async fn file(&self, id: FileId) -> Result<FileRecord> {
        FileRecord::from_json(json_of(self.call(Method::GET, &format!("/api/files/{id}"))).await?)
    }

    /// The record of a file, as soon as the server gives it.
    pub async fn file_patiently(&self, id: FileId, observer: &Observer) -> Result<FileRecord> {
        self.patiently(observer, async || self.file(id).await).await
    }

    /// How often a file was read, and when last, as the server says it.
    pub async fn file_reads(&self, id: FileId) -> Result<Map<String, Value>> {
        json_of(self.call(Method::GET, &format!("/api/files/{id}/reads"))).await
    }

    /// At most `limit` files, from `cursor` on; a page may have fewer though there are more.
    pub async fn files(&self, query: &FileQuery, limit: u32, cursor: Option<&str>) -> Result<FilePage> {
        /// No server gives more at once.
        const PAGE_MAX: u32 = 500;
        let limit = limit.min(PAGE_MAX).to_string();
        let parameters = [
            ("q", query.filename_start.as_deref()),
            ("content_type", query.content_type.as_deref()),
            ("sort", Some(query.sort.as_str())),
            ("limit", Some(limit.as_str())),
            ("cursor", cursor),
        ];
        let given: Vec<_> = parameters.iter().filter(|(_, value)| value.is_some()).collect();
        json_of(self.call(Method::GET, "/api/files").query(&given)).await
    }

    /// Deletes a file.
    pub async fn delete_file(&self, id: FileId) -> Result<()> {
        answer(self.call(Method::DELETE, &format!("/api/files/{id}"))).await.map(drop)
    }

    /// The newest files whose metadata has this fingerprint.
    pub(super) async fn files_of(&self, fingerprint: &str) -> Result<Vec<FileRecord>> {
        let query = [("metadata.fingerprint", fingerprint), ("sort", "-created_at"), ("limit", "100")];
        let page: FilePage = json_of(self.call(Method::GET, "/api/files").query(&query)).await?;
        page.items.into_iter().map(FileRecord::from_json).collect()
    }

    /// Makes a file in one request: `body` gives exactly `new.size` bytes whose checksum is `new.crc`.
    pub(super) async fn create_file(&self, new: &NewFile<'_>, body: reqwest::Body) -> Result<FileRecord> {
        let mut query = vec![("filename".to_owned(), new.filename)];
        for (key, value) in new.metadata {
            query.extend(value.as_str().map(|value| (format!("metadata.{key}"), value)));
        }
        let timeout = CALL_TIMEOUT + Duration::from_secs(new.size / SLOWEST_BYTES_PER_SECOND);
        let request = self
            .call(Method::POST, "/api/files")
            .query(&query)
            .header(CONTENT_LENGTH, new.size) // a stream's length is not known otherwise
            .header("X-Checksum-Crc64nvme", BASE64.encode(new.crc.value().to_be_bytes()))
            .header("Idempotency-Key", new.idempotency_key)
            .timeout(timeout)
            .body(body);
        FileRecord::from_json(json_of(request).await?)
    }

    /// The bytes of `file` from `start` on; the answer is 206, or 200 with all of them.
    ///
    /// `If-Range` (RFC 9110 13.1.5) names the content: were it another one, all of it would come. Asked of the server
    /// that the user named, not of the one in `content_url`: the key is for nobody else.
    pub(super) async fn content(&self, file: &FileRecord, start: u64) -> Result<Response> {
        let mut request = self.http.get(format!("{}/api/files/{}/content", self.base, file.id));
        if start > 0 {
            request =
                request.header(RANGE, format!("bytes={start}-")).header(IF_RANGE, format!("\"{}\"", file.id));
        }
        // The answer's head must come soon; how long its body takes, nobody knows.
        let sent = tokio::time::timeout(CALL_TIMEOUT, request.send()).await;
        let response = sent.map_err(|_| Error::NoAnswer("it took too long".to_owned()))?;
        checked(response.map_err(|error| Error::no_answer(&error))?).await
    }
}

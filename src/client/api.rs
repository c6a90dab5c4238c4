//! One method for each call of the HTTP API that the command line makes, and the shapes of the answers.
//!
//! Each method is a single attempt; `retry` repeats it. Unknown members of answers are ignored, so that an older
//! client understands a newer server; what is printed as JSON is what the server said, not our reading of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, IF_RANGE, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Client, Error, Observer, Problem, Result};
use crate::base::crc::Crc64;
use crate::base::digest::Checksum;
use crate::base::{ChunkIndex, FileId, UploadId};

/// A server that has to read the whole file says so after a while (202); how long a while, its operator says.
const FINALIZE_TIMEOUT: Duration = Duration::from_mins(5);

/// A call that carries no file: the server answers at once.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// The probe of a container's health must end before the container runtime ends it.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(4);

/// A chunk that comes through more slowly than this is given up and sent again.
const SLOWEST_BYTES_PER_SECOND: u64 = 16 * 1024;

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

/// An upload session.
#[derive(Debug, Clone, Deserialize)]
pub struct Upload {
    /// Its id, and that of the file it becomes.
    pub upload_id: UploadId,
    /// How far it is.
    pub state: UploadState,
    /// Bytes in all; `None` for an upload of unknown length.
    pub total_size: Option<u64>,
    /// Bytes of each chunk but the last.
    pub chunk_size: Option<u64>,
    /// How many chunks.
    pub chunk_count: Option<u32>,
    /// Chunks that are not there, as ranges of first and last; absent in lists.
    #[serde(default)]
    pub(super) missing: Option<Vec<(u32, u32)>>,
    /// How many chunks are not there, should `missing` not name them all.
    #[serde(default)]
    pub(super) missing_count: Option<u64>,
    /// The file's record, once it is one.
    #[serde(default)]
    pub(super) file: Option<Value>,
}

/// The life of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadState {
    /// Takes chunks.
    Receiving,
    /// Becomes a file.
    Finalizing,
    /// Whole, but its digest was not the declared one.
    Sealed,
    /// A file.
    Completed,
    /// Ended by a client.
    Aborted,
    /// Ended by time.
    Expired,
    /// One that this client does not know.
    #[serde(other)]
    Unknown,
}

/// What to send with `POST /api/uploads`.
#[derive(Debug)]
pub(super) struct NewUpload<'a> {
    pub(super) filename: &'a str,
    pub(super) total_size: u64,
    pub(super) chunk_size: Option<u64>,
    pub(super) metadata: Map<String, Value>,
    /// The same for repeats of one attempt to create one session.
    pub(super) idempotency_key: &'a str,
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

/// What finalize answered.
#[derive(Debug)]
pub(super) enum Finalized {
    Done(FileRecord),
    /// Not yet.
    Working(Working),
}

/// The server is at work on an upload's end.
#[derive(Debug)]
pub(super) struct Working {
    /// Ask again after this time.
    pub(super) wait: Duration,
    /// How far it is, if it says so.
    pub(super) progress: Option<WorkDone>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WorkDone {
    pub(super) done_bytes: u64,
    pub(super) total_bytes: u64,
}

#[derive(Deserialize)]
struct UploadPage {
    items: Vec<Upload>,
    #[serde(default)]
    next_cursor: Option<String>,
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
    /// Whether the server is up: `GET /healthz`.
    pub async fn health(&self) -> Result<()> {
        let request = self.call(Method::GET, "/healthz").timeout(HEALTH_TIMEOUT);
        answer(request).await.map(drop)
    }

    /// The record of a file.
    pub async fn file(&self, id: FileId) -> Result<FileRecord> {
        FileRecord::from_json(json_of(self.call(Method::GET, &format!("/api/files/{id}"))).await?)
    }

    /// The record of a file, as soon as the server gives it.
    pub async fn file_patiently(&self, id: FileId, observer: &Observer) -> Result<FileRecord> {
        self.patiently(observer, async || self.file(id).await).await
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

    /// An upload session as the server's JSON has it.
    pub async fn upload_json(&self, id: UploadId) -> Result<Value> {
        json_of(self.call(Method::GET, &format!("/api/uploads/{id}"))).await
    }

    pub(super) async fn upload_status(&self, id: UploadId) -> Result<Upload> {
        json_of(self.call(Method::GET, &format!("/api/uploads/{id}"))).await
    }

    /// All sessions whose metadata has this fingerprint, whatever their state.
    pub(super) async fn uploads_of(&self, fingerprint: &str) -> Result<Vec<Upload>> {
        /// More sessions of one unchanged file than these pages hold are not worth looking through.
        const PAGES_MAX: usize = 20;
        let mut uploads = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("metadata.fingerprint", fingerprint), ("limit", "100")];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let request = self.call(Method::GET, "/api/uploads").query(&query);
            let page: UploadPage = json_of(request).await?;
            uploads.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(uploads)
    }

    pub(super) async fn create_upload(&self, new: &NewUpload<'_>) -> Result<Upload> {
        let mut body = json!({
            "filename": new.filename,
            "total_size": new.total_size,
            "metadata": new.metadata,
        });
        if let Some(wish) = new.chunk_size {
            body["chunk_size"] = wish.into();
        }
        let request = self.call(Method::POST, "/api/uploads");
        json_of(request.header("Idempotency-Key", new.idempotency_key).json(&body)).await
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

    /// Sends one chunk: `body` gives exactly `size` bytes whose checksum is `crc`.
    pub(super) async fn put_chunk(
        &self,
        id: UploadId,
        index: ChunkIndex,
        size: u64,
        crc: Crc64,
        body: reqwest::Body,
    ) -> Result<()> {
        let timeout = CALL_TIMEOUT + Duration::from_secs(size / SLOWEST_BYTES_PER_SECOND);
        let request = self
            .call(Method::PUT, &format!("/api/uploads/{id}/chunks/{index}"))
            .header(CONTENT_LENGTH, size) // a stream's length is not known otherwise
            .header("X-Checksum-Crc64nvme", BASE64.encode(crc.value().to_be_bytes()))
            .timeout(timeout)
            .body(body);
        let _receipt: Value = json_of(request).await?;
        Ok(())
    }

    pub(super) async fn finalize(&self, id: UploadId, checksum: Checksum) -> Result<Finalized> {
        let request = self.call(Method::POST, &format!("/api/uploads/{id}/finalize"));
        let response =
            answer(request.timeout(FINALIZE_TIMEOUT).json(&json!({ "checksum": checksum }))).await?;
        if response.status() == StatusCode::ACCEPTED {
            let wait = retry_after(response.headers()).unwrap_or(Duration::from_secs(1));
            let upload: Value = read_json(response).await?;
            let progress = WorkDone::deserialize(&upload["progress"]).ok();
            return Ok(Finalized::Working(Working { wait, progress }));
        }
        FileRecord::from_json(read_json(response).await?).map(Finalized::Done)
    }

    /// Ends a session; one that has ended already is as good.
    pub(super) async fn abort_upload(&self, id: UploadId) -> Result<()> {
        match answer(self.call(Method::DELETE, &format!("/api/uploads/{id}"))).await {
            Err(error) if !error.session_is_gone() => Err(error),
            _ => Ok(()),
        }
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

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).timeout(CALL_TIMEOUT)
    }
}

async fn json_of<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    read_json(answer(request).await?).await
}

async fn answer(request: RequestBuilder) -> Result<Response> {
    checked(request.send().await.map_err(|error| Error::no_answer(&error))?).await
}

async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T> {
    let url = response.url().clone();
    let bytes = response.bytes().await.map_err(|error| Error::no_answer(&error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::Foreign(format!("{url} answered no JSON we know: {error}")))
}

/// The response if it is a success, else what is wrong.
async fn checked(response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    if status.is_redirection() {
        let place =
            response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("elsewhere");
        return Err(Error::Foreign(format!(
            "{} redirects to {place}; name that server instead",
            response.url()
        )));
    }
    let retry_after = retry_after(response.headers());
    let bytes = response.bytes().await.unwrap_or_default(); // the status alone is an answer
    Err(Error::Problem(Box::new(problem(status, retry_after, &bytes))))
}

fn problem(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Problem {
    let members = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let code = text("code").unwrap_or_default();
    let detail = text("detail").or_else(|| text("title")).unwrap_or_else(|| {
        let body = String::from_utf8_lossy(body);
        let line: String = body.trim().chars().take_while(|c| !c.is_control()).take(200).collect();
        if line.is_empty() { "no reason given".to_owned() } else { line }
    });
    Problem { status, code, detail, members, retry_after }
}

/// `Retry-After` in seconds; its other form, a date (RFC 9110 10.2.3), no cifra server sends.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

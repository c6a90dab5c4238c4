//! One method for each call of the HTTP API that the command line makes, and the shapes of the answers; those about
//! files are in `files`.
//!
//! Each method is a single attempt; `retry` repeats it. Unknown members of answers are ignored, so that an older
//! client understands a newer server; what is printed as JSON is what the server said, not our reading of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::files::FileRecord;
use super::{Client, Error, Problem, Result};
use crate::base::crc::Crc64;
use crate::base::digest::Checksum;
use crate::base::{ChunkIndex, UploadId};

/// A server that has to read the whole file says so after a while (202); how long a while, its operator says.
const FINALIZE_TIMEOUT: Duration = Duration::from_mins(5);

/// A call that carries no file: the server answers at once.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// The probe of a container's health must end before the container runtime ends it.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(4);

/// Bytes that come through more slowly than this are given up and sent again.
pub(super) const SLOWEST_BYTES_PER_SECOND: u64 = 16 * 1024;

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

impl Client {
    /// Whether the server is up: `GET /healthz`.
    pub async fn health(&self) -> Result<()> {
        let request = self.call(Method::GET, "/healthz").timeout(HEALTH_TIMEOUT);
        answer(request).await.map(drop)
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

    pub(super) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).timeout(CALL_TIMEOUT)
    }
}

pub(super) async fn json_of<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    read_json(answer(request).await?).await
}

pub(super) async fn answer(request: RequestBuilder) -> Result<Response> {
    checked(request.send().await.map_err(|error| Error::no_answer(&error))?).await
}

async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T> {
    let url = response.url().clone();
    let bytes = response.bytes().await.map_err(|error| Error::no_answer(&error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::Foreign(format!("{url} answered no JSON we know: {error}")))
}

/// The response if it is a success, else what is wrong.
pub(super) async fn checked(response: Response) -> Result<Response> {
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

//! Requests to S3 that `object_store` has not: which parts and which unfinished uploads there are, and whether a
//! lifecycle rule clears up after us; and its list, which must not stop at other programs' names. Signed by its public `AwsAuthorizer`, sent on the same way.

use std::time::Duration;

use futures_util::StreamExt;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody};
use object_store::path::Path;
use serde::de::DeserializeOwned;

use super::xml;
use crate::blob::object::{trouble, wrong};
use crate::blob::{BlobError, BlobErrorKind, BlobResult};

/// An answer has at most a thousand entries of at most some kilobytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// So often a request is tried; waiting this long before the second time, and twice as long before each further one.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(100);

/// A bucket that can be asked.
#[derive(Debug)]
pub(in crate::blob::object) struct Bucket {
    pub(super) http: HttpClient,
    pub(super) credentials: AwsCredentialProvider,
    pub(super) region: String,
    /// With the bucket in it, without a slash at its end.
    pub(super) endpoint: String,
}

/// A part that the store has.
#[derive(Debug)]
pub(in crate::blob::object) struct StoredPart {
    /// From 1.
    pub(in crate::blob::object) number: u32,
    pub(in crate::blob::object) etag: String,
    pub(in crate::blob::object) size: u64,
}

/// An object, whatever its name.
#[derive(Debug)]
pub(in crate::blob::object) struct StoredObject {
    pub(in crate::blob::object) path: String,
    pub(in crate::blob::object) size: u64,
    pub(in crate::blob::object) modified_micros: i64,
}

/// An upload that was begun and not ended.
#[derive(Debug)]
pub(in crate::blob::object) struct StoredUpload {
    pub(in crate::blob::object) path: String,
    pub(in crate::blob::object) id: String,
    pub(in crate::blob::object) begun_micros: i64,
}

/// Where a list goes on.
#[derive(Debug, Clone, Default)]
pub(in crate::blob::object) struct Marker {
    key: String,
    upload: String,
}

impl Bucket {
    /// All parts of an upload, in order of their numbers; `None` if there is no such upload.
    pub(in crate::blob::object) async fn parts(
        &self,
        path: &Path,
        upload: &str,
    ) -> BlobResult<Option<Vec<StoredPart>>> {
        let (mut parts, mut marker) = (Vec::new(), String::new());
        loop {
            let mut query = vec![("max-parts", "1000"), ("uploadId", upload)];
            if !marker.is_empty() {
                query.push(("part-number-marker", &marker));
            }
            let page: xml::PartsPage = match self.get(&format!("/{path}"), &query).await {
                Ok(page) => page,
                Err(error) if error.kind() == BlobErrorKind::Gone => return Ok(None),
                Err(error) => return Err(error),
            };
            parts.extend(page.part.into_iter().map(|part| StoredPart {
                number: part.number,
                etag: part.etag,
                size: part.size,
            }));
            match page.next_part_number_marker.map(|next| next.to_string()) {
                Some(next) if page.is_truncated && next != marker => marker = next,
                _ => return Ok(Some(parts)),
            }
        }
    }

    /// A page of the objects below `prefix`, and where the next one begins. `object_store`'s list stops at the first
    /// name that is no path of its own, such as `a//b`; another program's must not hide ours.
    pub(in crate::blob::object) async fn objects(
        &self,
        prefix: &str,
        from: &str,
    ) -> BlobResult<(Vec<StoredObject>, Option<String>)> {
        let mut query = vec![("list-type", "2"), ("prefix", prefix)];
        if !from.is_empty() {
            query.push(("continuation-token", from));
        }
        let page: xml::ObjectsPage = self.get("", &query).await?;
        let next = page.next_continuation_token.filter(|next| next != from);
        let objects = page.contents.into_iter().map(|object| StoredObject {
            path: object.key,
            size: object.size,
            modified_micros: object.last_modified.timestamp_micros(),
        });
        Ok((objects.collect(), next))
    }

    /// A page of the uploads below `prefix`, and where the next one begins.
    pub(in crate::blob::object) async fn uploads(
        &self,
        prefix: &str,
        from: &Marker,
    ) -> BlobResult<(Vec<StoredUpload>, Option<Marker>)> {
        let mut query = vec![("max-uploads", "1000"), ("prefix", prefix), ("uploads", "")];
        if !from.key.is_empty() {
            query.extend([("key-marker", from.key.as_str()), ("upload-id-marker", from.upload.as_str())]);
        }
        let page: xml::UploadsPage = self.get("", &query).await?;
        let next = Marker {
            key: page.next_key_marker.unwrap_or_default(),
            upload: page.next_upload_id_marker.unwrap_or_default(),
        };
        let goes_on = page.is_truncated && (&next.key, &next.upload) != (&from.key, &from.upload);
        let uploads = page.upload.into_iter().map(|upload| StoredUpload {
            path: upload.key,
            id: upload.id,
            begun_micros: upload.initiated.timestamp_micros(),
        });
        Ok((uploads.collect(), goes_on.then_some(next)))
    }

    /// After how many days the bucket drops the parts below `prefix` of uploads that nobody ended; `None`: never.
    pub(in crate::blob::object) async fn days_to_abort(&self, prefix: &str) -> BlobResult<Option<u32>> {
        let found: xml::Lifecycle = match self.get("", &[("lifecycle", "")]).await {
            Ok(found) => found,
            Err(error) if error.kind() == BlobErrorKind::Gone => return Ok(None),
            Err(error) => return Err(error),
        };
        let applies = |rule: &xml::Rule| {
            let filter = rule.filter.as_ref();
            let everything = filter.is_none_or(|filter| filter.tag.is_none() && filter.and.is_none());
            let of = rule.prefix.as_deref().or_else(|| filter?.prefix.as_deref()).unwrap_or_default();
            rule.status == "Enabled" && everything && prefix.starts_with(of)
        };
        let days = found.rule.iter().filter(|rule| applies(rule));
        let days = days.filter_map(|rule| rule.abort_incomplete_multipart_upload.as_ref());
        Ok(days.map(|abort| abort.days_after_initiation).min())
    }

    /// Asks for what is at `path` of the bucket, and reads the answer.
    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> BlobResult<T> {
        let context = || format!("asking the bucket for {}", query.last().map_or("", |(name, _)| name));
        let mut tried = 0;
        let text = loop {
            tried += 1;
            match self.ask(path, query).await {
                Ok(text) => break text,
                Err(Trouble::Http(error)) if tried < TRIES && passes(&error) => {
                    tokio::time::sleep(WAIT * 2_u32.pow(tried - 1)).await;
                }
                Err(Trouble::Http(error)) => return Err(trouble::of_http(context(), error)),
                Err(Trouble::Other(error)) => return Err(error),
            }
        };
        quick_xml::de::from_str(&text)
            .map_err(|error| wrong(format!("{}: its answer cannot be read", context())).caused_by(error))
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<String, Trouble> {
        let context = || "signing a request to the bucket".to_owned();
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.endpoint))
            .map_err(|error| wrong(context()).caused_by(error))?;
        url.query_pairs_mut().extend_pairs(query);
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = url.as_str().parse().map_err(|error| {
            let error: http::uri::InvalidUri = error;
            wrong(context()).caused_by(error)
        })?;
        let credential = self.credentials.get_credential().await;
        let credential = credential.map_err(|error| trouble::of(context(), error))?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| trouble::of(context(), error))?;
        let mut frames = self.http.execute(request).await?.into_body().bytes_stream();
        let mut text = Vec::new();
        while let Some(frame) = frames.next().await {
            text.extend_from_slice(&frame?);
            if text.len() > ANSWER_BYTES_MAX {
                return Err(wrong("the bucket's answer is too long".to_owned()).into());
            }
        }
        String::from_utf8(text).map_err(|error| wrong(context()).caused_by(error).into())
    }
}

/// Why a request failed.
enum Trouble {
    Http(HttpError),
    Other(BlobError),
}

impl From<HttpError> for Trouble {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl From<BlobError> for Trouble {
    fn from(error: BlobError) -> Self {
        Self::Other(error)
    }
}

/// Whether asking again may help. What stood still did so for as long as a client waits.
fn passes(error: &HttpError) -> bool {
    matches!(error.kind(), HttpErrorKind::Request | HttpErrorKind::Connect | HttpErrorKind::Interrupted)
}

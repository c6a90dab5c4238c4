//! The way to a store over HTTP: how long it is waited for, and what it says when it refuses.
//!
//! A request has no limit in all: a large part on a slow link may take long. It has one for standing still: when no
//! byte moves for [`STILL_MAX`] the store is away. What a store answers in words (S3's and Azure's `<Code>`) becomes a
//! [`Refusal`], so that `trouble` need not read texts. Called by `object_store`, and by `s3` for requests of our own.

#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use http::response::Parts;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// When no byte moves for so long, the store is away: a client is answered within five seconds.
const STILL_MAX: Duration = Duration::from_secs(4);
/// Putting a blob together takes a store a while; S3 and its like send white space meanwhile, some every ten seconds.
const COMPLETING_MAX: Duration = Duration::from_secs(30);
/// A host that does not take a connection in this time is away.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Bytes are handed over in pieces of this size, each of them a sign of progress.
const PIECE_BYTES: usize = 64 << 10;
/// What a store says of a refusal is not longer.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// How often a refusal that passes is asked again: for a second or two, then the client comes back.
pub(super) fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 4, retry_timeout: Duration::from_secs(2) }
}

/// What a store said instead of doing what it was asked to.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The store's own word, such as `NoSuchUpload`; empty if it gave none.
    pub(super) code: String,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {} {}: {}", self.status.as_u16(), self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

/// No byte moved.
#[derive(Debug)]
struct StoodStill(Duration);

impl fmt::Display for StoodStill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no byte moved for {} s", self.0.as_secs())
    }
}

impl std::error::Error for StoodStill {}

/// Makes the HTTP clients of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Transport {
    /// Certificate authorities beside the machine's.
    pub(super) roots: Vec<reqwest::Certificate>,
}

impl HttpConnector for Transport {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        install_tls_provider();
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|on| on == "true");
        let builder = reqwest::Client::builder()
            .user_agent(concat!("cifra/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none()) // a signature is for one host
            .connect_timeout(CONNECT_MAX)
            .https_only(!allow_http)
            .http1_only() // one connection for each part: HTTP/2 would send all parts through one
            .tls_certs_merge(self.roots.clone());
        let http = builder
            .build()
            .map_err(|error| object_store::Error::Generic { store: "HTTP", source: Box::new(error) })?;
        Ok(HttpClient::new(Way { http }))
    }
}

#[derive(Debug)]
struct Way {
    http: reqwest::Client,
}

#[async_trait]
impl HttpService for Way {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let url =
            head.uri.to_string().parse().map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        let looking = head.method == Method::HEAD;
        let completing =
            head.method == Method::POST && head.uri.query().is_some_and(|query| query.contains("uploadId="));
        let patience = if completing { COMPLETING_MAX } else { STILL_MAX };
        let progress = Arc::new(Progress::new(patience));
        let mut request = reqwest::Request::new(head.method, url);
        *request.headers_mut() = head.headers;
        *request.body_mut() = Some(reqwest::Body::wrap(Sending::new(body, Arc::clone(&progress))));

        let answer = progress.watch(self.http.execute(request)).await?;
        let (head, body) = http::Response::<reqwest::Body>::from(answer).into_parts();
        let body = HttpResponseBody::new(Receiving { body, patience, alarm: None });
        if head.status.is_client_error() || head.status.is_server_error() {
            return refused(looking, head.status, head, body).await;
        }
        if completing && head.status.is_success() {
            return error_in_success(head, body).await;
        }
        Ok(HttpResponse::from_parts(head, body))
    }
}

/// An answer that is an error: a [`Refusal`] if the store says why, or if asking again may help.
async fn refused(
    looking: bool,
    status: StatusCode,
    head: Parts,
    body: HttpResponseBody,
) -> Result<HttpResponse, HttpError> {
    let text = read(body).await?;
    let code = element(&text, "Code").filter(|code| !code.is_empty());
    // Who says that something is not there without saying what is not the store, but something before it that has lost
    // its way to it. Only the answer to HEAD has no body to say it in.
    let somebody_else = status == StatusCode::NOT_FOUND && code.is_none() && !looking;
    let passes = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        || somebody_else;
    // These two have meanings of their own to `object_store`.
    let plain = matches!(status, StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED);
    if plain || (code.is_none() && !passes) {
        return Ok(HttpResponse::from_parts(head, HttpResponseBody::from(text)));
    }
    Err(refusal(status, &text, passes))
}

/// Stores begin to answer before a blob is put together: a 200 may have an error in it.
async fn error_in_success(head: Parts, body: HttpResponseBody) -> Result<HttpResponse, HttpError> {
    let text = read(body).await?;
    if text.contains("<Error>") {
        let passes =
            matches!(element(&text, "Code"), Some("InternalError" | "SlowDown" | "ServiceUnavailable"));
        return Err(refusal(head.status, &text, passes));
    }
    Ok(HttpResponse::from_parts(head, HttpResponseBody::from(text)))
}

fn refusal(status: StatusCode, text: &str, passes: bool) -> HttpError {
    // `Request` is asked again, whatever was asked; `Decode` is not.
    let kind = if passes { HttpErrorKind::Request } else { HttpErrorKind::Decode };
    let word = |name| element(text, name).unwrap_or_default().to_owned();
    HttpError::new(kind, Refusal { status, code: word("Code"), message: word("Message") })
}

async fn read(body: HttpResponseBody) -> Result<String, HttpError> {
    let mut text = Vec::new();
    let mut frames = body.bytes_stream();
    while let Some(frame) = frames.next().await {
        text.extend_from_slice(&frame?);
        if text.len() > REFUSAL_BYTES_MAX {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The text of the first `<name>`, as it stands there.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0)
}

/// How a request goes on.
#[derive(Debug)]
struct Progress {
    patience: Duration,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    last: Instant,
    /// All bytes were handed to the kernel.
    sent: bool,
}

impl Progress {
    fn new(patience: Duration) -> Self {
        let began = Instant::now();
        Self { patience, began, state: Mutex::new(State { last: began, sent: false }) }
    }

    fn moved(&self, sent: bool) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { last: Instant::now(), sent };
    }

    /// When the store counts as away if nothing moves until then.
    fn deadline(&self) -> Instant {
        let State { last, sent } = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What the kernel still holds at the end goes out as slowly as what went before.
        let still_going_out = if sent { (last - self.began) * 2 } else { Duration::ZERO };
        last + self.patience.max(still_going_out)
    }

    async fn watch(
        &self,
        sending: impl Future<Output = reqwest::Result<reqwest::Response>>,
    ) -> Result<reqwest::Response, HttpError> {
        let mut sending = std::pin::pin!(sending);
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                answer = &mut sending => return answer.map_err(http_error),
                () = sleep_until(deadline) => {}
            }
            if self.deadline() <= Instant::now() {
                return Err(HttpError::new(HttpErrorKind::Timeout, StoodStill(self.patience)));
            }
        }
    }
}

/// A body on its way to the store.
struct Sending {
    body: HttpRequestBody,
    piece: Bytes,
    progress: Arc<Progress>,
}

impl Sending {
    fn new(body: HttpRequestBody, progress: Arc<Progress>) -> Self {
        Self { body, piece: Bytes::new(), progress }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.piece.is_empty() {
            // It has all its bytes: it is never pending.
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => self.piece = frame.into_data().unwrap_or_default(),
                Poll::Ready(None) => {
                    self.progress.moved(true);
                    return Poll::Ready(None);
                }
                other => return other,
            }
        }
        let len = self.piece.len().min(PIECE_BYTES);
        let piece = self.piece.split_to(len);
        let sent = self.is_end_stream();
        self.progress.moved(sent);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.body.size_hint().exact().unwrap_or_default();
        SizeHint::with_exact(rest + self.piece.len() as u64)
    }
}

/// A body on its way from the store. Only waiting counts, not that somebody reads slowly.
struct Receiving {
    body: reqwest::Body,
    patience: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.alarm = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(http_error)));
        }
        let patience = self.patience;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(patience)));
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => {
                let error = HttpError::new(HttpErrorKind::Timeout, StoodStill(patience));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn http_error(error: reqwest::Error) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_builder() {
        HttpErrorKind::Decode
    } else {
        // Such as a connection that was closed while it rested. All that we ask can be asked again.
        HttpErrorKind::Request
    };
    HttpError::new(kind, error.without_url())
}

/// reqwest is built without a provider of its own: the one that sqlx brings serves both.
fn install_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the process has one already, which is just as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

//! A relay before a server: what a bad connection and a busy service do to a client, on demand.
//!
//! It reads requests and answers whole, so it is for small chunks. Only chunks (`PUT`) meet with faults.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio_util::task::AbortOnDropHandle;

/// What happens to a chunk instead of being passed on and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 503, come back in a second.
    Busy,
    /// 409, as when another connection still sends this chunk: come back in a second.
    Claimed,
    /// It is passed on, but the connection breaks in the middle of the answer.
    Cut,
}

#[derive(Debug, Default)]
struct Way {
    faults: VecDeque<Fault>,
    /// So many more chunks are passed on; the others wait for ever.
    open_for: Option<usize>,
    waiting: usize,
    /// The chunks whose receipts went back whole.
    acknowledged: Vec<String>,
    chunks: usize,
}

pub(crate) struct Relay {
    pub(crate) url: String,
    way: Arc<Mutex<Way>>,
    _running: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Ends {
    server: String,
    http: reqwest::Client,
    way: Arc<Mutex<Way>>,
}

impl Relay {
    /// A relay to the server at this URL; call it after a client of the harness was made (TLS).
    #[expect(clippy::disallowed_methods, reason = "the test's own task, which ends with the relay")]
    pub(crate) async fn to(server: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let way = Arc::<Mutex<Way>>::default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let ends = Ends { server: server.to_owned(), http, way: Arc::clone(&way) };
        let router = Router::new().fallback(pass).with_state(ends);
        let running = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, way, _running: AbortOnDropHandle::new(running) }
    }

    /// The next chunks meet with these; after them `open_for` more are passed on (`None`: all), the others wait.
    pub(crate) fn plan(&self, faults: &[Fault], open_for: Option<usize>) {
        let mut way = lock(&self.way);
        *way = Way { faults: faults.iter().copied().collect(), open_for, ..Way::default() };
    }

    /// How many chunks wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.way).waiting
    }

    /// The paths of the chunks that were acknowledged since the plan was made.
    pub(crate) fn acknowledged(&self) -> Vec<String> {
        lock(&self.way).acknowledged.clone()
    }

    /// How many chunks came since the plan was made, whatever became of them.
    pub(crate) fn chunks(&self) -> usize {
        lock(&self.way).chunks
    }
}

fn lock(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(State(ends): State<Ends>, request: Request) -> Response {
    let is_chunk = request.method() == Method::PUT;
    let path = request.uri().path().to_owned();
    let (fault, waits) = if is_chunk { lock(&ends.way).next() } else { (None, false) };
    if waits {
        return std::future::pending().await;
    }
    let again = [(header::RETRY_AFTER, "1")];
    match fault {
        Some(Fault::Busy) => return (StatusCode::SERVICE_UNAVAILABLE, again, "{}").into_response(),
        Some(Fault::Claimed) => return (StatusCode::CONFLICT, again, "{}").into_response(),
        _ => {}
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut onward = ends.http.request(parts.method, format!("{}{}", ends.server, parts.uri)).body(body);
    for (name, value) in &parts.headers {
        if ![header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::EXPECT].contains(name) {
            onward = onward.header(name, value);
        }
    }
    let answer = onward.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let bytes = answer.bytes().await.unwrap();
    let body = if fault == Some(Fault::Cut) {
        let first = stream::once(std::future::ready(Ok(bytes.slice(..bytes.len() / 2))));
        let cut = async {
            tokio::task::yield_now().await; // while it has nothing to do, the connection sends what it has
            Err(std::io::Error::other("cut"))
        };
        Body::from_stream(first.chain(stream::once(cut)))
    } else {
        if is_chunk && status == StatusCode::OK {
            lock(&ends.way).acknowledged.push(path);
        }
        Body::from(bytes)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

impl Way {
    /// What the next chunk meets with, and whether it waits.
    fn next(&mut self) -> (Option<Fault>, bool) {
        self.chunks += 1;
        if let Some(fault) = self.faults.pop_front() {
            return (Some(fault), false);
        }
        match &mut self.open_for {
            Some(0) => {
                self.waiting += 1;
                (None, true)
            }
            Some(count) => {
                *count -= 1;
                (None, false)
            }
            None => (None, false),
        }
    }
}

//! A request's body that cannot stand still, and that is read away when nobody wants it.
//!
//! An answer that comes before the whole body was read (a refused chunk) would be lost if the connection were
//! closed under a client that is still sending; so what is left is read away, within bounds. `layers` guards
//! every body, whichever handler or fallback gets it; `extract` reads it as a stream or at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Version, header};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::base::stream::StreamError;
use crate::base::{Code, Error, Result};
use crate::telemetry::Tasks;

/// At most this much is read away: two chunks of the default size.
const DRAIN_BYTES_MAX: usize = 16 << 20;
/// For at most this long.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// How long a body is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Nothing may come for so long; and what came is judged after as much waiting.
    idle: Duration,
    /// Bytes that must come in a second of waiting.
    min_rate: u64,
}

impl Patience {
    /// As the operator says.
    pub(super) fn of(door: &crate::config::Server) -> Self {
        Self { idle: door.body_idle_timeout, min_rate: door.body_min_rate.bytes() }
    }
}

/// Guards the body of `request`: it fails when nothing comes, or too little, and is read away when it is dropped
/// before its end.
pub(super) fn guard(request: Request, patience: Patience, tasks: &Tasks) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    // A client that waits for `100 Continue` has sent nothing that would have to be read away.
    let unsent = request.headers().contains_key(header::EXPECT);
    // What is left of a stream is in no other's way (RFC 9113 8.1).
    let alone = request.version() == Version::HTTP_2;
    let guarded = |body| Guarded {
        body: Some(body),
        idle: Box::pin(tokio::time::sleep(patience.idle)),
        patience,
        waiting_since: None,
        waited: Duration::ZERO,
        came: 0,
        unsent,
        alone,
        tasks: tasks.clone(),
    };
    request.map(|body| Body::new(guarded(body)))
}

/// A guarded body as a stream; it fails with `TimedOut` or `Cut`.
pub(super) fn stream(body: Body) -> impl Stream<Item = Result<Bytes, StreamError>> + Send {
    body.into_data_stream().map(|frame| {
        frame.map_err(|error| match error.into_inner().downcast() {
            Ok(ours) => *ours,
            Err(other) => StreamError::Cut(other.to_string()),
        })
    })
}

/// All of a guarded body, at most `limit` bytes.
///
/// # Errors
/// `InvalidRequest` for a longer body, or one that broke off; `RequestTimeout`.
pub(super) async fn collect(body: Body, limit: usize) -> Result<Vec<u8>> {
    let mut body = std::pin::pin!(stream(body));
    let mut all = Vec::new();
    while let Some(frame) = body.next().await {
        let frame = frame.map_err(broken_off)?;
        if all.len() + frame.len() > limit {
            let detail = format!("the body has more than {limit} bytes, the most that is taken here");
            return Err(Error::new(Code::InvalidRequest, detail));
        }
        all.extend_from_slice(&frame);
    }
    Ok(all)
}

/// What to tell a client whose body was to be read to its end.
pub(super) fn broken_off(error: StreamError) -> Error {
    match error {
        StreamError::TimedOut => Error::new(Code::RequestTimeout, "the body stopped coming"),
        _ => Error::new(Code::InvalidRequest, "the body broke off").caused_by(error),
    }
}

/// See [`guard`].
struct Guarded {
    /// `None` once it has ended.
    body: Option<Body>,
    idle: Pin<Box<Sleep>>,
    patience: Patience,
    waiting_since: Option<Instant>,
    /// For how long the client was waited for since it was judged last, and the bytes that came in that time.
    /// Only waiting counts: a client is not slow because our disk is.
    waited: Duration,
    came: u64,
    /// The client sends nothing before it is asked to.
    unsent: bool,
    /// Whatever is not read is in nobody's way.
    alone: bool,
    tasks: Tasks,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        this.unsent = false;
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if this.is_too_slow(frame.data_ref().map_or(0, Bytes::len)) {
                    this.body = None;
                    return Poll::Ready(Some(Err(StreamError::TimedOut)));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.body = None;
                Poll::Ready(Some(Err(StreamError::Cut(error.to_string()))))
            }
            Poll::Ready(None) => {
                this.body = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                // The timer is set only when there is something to wait for, not at every frame.
                if this.waiting_since.is_none() {
                    let now = Instant::now();
                    this.waiting_since = Some(now);
                    this.idle.as_mut().reset(now + this.patience.idle);
                }
                match this.idle.as_mut().poll(cx) {
                    Poll::Ready(()) => {
                        this.body = None;
                        Poll::Ready(Some(Err(StreamError::TimedOut)))
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Guarded {
    /// Counts a frame of `bytes`; whether the client brings less than it must.
    fn is_too_slow(&mut self, bytes: usize) -> bool {
        self.came += bytes as u64;
        let Some(since) = self.waiting_since.take() else { return false };
        self.waited += since.elapsed();
        if self.waited < self.patience.idle {
            return false;
        }
        let needed = u128::from(self.patience.min_rate) * self.waited.as_millis() / 1000;
        let too_slow = u128::from(self.came) < needed;
        (self.waited, self.came) = (Duration::ZERO, 0);
        too_slow
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(rest) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        if self.unsent || self.alone || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.tasks.spawn("drain body", async move {
            let mut rest = rest.into_data_stream();
            let drained = async {
                let mut bytes = 0;
                while let Some(Ok(frame)) = rest.next().await {
                    bytes += frame.len();
                    if bytes > DRAIN_BYTES_MAX {
                        return;
                    }
                }
            };
            // Over the bound the connection is closed under the client: it had its chance.
            drop(tokio::time::timeout(DRAIN_TIME_MAX, drained).await);
        });
    }
}

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
use axum::http::header;
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

/// Guards the body of `request`: it fails when nothing comes for `idle_timeout`, and is read away when it is
/// dropped before its end.
pub(super) fn guard(request: Request, idle_timeout: Duration, tasks: &Tasks) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    // A client that waits for `100 Continue` has sent nothing that would have to be read away.
    let unsent = request.headers().contains_key(header::EXPECT);
    let idle = Box::pin(tokio::time::sleep(idle_timeout));
    let tasks = tasks.clone();
    request.map(|body| {
        Body::new(Guarded { body: Some(body), idle, idle_timeout, waiting: false, unsent, tasks })
    })
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
        let frame = frame.map_err(|error| match error {
            StreamError::TimedOut => Error::new(Code::RequestTimeout, "the body stopped coming"),
            _ => Error::new(Code::InvalidRequest, "the body broke off").caused_by(error),
        })?;
        if all.len() + frame.len() > limit {
            let detail = format!("the body has more than {limit} bytes, the most that is taken here");
            return Err(Error::new(Code::InvalidRequest, detail));
        }
        all.extend_from_slice(&frame);
    }
    Ok(all)
}

/// See [`guard`].
struct Guarded {
    /// `None` once it has ended.
    body: Option<Body>,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    waiting: bool,
    /// The client sends nothing before it is asked to.
    unsent: bool,
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
                this.waiting = false;
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
                if !this.waiting {
                    this.waiting = true;
                    this.idle.as_mut().reset(Instant::now() + this.idle_timeout);
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

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(rest) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        if self.unsent || tokio::runtime::Handle::try_current().is_err() {
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

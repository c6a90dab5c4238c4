//! A request's body as a stream that cannot stand still, and that is read away when nobody wants it.
//!
//! An answer that comes before the whole body was read (a refused chunk) would be lost if the connection were
//! closed under a client that is still sending; so what is left is read away, within bounds.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};

use crate::base::stream::StreamError;
use crate::base::{Code, Error, Result};
use crate::telemetry::Tasks;

/// At most this much is read away: two chunks of the default size.
const DRAIN_BYTES_MAX: usize = 16 << 20;
/// For at most this long.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

/// The body of a request.
pub(super) struct RequestBody {
    /// `None` once it has ended.
    body: Option<BodyDataStream>,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    waiting: bool,
    unsent: bool,
    tasks: Tasks,
}

impl RequestBody {
    /// A stream of `body` that fails with `TimedOut` when nothing comes for `idle_timeout`. `unsent` says that
    /// the client sends nothing before it is asked to.
    pub(super) fn new(body: Body, idle_timeout: Duration, tasks: Tasks, unsent: bool) -> Self {
        let idle = Box::pin(tokio::time::sleep(idle_timeout));
        Self { body: Some(body.into_data_stream()), idle, idle_timeout, waiting: false, unsent, tasks }
    }

    /// All of it, at most `limit` bytes.
    ///
    /// # Errors
    /// `InvalidRequest` for a longer body, or one that broke off; `RequestTimeout`.
    pub(super) async fn collect(mut self, limit: usize) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(frame) = self.next().await {
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
}

impl Stream for RequestBody {
    type Item = Result<Bytes, StreamError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        this.unsent = false;
        match body.poll_next_unpin(cx) {
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
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(mut rest) = self.body.take() else { return };
        if self.unsent || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        self.tasks.spawn("drain body", async move {
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

//! Clients that stop reading an answer: a connection, or a stream of one, on which nothing goes out for a while
//! (`server.write_timeout`) is given up, and with it the file that it holds open.
//!
//! [`Stall`] watches a whole connection, byte by byte: enough for HTTP/1.1, where a connection has one answer at
//! a time. On HTTP/2 a client can keep the connection alive and one stream waiting, so [`Stalls`] watches each
//! answer of a connection as well.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How often, in the time that they have, the answers of an HTTP/2 connection are looked after.
const LOOKS: u32 = 8;

/// A connection whose writing fails when nothing can be written for `limit`.
pub(super) struct Stall<S> {
    stream: S,
    limit: Duration,
    /// Set when a write had to wait.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Stall<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waiting: None }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut S, &mut Context<'_>) -> Poll<std::io::Result<T>>,
    ) -> Poll<std::io::Result<T>> {
        if let Poll::Ready(written) = write(&mut self.stream, cx) {
            self.waiting = None;
            return Poll::Ready(written);
        }
        let limit = self.limit;
        let timer = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.watch(cx, |stream, cx| Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.watch(cx, |stream, cx| Pin::new(stream).poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.watch(cx, |stream, cx| Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.watch(cx, |stream, cx| Pin::new(stream).poll_shutdown(cx))
    }
}

/// The answers of one HTTP/2 connection. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Stalls(Arc<Mutex<Answers>>);

#[derive(Debug)]
struct Answers {
    next: u64,
    /// Since when nothing was taken from each answer; `None` while it is being made.
    open: HashMap<u64, Option<Instant>>,
    /// When the last one ended.
    ended: Instant,
}

impl Default for Answers {
    fn default() -> Self {
        Self { next: 0, open: HashMap::new(), ended: Instant::now() }
    }
}

impl Stalls {
    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins.
    pub(super) fn watch(&self) -> Watched {
        let mut answers = self.lock();
        let id = answers.next;
        answers.next += 1;
        answers.open.insert(id, None);
        drop(answers);
        Watched { stalls: self.clone(), id }
    }

    /// Ready when no request has been there for `limit`.
    pub(super) async fn idle_for(&self, limit: Duration) {
        self.when(limit, |answers| answers.open.is_empty() && answers.ended.elapsed() >= limit).await;
    }

    /// Ready when nothing was taken of one of the answers for `limit`.
    pub(super) async fn stalled_for(&self, limit: Duration) {
        let stalled = |since: &Option<Instant>| since.is_some_and(|since| since.elapsed() >= limit);
        self.when(limit, |answers| answers.open.values().any(stalled)).await;
    }

    async fn when(&self, limit: Duration, over: impl Fn(&Answers) -> bool) {
        while !over(&self.lock()) {
            tokio::time::sleep(limit / LOOKS).await;
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Watched {
    stalls: Stalls,
    id: u64,
}

impl Watched {
    /// The answer's body, watched until it is gone.
    pub(super) fn over(self, body: Body) -> WatchedBody {
        self.moved();
        WatchedBody { body, watched: self }
    }

    fn moved(&self) {
        self.stalls.lock().open.insert(self.id, Some(Instant::now()));
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut answers = self.stalls.lock();
        answers.open.remove(&self.id);
        answers.ended = Instant::now();
    }
}

/// See [`Watched::over`].
#[derive(Debug)]
pub(super) struct WatchedBody {
    body: Body,
    watched: Watched,
}

impl http_body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // hyper asks for the next frame when the one before went out. An answer that has nothing to say for a
        // while (events) is asked, and so not stalled.
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match frame {
            Poll::Pending => drop(self.watched.stalls.lock().open.insert(self.watched.id, None)),
            Poll::Ready(_) => self.watched.moved(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

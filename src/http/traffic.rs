//! What is known of the requests on one connection: how many are under way, whether one's body was left unread,
//! since when nothing happens. `connection` asks, to end what is idle; `wire` asks, to know how to close.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

/// Of one connection.
#[derive(Debug)]
pub(super) struct Traffic(Mutex<State>);

#[derive(Debug)]
struct State {
    under_way: u32,
    begun: u64,
    answered: u64,
    /// Since when nothing is under way.
    quiet_since: Instant,
    unread: bool,
    /// Answers whose last frame nobody has taken, since when.
    untaken: HashMap<u64, Instant>,
    end: End,
}

/// How the connection is going to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// As the client and hyper agree.
    Open,
    /// Not at all: hyper lets go of the socket, which stays open.
    Nap,
    /// The service stops.
    Stop,
}

impl Default for Traffic {
    fn default() -> Self {
        let state = State {
            under_way: 0,
            begun: 0,
            answered: 0,
            quiet_since: Instant::now(),
            unread: false,
            untaken: HashMap::new(),
            end: End::Open,
        };
        Self(Mutex::new(state))
    }
}

impl Traffic {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request until the returned value and all its clones are gone.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        state.under_way += 1;
        let number = state.begun;
        state.begun += 1;
        UnderWay(Arc::new(Counted { traffic: Arc::clone(self), number }))
    }

    /// For how long nothing has been under way; `None` while something is.
    pub(super) fn quiet_for(&self) -> Option<Duration> {
        let state = self.state();
        (state.under_way == 0).then(|| state.quiet_since.elapsed())
    }

    /// For how long the next frame of an answer has been waiting for its client, at most. Told of HTTP/2, where one
    /// answer can stand still while the connection does not.
    pub(super) fn stalled_for(&self) -> Option<Duration> {
        self.state().untaken.values().map(Instant::elapsed).max()
    }

    /// Whether the last byte of every request has been read, and the last byte of every answer been given away;
    /// there was one at least.
    pub(super) fn is_between_requests(&self) -> bool {
        let state = self.state();
        state.under_way == 0 && state.answered > 0 && !state.unread
    }

    /// hyper is about to let go of the socket, which stays open.
    pub(super) fn nap(&self) {
        self.state().end = End::Nap;
    }

    /// The service stops: nobody is waited for who has been answered.
    pub(super) fn stop(&self) {
        self.state().end = End::Stop;
    }

    /// See [`Traffic::nap`].
    pub(super) fn is_napping(&self) -> bool {
        self.state().end == End::Nap
    }

    /// Whether the client may be sending what nobody will read.
    pub(super) fn may_be_sending(&self) -> bool {
        let state = self.state();
        state.unread || state.end != End::Stop
    }
}

/// A request from its head to the last byte of its body and of its answer.
#[derive(Debug, Clone)]
pub(super) struct UnderWay(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    traffic: Arc<Traffic>,
    number: u64,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut state = self.traffic.state();
        state.untaken.remove(&self.number);
        state.under_way -= 1;
        state.answered += 1;
        state.quiet_since = Instant::now();
    }
}

impl UnderWay {
    /// A frame of the answer was given away, or there is none to give.
    fn gave(&self, frame: bool) {
        let (mut state, number) = (self.0.traffic.state(), self.0.number);
        if frame {
            state.untaken.insert(number, Instant::now());
        } else {
            state.untaken.remove(&number);
        }
    }

    /// `body` as a request's, watched.
    pub(super) fn arriving(&self, body: Incoming) -> Body {
        if body.is_end_stream() {
            return Body::empty();
        }
        Body::new(Watched { body, way: Way::In, finished: false, under_way: self.clone() })
    }

    /// `body` as an answer's, watched; `way` is [`Way::Out`] or [`Way::OutOfMany`].
    pub(super) fn leaving(&self, body: Body, way: Way) -> Body {
        Body::new(Watched { body, way, finished: false, under_way: self.clone() })
    }
}

/// Which way a body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the client.
    In,
    /// To the client, alone on its connection: the kernel knows whether it goes out.
    Out,
    /// To the client, as one of many on the connection.
    OutOfMany,
}

/// A body that keeps its request under way.
struct Watched<B: HttpBody> {
    body: B,
    way: Way,
    finished: bool,
    under_way: UnderWay,
}

impl<B: HttpBody> Drop for Watched<B> {
    fn drop(&mut self) {
        if self.way == Way::In && !self.finished && !self.body.is_end_stream() {
            self.under_way.0.traffic.state().unread = true;
        }
    }
}

impl<B: HttpBody + Unpin> HttpBody for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        // hyper asks for the next frame when the one before went out. An answer that has nothing to say for a while
        // (events) is asked, and so does not stand still.
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        if this.way == Way::OutOfMany {
            this.under_way.gave(frame.is_ready());
        }
        this.finished |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

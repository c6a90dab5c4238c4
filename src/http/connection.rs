//! One connection, from its first byte to its end: HTTP/1.1 or HTTP/2, with a bound on everything.
//!
//! HTTP/2 comes without TLS and by prior knowledge (RFC 9113 3.3); which of the two it is, the first bytes say.
//! A connection that says nothing costs next to nothing, since hyper sees it only with its first byte.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::stall::{Stall, Stalls};
use crate::telemetry::Tasks;

/// A client has this long to send a request's head; the wait for the next request on the same connection is
/// counted in, since hyper has one clock for both. nginx allows 60 s and 75 s.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes read from an HTTP/1.1 connection at once at most; large reads make few, cheap frames.
const READ_BUFFER_BYTES: usize = 512 * 1024;
/// More header lines than this are refused (431).
const HEADERS_MAX: usize = 100;
/// An HTTP/2 connection without a request for this long is closed; a peer that does not answer a ping for as long
/// is gone.
const H2_IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// RFC 9113 6.5.2 advises at least 100.
const H2_STREAMS_MAX: u32 = 100;
/// What a client may send ahead on one stream, and on all of them: enough for 1 GiB/s at a round trip of 1 ms,
/// and all the memory that bodies which nobody reads yet can take.
const H2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
const H2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Names and values of a request's head (hyper answers 431 beyond it).
const H2_HEAD_BYTES_MAX: u32 = 64 * 1024;
/// How a connection over HTTP/2 begins (RFC 9113 3.4). No method of HTTP/1.1 is called so.
const PREFACE: &[u8; 3] = b"PRI";
/// A part of the preface came: how often it is looked whether the rest did.
const PREFACE_PAUSE: Duration = Duration::from_millis(20);

/// The other end of the connection that a request came on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

type Io = TokioIo<Stall<TcpStream>>;

#[derive(Debug, Clone, Copy)]
enum Version {
    Http1,
    Http2,
}

/// What a connection is served with.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) router: Router,
    pub(super) tasks: Tasks,
    /// A client that takes nothing of an answer for this long is left.
    pub(super) write_timeout: Duration,
}

/// Serves `stream` until it ends, or the service stops.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, serving: Serving) {
    let Serving { router, tasks, write_timeout } = serving;
    // Answers are written whole; waiting for more bytes to fill a segment would only delay them.
    drop(stream.set_nodelay(true));
    let version = tokio::select! {
        biased;
        () = tasks.stopping().cancelled() => return,
        version = tokio::time::timeout(HEAD_TIMEOUT, version(&stream)) => version,
    };
    let Ok(Ok(version)) = version else { return };
    let stream = TokioIo::new(Stall::new(stream, write_timeout));
    let ended = match version {
        Version::Http1 => serve_http1(stream, peer, router, &tasks).await,
        Version::Http2 => serve_http2(stream, peer, router, &tasks, write_timeout).await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early: {error}");
    }
}

/// Looks at the first bytes without taking them.
async fn version(stream: &TcpStream) -> std::io::Result<Version> {
    let mut first = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut first).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            came if first[..came] != PREFACE[..came] => return Ok(Version::Http1),
            came if came == PREFACE.len() => return Ok(Version::Http2),
            _ => tokio::time::sleep(PREFACE_PAUSE).await,
        }
    }
}

async fn serve_http1(stream: Io, peer: SocketAddr, router: Router, tasks: &Tasks) -> hyper::Result<()> {
    let service = service_fn(move |request| answer(router.clone(), request, peer));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(stream, service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = tasks.stopping().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn serve_http2(
    stream: Io,
    peer: SocketAddr,
    router: Router,
    tasks: &Tasks,
    write_timeout: Duration,
) -> hyper::Result<()> {
    let stalls = Stalls::default();
    let answers = stalls.clone();
    let service = service_fn(move |request| {
        let watched = answers.watch();
        let answer = answer(router.clone(), request, peer);
        async move { answer.await.map(|response| response.map(|body| watched.over(body))) }
    });
    let connection = http2::Builder::new(InTasks(tasks.clone()))
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_IDLE_TIMEOUT / 2)
        .keep_alive_timeout(H2_IDLE_TIMEOUT / 2)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(H2_HEAD_BYTES_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .serve_connection(stream, service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = tasks.stopping().cancelled() => {}
        () = stalls.idle_for(H2_IDLE_TIMEOUT) => {}
        () = stalls.stalled_for(write_timeout) => {
            tracing::debug!("a client took nothing of an answer for too long: its connection is closed");
            return Ok(());
        }
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(Peer(peer));
    router.oneshot(request).await
}

/// Streams of an HTTP/2 connection run as tasks of ours, so that a stop waits for them.
#[derive(Debug, Clone)]
struct InTasks(Tasks);

impl<F> Executor<F> for InTasks
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("stream", stream);
    }
}

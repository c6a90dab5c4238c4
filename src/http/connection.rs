//! One connection from its first byte to its last: which HTTP it speaks, limits that hyper knows, and those that it
//! does not: how long it may be idle, and what it may cost meanwhile. Called by `server`.
//!
//! Between requests hyper keeps the buffer that it read the last body into, up to half a mebibyte. So after a
//! second of silence it is asked to let go of an HTTP/1 connection, which then costs a socket and a small task; at
//! its next byte there is a new hyper for it. The client sees none of this.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::traffic::{Traffic, Way};
use super::wire::{Language, Wire};
use crate::telemetry::Tasks;

/// A client has this long to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest head; metadata in a query may have 8 KiB, which percent-encoding triples.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes read from an HTTP/1 connection at once at most. Large reads make few, cheap frames.
const READ_BUFFER_BYTES: usize = 512 << 10;
/// After this long without a request an HTTP/1 connection costs as little as it can.
const NAP_AFTER: Duration = Duration::from_secs(1);
/// What a client may send on one HTTP/2 stream, and on all of a connection, before it is read: 40 MiB/s and
/// 160 MiB/s at 50 ms; and the most that a connection can make us hold.
const H2_STREAM_WINDOW_BYTES: u32 = 2 << 20;
const H2_CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Larger frames are fewer frames; the smallest that may be told is 16 KiB (RFC 9113 6.5.2).
const H2_FRAME_BYTES_MAX: u32 = 64 << 10;
/// Requests at once on one connection; 100 at least are recommended (RFC 9113 6.5.2).
const H2_STREAMS_MAX: u32 = 128;
/// Bytes of an answer that wait for one stream's client.
const H2_SEND_BYTES_MAX: usize = 256 << 10;
/// A silent HTTP/2 client is asked whether it lives this often, and has `H2_PING_TIMEOUT` to say so.
const H2_PING_EVERY: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// A client that was told to leave an HTTP/2 connection has this long when it has nothing under way.
const H2_FAREWELL_MAX: Duration = Duration::from_secs(2);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) router: Router,
    pub(super) tasks: Tasks,
    pub(super) idle_timeout: Duration,
    pub(super) write_timeout: Duration,
}

/// Where a request comes from: the other end of its connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Serves requests until the client leaves, is idle for too long, or the service stops.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, door: Arc<Door>) {
    let stopping = door.tasks.stopping().clone();
    let mut wire = Wire::new(stream, door.write_timeout);
    let mut patience = door.idle_timeout;
    loop {
        let language = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            language = tokio::time::timeout(patience, wire.listen()) => language,
        };
        let next = match language {
            Ok(Some(Language::Http1)) => http1(wire, peer, &door).await,
            Ok(Some(Language::Http2)) => return http2(wire, peer, &door).await,
            Ok(None) | Err(_) => return,
        };
        let Some(woken) = next else { return };
        wire = woken;
        patience = door.idle_timeout.saturating_sub(NAP_AFTER);
    }
}

/// Answers one request after the other; the socket comes back when nothing happens on it.
async fn http1(wire: Wire, peer: SocketAddr, door: &Door) -> Option<Wire> {
    let traffic = Arc::clone(wire.traffic());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_BUFFER_BYTES)
        .serve_connection(TokioIo::new(wire), Answering::on(&traffic, peer, door));
    let mut connection = connection;
    let mut stopped = false;
    let nap_after = NAP_AFTER.min(door.idle_timeout);
    let mut look = std::pin::pin!(tokio::time::sleep(nap_after));
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut connection => break ended,
            () = door.tasks.stopping().cancelled(), if !stopped => {
                stopped = true;
                traffic.stop();
                Pin::new(&mut connection).graceful_shutdown();
            }
            () = look.as_mut(), if !stopped => {
                let quiet = traffic.quiet_for().unwrap_or_default();
                if quiet >= nap_after && traffic.is_between_requests() {
                    traffic.nap();
                    Pin::new(&mut connection).graceful_shutdown();
                }
                look.as_mut().reset(Instant::now() + nap_after.saturating_sub(quiet).max(nap_after / 4));
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early: {error}");
        return None;
    }
    let parts = connection.into_parts();
    traffic.is_napping().then(|| parts.io.into_inner().renew(&parts.read_buf))
}

/// Answers many requests at a time.
async fn http2(wire: Wire, peer: SocketAddr, door: &Door) {
    let traffic = Arc::clone(wire.traffic());
    // A client that opens streams only to reset them (CVE-2023-44487) is sent away by h2's own bounds.
    let connection = http2::Builder::new(Streams(door.tasks.clone()))
        .timer(TokioTimer::new())
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES_MAX)
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_send_buf_size(H2_SEND_BYTES_MAX)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_TIMEOUT)
        .serve_connection(TokioIo::new(wire), Answering::on(&traffic, peer, door));
    let mut connection = std::pin::pin!(connection);
    let mut told_to_leave = false;
    let mut look = tokio::time::interval(door.idle_timeout.min(door.write_timeout) / 8);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early: {error}");
                }
                return;
            }
            () = door.tasks.stopping().cancelled(), if !told_to_leave => {
                traffic.stop();
                told_to_leave = true;
                connection.as_mut().graceful_shutdown();
                look = tokio::time::interval(H2_FAREWELL_MAX / 4);
            }
            _ = look.tick() => {
                let quiet = traffic.quiet_for().unwrap_or_default();
                if told_to_leave && quiet >= H2_FAREWELL_MAX {
                    return;
                }
                if traffic.stalled_for().is_some_and(|stalled| stalled >= door.write_timeout) {
                    tracing::debug!("a client took nothing of an answer for too long: its connection is closed");
                    return;
                }
                if !told_to_leave && quiet >= door.idle_timeout {
                    told_to_leave = true;
                    connection.as_mut().graceful_shutdown();
                    look = tokio::time::interval_at(Instant::now() + H2_FAREWELL_MAX, H2_FAREWELL_MAX);
                }
            }
        }
    }
}

/// Runs the streams of an HTTP/2 connection as tasks of the service.
#[derive(Debug, Clone)]
struct Streams(Tasks);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        drop(self.0.spawn("stream", stream));
    }
}

/// What hyper calls for each request.
#[derive(Debug, Clone)]
struct Answering {
    router: TowerToHyperService<Router>,
    traffic: Arc<Traffic>,
    peer: SocketAddr,
}

impl Answering {
    fn on(traffic: &Arc<Traffic>, peer: SocketAddr, door: &Door) -> Self {
        let router = TowerToHyperService::new(door.router.clone());
        Self { router, traffic: Arc::clone(traffic), peer }
    }
}

impl hyper::service::Service<Request<Incoming>> for Answering {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let under_way = self.traffic.begin();
        let way = if request.version() == Version::HTTP_2 { Way::OutOfMany } else { Way::Out };
        let mut request = request.map(|body| under_way.arriving(body));
        request.extensions_mut().insert(Peer(self.peer));
        let answer = self.router.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| under_way.leaving(body, way))) })
    }
}

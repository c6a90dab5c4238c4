//! The accept loop: one task a connection, limits that hyper knows, an orderly end.
//!
//! At the end no new connection is taken, idle ones are closed, and requests that are being answered may
//! finish; how long, the caller says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::app::Services;
use crate::base::{Code, Error, Result};
use crate::telemetry::Tasks;

/// A client has this long to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes read from a connection at once at most; and the largest head. Large reads make few, cheap frames.
const READ_BUFFER_BYTES: usize = 512 * 1024;
/// When the process has no file descriptor left, accepting is tried again after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener with what it serves.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    router: Router,
    tasks: Tasks,
}

impl Server {
    /// Listens on `address` for `services`; port 0 takes any free one.
    ///
    /// # Errors
    /// What keeps it from listening, in words for its operator.
    pub async fn bind(address: SocketAddr, services: &Arc<Services>) -> Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let detail = format!("cannot listen on {address}: {error}; set server.listen to a free address");
            Error::new(Code::Internal, detail)
        })?;
        Ok(Self { listener, router: super::router(Arc::clone(services)), tasks: services.tasks.clone() })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes connections until the service begins to stop. Connections go on in their tasks.
    pub async fn run(self) {
        let stopping = self.tasks.stopping().clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    self.tasks.spawn("connection", serve(stream, self.router.clone(), self.tasks.clone()));
                }
                // The peer left before it was accepted; or we are out of descriptors, which takes a moment.
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router, tasks: Tasks) {
    // Answers are written whole; waiting for more bytes to fill a segment would only delay them.
    drop(stream.set_nodelay(true));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tasks.stopping().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early: {error}");
    }
}

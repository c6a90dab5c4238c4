//! The accept loop: one task a connection, as many as there may be, an orderly end.
//!
//! At the end no new connection is taken, idle ones are closed, and requests that are being answered may
//! finish; how long, the caller says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::connection::{self, Door};
use crate::app::Services;
use crate::base::{Code, Error, Result};
use crate::telemetry::{Tasks, metrics};

/// When the process has no file descriptor left, accepting is tried again after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// So many clients at once are told that there is no room; more are not even told.
const REFUSALS_MAX: usize = 64;
/// Such a client has this long to read it.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);

/// A listener with what it serves.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    door: Arc<Door>,
    tasks: Tasks,
    room: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
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
        let tasks = services.tasks.clone();
        let door = Door {
            router: super::router(Arc::clone(services)),
            tasks: tasks.clone(),
            idle_timeout: services.door.idle_timeout,
            write_timeout: services.door.write_timeout,
        };
        let room = usize::try_from(services.door.max_connections).unwrap_or(Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(room));
        Ok(Self {
            listener,
            door: Arc::new(door),
            tasks,
            room,
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        })
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
                Ok((stream, peer)) => self.welcome(stream, peer),
                // The peer left before it was accepted; or we are out of descriptors, which takes a moment.
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves the connection if there is room for one more. Who finds none is told at once: it can try another
    /// server or come back, and a health check learns that this one is full. In the backlog it would only wait.
    fn welcome(&self, stream: TcpStream, peer: SocketAddr) {
        if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
            let door = Arc::clone(&self.door);
            self.tasks.spawn("connection", async move {
                metrics::http_connections(1);
                connection::serve(stream, peer, door).await;
                metrics::http_connections(-1);
                drop(place);
            });
            return;
        }
        metrics::connection_refused();
        if let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() {
            self.tasks.spawn("refusal", async move {
                drop(tokio::time::timeout(REFUSAL_TIME_MAX, refuse(stream)).await);
                drop(place);
            });
        }
    }
}

/// Whatever the client asks, the answer is the same; so it is not read before, only away.
async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    let code = Code::Overloaded;
    let body = serde_json::json!({
        "type": format!("/problems/{}", code.as_str()),
        "title": code.title(),
        "status": 503,
        "detail": "as many clients are connected as there may be; try again",
        "code": code.as_str(),
    });
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing over unread bytes would take the answer away (RFC 9112 9.6).
    let mut away = [0; 4096];
    while stream.read(&mut away).await? > 0 {}
    Ok(())
}

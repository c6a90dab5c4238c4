//! The accept loop: who may connect, and an orderly end. What happens on a connection stands in [`super::connection`].
//!
//! At the end no new connection is taken, idle ones are closed, and requests that are being answered may
//! finish; how long, the caller says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::connection::{self, Serving};
use crate::app::Services;
use crate::base::{Code, Error, Result};
use crate::telemetry::metrics;

/// When the process has no file descriptor left, accepting is tried again after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A connection too many gets its refusal within this time, or none.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// What a connection too many is told, before it has asked anything: a health check or a client with a queue of
/// its own learns at once what is wrong, rather than hanging in the backlog.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Retry-After: 1\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: 169\r\n\r\n\
    {\"type\":\"/problems/overloaded\",\"title\":\"The service is busy\",\"status\":503,\
    \"detail\":\"the service has as many connections as it takes; try again soon\",\"code\":\"overloaded\"}";

/// A listener with what it serves.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    serving: Serving,
    /// How many connections it still takes.
    free: Arc<Semaphore>,
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
        let free = Arc::new(Semaphore::new(services.door.max_connections as usize));
        let serving = Serving {
            router: super::router(Arc::clone(services)),
            tasks: services.tasks.clone(),
            write_timeout: services.door.write_timeout,
        };
        Ok(Self { listener, serving, free })
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes connections until the service begins to stop. Connections go on in their tasks.
    pub async fn run(self) {
        let stopping = self.serving.tasks.stopping().clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                // The peer left before it was accepted; or we are out of descriptors, which takes a moment.
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else {
            metrics::connection_refused();
            self.serving.tasks.spawn("refuse connection", refuse(stream));
            return;
        };
        let serving = self.serving.clone();
        self.serving.tasks.spawn("connection", async move {
            connection::serve(stream, peer, serving).await;
            drop(place);
        });
    }
}

async fn refuse(mut stream: TcpStream) {
    let said = async {
        stream.write_all(REFUSAL).await?;
        stream.shutdown().await
    };
    drop(tokio::time::timeout(REFUSAL_TIMEOUT, said).await);
}

#[cfg(test)]
mod tests {
    use super::REFUSAL;

    #[test]
    fn the_refusal_says_its_own_length() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}

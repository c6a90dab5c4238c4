//! The channel that all nodes of one database share: what one publishes every other hears, unless it was away.
//!
//! Publish and subscribe is at most once: after every gap the listener is told that it may have missed something.
//! Every node publishes a beat each second, so that silence means a connection that is dead.

use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::PubSub;
use redis::{Client, RedisError};

use super::{Redis, late};

/// The message that says nothing.
pub(super) const BEAT: &[u8] = b"";
/// No beat for this long, not even our own: the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(3);
const CONNECT_WAIT_MAX: Duration = Duration::from_millis(700);
const TRY_EVERY: Duration = Duration::from_millis(200);

/// What a listener hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Somebody published this; perhaps we.
    Message(&'a [u8]),
    /// From here on all is heard; what was published before may not have been.
    Gap,
}

pub(super) fn name(prefix: &str) -> String {
    format!("{prefix}:signals")
}

impl Redis {
    /// Gives `listener` everything that is published, until the service stops. One for each of these values.
    pub fn listen(&self, listener: impl Fn(Heard<'_>) + Send + Sync + 'static) {
        let redis = self.clone();
        let stopping = self.0.tasks.stopping().clone();
        self.0.tasks.spawn("listen to redis", async move {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {}
                () = redis.listen_for_ever(listener) => {}
            }
        });
    }

    async fn listen_for_ever(&self, listener: impl Fn(Heard<'_>)) {
        let channel = name(&self.0.prefix);
        // A cluster's servers pass on what is published on any of them: one that answers is enough.
        for server in self.0.servers.each().iter().cycle() {
            let subscribing = tokio::time::timeout(CONNECT_WAIT_MAX, subscribe(server, &channel));
            match subscribing.await.unwrap_or_else(|_| Err(late())) {
                Ok(subscription) => {
                    self.0.hears.send_replace(true);
                    listener(Heard::Gap);
                    pass_on(subscription, &listener).await;
                    self.0.hears.send_replace(false);
                }
                Err(error) => tracing::debug!("no subscription to Redis: {error}"),
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }
}

async fn subscribe(server: &Client, channel: &str) -> Result<PubSub, RedisError> {
    let mut connection = server.get_async_pubsub().await?;
    connection.subscribe(channel).await?;
    Ok(connection)
}

/// Until the connection ends, or seems dead.
async fn pass_on(subscription: PubSub, listener: &impl Fn(Heard<'_>)) {
    let mut messages = subscription.into_on_message();
    while let Ok(Some(message)) = tokio::time::timeout(SILENCE_MAX, messages.next()).await {
        let message = message.get_payload_bytes();
        if message != BEAT {
            listener(Heard::Message(message));
        }
    }
}

//! What a server says of itself, for `cifra doctor`: looked at, nothing changed.

use std::collections::HashMap;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::time::Instant;

use super::connection::Servers;
use super::{explain, late};
use crate::base::Result;
use crate::config;

/// Whoever looks is in less of a hurry than a request.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// The time of one round trip is the median of these.
const PINGS: usize = 11;

/// One server of those that the configuration names.
#[derive(Debug)]
pub struct Server {
    /// Host and port.
    pub address: String,
    /// What it is, or why it could not be asked.
    pub seen: Result<Seen, String>,
}

/// What a server is.
#[derive(Debug, Clone)]
pub struct Seen {
    /// There and back.
    pub round_trip: Duration,
    info: HashMap<String, String>,
}

impl Seen {
    /// A line of `INFO`, such as `redis_version`; `None` if it does not tell us.
    pub fn info(&self, name: &str) -> Option<&str> {
        self.info.get(name).map(String::as_str)
    }
}

/// Looks at each server that `config` names.
///
/// # Errors
/// `Internal` with a sentence for the operator if the configuration cannot be used.
pub async fn look(config: &config::Redis) -> Result<Vec<Server>> {
    let Some(servers) = Servers::of(config)? else { return Ok(Vec::new()) };
    let mut looked = Vec::new();
    for client in servers.each() {
        let seen = tokio::time::timeout(WAIT_MAX, ask(client)).await.unwrap_or_else(|_| Err(late()));
        let address = client.get_connection_info().addr().to_string();
        looked.push(Server { address, seen: seen.map_err(|error| explain(&error)) });
    }
    Ok(looked)
}

async fn ask(client: &Client) -> Result<Seen, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(WAIT_MAX))
        .set_response_timeout(Some(WAIT_MAX));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut took = Vec::new();
    for _ in 0..PINGS {
        let begun = Instant::now();
        redis::cmd("PING").exec_async(&mut connection).await?;
        took.push(begun.elapsed());
    }
    took.sort();
    // An account that may not ask for it is enough to work with.
    let text: String = redis::cmd("INFO").query_async(&mut connection).await.unwrap_or_default();
    let line = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Seen { round_trip: took[PINGS / 2], info: text.lines().filter_map(line).collect() })
}

//! One server or a cluster: how to connect to it, and one way to ask either.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates,
    Value,
};

use super::PATIENCE;
use crate::base::{Code, Error, Result};
use crate::config;

/// A connection that takes longer is given up.
const CONNECT_WAIT_MAX: Duration = Duration::from_millis(700);
/// A cluster's client goes on to ask where a key has moved to, while its caller is patient.
const CLUSTER_RETRIES: u32 = 3;
const CLUSTER_RETRY_WAIT_MS: u64 = 20;

/// What the configuration names.
pub(super) struct Servers {
    /// As it may be shown.
    shown: String,
    /// Each server that is named.
    each: Vec<Client>,
    cluster: Option<ClusterClient>,
}

/// A connection that many use at once. Does not heal: it is replaced.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection),
    // It is large.
    Cluster(Box<ClusterConnection>),
}

impl Servers {
    /// `None` if `config` names none.
    ///
    /// # Errors
    /// `Internal` in words for the operator.
    pub(super) fn of(config: &config::Redis) -> Result<Option<Self>> {
        let Some(url) = &config.url else { return Ok(None) };
        let root_cert = match &config.ca_file {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|error| {
                broken(format!("redis.ca_file {} cannot be read: {error}", path.display()))
            })?),
        };
        let certificates = || TlsCertificates { client_tls: None, root_cert: root_cert.clone() };
        let unusable = |error: RedisError| broken(format!("redis.url cannot be used: {error}"));
        let named = url.servers();
        let each = named.iter().map(|server| {
            let server = info(server.expose())?;
            if url.is_encrypted() {
                Client::build_with_tls(server, certificates())
            } else {
                Client::open(server)
            }
        });
        let each = each.collect::<Result<Vec<Client>, RedisError>>().map_err(unusable)?;
        let cluster = if url.is_cluster() {
            let named: Vec<ConnectionInfo> =
                each.iter().map(|client| client.get_connection_info().clone()).collect();
            let mut builder = ClusterClient::builder(named)
                .connection_timeout(CONNECT_WAIT_MAX)
                .response_timeout(PATIENCE)
                .retries(CLUSTER_RETRIES)
                .min_retry_wait(CLUSTER_RETRY_WAIT_MS)
                .max_retry_wait(CLUSTER_RETRY_WAIT_MS)
                .tcp_settings(tcp());
            if url.is_encrypted() {
                builder = builder.certs(certificates());
            }
            Some(builder.build().map_err(unusable)?)
        } else {
            None
        };
        Ok(Some(Self { shown: format!("{url:?}"), each, cluster }))
    }

    pub(super) fn are_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// Each server that is named, for what one server is enough for.
    pub(super) fn each(&self) -> &[Client] {
        &self.each
    }

    /// A new connection, in time.
    pub(super) async fn connect(&self) -> Result<Link, RedisError> {
        let connecting = async {
            if let Some(cluster) = &self.cluster {
                return Ok(Link::Cluster(Box::new(cluster.get_async_connection().await?)));
            }
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_WAIT_MAX))
                .set_response_timeout(Some(PATIENCE));
            Ok(Link::One(self.each[0].get_multiplexed_async_connection_with_config(&config).await?))
        };
        tokio::time::timeout(CONNECT_WAIT_MAX, connecting).await.unwrap_or_else(|_| Err(super::late()))
    }
}

impl Link {
    pub(super) async fn query(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection.as_mut()).await,
        }
    }
}

fn info(url: &str) -> Result<ConnectionInfo, RedisError> {
    Ok(url.into_connection_info()?.set_tcp_settings(tcp()))
}

/// Commands are small and are waited for.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn broken(detail: String) -> Error {
    Error::new(Code::Internal, detail)
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

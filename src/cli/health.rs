//! `cifra health`: whether a server is up; the container's health check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::ConfigFile;
use super::exit::Failure;
use super::output::{self, Format};
use super::remote::client_of;

const EXAMPLES: &str = "\
Examples:
  cifra health
  cifra health --server https://media.example.com

Exits with 0 when the server answers, with 6 when it does not (within 4 seconds).";

/// Check whether a server is up
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Health {
    /// The server [default: the one that the configuration's server.listen describes]
    #[arg(long, env = "CIFRA_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

impl Health {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let server = match self.server {
            Some(server) => server,
            None => address(self.config.load()?.config.server.listen),
        };
        client_of(server.clone(), Duration::ZERO)?.health().await?;
        match Format::from(self.json) {
            Format::Json => output::print_json(&json!({ "server": server, "status": "ok" })),
            Format::Text => output::print(&format!("{server} is up\n")),
        }
    }
}

/// Where a server that listens on `listen` is reached from this machine.
pub(super) fn address(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

//! `cifra doctor`: looks at everything that keeps a service from working, and says what to do about it.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::ConfigFile;
use super::exit::{Exit, Failure};
use super::health::address;
use super::output::{self, Format};
use super::remote::client_of;
use crate::app;
use crate::base::finding::{Finding, Level};
use crate::base::{Clock, SystemClock};
use crate::client::Client;
use crate::config::Config;
use crate::ops::doctor;

const EXAMPLES: &str = "\
Examples:
  cifra doctor
  cifra doctor --config /etc/cifra/cifra.yaml --json
  cifra doctor --url https://files.example.com

It changes nothing, apart from an object of its own in each object store that it removes again, and may run beside \
`cifra serve`; run it as the user of the service. With server.public_url or \
--url it also looks at what the proxy does to uploads; what needs a key takes CIFRA_API_KEY. Exits with 1 when \
something fails.";

/// Look for what keeps the service from working: configuration, disk, clock, database, proxy
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    /// What clients see in front of the service [default: the configuration's `server.public_url`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

impl Doctor {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut findings = Vec::new();
        match self.config.load() {
            Err(faults) => {
                findings.push(Finding::fail("configuration", faults.message, "correct what is told"));
            }
            Ok(loaded) => {
                let config = &loaded.config;
                findings.push(Finding::ok("configuration", format!("it is right ({})", loaded.source)));
                findings.extend(doctor::examine(config, &SystemClock::default()).await);
                findings.extend(app::examine_stores(config).await);
                findings.extend(listener(config).await?);
                let public = config.server.public_url.as_ref().map(|url| url.as_str().to_owned());
                if let Some(url) = self.url.or(public) {
                    findings.extend(proxy(client_of(url, Duration::ZERO)?, config).await);
                }
            }
        }
        let worst = findings.iter().map(|finding| finding.status).max().unwrap_or(Level::Ok);
        match Format::from(self.json) {
            Format::Json => output::print_json(&json!({ "status": worst, "checks": findings }))?,
            Format::Text => findings.iter().try_for_each(print)?,
        }
        // Everything has been said.
        if worst == Level::Fail { Err(Failure::new(Exit::Failed, "")) } else { Ok(()) }
    }
}

/// Whether our own server answers where we listen, or could.
async fn listener(config: &Config) -> Result<Vec<Finding>, Failure> {
    let listen = config.server.listen;
    if listen.port() == 0 {
        return Ok(vec![Finding::skip("listen", "server.listen leaves the port to the system")]);
    }
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Ok(vec![Finding::ok("listen", format!("{listen} is free; no server is running"))]),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let client = client_of(address(listen), Duration::ZERO)?;
            Ok(client.examine_server(SystemClock::default().now()).await)
        }
        Err(error) => {
            let detail = format!("nobody can listen on {listen}: {error}");
            Ok(vec![Finding::fail(
                "listen",
                detail,
                "set server.listen to an address of this machine and a port from 1024 on",
            )])
        }
    }
}

async fn proxy(client: Client, config: &Config) -> Vec<Finding> {
    let mut findings = client.examine_server(SystemClock::default().now()).await;
    if findings.iter().all(|finding| finding.status < Level::Fail) {
        let upload = &config.file_upload;
        let body_bytes = upload.chunk_size.max(upload.chunked_above).bytes();
        findings.extend(client.examine_proxy(body_bytes).await);
    }
    findings
}

fn print(finding: &Finding) -> Result<(), Failure> {
    let level = match finding.status {
        Level::Ok => "ok  ",
        Level::Skip => "skip",
        Level::Warn => "WARN",
        Level::Fail => "FAIL",
    };
    let detail = finding.detail.lines().collect::<Vec<_>>().join("\n      ");
    output::print(&format!("{level}  {}: {detail}\n", finding.check))?;
    match &finding.advice {
        Some(advice) => output::print(&format!("      -> {advice}\n")),
        None => Ok(()),
    }
}

//! `cifra rm`: deletes files, one after the other; one that is not there does not stop the others.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{self, Format};
use super::remote::Remote;
use crate::base::FileId;
use crate::client::Client;

const EXAMPLES: &str = "\
Examples:
  cifra rm 0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c
  cifra ls --type 'image/*' --all --json | jq -r .id | xargs cifra rm

Asks nothing; what is deleted is gone. Prints the id of each file that was deleted.";

/// Delete files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rm {
    /// The files' ids
    #[arg(required = true, value_name = "ID")]
    ids: Vec<FileId>,
    #[command(flatten)]
    remote: Remote,
}

impl Rm {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.remote.client(Duration::ZERO)?;
        let mut failures: Vec<Failure> = Vec::new();
        for &id in &self.ids {
            let Err(failure) = self.delete(&client, id).await else { continue };
            if failure.exit == Exit::Unavailable || self.ids.len() == 1 {
                return Err(failure);
            }
            output::complain(&failure.message);
            failures.push(failure);
        }
        let failed = failures.len();
        failures.into_iter().next().map_or(Ok(()), |first| {
            Err(Failure::new(first.exit, format!("{failed} of {} files were not deleted", self.ids.len())))
        })
    }

    async fn delete(&self, client: &Client, id: FileId) -> Result<(), Failure> {
        client.delete_file(id).await?;
        match self.remote.format() {
            Format::Json => output::print_json(&json!({ "id": id, "deleted": true })),
            Format::Text => output::print(&format!("{id}\n")),
        }
    }
}

//! What the commands share that work on the database of this machine, whether `serve` runs or not.

use std::sync::Arc;

use clap::Args;

use super::ConfigFile;
use super::exit::Failure;
use super::output::Format;
use crate::app::Accounts;
use crate::base::{Page, Result, SystemClock};

/// Options of every such command.
#[derive(Debug, Args)]
pub(super) struct Local {
    /// Print JSON instead of text, one value a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

impl Local {
    pub(super) fn format(&self) -> Format {
        self.json.into()
    }

    pub(super) fn load(&self) -> Result<crate::config::Loaded, Failure> {
        self.config.load()
    }

    /// Does `work` on the tenants and keys, and closes the database.
    pub(super) async fn with<T>(&self, work: impl AsyncFnOnce(&Accounts) -> Result<T>) -> Result<T, Failure> {
        let loaded = self.load()?;
        let accounts = Accounts::open(&loaded.config, Arc::new(SystemClock::default())).await?;
        let done = work(&accounts).await;
        accounts.close().await;
        Ok(done?)
    }
}

/// Items read at once.
const PAGE: u32 = 500;

/// Every item of a list, page by page.
pub(super) async fn all<T>(page: impl AsyncFn(u32, Option<&str>) -> Result<Page<T>>) -> Result<Vec<T>> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let Page { items, next_cursor } = page(PAGE, cursor.as_deref()).await?;
        all.extend(items);
        match next_cursor {
            None => return Ok(all),
            next => cursor = next,
        }
    }
}

//! The first operator key: without one nobody could make another over HTTP. Called by `app` at each start in
//! mode keys.
//!
//! `CIFRA_ADMIN_KEY` (or the file it names) counts; else the file `admin.key` in the data folder, which is written
//! when it is not there. The row has a fixed id, so that a new text replaces the old one. Nodes that share a database
//! have folders of their own: there the first one to start makes the key, and only `CIFRA_ADMIN_KEY` replaces it.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::AuthService;
use super::secret::{self, FIRST_KEY, Hash};
use crate::base::principal::Scopes;
use crate::base::{Code, Error, Principal, Result, Secret, TenantId};
use crate::config::{ADMIN_KEY_CHARS_MIN, Config};
use crate::db::audit::{self, Action, Entry};
use crate::db::keys::{self, Key};
use crate::db::tenants::{self, Tenant};
use crate::db::{Db, Urgency};

/// Beside the data, for its owner only.
const FILE: &str = "admin.key";
/// What people see as its name.
const NAME: &str = "first operator key";

impl AuthService {
    /// Makes sure that the default tenant is there, and, where keys are asked for, that the first operator key is
    /// the one of this start.
    ///
    /// # Errors
    /// `Internal` for an unusable key or key file, in words for the operator.
    pub async fn prepare(&self, config: &Config) -> Result<()> {
        self.prepare_default_tenant().await?;
        if self.open.is_some() {
            if config.auth.admin_key.is_some() {
                tracing::warn!(
                    "CIFRA_ADMIN_KEY is set, but no key is asked for: set auth.mode: keys to protect this service"
                );
            }
            return Ok(());
        }
        let (path, shared) = (config.server.data_dir.join(FILE), matches!(self.db, Db::Postgres(_)));
        let (key, replace) = match &config.auth.admin_key {
            Some(key) => (key.clone(), Replace::Always),
            None if !shared => (read_or_write(&path)?, Replace::Always),
            None if !path.exists() && self.has_first_key().await? => {
                tracing::info!("the first operator key is the one that another node made; it stays");
                return Ok(());
            }
            None => (read_or_write(&path)?, Replace::IfVacant),
        };
        if secret::made_here(key.expose()).is_some_and(|id| id != FIRST_KEY) {
            let detail = "the first operator key is a key that cifra made for somebody: choose a text of your own, \
                          such as `openssl rand -hex 32` makes, for CIFRA_ADMIN_KEY";
            return Err(Error::new(Code::Internal, detail));
        }
        match change(&self.db, &key, self.clock.now(), replace).await? {
            Outcome::Same | Outcome::Replaced => {}
            Outcome::Revoked => tracing::warn!(
                "the first operator key was revoked and is not accepted: set another CIFRA_ADMIN_KEY, or remove \
                 {FILE} from the data folder, and start again"
            ),
            Outcome::AnothersStays => tracing::warn!(
                "{FILE} in this node's data folder does not count: another node made the first operator key of this \
                 database; remove the file, or set CIFRA_ADMIN_KEY on every node"
            ),
        }
        Ok(())
    }

    /// Whether some node has made it, and nobody took it back.
    async fn has_first_key(&self) -> Result<bool> {
        let row = self.db.read(|c| Box::pin(keys::get(c, FIRST_KEY))).await?;
        Ok(row.is_some_and(|row| row.revoked_at.is_none()))
    }

    /// Makes sure that the tenant is there in which everybody acts who names none.
    pub async fn prepare_default_tenant(&self) -> Result<()> {
        let default = Tenant { id: TenantId::default_tenant(), created_at: self.clock.now() };
        let made = self.db.write(Urgency::Normal, move |c| {
            let default = default.clone();
            Box::pin(async move { tenants::insert(c, &default).await })
        });
        made.await.map(drop)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Same,
    Replaced,
    Revoked,
    AnothersStays,
}

/// Whether another key may be pushed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replace {
    Always,
    /// Only one that was revoked.
    IfVacant,
}

async fn change(db: &Db, key: &Secret, now: crate::base::Timestamp, replace: Replace) -> Result<Outcome> {
    let sha256 = Hash::of(key.expose()).bytes();
    db.write_durable(Urgency::Normal, move |c| {
        Box::pin(async move {
            match keys::get(c, FIRST_KEY).await? {
                Some(old) if old.sha256 == sha256 && old.revoked_at.is_some() => return Ok(Outcome::Revoked),
                Some(old) if old.sha256 == sha256 => return Ok(Outcome::Same),
                _ => {}
            }
            let key = Key {
                id: FIRST_KEY,
                tenant: None,
                name: NAME.to_owned(),
                scopes: Scopes::ALL,
                sha256,
                created_at: now,
                expires_at: None,
                revoked_at: None,
                last_used_at: None,
            };
            match replace {
                Replace::Always => keys::put(c, &key).await?,
                Replace::IfVacant if keys::put_if_vacant(c, &key).await? => {}
                Replace::IfVacant => return Ok(Outcome::AnothersStays),
            }
            let who = Principal::service(TenantId::default_tenant());
            let entry = Entry::new(&who, Action::OperatorKeyReplaced, &FIRST_KEY, now).of(None);
            audit::insert(c, &entry).await?;
            Ok(Outcome::Replaced)
        })
    })
    .await
}

/// The key in `path`, which is made if it is not there. The path is logged, the key never.
fn read_or_write(path: &Path) -> Result<Secret> {
    let shown = path.display();
    let broken = |what: &str, error: std::io::Error| {
        Error::new(Code::Internal, format!("the first operator key's file {shown} cannot be {what}"))
            .caused_by(error)
    };
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() < ADMIN_KEY_CHARS_MIN => Err(Error::new(
            Code::Internal,
            format!(
                "{shown} has less than {ADMIN_KEY_CHARS_MIN} characters: remove it to have a new key made, or set \
                 CIFRA_ADMIN_KEY"
            ),
        )),
        Ok(text) => {
            let mode = path.metadata().map_err(|error| broken("read", error))?.permissions().mode();
            if mode & 0o077 != 0 {
                tracing::warn!(
                    "others than its owner may read {shown}, the first operator key: chmod 600 it"
                );
            }
            tracing::info!("the first operator key is in {shown}");
            Ok(Secret::new(text.trim()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = secret::generate_first();
            write(path, &key).map_err(|error| broken("written", error))?;
            tracing::info!("wrote the first operator key to {shown}");
            Ok(key)
        }
        Err(error) => Err(broken("read", error)),
    }
}

/// Whole or not at all, and readable for its owner only from the first byte on.
fn write(path: &Path, key: &Secret) -> std::io::Result<()> {
    let unfinished = path.with_extension("key.new");
    let gone = std::fs::remove_file(&unfinished);
    gone.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(format!("{}\n", key.expose()).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    std::fs::File::open(path.parent().unwrap_or(path))?.sync_all()
}

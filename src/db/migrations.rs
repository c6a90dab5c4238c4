//! The schema's history: the same numbers on both engines, each applied once, forward only.
//!
//! The texts are in `migrations/`; a number that was released is never changed. `sqlx` keeps the list of what
//! was applied (table `cifra_migrations`) and takes an advisory lock on PostgreSQL.

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{Connection, SqlSafeStr};

use super::Db;
use crate::base::{Code, Error, Result};

/// Number, name, text for SQLite, text for PostgreSQL.
type Step = (i64, &'static str, &'static str, &'static str);

macro_rules! step {
    ($number:literal, $name:literal, $file:literal) => {
        (
            $number,
            $name,
            include_str!(concat!("../../migrations/sqlite/", $file)),
            include_str!(concat!("../../migrations/postgres/", $file)),
        )
    };
}

const STEPS: &[Step] = &[
    step!(1, "uploads and files", "0001_uploads_and_files.sql"),
    step!(2, "tenants, keys and audit", "0002_tenants_keys_audit.sql"),
    step!(3, "list files", "0003_list_files.sql"),
    step!(4, "tenant usage", "0004_tenant_usage.sql"),
    step!(5, "idempotency keys", "0005_idempotency_keys.sql"),
    step!(6, "grants", "0006_grants.sql"),
    step!(7, "database id", "0007_database_id.sql"),
    step!(9, "sealing", "0009_sealing.sql"),
    step!(10, "jobs", "0010_jobs.sql"),
    step!(11, "thumbnails", "0011_thumbnails.sql"),
    step!(12, "invalidations", "0012_invalidations.sql"),
    step!(13, "cache figures", "0013_cache_figures.sql"),
    step!(14, "write-behind", "0014_write_behind.sql"),
    step!(15, "watched", "0015_watched.sql"),
];

/// Where the list of applied ones is.
const TABLE: &str = "cifra_migrations";

/// What migration `number` is about.
pub(super) fn name(number: i64) -> &'static str {
    STEPS.iter().find(|step| step.0 == number).map_or("", |step| step.1)
}

/// All there are, ascending.
pub(super) fn numbers() -> impl Iterator<Item = i64> {
    STEPS.iter().map(|step| step.0)
}

/// Brings the schema up to date and answers the numbers that this call applied. Safe to repeat, and on PostgreSQL safe
/// from several processes at once: one applies, the others wait for it and find nothing left to do.
pub(super) async fn run(db: &Db) -> Result<Vec<i64>> {
    match db {
        Db::Sqlite(sqlite) => {
            let mut connection = sqlite.connect_writer().await?;
            let done = up_to_date(&migrator(|step| step.2), &mut connection).await;
            connection.close().await?;
            done.map_err(explain)
        }
        Db::Postgres(postgres) => {
            let mut connection = postgres.connect_without_timeout().await?;
            let done = up_to_date(&migrator(|step| step.3), &mut connection).await;
            connection.close().await?;
            done.map_err(explain)
        }
    }
}

async fn up_to_date<C: Migrate>(migrator: &Migrator, c: &mut C) -> Result<Vec<i64>, MigrateError> {
    // The migrator takes the same lock again, which its session may; both are gone with the connection.
    c.lock().await?;
    c.ensure_migrations_table(TABLE).await?;
    let before = c.list_applied_migrations(TABLE).await?;
    migrator.run_direct(None, c, false).await?;
    c.unlock().await?;
    let new = |number: &i64| before.iter().all(|applied| applied.version != *number);
    Ok(numbers().filter(new).collect())
}

fn migrator(text: impl Fn(&Step) -> &'static str) -> Migrator {
    let migration = |step: &Step| {
        Migration::new(step.0, step.1.into(), MigrationType::Simple, text(step).into_sql_str(), false)
    };
    let mut migrator = Migrator::with_migrations(STEPS.iter().map(migration).collect());
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

fn explain(error: MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) => error.into(),
        MigrateError::VersionMissing(number) => {
            let detail = format!(
                "the database has migration {number}, which this version does not know: a newer cifra has used it; \
                 start that version, or restore a backup from before"
            );
            Error::new(Code::Internal, detail)
        }
        MigrateError::VersionMismatch(number) => Error::new(
            Code::Internal,
            format!("migration {number} was applied to the database with another text than this version has"),
        ),
        other => Error::internal("the database could not be migrated", other),
    }
}

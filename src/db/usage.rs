//! Table `cifra_tenant_usage`: what each tenant keeps and has announced, and whether there is room for more.
//!
//! A row is changed by [`super::uploads`] and [`super::files`], in the same transactions as the rows that it
//! counts; nobody else changes it, except [`recount`], which heals a row that is wrong all the same.

use std::time::Duration;

use super::conn::{Conn, on};
use super::error::{number, to_row};
use crate::base::{Code, Error, Result, TenantId};

/// An upload ends when its client says so, or by a sweeper that comes every half minute.
const TOO_MANY_RETRY: Duration = Duration::from_secs(10);

/// What a tenant has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of its files.
    pub stored_bytes: u64,
    /// Bytes that its open uploads announced, whether they came or not.
    pub reserved_bytes: u64,
    /// Uploads that have not ended.
    pub open_uploads: u64,
}

impl Usage {
    /// What counts against a quota.
    pub fn used_bytes(&self) -> u64 {
        self.stored_bytes.saturating_add(self.reserved_bytes)
    }
}

/// What a tenant may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Uploads that have not ended.
    pub open_uploads: u64,
    /// Bytes, stored and announced.
    pub bytes: u64,
}

impl Limits {
    /// Everything.
    pub const NONE: Self = Self { open_uploads: u64::MAX, bytes: u64::MAX };
}

/// Whether a row was added, or what stood against it; then nothing was changed.
#[must_use = "what was not admitted is not there"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It was added and is counted.
    Granted,
    /// As many uploads as are allowed have not ended.
    TooManyUploads(Usage),
    /// There would be more bytes than are allowed.
    OverQuota(Usage),
}

impl Admission {
    /// Goes on with what was admitted under `limits`.
    ///
    /// # Errors
    /// `QuotaExceeded` `{ limit_bytes, used_bytes }`, `TooManyUploads` `{ open, max }`.
    pub fn require(self, limits: &Limits) -> Result<()> {
        match self {
            Self::Granted => Ok(()),
            Self::OverQuota(usage) => Err(over_quota(limits.bytes, usage.used_bytes())),
            Self::TooManyUploads(usage) => {
                let (open, max) = (usage.open_uploads, limits.open_uploads);
                let detail =
                    format!("{open} uploads are open, {max} may be: finalize or delete some, or wait");
                Err(Error::new(Code::TooManyUploads, detail)
                    .with("open", open)
                    .with("max", max)
                    .retry_after(TOO_MANY_RETRY))
            }
        }
    }
}

/// `QuotaExceeded`
pub fn over_quota(limit: u64, used: u64) -> Error {
    let detail = format!(
        "the tenant may keep {limit} bytes, and {used} are stored or announced by open uploads: \
         delete files, or finish or delete uploads"
    );
    Error::new(Code::QuotaExceeded, detail).with("limit_bytes", limit).with("used_bytes", used)
}

/// By how much a tenant's counts move.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Change {
    pub(super) stored_bytes: i64,
    pub(super) reserved_bytes: i64,
    pub(super) open_uploads: i64,
}

type Row = (i64, i64, i64);

const TABLE: &str = "cifra_tenant_usage";

/// What `tenant` has, as its row says.
pub async fn get(c: &mut Conn, tenant: &TenantId) -> Result<Usage> {
    const GET: &str = "
        SELECT stored_bytes, reserved_bytes, open_uploads
        FROM cifra_tenant_usage
        WHERE tenant_id = $1
    ";
    let row: Option<Row> = on!(c, c => sqlx::query_as(GET).bind(tenant).fetch_optional(&mut *c).await)?;
    row.map_or_else(|| Ok(Usage::default()), |row| read(tenant, row))
}

/// Moves the counts of `tenant` if they stay within `limits`.
///
/// One conditional UPDATE: its lock on the row is held until the transaction ends, so that two that would only fit
/// one by one cannot both pass.
pub(super) async fn admit(
    c: &mut Conn,
    tenant: &TenantId,
    change: Change,
    limits: &Limits,
) -> Result<Admission> {
    const FIRST: &str = "
        INSERT INTO cifra_tenant_usage (tenant_id, stored_bytes, reserved_bytes, open_uploads)
        VALUES ($1, 0, 0, 0)
        ON CONFLICT (tenant_id) DO NOTHING
    ";
    if update(c, tenant, change, limits).await? {
        return Ok(Admission::Granted);
    }
    // A tenant's first row; or there is no room.
    on!(c, c => sqlx::query(FIRST).bind(tenant).execute(&mut *c).await.map(drop))?;
    if update(c, tenant, change, limits).await? {
        return Ok(Admission::Granted);
    }
    let usage = get(c, tenant).await?;
    let open = i128::from(usage.open_uploads) + i128::from(change.open_uploads);
    Ok(if open > i128::from(limits.open_uploads) {
        Admission::TooManyUploads(usage)
    } else {
        Admission::OverQuota(usage)
    })
}

/// Moves the counts of `tenant`, whatever they are.
pub(super) async fn change(c: &mut Conn, tenant: &TenantId, change: Change) -> Result<()> {
    admit(c, tenant, change, &Limits::NONE).await.map(drop)
}

async fn update(c: &mut Conn, tenant: &TenantId, change: Change, limits: &Limits) -> Result<bool> {
    // A row that was too low must not keep anybody from deleting: it stops at zero.
    const UPDATE: &str = "
        UPDATE cifra_tenant_usage
        SET stored_bytes = CASE WHEN stored_bytes + $2 < 0 THEN 0 ELSE stored_bytes + $2 END,
            reserved_bytes = CASE WHEN reserved_bytes + $3 < 0 THEN 0 ELSE reserved_bytes + $3 END,
            open_uploads = CASE WHEN open_uploads + $4 < 0 THEN 0 ELSE open_uploads + $4 END
        WHERE tenant_id = $1
          AND stored_bytes + reserved_bytes <= $5
          AND open_uploads <= $6
    ";
    let bytes = change.stored_bytes.saturating_add(change.reserved_bytes);
    let updated = on!(c, c => sqlx::query(UPDATE)
        .bind(tenant)
        .bind(change.stored_bytes)
        .bind(change.reserved_bytes)
        .bind(change.open_uploads)
        .bind(most_before(limits.bytes, bytes))
        .bind(most_before(limits.open_uploads, change.open_uploads))
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected()))?;
    Ok(updated > 0)
}

/// The most that may be there before `change`, so that `limit` is kept after it. Giving back is always allowed.
fn most_before(limit: u64, change: i64) -> i64 {
    if change <= 0 {
        return i64::MAX;
    }
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_sub(change)
}

/// What the rows of `tenant` add up to: the truth, at the cost of looking at all of them.
pub async fn count(c: &mut Conn, tenant: &TenantId) -> Result<Usage> {
    const COUNT: &str = "
        SELECT CAST(COALESCE(SUM(stored), 0) AS BIGINT), CAST(COALESCE(SUM(reserved), 0) AS BIGINT),
            CAST(COALESCE(SUM(uploads), 0) AS BIGINT)
        FROM (
            SELECT size AS stored, 0 AS reserved, 0 AS uploads
            FROM cifra_files
            WHERE tenant_id = $1
            UNION ALL
            SELECT 0 AS stored, COALESCE(total_size, 0) AS reserved, 1 AS uploads
            FROM cifra_uploads
            WHERE tenant_id = $1
              AND state IN ('receiving', 'finalizing', 'sealed')
        ) AS counted
    ";
    let row: Row = on!(c, c => sqlx::query_as(COUNT).bind(tenant).fetch_one(&mut *c).await)?;
    read(tenant, row)
}

/// Tenants whose row does not say what their rows add up to, with both. Over all tenants: for the operator.
pub async fn wrong(c: &mut Conn) -> Result<Vec<TenantId>> {
    const WRONG: &str = "
        SELECT tenant_id
        FROM (
            SELECT tenant_id, stored_bytes AS stored, reserved_bytes AS reserved, open_uploads AS uploads
            FROM cifra_tenant_usage
            UNION ALL
            SELECT tenant_id, -size AS stored, 0 AS reserved, 0 AS uploads
            FROM cifra_files
            UNION ALL
            SELECT tenant_id, 0 AS stored, -COALESCE(total_size, 0) AS reserved, -1 AS uploads
            FROM cifra_uploads
            WHERE state IN ('receiving', 'finalizing', 'sealed')
        ) AS compared
        GROUP BY tenant_id
        HAVING SUM(stored) <> 0 OR SUM(reserved) <> 0 OR SUM(uploads) <> 0
        ORDER BY tenant_id
    ";
    Ok(on!(c, c => sqlx::query_scalar(WRONG).fetch_all(&mut *c).await)?)
}

/// Sets the row of `tenant` to what its rows add up to; what it said before, if that was something else. Right
/// while others write, too: whoever changes what is counted waits for this transaction, or this one for them.
pub async fn recount(c: &mut Conn, tenant: &TenantId) -> Result<Option<Usage>> {
    const SET: &str = "
        UPDATE cifra_tenant_usage
        SET stored_bytes = $2, reserved_bytes = $3, open_uploads = $4
        WHERE tenant_id = $1
    ";
    // Takes the lock on the row; what is counted is read by later statements.
    change(c, tenant, Change::default()).await?;
    let (before, counted) = (get(c, tenant).await?, count(c, tenant).await?);
    if before == counted {
        return Ok(None);
    }
    let (stored, reserved) = (to_row(counted.stored_bytes)?, to_row(counted.reserved_bytes)?);
    let uploads = to_row(counted.open_uploads)?;
    on!(c, c => sqlx::query(SET)
        .bind(tenant)
        .bind(stored)
        .bind(reserved)
        .bind(uploads)
        .execute(&mut *c)
        .await
        .map(drop))?;
    Ok(Some(before))
}

fn read(tenant: &TenantId, (stored, reserved, uploads): Row) -> Result<Usage> {
    Ok(Usage {
        stored_bytes: number(TABLE, tenant, stored)?,
        reserved_bytes: number(TABLE, tenant, reserved)?,
        open_uploads: number(TABLE, tenant, uploads)?,
    })
}

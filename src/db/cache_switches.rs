//! Table `cifra_cache_switches`: what of the cache is switched off. What has no row is on.

use super::conn::{Conn, on};
use crate::base::{Result, Timestamp};

/// Switches `name` off from `now` on; whether it was on.
pub async fn turn_off(c: &mut Conn, name: &str, now: Timestamp) -> Result<bool> {
    const OFF: &str = "
        INSERT INTO cifra_cache_switches (name, off_since)
        VALUES ($1, $2)
        ON CONFLICT (name) DO NOTHING
    ";
    Ok(on!(c, c => sqlx::query(OFF)
        .bind(name)
        .bind(now)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected() > 0))?)
}

/// Switches `name` on; whether it was off.
pub async fn turn_on(c: &mut Conn, name: &str) -> Result<bool> {
    const ON: &str = "
        DELETE FROM cifra_cache_switches
        WHERE name = $1
    ";
    Ok(on!(c, c => sqlx::query(ON)
        .bind(name)
        .execute(&mut *c)
        .await
        .map(|done| done.rows_affected() > 0))?)
}

/// The names of all that is off, by name.
pub async fn off(c: &mut Conn) -> Result<Vec<String>> {
    const OFF: &str = "
        SELECT name
        FROM cifra_cache_switches
        ORDER BY name
    ";
    Ok(on!(c, c => sqlx::query_scalar(OFF).fetch_all(&mut *c).await)?)
}

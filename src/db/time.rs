//! What time the database has. Asked by `app`, so that all nodes on one PostgreSQL go by one clock.

use super::{Conn, Db};
use crate::base::{Result, Timestamp};

impl Db {
    /// The time on the server, as of some moment between the call and the answer; `None` where the database is in
    /// this process and has no time of its own.
    pub async fn now(&self) -> Result<Option<Timestamp>> {
        const NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";
        if let Self::Sqlite(_) = self {
            return Ok(None);
        }
        self.read(|c| {
            Box::pin(async move {
                let Conn::Postgres(c) = c else { return Ok(None) };
                Ok(Some(sqlx::query_scalar(NOW).fetch_one(&mut **c).await?))
            })
        })
        .await
    }
}

//! Table `cifra_database`: what this database is called where it meets others, such as in a Redis that two
//! installations use. One row, made at the first start; a copy of the database has the same name.

use uuid::Uuid;

use super::conn::{Conn, on};
use crate::base::Result;

/// The database's id: the one remembered, or else `id`, which is remembered from now on.
pub async fn remember(c: &mut Conn, id: Uuid) -> Result<Uuid> {
    const INSERT: &str = "
        INSERT INTO cifra_database (one, id)
        VALUES (1, $1)
        ON CONFLICT (one) DO NOTHING
    ";
    const ID: &str = "SELECT id FROM cifra_database WHERE one = 1";
    on!(c, c => sqlx::query(INSERT).bind(id).execute(&mut *c).await.map(drop))?;
    Ok(on!(c, c => sqlx::query_scalar(ID).fetch_one(&mut *c).await)?)
}

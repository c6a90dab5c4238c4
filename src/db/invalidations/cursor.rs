//! How far somebody has read: what they saw last, as a text that can be kept elsewhere.

use std::fmt;
use std::str::FromStr;

/// What somebody has seen of `cifra_invalidations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// All rows up to this one: SQLite has one writer, so that they become visible in their order.
    Sqlite {
        /// The last row; 0: none.
        seq: i64,
        /// What tells it from a row of this number in another history.
        token: i64,
    },
    /// What a snapshot of PostgreSQL saw.
    Postgres(Snapshot),
}

/// Which transactions were over (`pg_current_snapshot()`), on which run of which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// When the server started and which table it was: after a crash, a failover or a restore, numbers of transactions
    /// may mean others.
    pub(super) history: String,
    /// All before it were over.
    pub(super) xmin: i64,
    /// This one and later ones were not.
    pub(super) xmax: i64,
    /// Of those between, these were not.
    pub(super) running: Vec<i64>,
}

impl Snapshot {
    /// From what PostgreSQL says: `xmin:xmax:running,…`.
    pub(super) fn parse(history: &str, text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (xmin, xmax, running) = (parts.next()?, parts.next()?, parts.next()?);
        let running = running.split(',').filter(|xid| !xid.is_empty()).map(str::parse).collect();
        Some(Self {
            history: history.to_owned(),
            xmin: xmin.parse().ok()?,
            xmax: xmax.parse().ok()?,
            running: Result::ok(running)?,
        })
    }
}

impl Cursor {
    /// Where it is among the cursors of its history: who has the greater one has seen all that others saw, and more.
    pub fn place(&self) -> u128 {
        match self {
            Self::Sqlite { seq, .. } => u128::from(seq.unsigned_abs()),
            // Transactions only end between two snapshots with the same xmax.
            Self::Postgres(at) => {
                (u128::from(at.xmax.unsigned_abs()) << 64) + u128::from(u64::MAX - at.running.len() as u64)
            }
        }
    }

    /// Whether places of both can be compared, as far as they tell.
    pub fn has_history_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sqlite { seq, token }, Self::Sqlite { seq: other, token: theirs }) => {
                seq != other || token == theirs
            }
            (Self::Postgres(this), Self::Postgres(other)) => this.history == other.history,
            _ => false,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { seq, token } => write!(f, "sqlite:{seq}:{token}"),
            Self::Postgres(Snapshot { history, xmin, xmax, running }) => {
                write!(f, "postgres:{history}:{xmin}:{xmax}:")?;
                for (index, xid) in running.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{xid}")?;
                }
                Ok(())
            }
        }
    }
}

/// Not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (engine, rest) = text.split_once(':').ok_or(InvalidCursor)?;
        let (first, rest) = rest.split_once(':').ok_or(InvalidCursor)?;
        match engine {
            "sqlite" => Ok(Self::Sqlite {
                seq: first.parse().map_err(|_| InvalidCursor)?,
                token: rest.parse().map_err(|_| InvalidCursor)?,
            }),
            "postgres" => Snapshot::parse(first, rest).map(Self::Postgres).ok_or(InvalidCursor),
            _ => Err(InvalidCursor),
        }
    }
}

#[cfg(test)]
mod tests;

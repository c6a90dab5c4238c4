//! The second tiers of the cache: the suite that both pass, and what only one of them can do or suffer.

mod redis;
mod sqlite;

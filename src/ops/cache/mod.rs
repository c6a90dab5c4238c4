//! The cache as its operator sees it: figures, switches, invalidation by hand. Called by `http`.

pub use crate::cache::Source;

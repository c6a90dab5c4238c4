//! What tests stand on: private servers and databases of their own.

pub(crate) mod databases;
pub(crate) mod logs;
pub(crate) mod postgres;

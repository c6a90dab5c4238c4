//! The calls of the HTTP API about the cache. Each method is a single attempt, and answers what the server said.

use reqwest::Method;
use serde_json::{Map, Value};

use super::api::json_of;
use super::{Client, Result};

/// What is to be read from the database again; with nothing given, everything of the tenant.
#[derive(Debug, Clone, Default)]
pub struct Invalidate {
    /// Whose; `global` for what is no tenant's.
    pub tenant: Option<String>,
    /// Of this kind only.
    pub entity: Option<String>,
    /// This record only.
    pub id: Option<String>,
    /// Keys like this one, in place of all of the above.
    pub pattern: Option<String>,
}

impl Client {
    /// What the cache did and does.
    pub async fn cache_stats(&self) -> Result<Value> {
        json_of(self.call(Method::GET, "/api/cache/stats")).await
    }

    /// Has everything read from the database again.
    pub async fn clear_cache(&self) -> Result<Value> {
        json_of(self.call(Method::POST, "/api/cache/clear")).await
    }

    /// Has read what is likely to be asked for.
    pub async fn warm_cache(&self) -> Result<Value> {
        json_of(self.call(Method::POST, "/api/cache/warm")).await
    }

    /// Has something read from the database again.
    pub async fn invalidate(&self, what: Invalidate) -> Result<Value> {
        let Invalidate { tenant, entity, id, pattern } = what;
        let given = [("tenant", tenant), ("entity", entity), ("id", id), ("pattern", pattern)];
        let body: Map<String, Value> =
            given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
        json_of(self.call(Method::POST, "/api/cache/invalidate").json(&body)).await
    }
}

//! The cache: `/api/cache`. Translates; `CacheAdmin` decides.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::cache_view::{
    BenchmarkView, ClearedView, HealthView, InvalidatedView, StatsView, ToggledView, UserToggledView,
    WarmedView,
};
use super::extract::{Json, Who};
use super::fields::Fields;
use super::openapi::requests::{CacheBenchmark, CacheInvalidation, CacheToggle};
use super::problem::Answer;
use super::reply::json;
use crate::app::{Services, Warmed};
use crate::base::Code::{EntityNotFound, RecordNotFound};
use crate::ops::cache::{Switched, Wanted};

/// What the cache did and does
///
/// Counted since the beginning, by all nodes together: this one up to now, the others up to a second ago. What callers
/// read for whom the cache is off counts in `response_times` only.
#[utoipa::path(
    get, path = "/api/cache/stats", operation_id = "cache_stats", tag = "cache",
    responses((status = 200, description = "Figures and switches as of now.", body = StatsView)),
)]
pub(super) async fn stats(State(state): State<Arc<Services>>, Who(who): Who) -> Answer {
    Ok(json(&StatsView::from(&state.cache_admin.stats(&who).await?)))
}

/// Whether the cache works
#[utoipa::path(
    get, path = "/api/cache/health", operation_id = "cache_health", tag = "cache", security(()),
    responses((status = 200, description = "How it is on this node.", body = HealthView)),
)]
pub(super) async fn health(State(state): State<Arc<Services>>) -> Response {
    let health = state.cache_admin.health().await;
    let status = match (health.enabled, health.is_whole) {
        (false, _) => "off",
        (true, true) => "ok",
        (true, false) => "degraded",
    };
    json(&HealthView {
        status,
        enabled: health.enabled,
        cache_type: health.cache_type,
        l1_entries: health.l1_entries,
        l2_entries: health.l2_entries,
        auto_invalidate: health.auto_invalidate,
        uptime_s: health.uptime.as_secs(),
    })
}

/// Have something read from the database again
///
/// Here at once, on all other nodes within a second. Changes of rows do it by themselves: this is for what they do not
/// show.
#[utoipa::path(
    post, path = "/api/cache/invalidate", operation_id = "cache_invalidate", tag = "cache",
    request_body = Option<CacheInvalidation>,
    responses((status = 200, description = "Done. Again: the same.", body = InvalidatedView)),
)]
pub(super) async fn invalidate(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Json(mut fields): Json,
) -> Answer {
    let wanted = Wanted {
        tenant: fields.read("tenant"),
        entity: fields.read("entity"),
        id: fields.string("id"),
        pattern: fields.string("pattern"),
    };
    fields.finish()?;
    let done = state.cache_admin.invalidate(&who, wanted).await?;
    let message = format!("{} are read from the database again", done.what.join(", "));
    Ok(json(&InvalidatedView { success: true, message, invalidated: done.what, invalidated_at: done.at }))
}

/// Have everything read from the database again
///
/// For operators.
#[utoipa::path(
    post, path = "/api/cache/clear", operation_id = "cache_clear", tag = "cache",
    responses((status = 200, description = "Done. Again: the same.", body = ClearedView)),
)]
pub(super) async fn clear(State(state): State<Arc<Services>>, Who(who): Who) -> Answer {
    let cleared_at = state.cache_admin.clear(&who).await?;
    Ok(json(&ClearedView { success: true, message: "the cache is empty", cleared_at }))
}

/// Read what is likely to be asked for
///
/// For operators: tenants, the files that were read last and the first pages of entities that are marked `warm`, as it is
/// done at start. Half a minute at most.
#[utoipa::path(
    post, path = "/api/cache/warm", operation_id = "cache_warm", tag = "cache",
    responses((status = 200, description = "What was read on this node.", body = WarmedView)),
)]
pub(super) async fn warm(State(state): State<Arc<Services>>, Who(who): Who) -> Answer {
    let Warmed { tenants, files, pages } = state.warm(&who).await?;
    let message = format!("{tenants} tenants, {files} files and {pages} pages of entities are in the cache");
    Ok(json(&WarmedView { success: true, message, tenants, files, pages }))
}

/// Measure how much faster the cache is
///
/// For operators. One record is read from the database and then, as often, through the cache, for two seconds at most
/// each. One at a time.
#[utoipa::path(
    post, path = "/api/cache/benchmark", operation_id = "cache_benchmark", tag = "cache",
    request_body = Option<CacheBenchmark>,
    responses((status = 200, description = "What was measured on this node.", body = BenchmarkView)),
    extensions(("x-problems" = json!([EntityNotFound, RecordNotFound]))),
)]
pub(super) async fn benchmark(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Json(mut fields): Json,
) -> Answer {
    let entity = fields.read("entity");
    let iterations = fields.number("iterations").map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    fields.finish()?;
    let done = state.cache_admin.benchmark(&who, entity, iterations).await?;
    let percent = done.improvement_percent();
    Ok(json(&BenchmarkView {
        success: true,
        message: format!(
            "a cached {} is answered {percent:.1} % faster than one from the database",
            done.entity
        ),
        entity: done.entity.to_string(),
        cached: done.cached.into(),
        database: done.database.into(),
        improvement_percent: percent,
    }))
}

/// Switch the cache off or on, for everybody
///
/// For operators. On all nodes within a second, and after a restart too. While it is off, everything is read from the
/// database. `cache.enabled: false` in the configuration beats it.
#[utoipa::path(
    post, path = "/api/cache/toggle-global", operation_id = "cache_toggle_global", tag = "cache",
    request_body = CacheToggle,
    responses((status = 200, description = "How it is now.", body = ToggledView)),
)]
pub(super) async fn toggle_global(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Json(fields): Json,
) -> Answer {
    let wanted = wanted(fields)?;
    let enabled = state.cache_admin.switch_all(&who, wanted).await?;
    let message = match (wanted, enabled) {
        (Switched::On, true) => "the cache is on",
        (Switched::On, false) => "the cache would be on, but the configuration says cache.enabled: false",
        (Switched::Off, _) => "the cache is off: everything is read from the database",
    };
    Ok(json(&ToggledView { success: true, enabled, message }))
}

/// Switch off or on that changes of rows count by themselves
///
/// For operators; of configured entities, on all nodes within a second. Built-in ones always are exact.
#[utoipa::path(
    post, path = "/api/cache/toggle-auto-invalidate", operation_id = "cache_toggle_auto_invalidate", tag = "cache",
    request_body = CacheToggle,
    responses((status = 200, description = "How it is now.", body = ToggledView)),
)]
pub(super) async fn toggle_auto_invalidate(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Json(fields): Json,
) -> Answer {
    let wanted = wanted(fields)?;
    state.cache_admin.switch_auto_invalidate(&who, wanted).await?;
    let message = match wanted {
        Switched::On => "changes of rows count by themselves",
        Switched::Off => {
            "values of configured entities stay until their time is over, or until somebody invalidates them"
        }
    };
    Ok(json(&ToggledView { success: true, enabled: wanted == Switched::On, message }))
}

/// Switch the cache off or on for oneself
///
/// For whoever has this key, to compare what it is like with and without: on all nodes within a second.
#[utoipa::path(
    post, path = "/api/cache/toggle-user", operation_id = "cache_toggle_user", tag = "cache",
    request_body = CacheToggle,
    responses((status = 200, description = "How it is now.", body = UserToggledView)),
)]
pub(super) async fn toggle_user(
    State(state): State<Arc<Services>>,
    Who(who): Who,
    Json(fields): Json,
) -> Answer {
    let wanted = wanted(fields)?;
    let username = state.cache_admin.switch_own(&who, wanted).await?;
    let message = match wanted {
        Switched::On => format!("the cache is on for {username}"),
        Switched::Off => format!("the cache is off for {username}: everything is read from the database"),
    };
    let cache_enabled = wanted == Switched::On;
    Ok(json(&UserToggledView { success: true, username, cache_enabled, message }))
}

fn wanted(mut fields: Fields) -> Answer<Switched> {
    let enabled = fields.boolean("enabled");
    let enabled = fields.required("enabled", enabled);
    fields.finish()?;
    Ok(enabled.into())
}

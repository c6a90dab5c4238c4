//! HTTP: every route in reading order, and what stands around them.
//!
//! Handlers translate: take the request apart, call one service method, put the answer together. What a
//! request may do is decided in the services; no store and no database is named here.

mod access;
mod audit;
mod body;
mod cache;
mod cache_view;
mod cached;
mod client_address;
mod conditions;
mod connection;
mod cors;
mod digests;
mod document;
mod entities;
mod events;
mod extract;
mod fields;
mod file_view;
mod files;
mod fixed;
mod form;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod head;
mod health;
mod idempotency;
mod intake;
mod keys;
mod layers;
mod links;
mod multipart;
mod openapi;
mod pages;
mod problem;
mod problems;
mod query;
mod reads;
mod reply;
mod serve;
mod server;
mod tenants;
mod thumbnails;
mod traffic;
mod upload_tokens;
mod upload_view;
mod uploads;
mod usage;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use keys::{IssuedView, KeyView};
pub use server::Server;
pub(crate) use tenants::TenantView;

use self::problem::{Answer, Problem};
use crate::app::Services;
use crate::base::{Code, Error};

/// All routes, each with its documentation. This is the only place where a handler gets a path.
fn routes() -> OpenApiRouter<Arc<Services>> {
    OpenApiRouter::with_openapi(openapi::beginning())
        .routes(routes!(uploads::create, uploads::list))
        .routes(routes!(uploads::show, uploads::abort))
        .routes(routes!(uploads::put_chunk))
        .routes(routes!(uploads::finalize))
        .routes(routes!(events::watch))
        .routes(routes!(upload_tokens::create))
        .routes(routes!(intake::create, files::list))
        .routes(routes!(files::show, files::change, files::delete))
        .routes(routes!(files::content))
        .routes(routes!(reads::show))
        .routes(routes!(thumbnails::show))
        .routes(routes!(links::create))
        .routes(routes!(entities::show))
        .routes(routes!(entities::list))
        .routes(routes!(usage::show))
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(cache::stats))
        .routes(routes!(cache::health))
        .routes(routes!(cache::invalidate))
        .routes(routes!(cache::clear))
        .routes(routes!(cache::warm))
        .routes(routes!(cache::benchmark))
        .routes(routes!(cache::toggle_global))
        .routes(routes!(cache::toggle_auto_invalidate))
        .routes(routes!(cache::toggle_user))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::scrape))
        .routes(routes!(openapi::show))
        .routes(routes!(pages::docs))
        .routes(routes!(pages::problems))
        .routes(routes!(pages::problem))
}

/// The routes, and what stands around them.
fn router(state: Arc<Services>) -> Router {
    let routes = Router::from(routes())
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        // Bodies have limits of their own: a chunk's size, a JSON document's.
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), idempotency::around))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), access::admit))
        .layer(axum::middleware::from_fn(layers::strict));
    // A browser asks before it has a key to show.
    let routes = match cors::layer(&state.door.allowed_origins) {
        None => routes,
        Some(cors) => routes.layer(cors),
    };
    routes
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), layers::around))
        .with_state(state)
}

async fn nowhere(request: Request) -> Answer {
    let detail = format!("there is nothing at {}; the API is under /api", request.uri().path());
    Err(Problem(Error::new(Code::NotFound, detail)))
}

async fn other_method(request: Request) -> Answer {
    let detail =
        format!("{} is not for {}; the Allow header says which are", request.method(), request.uri().path());
    Err(Problem(Error::new(Code::MethodNotAllowed, detail)))
}

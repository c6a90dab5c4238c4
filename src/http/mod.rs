//! HTTP: every route in reading order, and what stands around them.
//!
//! Handlers translate: take the request apart, call one service method, put the answer together. What a
//! request may do is decided in the services; no store and no database is named here.

mod body;
mod conditions;
mod digests;
mod extract;
mod fields;
mod files;
mod health;
mod layers;
mod problem;
mod reply;
mod serve;
mod server;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{get, post, put};
use tower_http::catch_panic::CatchPanicLayer;

pub use server::Server;

use self::problem::{Answer, Problem};
use crate::app::Services;
use crate::base::{Code, Error};

/// All routes.
fn router(state: Arc<Services>) -> Router {
    Router::new()
        .route("/api/uploads", post(uploads::create).get(uploads::list))
        .route("/api/uploads/{id}", get(uploads::show).delete(uploads::abort))
        .route("/api/uploads/{id}/chunks/{index}", put(uploads::put_chunk))
        .route("/api/uploads/{id}/finalize", post(uploads::finalize))
        .route("/api/files/{id}", get(files::show).delete(files::delete))
        .route("/api/files/{id}/content", get(files::content))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::scrape))
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        // Bodies have limits of their own: a chunk's size, a JSON document's.
        .layer(DefaultBodyLimit::disable())
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

//! Who comes in: asked once for each request, before any handler. Translates headers; `AuthService` decides.
//!
//! A route needs a key unless it stands in [`KEYLESS`], so that a new one is closed until somebody opens it.
//! Handlers take the answer as `extract::Who`.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client_address::ClientAddress;
use super::links::{self, LinkEnds};
use super::problem::Problem;
use crate::app::Services;
use crate::auth::Guest;
use crate::base::{Code, Error, Principal, Result};

/// Routes that answer everybody.
const KEYLESS: &[&str] =
    &["/healthz", "/readyz", "/api/cache/health", "/openapi.json", "/docs", "/problems", "/problems/{code}"];

const X_CIFRA_TENANT: HeaderName = HeaderName::from_static("x-cifra-tenant");

/// Lets a request in, with the [`Principal`] whose it is; or answers in the handler's place.
pub(super) async fn admit(State(state): State<Arc<Services>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match principal(&state, &parts).await {
        Ok(None) => {}
        Ok(Some(Welcome { who, link_ends })) => {
            parts.extensions.insert(who);
            if let Some(link_ends) = link_ends {
                parts.extensions.insert(link_ends);
            }
        }
        Err(error) => return Problem(error).into_response(),
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Who was let in.
struct Welcome {
    who: Principal,
    /// If they came by a link.
    link_ends: Option<LinkEnds>,
}

/// Who it is, if they do not ask too often; `None` where nobody asks.
async fn principal(state: &Services, request: &Parts) -> Result<Option<Welcome>> {
    let headers = &request.headers;
    // RFC 9112 3.2.2 and RFC 9113 8.3.1: a whole URL and `:authority` name the host too.
    let mut hosts: Vec<&str> = request.uri.authority().map(Authority::as_str).into_iter().collect();
    hosts.extend(texts(headers, &header::HOST));
    state.auth.admit(&hosts, &texts(headers, &header::ORIGIN))?;
    match request.extensions.get::<MatchedPath>() {
        None => Ok(None),
        Some(route) if KEYLESS.contains(&route.as_str()) => Ok(None),
        Some(_) => {
            let client = request.extensions.get::<ClientAddress>().map(|client| client.0);
            client.map_or(Ok(()), |client| state.rates.admit_stranger(client))?;
            let welcome = welcome(state, request).await.inspect_err(|error| {
                if let (Some(client), Code::Unauthenticated) = (client, error.code()) {
                    state.rates.count_stranger(client);
                }
            })?;
            state.rates.admit(welcome.who.tenant())?;
            Ok(Some(welcome))
        }
    }
}

/// Who comes by a link, or shows a key.
async fn welcome(state: &Services, request: &Parts) -> Result<Welcome> {
    Ok(match links::bearer(state, request).await? {
        Some(Guest { who, until }) => Welcome { who, link_ends: Some(LinkEnds(until)) },
        None => Welcome { who: authenticate(state, &request.headers).await?, link_ends: None },
    })
}

/// Who it is that sent `headers`, as far as is known now: an answer that lasts asks again.
pub(super) async fn authenticate(state: &Services, headers: &HeaderMap) -> Result<Principal> {
    state.auth.authenticate(key(headers), tenant(headers)?).await
}

/// The values of a header; one that is no text is empty, and so fits nowhere.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect()
}

/// The bearer's key (RFC 6750 2.1). Of two nobody could say which one counts: then there is none.
fn key(headers: &HeaderMap) -> Option<&str> {
    let [only] = texts(headers, &header::AUTHORIZATION)[..] else { return None };
    let (scheme, key) = only.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn tenant(headers: &HeaderMap) -> Result<Option<&str>> {
    match texts(headers, &X_CIFRA_TENANT)[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => Err(Error::new(Code::InvalidRequest, "X-Cifra-Tenant is given more than once")),
    }
}

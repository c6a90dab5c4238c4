//! Entities: `/api/entities`. Translates; `EntityService` decides, and for those that are built in the service whose
//! records they are: they answer what they answer at their own paths.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Serialize;

use super::cached;
use super::extract::{Path, Path2, Query, Who, segment};
use super::fields::Params;
use super::file_view::ThumbnailView;
use super::openapi::answers::NotModified;
use super::openapi::requests::{EntityPath, PageQuery, RecordPath};
use super::problem::Answer;
use super::reply::json;
use super::tenants::TenantView;
use super::{files, tenants, uploads};
use crate::app::Services;
use crate::base::Code::{
    EntityNotFound, FileNotFound, PreconditionFailed, RecordNotFound, UploadGone, UploadNotFound,
};
use crate::base::page::Limit;
use crate::base::{Code, EntityName, Error, FileId, Principal, Result};
use crate::ops::cache::Source;

/// Between a thumbnail's file and its size.
const OF_FILE: char = ':';

/// Read a record
///
/// Of a table of the service's database that its configuration gives this name; or of `File`, `Upload`, `Tenant`, or
/// `Thumbnail`, whose ids are such as `FILE:small`. Whole numbers of 64 bits and decimal numbers are strings, bytes are
/// base64.
#[utoipa::path(
    get, path = "/api/entities/{entity}/{id}", operation_id = "get_record", tag = "entities",
    params(RecordPath),
    responses(
        (status = 200, description = "The record: an object with a member for each column.", body = serde_json::Value),
        NotModified,
    ),
    extensions(("x-cached" = json!(true)), ("x-problems" = json!([
        EntityNotFound, RecordNotFound, FileNotFound, UploadNotFound, UploadGone, PreconditionFailed,
    ]))),
)]
pub(super) async fn show(
    State(state): State<Arc<Services>>,
    Path2(entity, id): Path2<EntityName, String>,
    Who(who): Who,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    match entity.as_str() {
        EntityName::FILE => files::show(State(state), Path(segment(&id)?), Who(who), method, headers).await,
        EntityName::UPLOAD => uncached(uploads::show(State(state), Path(segment(&id)?), Who(who))).await,
        EntityName::TENANT => tenant(&state, &who, &id).await,
        EntityName::THUMBNAIL => thumbnail(&state, &who, &id).await,
        _ => {
            let read = state.entities.get(&who, &entity, &id).await?;
            let mut response = json(&read.value.as_deref());
            cached::tell(&mut response, read.source, read.took);
            Ok(response)
        }
    }
}

/// List records
///
/// `COLUMN=VALUE` finds those that have this value in that column; it may be given for several columns, and those called
/// `limit` and `cursor` are `field.limit` and `field.cursor`. In the order of their ids, as the database sorts them.
/// `File`, `Upload` and `Tenant` take what their own lists take, `Thumbnail` takes `file_id`.
#[utoipa::path(
    get, path = "/api/entities/{entity}", operation_id = "list_records", tag = "entities",
    params(
        EntityPath, PageQuery,
        ("COLUMN" = Option<String>, Query, description = "The value that records have in the column of this name."),
    ),
    responses((
        status = 200,
        description = "A page of them: `items` and `next_cursor`, which is null on the last page. Large records make \
            pages shorter than `limit`.",
        body = serde_json::Value,
    )),
    extensions(("x-cached" = json!(true)), ("x-problems" = json!([EntityNotFound, FileNotFound]))),
)]
pub(super) async fn list(
    State(state): State<Arc<Services>>,
    Path(entity): Path<EntityName>,
    Who(who): Who,
    Query(mut params): Query,
) -> Answer {
    match entity.as_str() {
        EntityName::FILE => files::list(State(state), Who(who), Query(params)).await,
        EntityName::UPLOAD => uncached(uploads::list(State(state), Who(who), Query(params))).await,
        EntityName::TENANT => tenants::list(State(state), Who(who), Query(params)).await,
        EntityName::THUMBNAIL => thumbnails(&state, &who, params).await,
        _ => {
            let limit: Limit = params.one("limit")?.unwrap_or_default();
            let cursor: Option<String> = params.one("cursor")?;
            let filter = params.prefixed("");
            let read = state.entities.list(&who, &entity, &filter, limit, cursor.as_deref()).await?;
            let mut response = json(&read.value.as_deref());
            cached::tell(&mut response, read.source, read.took);
            Ok(response)
        }
    }
}

/// Says that the cache was not asked.
async fn uncached(answer: impl Future<Output = Answer>) -> Answer {
    let begun = Instant::now();
    let mut response = answer.await?;
    cached::tell(&mut response, Source::Bypass, begun.elapsed());
    Ok(response)
}

async fn tenant(state: &Services, who: &Principal, id: &str) -> Answer {
    let seen = state.auth.tenant(who, &segment(id)?).await?;
    let mut response = json(&TenantView::from(seen.value.as_ref().clone()));
    cached::tell(&mut response, seen.source, seen.took);
    Ok(response)
}

/// A thumbnail as a record of its own.
#[derive(Debug, Serialize)]
struct ThumbnailRecord<'a> {
    id: String,
    file_id: FileId,
    name: &'a str,
    #[serde(flatten)]
    thumbnail: ThumbnailView<'a>,
}

/// A page of them.
#[derive(Debug, Serialize)]
struct ThumbnailPage<'a> {
    items: Vec<ThumbnailRecord<'a>>,
    next_cursor: Option<String>,
}

async fn thumbnail(state: &Services, who: &Principal, id: &str) -> Answer {
    let missing = || Error::new(RecordNotFound, format!("there is no `Thumbnail` with the id `{id}`"));
    let (file, name) = id.split_once(OF_FILE).ok_or_else(missing)?;
    records(state, who, segment(file)?, |records| {
        let record = records.into_iter().find(|record| record.name == name);
        record.map(|record| json(&record)).ok_or_else(missing)
    })
    .await
}

async fn thumbnails(state: &Services, who: &Principal, mut params: Params) -> Answer {
    let file: Option<FileId> = params.one("file_id")?;
    // There are few of a file: one page has them.
    params.one::<Limit>("limit")?;
    params.finish()?;
    let detail = "`file_id` is needed: thumbnails are listed by their file";
    let file = file.ok_or_else(|| Error::new(Code::InvalidRequest, detail))?;
    records(state, who, file, |items| Ok(json(&ThumbnailPage { items, next_cursor: None }))).await
}

/// What `answer` makes of the thumbnails of a file, small ones first.
async fn records(
    state: &Services,
    who: &Principal,
    file_id: FileId,
    answer: impl FnOnce(Vec<ThumbnailRecord<'_>>) -> Result<Response>,
) -> Answer {
    let seen = state.files.record(who, file_id).await?;
    let pictured = state.thumbnails.describe(&seen.value);
    let records = pictured.thumbnails.iter().map(|shown| {
        let name = shown.size.name.as_str();
        let thumbnail = ThumbnailView::of_file(state, file_id, shown);
        ThumbnailRecord { id: format!("{file_id}{OF_FILE}{name}"), file_id, name, thumbnail }
    });
    let mut response = answer(records.collect())?;
    cached::tell(&mut response, seen.source, seen.took);
    Ok(response)
}

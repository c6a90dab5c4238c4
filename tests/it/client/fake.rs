//! A small server that speaks the upload and download half of the API, keeps everything in memory, and misbehaves
//! on demand: it answers with faults, breaks off, or does not answer until it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use cifra::base::clock::{Clock, SystemClock};
use cifra::base::{UploadId, crc};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::watch;

/// What to do instead of the right thing, once.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Answer with this problem.
    Problem(StatusCode, &'static str),
    /// Answer 503 and ask to come back after these seconds.
    Busy(&'static str),
    /// End all sessions, then do it.
    EndSessions,
    /// Do it, then break off in the middle of the answer.
    DoAndCut,
    /// Content: give only the first bytes, then break off.
    CutAfter(usize),
    /// Content: give these bytes instead.
    Instead(Bytes),
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) state: &'static str,
    pub(crate) filename: String,
    pub(crate) total_size: u64,
    pub(crate) chunks: BTreeMap<u32, Bytes>,
    pub(crate) metadata: Value,
    pub(crate) content: Bytes,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) seen: Vec<Seen>,
    /// The files of requests that had an `Idempotency-Key`, by it.
    pub(crate) keys: BTreeMap<String, String>,
    /// Faults for requests whose `METHOD path` contains the text, in this order.
    pub(crate) faults: VecDeque<(&'static str, Fault)>,
}

pub(crate) struct Fake {
    pub(crate) url: String,
    world: Arc<Mutex<World>>,
    gate: watch::Sender<usize>,
    /// Stops the server when the test ends.
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Context {
    world: Arc<Mutex<World>>,
    /// So many chunks are answered; the others wait.
    gate: watch::Receiver<usize>,
}

/// Small, so that a small file has many chunks.
pub(crate) const CHUNK: u64 = 1000;

impl Fake {
    pub(crate) fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = Arc::<Mutex<World>>::default();
        let (gate, gate_receiver) = watch::channel(usize::MAX);
        let context = Context { world: Arc::clone(&world), gate: gate_receiver };
        let router = Router::new().fallback(handle).with_state(context);
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, world, gate, _runtime: runtime }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    pub(crate) fn fault(&self, on: &'static str, fault: Fault) {
        self.world().faults.push_back((on, fault));
    }

    /// Answers only `count` chunks in all until told otherwise.
    pub(crate) fn answer_chunks(&self, count: usize) {
        self.gate.send_replace(count);
    }

    /// Which chunks came, since the beginning or the last call.
    pub(crate) fn take_puts(&self) -> Vec<u32> {
        let seen = std::mem::take(&mut self.world().seen);
        let puts = seen.iter().filter(|seen| seen.method == Method::PUT);
        let mut indexes: Vec<u32> =
            puts.map(|seen| seen.path.rsplit('/').next().unwrap().parse().unwrap()).collect();
        indexes.sort_unstable();
        indexes
    }

    /// Waits until `condition` holds of the world.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&World) -> bool) {
        let begin = Instant::now();
        while !condition(&self.world()) {
            assert!(begin.elapsed() < Duration::from_secs(30), "{what}: did not happen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    fn json(&self, id: &str) -> Value {
        let count = u32::try_from(self.total_size.div_ceil(CHUNK)).unwrap();
        let missing: Vec<(u32, u32)> =
            (0..count).filter(|index| !self.chunks.contains_key(index)).map(|index| (index, index)).collect();
        json!({
            "upload_id": id, "state": self.state, "filename": self.filename, "total_size": self.total_size,
            "chunk_size": CHUNK, "chunk_count": count, "missing": missing, "missing_count": missing.len(),
            "metadata": self.metadata, "new_member": true,
            "file": (self.state == "completed").then(|| self.file(id)),
        })
    }

    fn file(&self, id: &str) -> Value {
        let crc = crc::of(&self.content);
        json!({
            "id": id, "filename": self.filename, "size": self.content.len(), "checksum": format!("crc64nvme:{crc}"),
            "crc64nvme": format!("crc64nvme:{crc}"), "metadata": self.metadata,
            "content_url": format!("/api/files/{id}/content"),
        })
    }
}

async fn handle(State(mut context): State<Context>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let seen = Seen { method: parts.method.clone(), path: path.clone(), headers: parts.headers.clone() };
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let place = {
        let mut world = lock(&context.world);
        world.seen.push(seen);
        world.seen.iter().filter(|seen| seen.method == Method::PUT).count()
    };
    if parts.method == Method::PUT {
        let _ = context.gate.wait_for(|open| place <= *open).await;
    }
    let mut world = lock(&context.world);
    let line = format!("{} {path}", parts.method);
    let fault = match world.faults.front() {
        Some((on, _)) if line.contains(on) => world.faults.pop_front().map(|(_, fault)| fault),
        _ => None,
    };
    if let Some(Fault::Problem(status, code)) = fault {
        return problem(status, code);
    }
    if matches!(fault, Some(Fault::EndSessions)) {
        world.sessions.values_mut().for_each(|session| session.state = "aborted");
    }
    if let Some(Fault::Busy(seconds)) = fault {
        let mut busy = problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded");
        busy.headers_mut().insert("retry-after", seconds.parse().unwrap());
        return busy;
    }
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let response = match (parts.method.as_str(), &segments[..]) {
        ("GET", ["healthz"]) => answer(StatusCode::OK, &json!({ "status": "ok" })),
        ("GET", ["api", "uploads"]) => list(&world, parts.uri.query().unwrap_or_default()),
        ("POST", ["api", "uploads"]) => create(&mut world, &body),
        ("GET", ["api", "files"]) => list_files(&world, parts.uri.query().unwrap_or_default()),
        ("POST", ["api", "files"]) => {
            create_file(&mut world, parts.uri.query().unwrap_or_default(), &parts.headers, body)
        }
        ("GET", ["api", "files", id, "content"]) => return content(&world, id, &parts.headers, fault),
        (method, ["api", kind, id, rest @ ..]) => match world.sessions.get_mut(*id) {
            None => problem(StatusCode::NOT_FOUND, "upload-not-found"),
            Some(session) => one(session, method, kind, id, rest, &parts.headers, body),
        },
        _ => problem(StatusCode::NOT_FOUND, "not-found"),
    };
    if matches!(fault, Some(Fault::DoAndCut)) {
        return broken_off(StatusCode::OK, Bytes::from_static(b"{"));
    }
    response
}

fn one(
    session: &mut Session,
    method: &str,
    kind: &str,
    id: &str,
    rest: &[&str],
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    match (method, kind, rest) {
        ("GET", "files", []) if session.state == "completed" => answer(StatusCode::OK, &session.file(id)),
        ("GET", "uploads", []) => answer(StatusCode::OK, &session.json(id)),
        ("DELETE", "uploads", []) => {
            session.state = "aborted";
            Response::builder().status(204).body(Body::empty()).unwrap()
        }
        (_, "uploads", _) if session.state == "aborted" => problem(StatusCode::GONE, "upload-gone"),
        ("PUT", "uploads", ["chunks", index]) => put(session, index.parse().unwrap(), headers, body),
        ("POST", "uploads", ["finalize"]) => finalize(session, id, &body),
        _ => problem(StatusCode::NOT_FOUND, "file-not-found"),
    }
}

fn list(world: &World, query: &str) -> Response {
    let wanted = query.split('&').find_map(|pair| pair.strip_prefix("metadata.fingerprint="));
    let found =
        world.sessions.iter().filter(|(_, session)| session.metadata["fingerprint"].as_str() == wanted);
    let mut items: Vec<Value> = found.map(|(id, session)| session.json(id)).collect();
    for item in &mut items {
        item.as_object_mut().unwrap().remove("missing");
    }
    answer(StatusCode::OK, &json!({ "items": items, "next_cursor": null }))
}

fn list_files(world: &World, query: &str) -> Response {
    let wanted = query.split('&').find_map(|pair| pair.strip_prefix("metadata.fingerprint="));
    let files = world.sessions.iter().filter(|(_, session)| {
        session.state == "completed" && session.metadata["fingerprint"].as_str() == wanted
    });
    let items: Vec<Value> = files.map(|(id, session)| session.file(id)).collect();
    answer(StatusCode::OK, &json!({ "items": items, "next_cursor": null }))
}

fn create_file(world: &mut World, query: &str, headers: &HeaderMap, body: Bytes) -> Response {
    if !is_intact(headers, &body) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum-mismatch");
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    if let Some(id) = world.keys.get(&key) {
        return answer(StatusCode::CREATED, &world.sessions[id].file(id));
    }
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let metadata = pairs.iter().filter_map(|(key, value)| Some((key.strip_prefix("metadata.")?, value)));
    let id = UploadId::new(SystemClock::default().now()).to_string();
    let session = Session {
        state: "completed",
        filename: pairs.iter().find(|(key, _)| key == "filename").unwrap().1.clone(),
        total_size: body.len() as u64,
        chunks: BTreeMap::new(),
        metadata: metadata.map(|(key, value)| (key.to_owned(), value.clone())).collect(),
        content: body,
    };
    let answer = answer(StatusCode::CREATED, &session.file(&id));
    world.keys.insert(key, id.clone());
    world.sessions.insert(id, session);
    answer
}

fn is_intact(headers: &HeaderMap, body: &Bytes) -> bool {
    let declared = headers["x-checksum-crc64nvme"].to_str().unwrap();
    let declared = base64::engine::general_purpose::STANDARD.decode(declared).unwrap();
    headers["content-length"] == body.len().to_string().as_str()
        && declared == crc::of(body).value().to_be_bytes()
}

fn create(world: &mut World, body: &[u8]) -> Response {
    let new: Value = serde_json::from_slice(body).unwrap();
    let id = UploadId::new(SystemClock::default().now()).to_string();
    let session = Session {
        state: "receiving",
        filename: new["filename"].as_str().unwrap().to_owned(),
        total_size: new["total_size"].as_u64().unwrap(),
        chunks: BTreeMap::new(),
        metadata: new["metadata"].clone(),
        content: Bytes::new(),
    };
    let answer = answer(StatusCode::CREATED, &session.json(&id));
    world.sessions.insert(id, session);
    answer
}

fn put(session: &mut Session, index: u32, headers: &HeaderMap, body: Bytes) -> Response {
    if !is_intact(headers, &body) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum-mismatch");
    }
    match session.chunks.get(&index) {
        Some(there) if *there != body => problem(StatusCode::CONFLICT, "chunk-conflict"),
        _ => {
            session.chunks.insert(index, body);
            answer(StatusCode::OK, &json!({ "index": index }))
        }
    }
}

fn finalize(session: &mut Session, id: &str, body: &[u8]) -> Response {
    if session.chunks.len() as u64 != session.total_size.div_ceil(CHUNK) {
        return problem(StatusCode::CONFLICT, "upload-incomplete");
    }
    let content: Vec<u8> = session.chunks.values().flatten().copied().collect();
    let declared: Value = serde_json::from_slice(body).unwrap();
    if declared["checksum"] != format!("crc64nvme:{}", crc::of(&content)) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "checksum-mismatch");
    }
    session.content = content.into();
    session.state = "completed";
    answer(StatusCode::CREATED, &session.file(id))
}

fn content(world: &World, id: &str, headers: &HeaderMap, fault: Option<Fault>) -> Response {
    let Some(session) = world.sessions.get(id) else {
        return problem(StatusCode::NOT_FOUND, "file-not-found");
    };
    let range = headers.get("range").map(|range| range.to_str().unwrap().to_owned());
    let start =
        range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    if start.is_some() {
        assert_eq!(headers["if-range"], format!("\"{id}\"").as_str());
    }
    let bytes = session.content.slice(start.unwrap_or(0)..);
    let status = if start.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    match fault {
        Some(Fault::CutAfter(count)) => broken_off(status, bytes.slice(..count)),
        Some(Fault::Instead(bytes)) => Response::builder().status(status).body(bytes.into()).unwrap(),
        _ => Response::builder().status(status).body(bytes.into()).unwrap(),
    }
}

fn broken_off(status: StatusCode, first: Bytes) -> Response {
    let rest = async {
        tokio::task::yield_now().await; // while it has nothing to do, the connection sends what it has
        Err(std::io::Error::other("cut"))
    };
    let first = stream::once(std::future::ready(Ok(first)));
    let body = Body::from_stream(first.chain(stream::once(rest)));
    Response::builder().status(status).body(body).unwrap()
}

fn answer(status: StatusCode, json: &Value) -> Response {
    Response::builder().status(status).body(json.to_string().into()).unwrap()
}

fn problem(status: StatusCode, code: &str) -> Response {
    let json = json!({ "status": status.as_u16(), "code": code, "detail": format!("fake {code}") });
    answer(status, &json)
}

//! [`TestApp`]: the real service on a free port, with a folder of its own, stopped in order at the test's end.
//!
//! The test's runtime must have several threads: the service blocks some, and the stop waits for it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, Method};
use cifra::app::App;
use cifra::auth::{AuthService, NewKey};
use cifra::base::principal::Actor;
use cifra::base::{Clock, KeyId, Principal, Secret, SystemClock, TenantId};
use cifra::blob::Stores;
use cifra::config::{AuthMode, ByteSize, Config, DatabaseUrl, MinFree};
use cifra::http::Server;
use cifra::upload::Sweeper;
use futures_util::StreamExt;
use serde_json::Value;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinHandle;

use super::stack::Stack;
use super::{Answer, contract};

/// A service of a test's own.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    http: reqwest::Client,
    sweeper: Arc<Sweeper>,
    stores: Stores,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<bool>>,
    folder: TempDir,
    database: DatabaseUrl,
    auth: Arc<AuthService>,
    acting_as: Mutex<Option<String>>,
}

/// The operator's key of every [`TestApp`] in mode keys.
pub(crate) const OPERATOR: &str = "the-operator-of-all-tests-0123456789";

/// A service before it starts.
pub(crate) struct Builder {
    config: Config,
    clock: Arc<dyn Clock>,
    folder: TempDir,
}

impl Builder {
    /// Changes the configuration.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Asks for keys; the operator's is [`OPERATOR`].
    pub(crate) fn keys(self) -> Self {
        self.with(|config| {
            config.auth.mode = AuthMode::Keys;
            config.auth.admin_key = Some(Secret::new(OPERATOR));
        })
    }

    /// Takes the time from `clock`.
    pub(crate) fn clock<C: Clock + 'static>(mut self, clock: &Arc<C>) -> Self {
        self.clock = Arc::clone(clock) as _;
        self
    }

    #[expect(clippy::disallowed_methods, reason = "the test's own task, which the test's end waits for")]
    pub(crate) async fn start(self) -> TestApp {
        let Self { mut config, clock, folder } = self;
        Stack::of_this_run().prepare(&mut config).await;
        let database = config.database.url.clone();
        let app = Box::pin(App::build(&config, clock)).await.unwrap();
        let server = Server::bind(config.server.listen, app.services()).await.unwrap();
        let auth = Arc::clone(&app.services().auth);
        let (address, sweeper) = (server.address().unwrap(), Arc::clone(app.sweeper()));
        let stores = app.stores().clone();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(app.run(server.run(), async move { drop(stopped.await) }));
        let http = client().build().unwrap();
        let acting_as = Mutex::default();
        let (stop, running) = (Some(stop), Some(running));
        TestApp { address, http, sweeper, stores, stop, running, folder, database, auth, acting_as }
    }
}

fn client() -> reqwest::ClientBuilder {
    // The provider of TLS that the crate brings; nothing here speaks TLS, but the client wants one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let no_roots = rustls::RootCertStore::empty();
    let tls = rustls::ClientConfig::builder().with_root_certificates(no_roots).with_no_client_auth();
    reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls)
}

impl TestApp {
    /// From now on it is asked by HTTP/2 with prior knowledge.
    pub(crate) fn speak_http2(&mut self) {
        self.http = client().http2_prior_knowledge().build().unwrap();
    }

    /// The service as it is configured by default.
    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    pub(crate) fn builder() -> Builder {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::builtin(folder.path());
        config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        // The machine's own disk may be as full as it likes.
        config.file_upload.min_free = MinFree::Bytes(ByteSize(0));
        Builder { config, clock: Arc::new(SystemClock::default()), folder }
    }

    /// For requests that are not to be read to their end.
    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Its data folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// From here on requests without an `Authorization` of their own have this key.
    pub(crate) fn act_as(&self, key: &str) {
        *self.acting_as.lock().unwrap() = Some(key.to_owned());
    }

    /// From here on requests have no key.
    pub(crate) fn act_as_nobody(&self) {
        *self.acting_as.lock().unwrap() = None;
    }

    /// Takes a key back.
    pub(crate) async fn revoke(&self, key: &str) {
        let id = uuid::Uuid::parse_str(key.split('_').nth(1).unwrap()).unwrap();
        let who = Principal::operator(TenantId::default_tenant(), Actor::CommandLine);
        self.auth.revoke_key(&who, KeyId::from_uuid(id)).await.unwrap();
    }

    /// Makes a tenant.
    pub(crate) async fn tenant(&self, id: &str) {
        let who = Principal::operator(TenantId::default_tenant(), Actor::CommandLine);
        self.auth.create_tenant(&who, id.parse().unwrap()).await.unwrap();
    }

    /// A new key of a tenant that is there, with `scopes` such as `read,write`.
    pub(crate) async fn key(&self, tenant: &str, scopes: &str) -> String {
        let who = Principal::operator(tenant.parse().unwrap(), Actor::CommandLine);
        let scopes = Some(scopes.parse().unwrap());
        let new = NewKey { name: format!("a key of {tenant}"), scopes, operator: false, expires_in: None };
        self.auth.create_key(&who, new).await.unwrap().key.expose().to_owned()
    }

    /// One round of the sweeper, now.
    pub(crate) async fn sweep(&self) {
        self.sweeper.sweep().await.unwrap();
    }

    /// Sends a request; `path` may have a query.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request =
            self.http.request(method.clone(), format!("http://{}{path}", self.address)).body(body);
        let acting_as = self.acting_as.lock().unwrap().clone();
        if let Some(key) = acting_as.filter(|_| headers.iter().all(|(name, _)| *name != "authorization")) {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers): (_, HeaderMap) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap().to_vec();
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let answer = Answer { path, status, headers, body };
        contract::check(self.document().await, &method, &answer);
        answer
    }

    /// The service's own document; the same for all.
    async fn document(&self) -> &'static Value {
        static DOCUMENT: OnceCell<Value> = OnceCell::const_new();
        let load = async || {
            let response = self.http.get(format!("http://{}/openapi.json", self.address)).send().await;
            response.unwrap().json().await.unwrap()
        };
        DOCUMENT.get_or_init(load).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// An answer whose body is read by the caller.
    pub(crate) async fn begin_to_get(&self, path: &str) -> reqwest::Response {
        self.http.get(format!("http://{}{path}", self.address)).send().await.unwrap()
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let json = [("content-type", "application/json")];
        self.send(Method::POST, path, &json, body.to_string()).await
    }

    /// The only value of the only row that `query` finds in the database.
    pub(crate) async fn number_in_database(&self, query: &'static str) -> i64 {
        match &self.database {
            DatabaseUrl::Sqlite(file) => {
                let url = format!("sqlite://{}", file.display());
                let mut connection = SqliteConnection::connect(&url).await.unwrap();
                sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
            }
            DatabaseUrl::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
            }
        }
    }

    /// Whether its bytes are in a folder, where a test can look at them.
    pub(crate) fn on_a_folder(&self) -> bool {
        self.stores.default_store().name() == "local"
    }

    /// The keys of all blobs in its store.
    pub(crate) async fn blobs(&self) -> Vec<String> {
        let listed = self.stores.default_store().list("").await.unwrap();
        listed.map(|blob| blob.unwrap().key.as_str().to_owned()).collect().await
    }

    /// Takes a blob out of its store, as an accident would.
    pub(crate) async fn lose(&self, key: &str) {
        let key = cifra::base::BlobKey::parse(key).unwrap();
        self.stores.default_store().delete(&key).await.unwrap();
    }

    /// How many uploads have bytes that are no blob yet; `None` where the store does not tell.
    pub(crate) fn staged(&self) -> Option<usize> {
        self.on_a_folder().then(|| self.files_below("blobs/staging").len())
    }

    /// The names of files below `folder` of the data folder, at any depth.
    pub(crate) fn files_below(&self, folder: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(entry.file_name().into_string().unwrap());
                }
            }
        }
        found
    }
}

impl Drop for TestApp {
    /// Stops it in order: a task that does not end is a fault.
    fn drop(&mut self) {
        let (Some(stop), Some(running)) = (self.stop.take(), self.running.take()) else { return };
        let _ = stop.send(());
        if std::thread::panicking() {
            return;
        }
        let orderly =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(running)).unwrap();
        assert!(orderly, "something did not end in the time that a stop has");
    }
}

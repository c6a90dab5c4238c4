//! Configuration: one typed [`Config`], read from defaults < YAML file < environment < command line.
//!
//! Each section has a file with its struct and its `read`; a key is one field and one line there, and that
//! line is the only place that knows the key's name, default and meaning: loading, refusing what is unknown,
//! [`default_yaml`] and [`Loaded::show`] all come from it. What is wrong is told at once, as [`Faults`]. Not
//! here: opening what the values name (folders, databases, sockets). `cli` loads, `app` takes the result.

mod audit;
mod auth;
mod cache;
mod database;
mod document;
mod entities;
mod environment;
mod fault;
mod file_upload;
mod files;
mod limits;
mod load;
mod log;
mod network;
mod not_built;
mod object_storage;
mod reader;
mod redis;
mod render;
mod secret;
mod server;
mod size;
mod storage;
mod thumbnails;
mod time;
mod value;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use audit::Audit;
pub use auth::{ADMIN_KEY_CHARS_MIN, Auth, AuthMode};
pub use cache::{Cache, L1, L2, L2Backend};
pub use database::{Database, DatabaseUrl};
pub use entities::{ColumnName, Entity, TableName};
pub use environment::Environment;
pub use fault::{Fault, Faults, Origin, Position, Problem};
pub use file_upload::{ChecksumPolicy, Durability, FileUpload};
pub use files::Files;
pub use limits::Limits;
pub use load::{Loaded, Source, Sources, load};
pub use log::{Log, LogFilter, LogFormat};
pub use network::{PublicUrl, WebOrigin};
pub use object_storage::{Azure, CloudEnvironment, Endpoint, Gcs, ObjectName, S3};
pub use reader::Key;
pub use redis::{Redis, RedisUrl, Sessions, SessionsBackend};
pub use render::default_yaml;
pub use server::Server;
pub use size::{ByteSize, MinFree};
pub use storage::{Backend, LocalStorage, Storage, StoreName};
pub use thumbnails::Thumbnails;

use reader::{Layers, Reader};

/// The whole configuration, checked: every path is resolved, every `null` replaced by what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The listener, and where data lives.
    pub server: Server,
    /// Who may call.
    pub auth: Auth,
    /// The log of changes.
    pub audit: Audit,
    /// The database.
    pub database: Database,
    /// What nodes share besides the database.
    pub redis: Redis,
    /// How nodes tell each other of uploads.
    pub sessions: Sessions,
    /// How much one tenant may ask for.
    pub limits: Limits,
    /// Uploads and the store that keeps their bytes.
    pub file_upload: FileUpload,
    /// What becomes of files.
    pub files: Files,
    /// Small pictures of large ones.
    pub thumbnails: Thumbnails,
    /// What was read, kept for who asks next.
    pub cache: Cache,
    /// Tables that are read through the cache, in the order of their names.
    pub entities: Vec<Entity>,
    /// What is logged, and how.
    pub log: Log,
}

impl Config {
    /// The defaults with `data_dir` (UTF-8, relative to the working directory), free of any file or
    /// environment: for tests and tools that build an `App` of their own.
    pub fn builtin(data_dir: &Path) -> Self {
        let environment = Environment::default();
        let flags = [("server.data_dir".to_owned(), data_dir.to_string_lossy().into_owned())];
        let working_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let mut reader = Reader::new(Layers {
            flags: &flags,
            environment: &environment,
            file: None,
            working_dir: &working_dir,
        });
        Self::read(&mut reader)
    }

    /// Reads every section, in the order in which they are documented.
    fn read(from: &mut Reader<'_>) -> Self {
        let server = from.section("server", Server::read);
        let auth = from.section("auth", Auth::read);
        let audit = from.section("audit", Audit::read);
        let database = from.section("database", |from| Database::read(from, &server.data_dir));
        let redis = from.section("redis", Redis::read);
        let sessions = from.section("sessions", |from| Sessions::read(from, &redis));
        let limits = from.section("limits", Limits::read);
        let file_upload = from.section("file_upload", |from| FileUpload::read(from, &server.data_dir));
        let files = from.section("files", Files::read);
        let thumbnails = from.section("thumbnails", Thumbnails::read);
        let cache = from.section("cache", |from| Cache::read(from, &server.data_dir, &redis));
        let entities = entities::read(from);
        let log = from.section("log", Log::read);
        from.check(
            &["server.listen", "auth.mode", "auth.allow_open_network"],
            server.listen.ip().to_canonical().is_loopback()
                || auth.mode != AuthMode::Open
                || auth.allow_open_network,
            "a loopback address (127.0.0.1 or [::1]) while anybody may call; \
             to open it to the network without keys, set auth.allow_open_network: true",
        );
        Self {
            server,
            auth,
            audit,
            database,
            redis,
            sessions,
            limits,
            file_upload,
            files,
            thumbnails,
            cache,
            entities,
            log,
        }
    }
}

/// Reads a size from the command line, as the file would (`8MiB`); the error completes "expected …".
pub fn parse_size(text: &str) -> Result<ByteSize, String> {
    value::parse_argument(text)
}

/// Reads a duration from the command line, as the file would (`5m`); the error completes "expected …".
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    value::parse_argument(text)
}

/// Every key there is, in the order of the documented file.
pub fn keys() -> Vec<Key> {
    let environment = Environment::default();
    let layers = Layers { flags: &[], environment: &environment, file: None, working_dir: Path::new(".") };
    let mut reader = Reader::new(layers);
    Config::read(&mut reader);
    reader.finish().0.into_iter().map(|entry| entry.key).collect()
}

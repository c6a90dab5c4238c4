//! The process's limit on open files, and so on connections. Called by `cli` at the start of `serve`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process needs besides its connections: staging files, the database, logs.
const BESIDES_CONNECTIONS: u64 = 512;

/// Raises the limit on open files as far as this process may, and answers it; `None` is no limit.
///
/// The soft limit is 1,024 on most systems for the sake of programs that use `select(2)`; this one does not.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// Whether `connections` at once fit into `limit` open files, each with a file that it reads or writes.
pub fn suffice_for(connections: u32, limit: Option<u64>) -> bool {
    limit.is_none_or(|limit| u64::from(connections) * 2 + BESIDES_CONNECTIONS <= limit)
}

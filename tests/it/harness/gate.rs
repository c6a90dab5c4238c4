//! Gates at the fail points of a server: whoever passes there is held for as long as a test likes.

use std::fs;
use std::path::PathBuf;

use super::process::{Server, until};

/// Holds whoever passes a fail point, from [`Gate::close`] until [`Gate::open`].
pub(crate) struct Gate(PathBuf);

impl Gate {
    pub(crate) fn of(server: &Server, point: &str) -> Self {
        Self(server.beside(point))
    }

    pub(crate) fn close(&self) {
        fs::write(&self.0, "").unwrap();
    }

    /// Waits until somebody stands before it.
    pub(crate) async fn reached(&self) {
        let mark = PathBuf::from(format!("{}.reached", self.0.display()));
        until("somebody reaches the fail point", async || fs::remove_file(&mark).ok()).await;
    }

    pub(crate) fn open(&self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// A server with `settings` and a gate at each of `points`, all open.
pub(crate) async fn gated(settings: &[(&str, &str)], points: &[&str]) -> (Server, Vec<Gate>) {
    let mut server = Server::new();
    server.set("server.shutdown_timeout", "2s");
    for (key, value) in settings {
        server.set(key, value);
    }
    let gates: Vec<_> = points.iter().map(|point| Gate::of(&server, point)).collect();
    let armed: Vec<_> = points
        .iter()
        .zip(&gates)
        .map(|(point, gate)| format!("{point}=pause:{}", gate.0.display()))
        .collect();
    server.begin(Some(&armed.join(";"))).await;
    (server, gates)
}

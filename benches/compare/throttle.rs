//! A slow way into a store: a relay that lets through so many bytes a second, all connections together.
//!
//! Only what goes in is slowed. Plain threads: the relay's work is the same for whoever is measured behind it, and
//! counts for nobody. Called by `garage`.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// Small enough that connections take turns, large enough to cost little.
const PIECE_BYTES: usize = 64 << 10;

/// A relay; its threads end with the connections that they serve.
pub(crate) struct Throttle {
    /// Where to connect.
    pub(crate) address: SocketAddr,
}

/// When the next bytes may pass.
struct Gate {
    next: Mutex<Instant>,
    bytes_per_second: u64,
}

impl Throttle {
    /// A relay before `target`.
    pub(crate) fn before(target: SocketAddr, bytes_per_second: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let gate = Arc::new(Gate { next: Mutex::new(Instant::now()), bytes_per_second });
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(target) else { continue };
                let (Ok(from_client), Ok(to_client)) = (client.try_clone(), client.try_clone()) else {
                    continue;
                };
                let Ok(from_server) = server.try_clone() else { continue };
                let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
                let gate = Arc::clone(&gate);
                thread::spawn(move || pump(from_client, server, Some(&gate)));
                thread::spawn(move || pump(from_server, to_client, None));
            }
        });
        Ok(Self { address })
    }
}

impl Gate {
    fn pass(&self, bytes: usize) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mine = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = (*next).max(Instant::now());
            *next = mine + takes;
            mine
        };
        thread::sleep(mine.saturating_duration_since(Instant::now()));
    }
}

/// Until one side is done; the other learns that nothing more comes.
fn pump(mut from: TcpStream, mut to: TcpStream, gate: Option<&Gate>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if let Some(gate) = gate {
            gate.pass(read);
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

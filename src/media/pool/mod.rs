//! The threads that make thumbnails, and the memory that they may take: a picture is let in by what it will need.
//!
//! [`Pool::admit`] waits until the memory is there ([`super::line`] says whose turn it is); [`Admission::run`] does the
//! work on threads of the pool's own, which are nicer than those that answer requests. What panics there is told to
//! whoever waits for it, and ends nothing else.

#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::line::{Line, Place};
use crate::base::{Error, Result, TenantId};
use crate::telemetry::metrics;

/// Whatever is decoded, requests are answered first (`setpriority(2)`: on Linux a thread has a nice value of its own).
const NICE: i32 = 5;
/// So many pictures a thread are let in: one is worked on while the bytes of the others come from the store.
const PICTURES_PER_THREAD: usize = 4;

/// How much at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct PoolOptions {
    /// Bytes that all pictures together may take.
    pub(super) memory: u64,
    /// Threads that work on them, 1 at least.
    pub(super) threads: usize,
    /// Pictures that may wait to be let in.
    pub(super) queue_len_max: usize,
}

/// See the module. Clones are the same pool.
#[derive(Clone)]
pub(super) struct Pool {
    gate: Arc<Gate>,
    threads: Arc<rayon::ThreadPool>,
}

/// Why a picture is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It needs more memory than all pictures together may have: `max` bytes.
    TooLarge { max: u64 },
    /// As many wait as may.
    QueueFull,
}

/// The work panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

/// A picture that was let in.
pub(super) struct Admission {
    room: Room,
    threads: Arc<rayon::ThreadPool>,
}

struct Gate {
    memory: u64,
    queue_len_max: usize,
    state: Mutex<State>,
}

struct State {
    free_bytes: u64,
    free_pictures: usize,
    line: Line<oneshot::Sender<Room>>,
}

/// Memory for one picture, given back when this is dropped.
struct Room {
    bytes: u64,
    gate: Arc<Gate>,
}

/// A place in the line, left when this is dropped before it is called.
struct InLine<'a> {
    gate: &'a Arc<Gate>,
    place: Place,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub(super) fn new(options: PoolOptions) -> Result<Self> {
        let threads = options.threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("pictures {n}"))
            .start_handler(|_| be_nice())
            .build()
            .map_err(|error| Error::internal("the threads for pictures do not start", error))?;
        let state = State {
            free_bytes: options.memory,
            free_pictures: threads * PICTURES_PER_THREAD,
            line: Line::new(),
        };
        let (memory, queue_len_max) = (options.memory, options.queue_len_max);
        let gate = Gate { memory, queue_len_max, state: Mutex::new(state) };
        Ok(Self { gate: Arc::new(gate), threads: Arc::new(pool) })
    }

    /// Waits until there are `bytes` for a picture of the tenant's. Cancel-safe: whoever stops waiting leaves no trace.
    ///
    /// # Errors
    /// At once: [`Refusal`].
    pub(super) async fn admit(&self, tenant: &TenantId, bytes: u64) -> Result<Admission, Refusal> {
        if bytes > self.gate.memory {
            return Err(Refusal::TooLarge { max: self.gate.memory });
        }
        let (whom, room) = oneshot::channel();
        let place = {
            let mut state = self.gate.lock();
            if state.line.len() >= self.gate.queue_len_max {
                return Err(Refusal::QueueFull);
            }
            state.line.join(tenant, bytes, whom)
        };
        let in_line = InLine { gate: &self.gate, place };
        self.gate.call();
        let room = room.await.expect("INVARIANT: who is in line is called, or leaves by themselves");
        drop(in_line);
        Ok(Admission { room, threads: Arc::clone(&self.threads) })
    }
}

impl Admission {
    /// Does `work` on a thread of the pool, when one is free. The room is given back when the work ends, also if nobody
    /// waits for it any more; what has not begun then never does.
    ///
    /// # Errors
    /// [`Panicked`] if it did.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let (tell, told) = oneshot::channel();
        let Self { room, threads } = self;
        threads.spawn_fifo(move || {
            if tell.is_closed() {
                return;
            }
            let done = std::panic::catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked);
            drop(room);
            // Nobody waits any more: they have given up.
            let _ = tell.send(done);
        });
        told.await.unwrap_or(Err(Panicked))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.gate.take_back(self.bytes);
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if self.gate.lock().line.leave(self.place) {
            // It may have been the one that all others waited for.
            self.gate.call();
        }
    }
}

impl Gate {
    /// Lets in whoever may come in now.
    fn call(self: &Arc<Self>) {
        let mut called = Vec::new();
        {
            let mut state = self.lock();
            while state.free_pictures > 0 {
                let free = state.free_bytes;
                let Some((bytes, whom)) = state.line.call(free) else { break };
                state.free_bytes -= bytes;
                state.free_pictures -= 1;
                called.push((whom, Room { bytes, gate: Arc::clone(self) }));
            }
            self.show(&state);
        }
        for (whom, room) in called {
            // Of whoever has left meanwhile the room comes back here and is dropped, which calls the next.
            drop(whom.send(room));
        }
    }

    fn take_back(self: &Arc<Self>, bytes: u64) {
        {
            let mut state = self.lock();
            state.free_bytes += bytes;
            state.free_pictures += 1;
        }
        self.call();
    }

    fn show(&self, state: &State) {
        metrics::thumbnails_admitted(self.memory - state.free_bytes, state.line.len());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("memory", &self.gate.memory).finish_non_exhaustive()
    }
}

/// Where the system does not let a thread step back, it goes on as it is.
fn be_nice() {
    // `None` is the calling thread: the kernel's "process" is what others call a thread.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a thread for pictures keeps the priority of all others");
    }
}

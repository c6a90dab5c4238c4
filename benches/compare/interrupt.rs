//! Ctrl-C and SIGTERM end the comparison in order: the run in progress fails at its next request, its server is
//! stopped, its folder deleted, and what was measured so far is reported. Asked by `http` and `main`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Result, fail};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Begins to listen, in a thread that sleeps until a signal comes; it costs the measured runs nothing.
pub(crate) fn listen() -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        INTERRUPTED.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Fails once a signal has come.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return fail("interrupted".to_owned());
    }
    Ok(())
}

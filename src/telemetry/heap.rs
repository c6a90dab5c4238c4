//! What the C library does with memory that was given back. Called by `cli` at the start of `serve`, and by `app`
//! now and then.
//!
//! glibc keeps it for the next use, an arena for each thread: after thousands of connections that had buffers for
//! a moment, hundreds of MiB stayed with the process of which it used one. Fixed thresholds for mmap would give them
//! back at once, but make every large read buffer a system call and new pages.

/// Arenas at most; workers and the threads that wait for disks share them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: libc::c_int = 2;

/// Bounds how many pools there are; to be called before threads allocate.
pub fn bound() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a call of the C library with two numbers; it touches no memory of ours")]
    // SAFETY: mallopt(3) may be called at any time and takes integers only.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX);
    }
}

/// Gives unused pages back to the system. A few milliseconds where there is much, so not on a worker's time.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a call of the C library with a number; it touches no memory in use")]
    // SAFETY: malloc_trim(3) is thread-safe and releases only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

//! What the C library does with memory that was given back. Called by `cli` at the start of `serve`, and by `app`
//! now and then.
//!
//! glibc keeps it for the next use, an arena for each thread: after thousands of connections that had buffers for
//! a moment, hundreds of MiB stayed with the process of which it used one. Low thresholds for mmap would give them
//! back at once, but make every large buffer a system call and new pages: a fourth of the time that a progressive JPEG
//! takes. So the thresholds are high, and what is unused goes back now and then.

/// Arenas at most; workers and the threads that wait for disks share them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: libc::c_int = 2;

/// Smaller buffers come from an arena, whose pages are there already. It is the most that glibc takes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_FROM_BYTES: libc::c_int = 32 << 20;

/// What an arena keeps at its end until the next [`trim`].
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: libc::c_int = 64 << 20;

/// Bounds how many pools there are, and how much each keeps; to be called before threads allocate.
pub fn bound() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a call of the C library with numbers; it touches no memory of ours")]
    // SAFETY: mallopt(3) may be called at any time and takes integers only.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_FROM_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
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

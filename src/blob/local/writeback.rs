//! The one call to the kernel that `rustix` does not have: begin to write dirty pages to the disk, do not wait.

use std::fs::File;
use std::os::fd::AsRawFd;

/// Asks the kernel to begin writing what is dirty of `file` (`sync_file_range(2)` with `SYNC_FILE_RANGE_WRITE`).
///
/// Promises nothing; it only makes the flush that promises something short. Its error is ignored for that
/// reason: a failed write of a page stays noted at the file and is reported by the flush.
#[expect(unsafe_code, reason = "rustix has no sync_file_range")]
pub(super) fn begin(file: &File) {
    // SAFETY: no memory is passed; the descriptor is open as long as `file` is borrowed. Length 0: to the end.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE);
    }
}

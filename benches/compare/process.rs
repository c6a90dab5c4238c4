//! What the kernel knows about a process and its descendants: CPU time and memory; and how to end them.
//!
//! CPU time comes from each process's own CPU clock rather than from the 10 ms ticks of /proc/PID/stat: 512 MiB
//! cost some servers 0.15 s, of which one tick is 7 %. Both count the same thing, user and system time of all
//! threads, the ended ones too. Called by `servers` and `scenario`.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::{Result, fail};

/// Memory touched before each timed run; more than any run dirties, small enough for an 8 GiB machine.
const FRESH_MEMORY_BYTES: usize = 3 << 30;

/// Memory of a process tree in bytes, summed over its processes (pages they share count for each).
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// `VmRSS`: resident now.
    pub(crate) resident: u64,
    /// `VmHWM`: the most that was resident since the start.
    pub(crate) peak: u64,
}

/// User and system time that `root` and its living descendants have used since they began.
pub(crate) fn cpu_time(root: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for pid in tree(root)? {
        total += process_clock(i32::try_from(pid)?)?;
    }
    Ok(total)
}

/// User and system time of this program.
pub(crate) fn own_cpu_time() -> Result<Duration> {
    process_clock(0)
}

/// User and system time of the children that ended and were waited for, in microseconds at best, see `getrusage(2)`.
#[expect(unsafe_code, reason = "no safe wrapper tells what ended children used")]
pub(crate) fn children_cpu_time() -> Result<Duration> {
    // SAFETY: plain numbers, of which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: it only writes to the variable that it is given, which lives across the call.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let part = |time: libc::timeval| -> Result<Duration> {
        Ok(Duration::from_secs(u64::try_from(time.tv_sec)?)
            + Duration::from_micros(u64::try_from(time.tv_usec)?))
    };
    Ok(part(usage.ru_utime)? + part(usage.ru_stime)?)
}

/// Memory of `root` and its living descendants.
pub(crate) fn memory(root: u32) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in tree(root)? {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        sum.resident += status_bytes(&status, "VmRSS:");
        sum.peak += status_bytes(&status, "VmHWM:");
    }
    Ok(sum)
}

/// Asks `pid` to stop. A process that is gone already is fine.
pub(crate) fn terminate(pid: u32) {
    if let Some(pid) = as_pid(pid) {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
}

/// Ends every process of the group that `leader` leads, at once.
pub(crate) fn kill_group(leader: u32) {
    if let Some(pid) = as_pid(leader) {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
}

/// Makes the next run find memory that the hypervisor has backed already and a disk that is not busy.
///
/// On a virtual machine the first touch of a page costs many times the second; without this, who runs first
/// pays for all. Dirty pages of the run before are written out, so that no one pays for another's.
pub(crate) fn settle() {
    rustix::fs::sync();
    let mut memory = vec![0_u8; FRESH_MEMORY_BYTES];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

/// `root` and all processes that descend from it.
fn tree(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // A process may end between the listing and this read.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name may hold blanks and brackets; the fields begin after the last bracket: state, parent.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        if let Some(parent) = after_name.split_whitespace().nth(1).and_then(|field| field.parse::<u32>().ok())
        {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(found)
}

fn status_bytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The CPU clock of process `pid` (0: this one), see `clock_getcpuclockid(3)`.
#[expect(unsafe_code, reason = "no safe wrapper reaches another process's CPU clock")]
fn process_clock(pid: i32) -> Result<Duration> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: both calls only write to the variable they are given, which lives across the call.
    let failed = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if failed != 0 {
        return fail(format!("no CPU clock of process {pid}: error {failed}"));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: as above.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}

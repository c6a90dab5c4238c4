//! The data folder and the store's: there, writable, ours alone, with room, on a filesystem that keeps its word.
//!
//! What must be tried is tried on a file without a name (`O_TMPFILE`), which nobody can see. Blocks.

use std::fs::{File, Metadata};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, CWD, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::base::finding::Finding;
use crate::config::{Backend, ByteSize, Config, Durability, Storage};

/// A flush that takes longer shows in every upload.
const FLUSH_SLOW: Duration = Duration::from_millis(50);
/// So many flushes are timed; the median counts.
const FLUSHES: usize = 5;
/// With less than this beyond the reserve the next larger upload is refused.
const ROOM_LITTLE: u64 = 1 << 30;

/// How a filesystem differs from one on a disk of this machine.
enum Kind {
    Usual,
    /// Locks and flushes are only as good as the server's.
    Network(&'static str),
    /// What it holds goes with the machine's, or the container's, next start.
    Passing(&'static str),
}

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let (data, upload) = (&config.server.data_dir, &config.file_upload);
    let root_of = |storage: &Storage| (storage.backend == Backend::Local).then(|| storage.local.root.clone());
    let default = root_of(&upload.storage);
    let roots: Vec<PathBuf> =
        default.iter().cloned().chain(upload.other_stores.iter().filter_map(root_of)).collect();
    let mut findings = vec![folder("disk.data_dir", data), rights(data, &roots)];
    findings.extend(roots.iter().flat_map(|root| [folder("disk.storage_root", root), rename(root)]));
    // Where nothing was made yet, its nearest folder tells what the filesystem is like.
    let Some(data) = nearest(data) else { return findings };
    findings.push(kind("disk.data_filesystem", &data));
    let there = roots.iter().filter_map(|root| nearest(root));
    findings.extend(there.map(|root| kind("disk.storage_filesystem", &root)));
    match default.as_deref().map(nearest) {
        Some(Some(store)) => findings.extend([room(config, &store), try_out(config, &store)]),
        Some(None) => {}
        // Only the database is on this machine, if that.
        None => findings.push(try_out(config, &data)),
    }
    findings
}

/// `path`, or the nearest folder above it that there is.
fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

fn folder(check: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    if path.exists() && !path.is_dir() {
        return Finding::fail(
            check,
            format!("{shown} is not a folder"),
            "name another path, or move it away",
        );
    }
    let Some(there) = nearest(path) else {
        return Finding::fail(check, format!("{shown} cannot be reached"), "name a folder that can");
    };
    let writable = rustix::fs::access(&there, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
    match writable {
        Err(error) => Finding::fail(
            check,
            format!("{} cannot be written to by this user: {error}", there.display()),
            format!(
                "run doctor as the user of the service, and give the folder to it: chown USER {}",
                there.display()
            ),
        ),
        Ok(()) if there == path => Finding::ok(check, format!("{shown} can be written to")),
        Ok(()) => Finding::ok(check, format!("{shown} will be made at the first start")),
    }
}

/// A finished upload is moved by a rename, which does not cross filesystems.
fn rename(root: &Path) -> Finding {
    const CHECK: &str = "disk.rename";
    let parts = ["staging", "tmp", "blobs"].map(|name| root.join(name));
    let devices: Vec<u64> = parts.iter().filter_map(|part| Some(part.metadata().ok()?.dev())).collect();
    if devices.windows(2).any(|pair| pair[0] != pair[1]) {
        let detail = format!("staging, tmp and blobs in {} are on several filesystems", root.display());
        return Finding::fail(CHECK, detail, "mount the storage folder as a whole, not parts of it");
    }
    Finding::ok(CHECK, "a finished upload stays on its filesystem")
}

fn rights(data: &Path, roots: &[PathBuf]) -> Finding {
    const CHECK: &str = "disk.rights";
    let secret = ["cifra.db", "admin.key"].map(|name| data.join(name));
    let loose = |path: &&PathBuf, bits: u32| {
        path.metadata().is_ok_and(|found: Metadata| found.permissions().mode() & bits != 0)
    };
    if let Some(open) = secret.iter().find(|path| loose(path, 0o077)) {
        let advice = format!("chmod 600 {}", open.display());
        return Finding::fail(CHECK, format!("others than its owner may use {}", open.display()), advice);
    }
    if let Some(root) = roots.iter().find(|root| loose(root, 0o007)) {
        let advice = format!("chmod o-rwx {}", root.display());
        return Finding::warn(
            CHECK,
            format!("everybody on this machine may look into {}", root.display()),
            advice,
        );
    }
    Finding::ok(CHECK, "only the service's user reads what it keeps")
}

fn kind(check: &'static str, folder: &Path) -> Finding {
    let found = match rustix::fs::statfs(folder) {
        Ok(found) => found,
        Err(error) => {
            return Finding::skip(check, format!("the filesystem does not say what it is: {error}"));
        }
    };
    let shown = folder.display();
    match kind_of(found.f_type.into()) {
        Kind::Usual => Finding::ok(check, format!("{shown} is on a filesystem of this machine")),
        Kind::Network(name) => Finding::warn(
            check,
            format!("{shown} is on {name}, where locks and flushes may not hold what they promise"),
            "keep data_dir (it has the SQLite database) on a disk of this machine",
        ),
        Kind::Passing(name) => Finding::warn(
            check,
            format!("{shown} is on {name}: what is kept there is gone after a restart"),
            "use a folder on a disk; in a container, a volume",
        ),
    }
}

/// By the numbers that statfs(2) lists.
fn kind_of(magic: i128) -> Kind {
    match magic & 0xffff_ffff {
        0x6969 => Kind::Network("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Kind::Network("SMB"),
        0x0102_1997 => Kind::Network("9p"),
        0x6573_5546 => Kind::Network("a FUSE filesystem"),
        0x00c3_6400 => Kind::Network("Ceph"),
        0x0102_1994 | 0x8584_58f6 => Kind::Passing("a filesystem in memory"),
        0x794c_7630 => Kind::Passing("a container's own layer"),
        _ => Kind::Usual,
    }
}

fn room(config: &Config, folder: &Path) -> Finding {
    const CHECK: &str = "disk.room";
    let found = match rustix::fs::statvfs(folder) {
        Ok(found) => found,
        Err(error) => return Finding::skip(CHECK, format!("the filesystem does not say: {error}")),
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let reserve = config.file_upload.min_free.of(found.f_blocks.saturating_mul(found.f_frsize));
    let left = free.saturating_sub(reserve);
    let detail = format!(
        "{} for uploads, beyond the {} that file_upload.min_free keeps free on {}",
        rounded(left),
        rounded(reserve),
        folder.display()
    );
    if left == 0 {
        return Finding::fail(CHECK, detail, "make room, or lower file_upload.min_free");
    }
    if found.f_files > 0 && found.f_favail == 0 {
        return Finding::fail(
            CHECK,
            "no file can be made: the filesystem has no inodes left",
            "delete files",
        );
    }
    if left < ROOM_LITTLE {
        return Finding::warn(CHECK, detail, "make room, or lower file_upload.min_free");
    }
    Finding::ok(CHECK, detail)
}

/// Two or three digits are enough to see how much it is.
fn rounded(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| bytes >> shift >= 10);
    unit.map_or_else(|| ByteSize(bytes).to_string(), |(shift, name)| format!("{} {name}", bytes >> shift))
}

/// Writes, allocates and flushes, as an upload does.
fn try_out(config: &Config, folder: &Path) -> Finding {
    const CHECK: &str = "disk.flush";
    match flush_times(folder) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
            Finding::skip(CHECK, "the filesystem knows no nameless files, so nothing was tried")
        }
        Err(error) => Finding::fail(
            CHECK,
            format!("writing to {} failed: {error}", folder.display()),
            "look at the kernel's log (dmesg) and at the disk",
        ),
        Ok((took, ahead)) => {
            let note =
                if ahead { "" } else { "; room is not allocated ahead, which it could on ext4 or xfs" };
            let detail = format!("a flush takes {took:.1?}{note}");
            if took > FLUSH_SLOW && config.file_upload.durability != Durability::None {
                let advice = "every finished file waits for a few of them: use a faster disk, or \
                              file_upload.durability: none where a loss of power may cost files";
                return Finding::warn(CHECK, detail, advice);
            }
            Finding::ok(CHECK, detail)
        }
    }
}

/// The median of some flushes of a small file, and whether room can be allocated ahead.
fn flush_times(folder: &Path) -> Result<(Duration, bool), Errno> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(CWD, folder, flags, Mode::RUSR | Mode::WUSR)?);
    let ahead = match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20) {
        Ok(()) => true,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => false,
        Err(error) => return Err(error),
    };
    let mut times = [Duration::ZERO; FLUSHES];
    for time in &mut times {
        file.write_all(&[7; 4096]).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let begun = Instant::now();
        rustix::fs::fdatasync(&file)?;
        *time = begun.elapsed();
    }
    times.sort_unstable();
    Ok((times[FLUSHES / 2], ahead))
}

//! A test in a process of its own: for what must not happen to the others, like a full disk or a SIGKILL.

use std::path::Path;
use std::process::{Command, Output};

const ROLE: &str = "CIFRA_TEST_ROLE";

/// What this process was started for by [`again`]; `None` in the process that runs the tests.
#[expect(clippy::disallowed_methods, reason = "a parameter from the test that started this process")]
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Runs the test `name` (its full path) once more, alone, as `role`; `wrapper` is put before its command.
pub(crate) fn again(name: &str, role: &str, wrapper: &[&str]) -> Output {
    let test = std::env::current_exe().unwrap();
    let mut words: Vec<_> = wrapper.iter().map(std::ffi::OsString::from).collect();
    words.push(test.into_os_string());
    let output = Command::new(&words[0])
        .args(&words[1..])
        .args(["--exact", name, "--nocapture"])
        .env(ROLE, role)
        .output()
        .unwrap_or_else(|error| panic!("`{}` must be there for this test: {error}", words[0].display()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("running 0 tests"), "there is no test `{name}`");
    output
}

/// What [`on_a_small_disk`] has.
pub(crate) const DISK_BYTES: u64 = 8 << 20;

/// Runs `scenario` of the test `name` (its full path) in a child process, with an empty disk of [`DISK_BYTES`]: a
/// tmpfs in a mount namespace of its own.
pub(crate) fn on_a_small_disk(name: &str, scenario: impl AsyncFnOnce(&Path)) {
    if let Some(disk) = role() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(scenario(Path::new(&disk)));
    }
    let folder = tempfile::tempdir().unwrap();
    let namespace = if rustix::process::geteuid().is_root() { "-m" } else { "-Urm" };
    let mount = format!("mount -t tmpfs -o size={DISK_BYTES} cifra-test \"$CIFRA_TEST_ROLE\" && exec \"$@\"");
    let wrapper = ["unshare", namespace, "sh", "-c", &mount, "sh"];
    let output = again(name, folder.path().to_str().unwrap(), &wrapper);
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success() && said(&output.stdout).contains("1 passed"),
        "this test mounts a tmpfs: it needs root, or user namespaces (`unshare -Urm`)\n{}\n{}",
        said(&output.stdout),
        said(&output.stderr)
    );
}

//! A test in a process of its own: for what must not happen to the others, like a full disk or a SIGKILL.

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

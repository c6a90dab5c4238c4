//! The command line against a server that misbehaves on demand (`fake`): resuming, repeating, verifying.
//! What a real server does is tested elsewhere; here it is what the client makes of it.

mod download;
pub(crate) mod fake;
mod upload;
mod whole;

use std::path::Path;
use std::process::{Command, Output};

use fake::Fake;

/// The program, without anything of the environment that it would listen to.
pub(crate) fn cifra() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cifra"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CIFRA")
            || name.to_ascii_lowercase().ends_with("_proxy")
            || name == "DATABASE_URL"
        {
            command.env_remove(name);
        }
    }
    command
}

/// The program with a server, in a folder.
fn command(fake: &Fake, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = cifra();
    command.current_dir(folder).env("CIFRA_SERVER", &fake.url).args(arguments);
    if arguments.first() == Some(&"upload") && !arguments.contains(&"--chunked-above") {
        // The fake's chunks have 1,000 bytes: what is small here stands for what is large elsewhere.
        command.args(["--chunked-above", "0"]);
    }
    command
}

fn run(fake: &Fake, folder: &Path, arguments: &[&str]) -> Output {
    command(fake, folder, arguments).output().unwrap()
}

/// Runs what must succeed and returns what it printed.
fn done(fake: &Fake, folder: &Path, arguments: &[&str]) -> String {
    let output = run(fake, folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs what must end with `code` and returns what it complained.
fn fails(fake: &Fake, folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(fake, folder, arguments);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complaint}");
    complaint
}

/// `len` bytes, no two chunks of which are alike.
fn bytes(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

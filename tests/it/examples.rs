//! The programs in docs/examples: run against the real service, over a connection that breaks, and killed midway.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::client::cifra;
use crate::harness::bytes;
use crate::harness::process::{Server, until};
use crate::harness::relay::{Fault, Relay};

/// What a browser has and Node has not: a `localStorage` that outlives the page, and somebody who chose a file.
const PAGE: &str = r#"
import { File } from "node:buffer";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
const [example, path, server] = process.argv.slice(2);
const kept = existsSync("storage.json") ? JSON.parse(readFileSync("storage.json")) : {};
const keep = () => writeFileSync("storage.json", JSON.stringify(kept));
const localStorage = {
  getItem: (key) => kept[key] ?? null,
  setItem: (key, value) => { kept[key] = value; keep(); },
  removeItem: (key) => { delete kept[key]; keep(); },
};
Object.defineProperty(globalThis, "localStorage", { value: localStorage });
const { upload } = await import(example);
const file = new File([readFileSync(path)], basename(path), { lastModified: 1 });
let told = 0;
const record = await upload(file, { server, onProgress: (received) => { told = Math.max(told, received); } });
if (told !== file.size) throw new Error(`the progress ended at ${told} of ${file.size}`);
console.log(record.id);
"#;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(name)
}

/// A service, the relay before it, and a file that does not fit into one chunk.
struct Scene {
    server: Server,
    relay: Relay,
    folder: tempfile::TempDir,
    content: Vec<u8>,
}

impl Scene {
    async fn set() -> Self {
        let server = Server::start_with(&[("file_upload.chunk_size", "64KiB")]).await;
        let relay = Relay::to(server.api.url()).await;
        let (folder, content) = (tempfile::tempdir().unwrap(), bytes(640_000));
        fs::write(folder.path().join("holiday.mov"), &content).unwrap();
        Self { server, relay, folder, content }
    }

    /// Starts a program in the folder, with its children in a group of their own.
    fn launch(&self, program: &str, arguments: &[&str]) -> Child {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).process_group(0);
        command.env("CIFRA_SERVER", &self.relay.url).env_remove("CIFRA_API_KEY");
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Runs a program to its end, which must be good; what it printed.
    async fn run(&self, program: &str, arguments: &[&str]) -> String {
        let child = self.launch(program, arguments);
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        let Output { status, stdout, stderr } = output;
        assert!(status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    /// The upload of the file by this program: through faults, killed in the middle, and started again.
    async fn survives(&self, program: &str, arguments: &[&str]) -> String {
        self.relay.plan(&[Fault::Busy, Fault::Cut, Fault::Claimed], Some(5));
        let mut child = self.launch(program, arguments);
        until("a chunk waits", async || {
            assert_eq!(child.try_wait().unwrap(), None, "{program} ended by itself");
            (self.relay.waiting() > 0 && self.relay.acknowledged().len() == 5).then_some(())
        })
        .await;
        let group = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
        let before = self.relay.acknowledged();

        self.relay.plan(&[Fault::Busy], None);
        let said = self.run(program, arguments).await;
        let after = self.relay.acknowledged();
        assert!(after.iter().all(|chunk| !before.contains(chunk)), "sent twice: {before:?}, then {after:?}");
        assert!(after.len() < 10, "it went on, not from the beginning: {after:?}");
        said
    }

    async fn has(&self, id: &str) {
        assert!(self.server.api.content(id).await.unwrap() == self.content, "the file has other bytes");
        let listed = self.server.api.get("/api/uploads").await.unwrap();
        assert_eq!(listed.json["items"].as_array().unwrap().len(), 1, "one session, {listed:?}");
    }
}

fn id_of(record: &str) -> String {
    let record: Value = serde_json::from_str(record).unwrap_or_else(|error| panic!("{error}: {record}"));
    assert!(record["checksum"].as_str().unwrap().starts_with("sha256:"), "{record}");
    record["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_example_goes_on_after_it_was_killed() {
    let scene = Scene::set().await;
    let script = example("upload.sh");
    let arguments = [script.to_str().unwrap(), "holiday.mov"];
    let id = id_of(&scene.survives("bash", &arguments).await);
    scene.has(&id).await;

    scene.relay.plan(&[], None);
    assert_eq!(id_of(&scene.run("bash", &arguments).await), id, "done already, it answers the same file");
    assert_eq!(scene.relay.chunks(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_goes_on_after_it_was_killed() {
    let scene = Scene::set().await;
    let script = example("upload.py");
    let arguments = [script.to_str().unwrap(), "holiday.mov"];
    let said = scene.survives("python3", &arguments).await;
    scene.has(said.trim()).await;

    scene.relay.plan(&[], None);
    assert_eq!(scene.run("python3", &arguments).await, said, "done already, it answers the same file");
    assert_eq!(scene.relay.chunks(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_example_goes_on_after_a_reload() {
    let scene = Scene::set().await;
    fs::write(scene.folder.path().join("page.mjs"), PAGE).unwrap();
    let module = example("upload.mjs");
    let said = scene
        .survives("node", &["page.mjs", module.to_str().unwrap(), "holiday.mov", &scene.relay.url])
        .await;
    scene.has(said.trim()).await;
    let kept = fs::read_to_string(scene.folder.path().join("storage.json")).unwrap();
    assert_eq!(kept, "{}", "a file that is there is not remembered as an upload");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_download_example_goes_on_with_what_is_there() {
    let scene = Scene::set().await;
    let mut upload = cifra();
    upload.current_dir(scene.folder.path()).args(["upload", "holiday.mov", "--json"]);
    let output = upload.env("CIFRA_SERVER", scene.server.api.url()).output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = printed["file"]["id"].as_str().or(printed["id"].as_str()).unwrap();
    let script = example("download.sh");
    let arguments = [script.to_str().unwrap(), id, "copy.mov"];
    let (part, copy) = (scene.folder.path().join("copy.mov.part"), scene.folder.path().join("copy.mov"));
    fs::write(&part, &scene.content[..400_000]).unwrap();
    scene.run("bash", &arguments).await;
    assert!(fs::read(&copy).unwrap() == scene.content, "other bytes came");
    assert!(!part.exists());

    fs::write(&part, &scene.content[1..400_000]).unwrap();
    let child = scene.launch("bash", &arguments);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
    assert!(!output.status.success(), "what is not the beginning of the file is found by the digest");
}

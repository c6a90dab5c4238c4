//! A private nginx in front of a server: in a folder of its own, on a free port, ended with the value.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A proxy.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Nginx {
    /// A proxy that passes everything on to `upstream`, as docs/operating.md tells.
    pub(crate) fn as_documented(upstream: SocketAddr) -> Self {
        let block = include_str!("../../../docs/examples/nginx.conf");
        let (listen, pass) = ("listen 80;", "proxy_pass http://127.0.0.1:8080;");
        assert!(block.contains(listen) && block.contains(pass), "{block}");
        Self::start(|address| {
            let block = block.replace(listen, &format!("listen {address};"));
            block.replace(pass, &format!("proxy_pass http://{upstream};"))
        })
    }

    /// A proxy that shares everything out among `nodes`, each request to the next, as documented otherwise.
    pub(crate) fn balancing(nodes: &[SocketAddr]) -> Self {
        let block = include_str!("../../../docs/examples/nginx.conf");
        let servers: Vec<String> = nodes.iter().map(|node| format!("server {node};")).collect();
        Self::start(|address| {
            let block = block.replace("listen 80;", &format!("listen {address};"));
            let block = block.replace("proxy_pass http://127.0.0.1:8080;", "proxy_pass http://nodes;");
            format!("upstream nodes {{ {} }}\n{block}", servers.concat())
        })
    }

    /// A proxy that passes everything on to `upstream`, with these directives beside.
    pub(crate) fn before(upstream: SocketAddr, directives: &str) -> Self {
        Self::start(|address| {
            format!(
                "server {{ listen {address}; {directives} location / {{ proxy_pass http://{upstream}; }} }}"
            )
        })
    }

    fn start(server: impl FnOnce(SocketAddr) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Free now, and hopefully still when nginx takes it a moment later.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = folder.path().join("nginx.conf");
        std::fs::write(&config, text(folder.path(), &server(address))).unwrap();
        let mut command = Command::new(program());
        command.arg("-p").arg(folder.path()).arg("-c").arg(&config).args(["-e", "log"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Self { child, address, folder };
        for _ in 0..1_000 {
            if TcpStream::connect(address).is_ok() {
                return nginx;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen: {}", nginx.log());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it complained about.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // One process, without workers: nothing is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> &'static Path {
    let places = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"];
    let found = places.map(Path::new).into_iter().find(|place| place.exists());
    found.expect("nginx is needed: scripts/setup.sh test")
}

fn text(folder: &Path, server: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid;
        events {{ worker_connections 256; }}
        http {{
            access_log off;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
            uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            {server}
        }}\n"
    )
}

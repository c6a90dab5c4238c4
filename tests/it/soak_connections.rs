//! Many connections at once, against the real binary: what they cost.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::api::{CHUNK, chunk};
use crate::harness::process::Server;
use crate::suites::bytes;

const IDLE: usize = 5000;
const ACTIVE: usize = 200;
/// The goal is 256 MiB; glibc keeps some of what it was given back until the next upkeep. More than this is a leak.
const MEMORY_MAX: u64 = 320 << 20;
/// Chunks of each upload while the others are idle.
const CHUNKS: usize = 128;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "soak: 5,200 connections need their time"]
async fn soak_five_thousand_idle_connections_and_two_hundred_uploads_stay_small() {
    let server = Server::start_with(&[("server.idle_timeout", "30m")]).await;
    let address = server.api.url().strip_prefix("http://").unwrap().to_owned();
    let content = bytes(1 << 20, 7);
    let mut idle = Vec::new();
    for n in 0..IDLE {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        match n % 3 {
            0 => {}
            1 => asks(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await,
            // Those that were not idle before are the dear ones.
            _ => {
                let id = if n % 30 == 2 { server.api.create(content.len()).await } else { String::new() };
                let head = format!(
                    "PUT /api/uploads/{id}x/chunks/0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
                    content.len()
                );
                asks(&mut stream, &[head.as_bytes(), &content].concat()).await;
            }
        }
        idle.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(2)).await; // they are idle now, and have to look it
    eprintln!("with {IDLE} idle connections: {} MiB", server.memory("VmRSS") >> 20);

    let uploads = join_all((0..ACTIVE).map(|n| {
        let api = server.api.clone();
        tokio::runtime::Handle::current().spawn(async move {
            let content = bytes(CHUNKS * CHUNK - 5, n as u64);
            let id = api.create(content.len()).await;
            for index in 0..CHUNKS {
                let put = api.put(&id, index, chunk(&content, index)).await.unwrap();
                assert_eq!(put.status, 200, "{put:?}");
            }
            api.finish(&id, &content).await;
        })
    }));
    for upload in uploads.await {
        upload.unwrap();
    }
    for stream in idle.iter_mut().step_by(100) {
        asks(stream, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    }
    let peak = server.memory("VmHWM");
    eprintln!("at most: {} MiB", peak >> 20);
    assert!(peak <= MEMORY_MAX, "{} MiB", peak >> 20);
}

/// Sends a request and reads something of its answer.
async fn asks(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).await.unwrap();
    let mut answer = [0; 4096];
    assert!(stream.read(&mut answer).await.unwrap() > 0, "the connection was closed");
    assert!(answer.starts_with(b"HTTP/1.1 "));
}

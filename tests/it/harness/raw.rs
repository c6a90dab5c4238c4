//! A connection on which a test sends bytes as it likes, for what no client library would send.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, TestApp};

/// Whatever is waited for comes in this time, or the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that speaks HTTP/2 from the first byte, as there is no TLS to agree on it.
pub(crate) fn prior_knowledge() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap()
}

/// See the module.
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
    path: String,
}

impl Raw {
    pub(crate) async fn to(app: &TestApp) -> Self {
        Self::to_address(app.address).await
    }

    pub(crate) async fn to_address(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new(), path: String::new() }
    }

    /// Sends a request's head: `line` is `METHOD PATH`, `headers` are whole lines. `Host` is added.
    pub(crate) async fn head(&mut self, line: &str, headers: &[&str]) {
        self.path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap().to_owned();
        let mut head = format!("{line} HTTP/1.1\r\nHost: localhost\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        self.send(head.as_bytes()).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        assert!(self.try_send(bytes).await, "the other side closed the connection");
    }

    /// Sends unless the other side has closed; whether it was sent.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await.unwrap().is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The next answer; `None` if the connection is closed before one begins.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if !self.read_more().await {
                assert!(self.unread.is_empty(), "an answer broke off: {:?}", self.unread);
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let length = headers.get("content-length").map_or("0", |value| value.to_str().unwrap());
        let length: usize = length.parse().unwrap();
        while self.unread.len() < length {
            assert!(self.read_more().await, "the answer's body broke off: {head}");
        }
        let body = self.unread.drain(..length).collect();
        Some(Answer { path: self.path.clone(), status, headers, body })
    }

    /// Whether an answer, or the end, is there to be read.
    pub(crate) async fn has_answer(&mut self) -> bool {
        let soon = Duration::from_millis(1);
        !self.unread.is_empty() || tokio::time::timeout(soon, self.stream.readable()).await.is_ok()
    }

    /// Waits until the other side closes; nothing may come before.
    pub(crate) async fn closed(mut self) {
        assert!(!self.read_more().await, "more came: {:?}", String::from_utf8_lossy(&self.unread));
    }

    /// Everything until the other side closes.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        while self.read_more().await {}
        self.unread
    }

    /// `false` at the end, orderly or not.
    async fn read_more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread));
        match read.await.expect("nothing came, and the connection was not closed") {
            Ok(count) => count > 0,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("reading failed: {error}"),
        }
    }
}

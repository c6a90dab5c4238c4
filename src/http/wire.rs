//! A client's socket, as hyper reads and writes it: with the bytes that were looked at before, and with an end
//! that does not take the last answer away. Called by `connection`.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::traffic::Traffic;

/// What an HTTP/2 connection begins with (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of an answer that wait in the kernel without having been sent.
const UNSENT_BYTES_MAX: u32 = 256 << 10;
/// After the last answer at most this many bytes of a client that goes on sending are read away …
const LINGER_BYTES_MAX: usize = 256 << 20;
/// … for at most this long …
const LINGER_TIME_MAX: Duration = Duration::from_secs(5);
/// … and only while they come: silence of this length ends it.
const LINGER_SILENCE_MAX: Duration = Duration::from_secs(1);

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// HTTP/1.0 or 1.1, or nothing that can be understood.
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 3.3).
    Http2,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// Read already, but not by hyper.
    ahead: Bytes,
    /// The client has said that nothing more will come.
    ended: bool,
    traffic: Arc<Traffic>,
    write_timeout: Duration,
    /// Set when the kernel took nothing.
    stalling: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

/// The time after the last answer, when our side is closed already.
#[derive(Debug)]
struct Lingering {
    until: Instant,
    silence: Pin<Box<Sleep>>,
    bytes: usize,
}

impl Wire {
    /// A client that takes nothing of an answer for `write_timeout` loses the connection, and with it what it holds open.
    pub(super) fn new(stream: TcpStream, write_timeout: Duration) -> Self {
        // Answers are written whole; waiting for more bytes to fill a segment would only delay them.
        drop(stream.set_nodelay(true));
        // So that a slow client is not taken for a stalled one: else the kernel would take megabytes at once and then
        // nothing until a third of them is through.
        drop(SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES_MAX));
        let traffic = Arc::default();
        Self {
            stream,
            ahead: Bytes::new(),
            ended: false,
            traffic,
            write_timeout,
            stalling: None,
            lingering: None,
        }
    }

    /// Waits for the first bytes of a request; `None` when the client leaves instead.
    pub(super) async fn listen(&mut self) -> Option<Language> {
        let mut seen = BytesMut::from(std::mem::take(&mut self.ahead));
        while seen.len() < PREFACE.len() && PREFACE.starts_with(&seen) {
            let mut next = [0; PREFACE.len()];
            let wanted = PREFACE.len() - seen.len();
            match self.stream.read(&mut next[..wanted]).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => seen.extend_from_slice(&next[..count]),
            }
        }
        self.ahead = seen.freeze();
        Some(if self.ahead.starts_with(PREFACE) { Language::Http2 } else { Language::Http1 })
    }

    /// The same socket for another hyper, which has not read `unread` yet. A copy of it: however few bytes are left, they
    /// would keep all of the buffer that they were read into.
    pub(super) fn renew(self, unread: &[u8]) -> Self {
        Self { ahead: Bytes::copy_from_slice(unread), traffic: Arc::default(), ..self }
    }

    /// What is known of the requests on it.
    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// What came of a write, which fails when nothing can be written for too long.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalling = None;
            return written;
        }
        let limit = self.write_timeout;
        let timer = self.stalling.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }

    /// Reads away what a client sends that has not seen our end yet. Were the socket closed over unread bytes, the
    /// kernel would reset the connection, and the client could lose the answer (RFC 9112 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            until: Instant::now() + LINGER_TIME_MAX,
            silence: Box::pin(tokio::time::sleep(LINGER_SILENCE_MAX)),
            bytes: 0,
        });
        let mut away = [0; 16 << 10];
        loop {
            let mut into = ReadBuf::new(&mut away);
            match Pin::new(&mut self.stream).poll_read(cx, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => {
                    lingering.bytes += into.filled().len();
                    let now = Instant::now();
                    if lingering.bytes > LINGER_BYTES_MAX || now > lingering.until {
                        return Poll::Ready(());
                    }
                    lingering.silence.as_mut().reset((now + LINGER_SILENCE_MAX).min(lingering.until));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return lingering.silence.as_mut().poll(cx),
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let count = this.ahead.len().min(into.remaining());
            into.put_slice(&this.ahead[..count]);
            this.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        this.ended |= into.filled().len() == before && into.remaining() > 0;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.bounded(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    /// Called by hyper when everything is written.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.traffic.is_napping() {
            return Poll::Ready(Ok(()));
        }
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if this.ended || !this.traffic.may_be_sending() {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(cx).map(Ok)
    }
}

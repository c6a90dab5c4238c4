//! A proxy between a service and its S3 store: what real stores do on bad days, on demand.
//!
//! It passes bytes on as they are, the `Host` that the request was signed with too, one request per connection. A test
//! [`plan`](FaultyS3::plan)s what happens to the next requests of a kind; all others just pass. How requests look on the
//! wire is [`super::s3_wire`]'s.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::process::until;
use super::s3_wire::{self, Call, Head};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is answered so, and does not reach the store.
    Refused(u16, &'static str),
    /// It reaches the store and is answered so, whatever the store says.
    Answered(u16, &'static str),
    /// The connection ends before anything is passed on.
    CutBefore,
    /// The connection ends after so many bytes of its body; before anything is passed on where it has none.
    CutInBody(usize),
    /// It reaches the store; the answer is lost.
    CutAfter,
    /// Nothing is passed on, nothing is answered, the connection stays.
    Silent,
    /// It waits here until [`FaultyS3::release`], then it is passed on.
    Held,
    /// It reaches the store; the answer waits here until [`FaultyS3::release`].
    AnswerHeld,
    /// Its body goes on with so many bytes a second.
    Slow(usize),
    /// The answer's body breaks off after so many bytes.
    AnswerCut(usize),
    /// The answer's body stops after so many bytes, and the connection stays.
    AnswerStalled(usize),
    /// The answer says that it has so many bytes, and has them.
    AnswerShort(usize),
    /// The answer names another `ETag`.
    OtherTag,
}

/// `SlowDown`, as S3 says it when there is too much to do.
pub(crate) const SLOW_DOWN: Fault = Fault::Refused(503, "SlowDown");
/// `InternalError`, nothing was done.
pub(crate) const INTERNAL_ERROR: Fault = Fault::Refused(500, "InternalError");

#[derive(Debug, Default)]
struct Way {
    next: HashMap<Call, VecDeque<Fault>>,
    always: HashMap<Call, Fault>,
    all: Option<Fault>,
    seen: HashMap<Call, usize>,
    answered: HashMap<Call, usize>,
    held: usize,
}

/// The proxy; ends when dropped, with its connections.
pub(crate) struct FaultyS3 {
    address: SocketAddr,
    shared: Arc<Shared>,
    _running: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    store: SocketAddr,
    way: Mutex<Way>,
    released: Notify,
}

impl FaultyS3 {
    /// A proxy to the store at this address.
    #[expect(clippy::disallowed_methods, reason = "the test's own task, which ends with the proxy")]
    pub(crate) fn to(store: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Small, so that a slow line is felt by who sends, as it is by one of a few hundred kilometers.
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let listener = socket.listen(256).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { store, way: Mutex::default(), released: Notify::new() });
        let ours = Arc::clone(&shared);
        let running = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let shared = Arc::clone(&ours);
                // How a connection ended is nobody's business.
                connections.spawn(async move { drop(serve(client, &shared).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, shared, _running: AbortOnDropHandle::new(running) }
    }

    /// Where a service finds the store.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests of this kind meet with these, one each; those after them pass.
    pub(crate) fn plan(&self, call: Call, faults: &[Fault]) {
        self.shared.lock().next.entry(call).or_default().extend(faults);
    }

    /// All requests of this kind meet with this from here on.
    pub(crate) fn always(&self, call: Call, fault: Fault) {
        self.shared.lock().always.insert(call, fault);
    }

    /// All requests meet with this from here on.
    pub(crate) fn everything(&self, fault: Fault) {
        self.shared.lock().all = Some(fault);
    }

    /// Nothing is planned any more, and what is held goes on.
    pub(crate) fn heal(&self) {
        let mut way = self.shared.lock();
        (way.next, way.always, way.all) = (HashMap::new(), HashMap::new(), None);
        drop(way);
        self.release();
    }

    /// What is held goes on.
    pub(crate) fn release(&self) {
        self.shared.released.notify_waiters();
    }

    /// Waits until so many requests are held.
    pub(crate) async fn holds(&self, count: usize) {
        until("the proxy holds what it should", async || (self.shared.lock().held >= count).then_some(()))
            .await;
    }

    /// How many requests of this kind were passed on and answered.
    pub(crate) fn answered(&self, call: Call) -> usize {
        self.shared.lock().answered.get(&call).copied().unwrap_or(0)
    }

    /// How many requests of this kind came, whatever became of them.
    pub(crate) fn seen(&self, call: Call) -> usize {
        self.shared.lock().seen.get(&call).copied().unwrap_or(0)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, call: Call) -> Option<Fault> {
        let mut way = self.lock();
        *way.seen.entry(call).or_default() += 1;
        let planned = way.next.get_mut(&call).and_then(VecDeque::pop_front);
        planned.or_else(|| way.always.get(&call).copied()).or(way.all)
    }

    async fn hold(&self) {
        let released = self.released.notified();
        self.lock().held += 1;
        released.await;
        self.lock().held -= 1;
    }
}

/// One request, and its answer.
async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let Some((head, first)) = s3_wire::read_head(&mut client).await? else { return Ok(()) };
    let mut body = Body { first, left: head.content_length() };
    match shared.next(head.call()) {
        Some(Fault::CutBefore) => Ok(()),
        Some(Fault::CutInBody(_)) if head.content_length() == 0 => Ok(()),
        Some(Fault::Silent) => std::future::pending().await,
        Some(Fault::Refused(status, code)) => {
            body.read(&mut client).await?;
            client.write_all(&s3_wire::answer(status, code)).await
        }
        Some(Fault::Held) => {
            shared.hold().await;
            pass(client, shared, &head, body, None).await
        }
        fault => pass(client, shared, &head, body, fault).await,
    }
}

async fn pass(
    mut client: TcpStream,
    shared: &Shared,
    head: &Head,
    mut body: Body,
    fault: Option<Fault>,
) -> io::Result<()> {
    let mut store = TcpStream::connect(shared.store).await?;
    store.write_all(&head.without_keep_alive()).await?;
    match fault {
        Some(Fault::CutInBody(bytes)) => return body.pass(&mut client, &mut store, Some(bytes), None).await,
        // A store that answers before it has all may not want the rest.
        Some(Fault::Slow(rate)) => drop(body.pass(&mut client, &mut store, None, Some(rate)).await),
        _ => drop(body.pass(&mut client, &mut store, None, None).await),
    }
    let Some((answer, first)) = s3_wire::read_head(&mut store).await? else { return Ok(()) };
    match fault {
        Some(Fault::CutAfter) => drop(store.read_to_end(&mut Vec::new()).await?),
        Some(Fault::Answered(status, code)) => {
            store.read_to_end(&mut Vec::new()).await?;
            client.write_all(&s3_wire::answer(status, code)).await?;
        }
        Some(Fault::AnswerCut(bytes) | Fault::AnswerStalled(bytes) | Fault::AnswerShort(bytes)) => {
            let mut rest = first;
            (&mut store).take(bytes as u64).read_to_end(&mut rest).await?;
            rest.truncate(bytes);
            let short = matches!(fault, Some(Fault::AnswerShort(_)));
            let changed = short.then(|| answer.with("content-length", &bytes.to_string()));
            client.write_all(changed.as_deref().unwrap_or(answer.bytes())).await?;
            client.write_all(&rest).await?;
            if matches!(fault, Some(Fault::AnswerStalled(_))) {
                std::future::pending::<()>().await;
            }
        }
        _ => {
            if fault == Some(Fault::AnswerHeld) {
                shared.hold().await;
            }
            let tag = "\"00000000000000000000000000000000\"";
            let changed = (fault == Some(Fault::OtherTag)).then(|| answer.with("etag", tag));
            client.write_all(changed.as_deref().unwrap_or(answer.bytes())).await?;
            client.write_all(&first).await?;
            tokio::io::copy(&mut store, &mut client).await?;
            *shared.lock().answered.entry(head.call()).or_default() += 1;
        }
    }
    Ok(())
}

/// A request's body: what came with the head, and what is still to come.
struct Body {
    first: Vec<u8>,
    left: usize,
}

impl Body {
    async fn read(&mut self, client: &mut TcpStream) -> io::Result<()> {
        let mut rest = vec![0; self.left - self.first.len()];
        client.read_exact(&mut rest).await.map(drop)
    }

    /// Passes it on, or so many bytes of it, with so many a second.
    async fn pass(
        &mut self,
        client: &mut TcpStream,
        store: &mut TcpStream,
        at_most: Option<usize>,
        rate: Option<usize>,
    ) -> io::Result<()> {
        let mut left = at_most.map_or(self.left, |most| most.min(self.left));
        let mut piece = std::mem::take(&mut self.first);
        let mut buffer = vec![0; rate.map_or(64 << 10, |rate| (rate / 10).max(1))];
        while left > 0 {
            if piece.is_empty() {
                let read = client.read(&mut buffer).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                piece.extend_from_slice(&buffer[..read]);
                if rate.is_some() {
                    tokio::time::sleep(Duration::from_millis(100)).await; // the slow line itself
                }
            }
            let sent = piece.len().min(left);
            store.write_all(&piece[..sent]).await?;
            left -= sent;
            piece.clear();
        }
        Ok(())
    }
}

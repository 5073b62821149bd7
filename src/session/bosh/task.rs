//! One BOSH session: a task that owns the upstream stream and the machine, and answers what is posted to it.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::label::Direction;
use crate::metrics::label::Kind;
use crate::metrics::label::Transport;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::event::Event;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::session::Session as Machine;
use crate::protocol::stream_error::Meaning;
use crate::protocol::stream_error::StreamError;
use crate::protocol::stream_error::meaning;
use crate::protocol::welcome;
use crate::protocol::welcome::Reply;
use crate::protocol::welcome::Welcome;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;
use crate::scratch::Scratch;
use crate::session::bosh::Post;
use crate::session::bosh::Reserved;
use crate::session::registry::Place;
use crate::session::relay::Traffic;
use crate::session::roll::Stay;
use crate::upstream;
use crate::upstream::stream::Socket;

/// A session as it runs.
pub(super) struct Task {
    machine: Machine,
    upstream: Option<Upstream>,
    login: Option<Login>,
    posts: mpsc::Receiver<Post>,
    posted: u64,
    replies: Vec<(RequestId, oneshot::Sender<Bytes>)>,
    carried: Traffic,
    /// When it was last told what was carried.
    told: Instant,
    stay: Stay,
    /// Frees the sid when the session is over.
    _place: Place<Post>,
}

struct Upstream {
    socket: Socket,
    splitter: Splitter,
    /// Read behind the login, not yet cut.
    rest: Vec<u8>,
}

/// The login of a browser that began the session itself.
pub(super) struct Login {
    pub(super) welcome: Welcome,
    /// What it is shown behind it.
    pub(super) features: Vec<u8>,
}

/// What a task woke up for.
enum Woken {
    Posted(Post),
    Dropped(RequestId),
    Read(io::Result<(Scratch, usize)>),
    Deadline,
    /// The session is over, for a reason that lies outside.
    Over(End),
}

impl Task {
    pub(super) fn new(
        machine: Machine,
        reserved: Reserved,
        stream: Option<upstream::login::Stream>,
        login: Option<Login>,
    ) -> Self {
        let Reserved { place, posts, stay } = reserved;
        let upstream = stream.map(|stream| {
            let upstream::login::Stream { socket, splitter, rest, .. } = stream;
            Upstream { socket, splitter, rest }
        });
        Self {
            machine,
            upstream,
            login,
            posts,
            posted: 0,
            replies: Vec::new(),
            carried: Traffic::default(),
            told: Instant::now(),
            stay,
            _place: place,
        }
    }

    /// With a request that the machine has already.
    pub(super) fn answering(mut self, id: RequestId, reply: oneshot::Sender<Bytes>) -> Self {
        self.replies.push((id, reply));
        self
    }

    /// Who the session is for.
    pub(super) fn kind(&self) -> Kind {
        self.stay.kind()
    }

    /// Runs the session to its end.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> End {
        self.read_rest();
        loop {
            if let Some(end) = self.act(&shutdown).await {
                self.close().await;
                return end;
            }
            let woken = self.wake(&shutdown).await;
            self.tell_now_and_then();
            let now = Instant::now().into_std();
            match woken {
                Woken::Posted(Post { body, reply }) => {
                    self.posted += 1;
                    let id = RequestId(self.posted);
                    self.replies.push((id, reply));
                    self.machine.receive(Event::Request(id, body), now);
                }
                Woken::Dropped(id) => self.machine.receive(Event::Dropped(id), now),
                Woken::Read(read) => self.read(read),
                Woken::Deadline => self.machine.receive(Event::Deadline, now),
                Woken::Over(End::ShutDown) => {
                    // Who waits hears nothing of the session: the endpoint makes a 503 of that.
                    self.replies.clear();
                    self.close().await;
                    return End::ShutDown;
                }
                Woken::Over(why) => {
                    self.machine.receive(Event::End(why.clone()), now);
                    // There is nothing to wait for after this, whatever the machine thinks: the signal would wake
                    // the task again and again.
                    let end = self.act(&shutdown).await.unwrap_or(why);
                    self.close().await;
                    return end;
                }
            }
        }
    }

    /// Waits for the next thing to happen; all arms are cancel safe.
    async fn wake(&mut self, shutdown: &CancellationToken) -> Woken {
        let deadline = self.machine.deadline().map(Instant::from_std);
        // With nobody to wake it the arm is switched off, so the time says nothing.
        let time = deadline.unwrap_or_else(Instant::now);
        // Backpressure: what the browser does not fetch stays with upstream.
        let mut socket = self
            .upstream
            .as_mut()
            .filter(|_| !self.machine.is_full())
            .map(|upstream| &mut upstream.socket);
        let read = poll_fn(|cx| match &mut socket {
            Some(socket) => poll_read(socket, cx),
            None => Poll::Pending,
        });
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Woken::Over(End::ShutDown),
            () = self.stay.revoked().cancelled() => Woken::Over(End::Revoked),
            post = self.posts.recv() => post.map_or(Woken::Over(End::ShutDown), Woken::Posted),
            id = poll_fn(|cx| poll_dropped(&mut self.replies, cx)) => Woken::Dropped(id),
            read = read => Woken::Read(read),
            () = sleep_until(time), if deadline.is_some() => Woken::Deadline,
        }
    }

    /// Does what the machine wants; hands back the end when there is one.
    async fn act(&mut self, shutdown: &CancellationToken) -> Option<End> {
        while let Some(action) = self.machine.next_action() {
            let now = Instant::now().into_std();
            match action {
                Action::Answer(id, body) => {
                    let at = self.replies.iter().position(|(known, _)| *known == id);
                    let reply = at.map(|at| self.replies.swap_remove(at).1);
                    if reply.is_none_or(|reply| reply.send(body).is_err()) {
                        self.machine.receive(Event::Dropped(id), now);
                    }
                }
                Action::Send(stanzas, count) => {
                    self.carried.up.add(count, stanzas.len());
                    self.write(&stanzas, shutdown).await;
                }
                Action::Login(element) => self.welcome(&element),
                Action::Restart => {
                    let features =
                        self.login.take().map(|login| login.features).unwrap_or_default();
                    self.machine.receive(Event::Welcome(&features), now);
                }
                Action::Over(end) => return Some(end),
            }
        }
        if self.replies.is_empty() {
            self.replies = Vec::new();
        }
        None
    }

    fn welcome(&mut self, element: &[u8]) {
        let now = Instant::now().into_std();
        let Some(login) = &mut self.login else { return };
        // The machine has checked it already.
        let Ok(element) = Element::parse(element) else {
            return self.machine.receive(Event::End(End::BadRequest), now);
        };
        match login.welcome.receive(&element) {
            Reply::Success => {
                self.machine.receive(Event::SignedIn(welcome::success().as_bytes()), now);
            }
            Reply::Failure(failure) => {
                self.machine.receive(Event::Welcome(failure.to_xml().as_bytes()), now);
            }
            Reply::End(StreamError::PolicyViolation) => {
                self.machine.receive(Event::End(End::FailedSignIns), now);
            }
            Reply::End(error) => {
                self.machine
                    .receive(Event::End(End::StreamError(error.to_xml().into_bytes())), now);
            }
        }
    }

    async fn write(&mut self, stanzas: &[u8], shutdown: &CancellationToken) {
        let Some(upstream) = &mut self.upstream else { return };
        tokio::select! {
            // What upstream takes at once still goes out while the edge goes down.
            biased;
            written = timeout(WRITE, write(&mut upstream.socket, stanzas)) => match written {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => self.lose_upstream(End::UpstreamLost),
            },
            // A stanza may have gone out by half, so nothing may follow it; the task wakes up next for its end.
            () = shutdown.cancelled() => self.upstream = None,
            () = self.stay.revoked().cancelled() => self.lose_upstream(End::Revoked),
        }
    }

    /// Takes what was read behind the login.
    fn read_rest(&mut self) {
        let rest = self.upstream.as_mut().map(|upstream| std::mem::take(&mut upstream.rest));
        self.take(&rest.unwrap_or_default());
    }

    /// Takes what upstream was read once for.
    fn read(&mut self, read: io::Result<(Scratch, usize)>) {
        match read {
            Ok((_, 0)) | Err(_) => self.lose_upstream(End::UpstreamLost),
            Ok((mut scratch, length)) => {
                self.take(scratch.get().get(..length).unwrap_or_default());
            }
        }
    }

    /// Cuts what upstream sent into stanzas for the browser.
    fn take(&mut self, mut bytes: &[u8]) {
        let Some(upstream) = &mut self.upstream else { return };
        let now = Instant::now().into_std();
        let end = loop {
            match upstream.splitter.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(Piece::Stanza(cut))) if cut.name() == b"stream:error" => {
                    let mut element = Vec::new();
                    cut.write_alone(&mut element);
                    break stream_error(element);
                }
                Ok(Some(Piece::Stanza(cut))) => {
                    self.carried.down.add(1, cut.bytes.len());
                    self.machine.receive(Event::Stanza(cut), now);
                }
                Err(splitter::Error::TooLarge { .. }) => break End::UpstreamStanza,
                // A second header, the end, or what cannot be cut.
                Ok(Some(Piece::Header(_) | Piece::End)) | Err(_) => break End::UpstreamLost,
            }
        };
        self.lose_upstream(end);
    }

    fn lose_upstream(&mut self, end: End) {
        self.upstream = None;
        self.machine.receive(Event::End(end), Instant::now().into_std());
    }

    /// Counts what was carried; a session that lasts for days is not to be counted at its end alone.
    fn tell_now_and_then(&mut self) {
        if self.told.elapsed() >= TELL {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let Traffic { up, down } = std::mem::take(&mut self.carried);
        self.told = Instant::now();
        self.stay.metrics().carried(Transport::Bosh, Direction::Up, up);
        self.stay.metrics().carried(Transport::Bosh, Direction::Down, down);
    }

    /// Takes no more requests, and ends upstream's stream in order, as far as it is still there.
    async fn close(&mut self) {
        self.tell();
        self.posts.close();
        // Who waits for an answer learns that there is none.
        while self.posts.try_recv().is_ok() {}
        let Some(Upstream { mut socket, .. }) = self.upstream.take() else { return };
        let farewell = async {
            socket.write_all(b"</stream:stream>").await?;
            socket.shutdown().await
        };
        // Whether it arrives makes no difference any more.
        timeout(FAREWELL, farewell).await.ok();
    }
}

/// What a stream error of upstream means to the browser; what cannot be read is an outage too.
fn stream_error(element: Vec<u8>) -> End {
    match Element::parse(&element).as_ref().map(meaning) {
        Ok(Meaning::OfBrowser) => End::StreamError(element),
        Ok(Meaning::Outage) | Err(_) => End::UpstreamLost,
    }
}

/// Reads once, into the thread's buffer and none of the session's; a socket that is ready may have nothing, and one that is
/// not may have something (TLS).
fn poll_read(socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<(Scratch, usize)>> {
    let mut scratch = Scratch::sized(&FROM_UPSTREAM, READ);
    let mut read = ReadBuf::new(scratch.get());
    ready!(Pin::new(socket).poll_read(cx, &mut read))?;
    let length = read.filled().len();
    Poll::Ready(Ok((scratch, length)))
}

async fn write(socket: &mut Socket, stanzas: &[u8]) -> io::Result<()> {
    socket.write_all(stanzas).await?;
    socket.flush().await
}

/// The first request whose browser no longer waits; it is taken out.
fn poll_dropped(
    replies: &mut Vec<(RequestId, oneshot::Sender<Bytes>)>,
    cx: &mut Context<'_>,
) -> Poll<RequestId> {
    let gone = replies.iter_mut().position(|(_, reply)| reply.poll_closed(cx).is_ready());
    gone.map_or(Poll::Pending, |at| Poll::Ready(replies.swap_remove(at).0))
}

thread_local! {
    static FROM_UPSTREAM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What one read takes at most.
const READ: usize = 16 * 1024;
/// How long upstream may take no bytes before it is taken for lost.
const WRITE: Duration = Duration::from_secs(30);
/// How long what was carried may wait to be counted.
const TELL: Duration = Duration::from_secs(25);
/// How long the last words to it may take.
const FAREWELL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;

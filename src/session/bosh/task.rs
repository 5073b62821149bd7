//! One BOSH session: a task that owns the upstream stream and the machine, and answers what is posted to it.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::event::Event;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::session::Session as Machine;
use crate::protocol::stream_error::Meaning;
use crate::protocol::stream_error::meaning;
use crate::protocol::welcome;
use crate::protocol::welcome::Reply;
use crate::protocol::welcome::Welcome;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;
use crate::scratch::Scratch;
use crate::session::bosh::Post;
use crate::session::bosh::Reserved;
use crate::session::registry::Place;
use crate::upstream;

/// A session as it runs.
pub(super) struct Task {
    machine: Machine,
    upstream: Option<Upstream>,
    login: Option<Login>,
    posts: mpsc::Receiver<Post>,
    posted: u64,
    replies: Vec<(RequestId, oneshot::Sender<Bytes>)>,
    /// Frees the sid when the session is over.
    _place: Place<Post>,
}

struct Upstream {
    socket: TcpStream,
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
    Readable(io::Result<()>),
    Deadline,
    ShutDown,
}

impl Task {
    pub(super) fn new(
        machine: Machine,
        reserved: Reserved,
        stream: Option<upstream::login::Stream>,
        login: Option<Login>,
    ) -> Self {
        let Reserved { place, posts } = reserved;
        let upstream = stream.map(|stream| {
            let upstream::login::Stream { socket, splitter, rest, .. } = stream;
            Upstream { socket, splitter, rest }
        });
        Self { machine, upstream, login, posts, posted: 0, replies: Vec::new(), _place: place }
    }

    /// With a request that the machine has already.
    pub(super) fn answering(mut self, id: RequestId, reply: oneshot::Sender<Bytes>) -> Self {
        self.replies.push((id, reply));
        self
    }

    /// Runs the session to its end.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> End {
        self.read_rest();
        loop {
            if let Some(end) = self.act(&shutdown).await {
                self.close_upstream().await;
                return end;
            }
            let woken = self.wake(&shutdown).await;
            let now = Instant::now().into_std();
            match woken {
                Woken::Posted(Post { body, reply }) => {
                    self.posted += 1;
                    let id = RequestId(self.posted);
                    self.replies.push((id, reply));
                    self.machine.receive(Event::Request(id, body), now);
                }
                Woken::Dropped(id) => self.machine.receive(Event::Dropped(id), now),
                Woken::Readable(readable) => self.read(readable),
                Woken::Deadline => self.machine.receive(Event::Deadline, now),
                Woken::ShutDown => {
                    // Who waits hears nothing of the session: see where the endpoint makes a 503 of that.
                    self.replies.clear();
                    self.close_upstream().await;
                    return End::ShutDown;
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
        let socket = self
            .upstream
            .as_ref()
            .filter(|_| !self.machine.is_full())
            .map(|upstream| &upstream.socket);
        let readable = async {
            match socket {
                Some(socket) => socket.readable().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Woken::ShutDown,
            post = self.posts.recv() => post.map_or(Woken::ShutDown, Woken::Posted),
            id = poll_fn(|cx| poll_dropped(&mut self.replies, cx)) => Woken::Dropped(id),
            readable = readable => Woken::Readable(readable),
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
                Action::Send(stanzas) => self.write(&stanzas, shutdown).await,
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
            written = timeout(WRITE, upstream.socket.write_all(stanzas)) => {
                if !matches!(written, Ok(Ok(()))) {
                    self.lose_upstream(End::UpstreamLost);
                }
            }
            // A stanza may have gone out by half, so nothing may follow it; the end comes with the next thing to wake for.
            () = shutdown.cancelled() => self.upstream = None,
        }
    }

    /// Takes what was read behind the login.
    fn read_rest(&mut self) {
        let rest = self.upstream.as_mut().map(|upstream| std::mem::take(&mut upstream.rest));
        self.take(&rest.unwrap_or_default());
    }

    /// Reads upstream once; the thread's buffer is all that it takes.
    fn read(&mut self, readable: io::Result<()>) {
        let Some(upstream) = &self.upstream else { return };
        let mut scratch = Scratch::sized(&FROM_UPSTREAM, READ);
        match readable.and_then(|()| upstream.socket.try_read(scratch.get())) {
            Ok(0) => self.lose_upstream(End::UpstreamLost),
            Ok(length) => self.take(scratch.get().get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.lose_upstream(End::UpstreamLost),
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
                Ok(Some(Piece::Stanza(cut))) => self.machine.receive(Event::Stanza(cut), now),
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

    /// Ends upstream's stream in order, as far as it is still there.
    async fn close_upstream(&mut self) {
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
/// How long the last words to it may take.
const FAREWELL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant as StdInstant;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpSocket;

    use super::*;
    use crate::protocol::bosh::body::Body;
    use crate::protocol::bosh::settings::Settings;
    use crate::protocol::bosh::window::Rid;
    use crate::protocol::xml::check::Limits;
    use crate::session::registry::Most;
    use crate::session::registry::Owner;
    use crate::session::registry::Registry;

    /// Both ends of a connection whose buffers take far less than a large stanza.
    async fn narrow() -> (TcpStream, TcpStream) {
        let listener = TcpSocket::new_v4().unwrap();
        listener.set_recv_buffer_size(4096).unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener: TcpListener = listener.listen(1).unwrap();
        let ours = TcpSocket::new_v4().unwrap();
        ours.set_send_buffer_size(4096).unwrap();
        let ours = ours.connect(listener.local_addr().unwrap()).await.unwrap();
        (ours, listener.accept().await.unwrap().0)
    }

    fn large_post(reply: oneshot::Sender<Bytes>) -> Post {
        let text = format!(
            "<body rid='1' sid='s' xmlns='http://jabber.org/protocol/httpbind'>\
             <message xmlns='jabber:client'><body>{}</body></message></body>",
            "x".repeat(200_000)
        );
        Post { body: Body::parse(text.as_bytes(), &Limits::default()).unwrap(), reply }
    }

    #[tokio::test]
    async fn shutdown_is_heard_while_upstream_takes_no_bytes() {
        let (socket, mut server) = narrow().await;
        let owner = Owner { site: "a.example".into(), visitor: None, proven: false };
        let registry = Arc::new(Registry::new(Most { sessions: 1, guests: 1 }));
        let (place, posts) = registry.enter(owner.clone(), [192, 0, 2, 7].into()).unwrap();
        let mailbox = registry.find(place.sid().as_str(), &owner).unwrap();
        let rid = Rid::new(1).unwrap();
        let machine = Machine::prebound(Settings::default(), rid, StdInstant::now());
        let mut task = Task::new(machine, Reserved { place, posts }, None, None);
        task.upstream = Some(Upstream { socket, splitter: Splitter::new(1000), rest: Vec::new() });
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(task.run(shutdown.clone()));
        let (reply, answer) = oneshot::channel();
        mailbox.send(large_post(reply)).await.unwrap();
        // The first byte is here, and there is no room for the last.
        server.read_u8().await.unwrap();

        shutdown.cancel();

        let end = timeout(WRITE / 2, running).await.unwrap().unwrap();
        assert_eq!(end, End::ShutDown);
        assert!(answer.await.is_err(), "the endpoint makes a 503 of no answer");
    }
}

//! The task's end towards upstream: reading, writing, losing the connection and making another, and the last words.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::bound::Bound;
use crate::metrics::label::Resume;
use crate::protocol::bind;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Event;
use crate::protocol::bounce;
use crate::protocol::stream_error::Meaning;
use crate::protocol::stream_error::meaning;
use crate::protocol::stream_management;
use crate::protocol::stream_management::client::Heard;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;
use crate::scratch::Scratch;
use crate::session::bosh::managed::Managed;
use crate::session::bosh::managed::Seen;
use crate::session::bosh::managed::Way;
use crate::session::bosh::task::Task;
use crate::upstream::login::Stream;
use crate::upstream::stream::Socket;

/// A connection with upstream.
pub(super) struct Upstream {
    pub(super) socket: Socket,
    pub(super) splitter: Splitter,
    /// Read behind the login, not yet cut.
    pub(super) rest: Vec<u8>,
}

/// How a read of upstream ended.
enum Read {
    /// More has to come.
    More,
    /// The stream is over, for this reason.
    Over(End),
    /// Upstream cannot count.
    Fault(stream_management::Error),
}

impl From<Stream> for Upstream {
    fn from(Stream { socket, splitter, rest, .. }: Stream) -> Self {
        Self { socket, splitter, rest }
    }
}

impl Task {
    /// Takes what was read behind the login; a stream that is bound is managed from now on.
    pub(super) fn begin(&mut self) {
        if let (None, Some(managed)) = (&self.login, &mut self.managed) {
            managed.enable();
        }
        self.read_rest();
    }

    /// Whole elements go upstream, with so many stanzas; or they wait for a connection.
    pub(super) async fn send(
        &mut self,
        elements: &[u8],
        stanzas: usize,
        shutdown: &CancellationToken,
    ) {
        let undelivered = self.machine.undelivered();
        let Some(managed) = &mut self.managed else { return self.write(elements, shutdown).await };
        let was_full = managed.is_full();
        let stanzas = u32::try_from(stanzas).unwrap_or(u32::MAX);
        let way = managed.send(elements, stanzas, undelivered);
        if managed.is_full() && !was_full {
            self.stay.metrics().reached(Bound::Unacknowledged);
        }
        if let Way::Now(all) = way {
            self.write(&all, shutdown).await;
        }
    }

    /// Says to upstream what is due by itself, and whether there was any: its writing may have ended something.
    pub(super) async fn tend(&mut self, shutdown: &CancellationToken) -> bool {
        let undelivered = self.machine.undelivered();
        let Some(managed) = &mut self.managed else { return false };
        let (due, is_over) = (managed.due(undelivered), managed.is_at_fault());
        if !due.is_empty() {
            self.write(&due, shutdown).await;
        }
        if is_over {
            self.upstream = None;
        }
        !due.is_empty()
    }

    async fn write(&mut self, elements: &[u8], shutdown: &CancellationToken) {
        let Some(upstream) = &mut self.upstream else { return };
        match write_now(&mut upstream.socket, elements) {
            Ok(None) => {}
            // In a box, because there is mostly room, and nothing to wait for.
            Ok(Some(rest)) => Box::pin(self.write_rest(rest, shutdown)).await,
            Err(_) => self.lose_connection(),
        }
    }

    async fn write_rest(&mut self, elements: &[u8], shutdown: &CancellationToken) {
        let Some(upstream) = &mut self.upstream else { return };
        tokio::select! {
            // What upstream takes at once still goes out while the edge goes down.
            biased;
            written = timeout(WRITE, write(&mut upstream.socket, elements)) => match written {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => self.lose_connection(),
            },
            // A stanza may have gone out by half, so nothing may follow it; the task wakes up next for its end.
            () = shutdown.cancelled() => self.upstream = None,
            () = self.stay.revoked() => self.lose_upstream(End::Revoked),
        }
    }

    /// Takes what upstream was read once for.
    pub(super) fn read(&mut self, read: io::Result<(Scratch, usize)>) {
        match read {
            Ok((_, 0)) | Err(_) => self.lose_connection(),
            Ok((mut scratch, length)) => {
                let was_beyond = self.machine.has_backlog();
                self.take(scratch.get().get(..length).unwrap_or_default());
                if self.machine.has_backlog() && !was_beyond {
                    self.stay.metrics().reached(Bound::Answer);
                }
            }
        }
    }

    /// Goes on over another connection, or learns that the stream is over.
    pub(super) fn connected(&mut self, connected: Result<Box<Stream>, Resume>) {
        let outcome = match connected {
            Ok(mut stream) => {
                let answer = stream.resumption.take();
                self.upstream = Some(Upstream::from(*stream));
                self.go_on(answer.as_ref())
            }
            Err(outcome) => outcome,
        };
        self.stay.metrics().resumed(outcome);
        if outcome == Resume::Done {
            self.read_rest();
        } else {
            self.lose_upstream(End::UpstreamLost);
        }
    }

    fn go_on(&mut self, answer: Option<&Element>) -> Resume {
        match answer.zip(self.managed.as_mut()).map(|(answer, managed)| managed.resumed(answer)) {
            Some(Ok(Heard::Resumed)) => Resume::Done,
            Some(Ok(_) | Err(_)) | None => Resume::Refused,
        }
    }

    /// Takes what was read behind the login.
    fn read_rest(&mut self) {
        let rest = self.upstream.as_mut().map(|upstream| std::mem::take(&mut upstream.rest));
        self.take(&rest.unwrap_or_default());
    }

    /// Cuts what upstream sent into stanzas for the browser.
    fn take(&mut self, bytes: &[u8]) {
        match self.cut(bytes) {
            Read::More => {}
            Read::Over(end) => self.lose_upstream(end),
            Read::Fault(fault) => {
                self.give_back();
                if let Some(managed) = &mut self.managed {
                    managed.accuse(&fault);
                }
                self.machine.receive(Event::End(End::UpstreamLost), Instant::now().into_std());
            }
        }
    }

    fn cut(&mut self, mut bytes: &[u8]) -> Read {
        let Some(upstream) = &mut self.upstream else { return Read::More };
        let now = Instant::now().into_std();
        loop {
            let cut = match upstream.splitter.next(&mut bytes) {
                Ok(None) => return Read::More,
                Ok(Some(Piece::Stanza(cut))) => cut,
                Err(splitter::Error::TooLarge { .. }) => return Read::Over(End::UpstreamStanza),
                // A second header, the end, or what cannot be cut.
                Ok(Some(Piece::Header(_) | Piece::End)) | Err(_) => {
                    return Read::Over(End::UpstreamLost);
                }
            };
            if cut.name() == b"stream:error" {
                let mut element = Vec::new();
                cut.write_alone(&mut element);
                return Read::Over(stream_error(element));
            }
            if !self.is_bound
                && let Some(resource) = bind::given(&cut)
            {
                self.is_bound = true;
                self.stay.note_resource(&resource);
            }
            match self.managed.as_mut().map_or(Ok(Seen::ForBrowser), |managed| managed.see(&cut)) {
                Ok(Seen::ForBrowser) => {
                    self.carried.down.add(1, cut.bytes.len());
                    self.machine.receive(Event::Stanza(cut), now);
                }
                Ok(Seen::Taken) => {}
                Ok(Seen::Refused) => self.managed = None,
                Err(fault) => return Read::Fault(fault),
            }
        }
    }

    /// The connection is gone, which is the end where the stream cannot go on over another one.
    fn lose_connection(&mut self) {
        self.upstream = None;
        let is_live = self.machine.is_live();
        if !is_live || !self.managed.as_mut().is_some_and(|managed| managed.begin_resuming()) {
            self.lose_upstream(End::UpstreamLost);
        }
    }

    fn lose_upstream(&mut self, end: End) {
        self.upstream = None;
        if end.awaits_browser() {
            self.give_back();
        }
        self.machine.receive(Event::End(end), Instant::now().into_std());
    }

    /// Has the browser learn which of its stanzas may have been lost with upstream.
    fn give_back(&mut self) {
        let in_doubt = self.managed.as_deref().map(Managed::in_doubt).unwrap_or_default();
        if self.machine.is_live() && !in_doubt.is_empty() {
            self.machine.receive(Event::Lost(&in_doubt), Instant::now().into_std());
        }
    }

    /// Takes no more requests, and ends upstream's stream in order, as far as it is still there.
    pub(super) async fn close(&mut self, why: &End) {
        self.tell();
        // Who waits for an answer learns that there is none.
        self.posts.close();
        if *why != End::ShutDown {
            self.finish_resuming().await;
        }
        let Some(Upstream { mut socket, .. }) = self.upstream.take() else { return };
        let last = self.last_words();
        let farewell = async {
            socket.write_all(&last).await?;
            socket.shutdown().await
        };
        // Whether it arrives makes no difference any more.
        timeout(FAREWELL, farewell).await.ok();
    }

    /// A connection that is on its way is waited for, a little: only over it the stream can end, which would be there for
    /// minutes otherwise, and the visitor with it.
    async fn finish_resuming(&mut self) {
        let Some(managed) = self.managed.as_mut().filter(|managed| managed.is_resuming()) else {
            return;
        };
        let connected = timeout(FAREWELL, managed.connected()).await;
        let Ok(Ok(mut stream)) = connected else {
            return self.stay.metrics().resumed(Resume::Abandoned);
        };
        let answer = stream.resumption.take();
        self.upstream = Some(Upstream::from(*stream));
        let outcome = self.go_on(answer.as_ref());
        self.stay.metrics().resumed(outcome);
    }

    /// What upstream gets before the connection ends: errors for what the browser never got, if upstream does not see to that,
    /// which it does where it has no acknowledgement of it.
    fn last_words(&mut self) -> Vec<u8> {
        let undelivered = self.machine.undelivered();
        let (said, untold) = match &mut self.managed {
            Some(managed) => managed.farewell(undelivered),
            None => (Vec::new(), 0),
        };
        let mut last = Vec::new();
        let ours = undelivered.saturating_sub(untold);
        if ours > 0 {
            bounce::write(&self.machine.undelivered_elements(), ours, &mut last);
        }
        last.extend_from_slice(&said);
        last.extend_from_slice(b"</stream:stream>");
        last
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
pub(super) fn read(
    socket: &mut Socket,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(Scratch, usize)>> {
    let mut scratch = Scratch::sized(&FROM_UPSTREAM, READ);
    let mut read = ReadBuf::new(scratch.get());
    ready!(Pin::new(socket).poll_read(cx, &mut read))?;
    let length = read.filled().len();
    Poll::Ready(Ok((scratch, length)))
}

/// Writes what upstream takes at once; handed back is what it does not, nothing where all is on its way.
fn write_now<'a>(socket: &mut Socket, elements: &'a [u8]) -> io::Result<Option<&'a [u8]>> {
    // Who writes the rest waits for upstream.
    let mut cx = Context::from_waker(Waker::noop());
    let rest = match Pin::new(&mut *socket).poll_write(&mut cx, elements)? {
        Poll::Ready(written) => elements.get(written..).unwrap_or_default(),
        Poll::Pending => return Ok(Some(elements)),
    };
    let is_sent = rest.is_empty() && Pin::new(socket).poll_flush(&mut cx)?.is_ready();
    Ok((!is_sent).then_some(rest))
}

async fn write(socket: &mut Socket, elements: &[u8]) -> io::Result<()> {
    socket.write_all(elements).await?;
    socket.flush().await
}

thread_local! {
    static FROM_UPSTREAM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What one read takes at most.
const READ: usize = 16 * 1024;
/// How long upstream may take no bytes before it is taken for lost.
pub(super) const WRITE: Duration = Duration::from_secs(30);
/// How long the last words to it may take.
const FAREWELL: Duration = Duration::from_secs(5);

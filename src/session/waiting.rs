//! A stream that waits for a browser that went without a word: the edge keeps it where the server could not let it go on.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite as _;
use tokio::io::ReadBuf;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::bound::Bound;
use crate::protocol::stream_management::Error;
use crate::protocol::stream_management::server;
use crate::protocol::websocket::framing;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;
use crate::scratch::Scratch;
use crate::session::relay::farewell::farewell;
use crate::session::relay::managed::Here;
use crate::session::relay::managed::Managed;
use crate::session::relay::pipe::poll_drain;
use crate::session::roll::Stay;
use crate::session::roll::bell::Presence;
use crate::session::roll::bell::Question;
use crate::upstream::stream::Socket;

/// The upstream end of a session whose browser is gone.
#[derive(Debug)]
pub struct Waiting {
    socket: Socket,
    splitter: Splitter,
    /// Of the browser, but not yet taken by the socket.
    to_upstream: Vec<u8>,
    here: Box<Here>,
}

/// Why a stream waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// More has come for the browser than is kept.
    Full,
    /// The server ended it, or the connection broke.
    Lost,
}

impl Waiting {
    /// What a relay had of a stream, less its browser.
    pub(super) fn new(
        (socket, splitter): (Socket, Splitter),
        to_upstream: Vec<u8>,
        here: Box<Here>,
    ) -> Self {
        Self { socket, splitter, to_upstream, here }
    }

    /// Keeps what comes, until that is over. Cancel safe.
    pub fn poll_keep(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            if let Err(over) = ready!(self.poll_once(cx)) {
                return Poll::Ready(over);
            }
        }
    }

    fn poll_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        ready!(poll_drain(&mut self.socket, &mut self.to_upstream, cx)).map_err(|_| Over::Lost)?;
        // What TLS has taken and its socket has not would else lie there until the browser is back.
        ready!(Pin::new(&mut self.socket).poll_flush(cx)).map_err(|_| Over::Lost)?;
        let mut incoming = Scratch::sized(&FROM_UPSTREAM, READ);
        let mut buf = ReadBuf::new(incoming.get());
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf)).map_err(|_| Over::Lost)?;
        let length = buf.filled().len();
        if length == 0 {
            return Poll::Ready(Err(Over::Lost));
        }
        let mut bytes = incoming.get().get(..length).unwrap_or_default();
        while let Some(piece) = self.splitter.next(&mut bytes).map_err(|_| Over::Lost)? {
            match piece {
                Piece::Stanza(cut) if cut.name() == b"stream:error" => {
                    return Poll::Ready(Err(Over::Lost));
                }
                Piece::Stanza(cut) => self.here.send(&cut),
                Piece::Header(_) | Piece::End => return Poll::Ready(Err(Over::Lost)),
            }
        }
        let fits = self.here.server.is_whole();
        Poll::Ready(if fits { Ok(()) } else { Err(Over::Full) })
    }

    /// Goes on with a browser that has got `h` stanzas: `<resumed/>` and all that it has not (XEP-0198 §5), framed.
    ///
    /// # Errors
    /// Where the count cannot be.
    pub fn resume(&mut self, h: u32, to_browser: &mut Vec<u8>) -> Result<(), Error> {
        let Here { server, id, .. } = &mut *self.here;
        server.acknowledge(h)?;
        let id = id.as_deref().unwrap_or_default();
        framing::write_text(server::resumed(id, server.taken()).as_bytes(), to_browser);
        for stanza in server.unacknowledged() {
            framing::write_text(stanza, to_browser);
        }
        self.here.ask(to_browser);
        Ok(())
    }

    /// What a relay goes on with.
    #[must_use]
    pub fn into_parts(self) -> ((Socket, Splitter), Vec<u8>, Managed) {
        let Self { socket, splitter, to_upstream, here } = self;
        ((socket, splitter), to_upstream, Managed::Here(here))
    }

    /// Closes the stream: nobody will come back to it, and what was not acknowledged goes back to who sent it.
    ///
    /// Not bounded in time: a caller gives it a deadline.
    pub async fn give_up(mut self) {
        self.here.server.write_bounces(&mut self.to_upstream);
        self.to_upstream.extend_from_slice(b"</stream:stream>");
        let Self { mut socket, to_upstream, .. } = self;
        farewell(&mut socket, &to_upstream).await;
    }
}

/// Waits `time` for a browser to come back to a stream; then, when its visitor is signed out, when the edge goes down or when
/// there is too much to keep, the stream is closed.
///
/// Who asks for it gets it, those of `questions` first.
pub(super) async fn wait_for(
    waiting: Waiting,
    mut questions: Vec<Question>,
    (time, stay, shutdown): (Duration, &Stay, &CancellationToken),
) {
    let mut waiting = Box::new(waiting);
    let mut late = pin!(sleep(time));
    loop {
        for question in std::mem::take(&mut questions) {
            // Who asked may be gone as well.
            match question.send(Presence::Waits(waiting)) {
                Err(Presence::Waits(unwanted)) => waiting = unwanted,
                Ok(()) | Err(_) => return,
            }
        }
        tokio::select! {
            biased;
            () = stay.revoked() => break,
            () = shutdown.cancelled() => break,
            asked = stay.asked() => questions = asked,
            over = poll_fn(|cx| waiting.poll_keep(cx)) => {
                if over == Over::Lost {
                    return;
                }
                stay.metrics().reached(Bound::Kept);
                break;
            }
            () = &mut late => break,
        }
    }
    timeout(FAREWELL, waiting.give_up()).await.ok();
}

/// How long the last words may take to go out.
const FAREWELL: Duration = Duration::from_secs(5);
/// What one read takes at most.
const READ: usize = 16 * 1024;

thread_local! {
    static FROM_UPSTREAM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

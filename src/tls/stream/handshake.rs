//! The handshake in its two halves: what comes is awaited and kept, and is worked on at another time.

use std::io;
use std::mem;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::task::ready;

use rustls::ProtocolVersion;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

use crate::scratch::Scratch;
use crate::tls::stream::INCOMING;
use crate::tls::stream::RECEIVE;
use crate::tls::stream::RECORD;
use crate::tls::stream::Reading;
use crate::tls::stream::Stream;
use crate::tls::stream::Unsent;
use crate::tls::stream::too_long;

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// Waits for more of the browser's part of the handshake, when all of ours is sent; next is
    /// [`go_on`](Self::go_on).
    ///
    /// Nothing is computed here, so a browser that is silent costs nothing but its connection.
    ///
    /// # Errors
    /// The socket's own, `UnexpectedEof` when the browser leaves, `InvalidData` for a message without end.
    pub fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        if self.reading == Reading::Ended {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut scratch = Scratch::sized(&INCOMING, RECEIVE);
        let scratch = scratch.get();
        let wanted = RECEIVE.saturating_sub(self.received.len()).min(RECORD);
        if wanted == 0 {
            return Poll::Ready(Err(too_long()));
        }
        let mut room = ReadBuf::new(scratch.get_mut(..wanted).ok_or_else(too_long)?);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        if room.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.received.extend_from_slice(room.filled());
        Poll::Ready(Ok(()))
    }

    /// Goes on with the handshake by what has been heard, without waiting for anything; says whether it is over.
    ///
    /// A ticket of TLS 1.3 follows with what is written next.
    ///
    /// # Errors
    /// The socket's own, `InvalidData` for a violation of TLS (the alert has been sent).
    pub fn go_on(&mut self) -> io::Result<bool> {
        let mut received = mem::take(&mut self.received);
        let used = self.decrypt(&mut received, &mut ReadBuf::new(&mut []))?;
        // A new vector, not the old one: an empty one holds no memory.
        self.received = received.get(used..).unwrap_or_default().to_vec();
        let is_over = !self.tls.is_handshaking();
        if is_over && self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            self.unsent_is = Unsent::Ticket;
        }
        // Whoever waits next sends what the socket does not take now.
        if let Poll::Ready(sent) = self.poll_send(&mut Context::from_waker(Waker::noop())) {
            sent?;
        }
        Ok(is_over)
    }
}

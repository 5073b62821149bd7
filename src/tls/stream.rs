//! A TLS stream that keeps bytes only for a partial record: rustls's unbuffered API under tokio's traits.
//!
//! An idle connection holds no buffer at all; what is being read or written lives in scratch buffers of the thread.

mod handshake;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::ConnectionState;
use rustls::unbuffered::EncodeError;
use rustls::unbuffered::EncryptError;
use rustls::unbuffered::InsufficientSizeError;
use rustls::unbuffered::UnbufferedStatus;
use rustls::unbuffered::WriteTraffic;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

use crate::scratch::Scratch;

/// The server's end of one TLS connection over the socket `S`.
pub struct Stream<S> {
    socket: S,
    tls: Box<UnbufferedServerConnection>,
    /// Read from the socket, not yet a whole record.
    received: Vec<u8>,
    /// Decrypted, but more than the reader had room for.
    plaintext: Vec<u8>,
    /// Encrypted, but not yet taken by the socket.
    unsent: Vec<u8>,
    unsent_is: Unsent,
    reading: Reading,
    writing: Writing,
}

/// How urgent it is to send what is unsent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsent {
    /// Somebody waits for it.
    Due,
    /// A ticket of TLS 1.3: it can travel with whatever is written next, and spares a packet and its wake-ups.
    Ticket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    /// The browser's `close_notify` has come, or the end of the socket.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Open,
    /// Our `close_notify` has been encrypted.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// A connection whose handshake has not begun; see [`crate::tls::accept::Handshake`].
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn new(socket: S, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = UnbufferedServerConnection::new(config).map_err(invalid)?;
        Ok(Self {
            socket,
            tls: Box::new(tls),
            received: Vec::new(),
            plaintext: Vec::new(),
            unsent: Vec::new(),
            unsent_is: Unsent::Due,
            reading: Reading::Open,
            writing: Writing::Open,
        })
    }

    /// The protocol that both sides chose by ALPN (RFC 7301), once the handshake is over.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// The socket below.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Reads from the socket once and decrypts what has come: into `into` as far as it reaches, the rest is kept.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut scratch = Scratch::sized(&INCOMING, RECEIVE);
        let scratch = scratch.get();
        let kept = self.received.len();
        scratch.get_mut(..kept).ok_or_else(too_long)?.copy_from_slice(&self.received);
        // No more than the reader has room for, or little more: what is left over has to be kept.
        let wanted = kept.saturating_add(into.remaining().max(RECORD)).min(RECEIVE);
        let mut room = ReadBuf::new(scratch.get_mut(kept..wanted).ok_or_else(too_long)?);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        if read == 0 {
            self.reading = Reading::Ended;
            return Poll::Ready(Ok(()));
        }
        let incoming = scratch.get_mut(..kept + read).ok_or_else(too_long)?;
        let used = self.decrypt(incoming, into)?;
        // A new vector, not the old one: an empty one holds no memory.
        self.received = incoming.get(used..).unwrap_or_default().to_vec();
        Poll::Ready(Ok(()))
    }

    /// Takes whole records off the front of `incoming`; says how many bytes they were.
    fn decrypt(&mut self, incoming: &mut [u8], into: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = incoming.get_mut(used..).unwrap_or_default();
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(rest);
            let more = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(invalid)?;
                        discard += record.discard;
                        let fits = record.payload.len().min(into.remaining());
                        let (now, later) = record.payload.split_at(fits);
                        into.put_slice(now);
                        self.plaintext.extend_from_slice(later);
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(mut flight)) => {
                    append(&mut self.unsent, |out| flight.encode(out))?;
                    true
                }
                Ok(ConnectionState::TransmitTlsData(flight)) => {
                    flight.done();
                    true
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.reading = Reading::Ended;
                    true
                }
                Ok(ConnectionState::Closed) => {
                    self.reading = Reading::Ended;
                    false
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => false,
                // Early data is switched off in the configuration; the API's other states are not for servers.
                Ok(_) => return Err(io::ErrorKind::Unsupported.into()),
                Err(error) => {
                    self.keep_alert();
                    return Err(invalid(error));
                }
            };
            used += discard;
            if !more {
                return Ok(used);
            }
        }
    }

    /// After a violation rustls has an alert for the browser: it goes out as far as the socket takes it now.
    fn keep_alert(&mut self) {
        if let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut alert)), .. } =
            self.tls.process_tls_records(&mut [])
        {
            // The connection is over either way.
            let _ = append(&mut self.unsent, |out| alert.encode(out));
            self.unsent_is = Unsent::Due;
            let mut cx = Context::from_waker(std::task::Waker::noop());
            let _ = self.poll_send(&mut cx);
        }
        self.reading = Reading::Ended;
        self.writing = Writing::Closed;
    }

    /// Gives the socket what is encrypted already and due.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent_is == Unsent::Ticket {
            return Poll::Ready(Ok(()));
        }
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.drain(..sent.min(self.unsent.len()));
        }
        if self.unsent.capacity() > 0 {
            self.unsent = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Encrypts with `encrypt` and sends at once; what the socket does not take now is kept in `unsent`.
    fn encrypt_and_send(
        &mut self,
        cx: &mut Context<'_>,
        encrypt: impl FnMut(
            &mut WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> io::Result<()> {
        let mut scratch = Scratch::sized(&OUTGOING, SEND);
        let length = self.encrypt(scratch.get(), encrypt)?;
        let records = scratch.get().get(..length).unwrap_or_default();
        if self.unsent.is_empty() {
            match Pin::new(&mut self.socket).poll_write(cx, records) {
                Poll::Ready(Ok(sent)) => {
                    self.unsent.extend_from_slice(records.get(sent..).unwrap_or_default());
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => self.unsent.extend_from_slice(records),
            }
            return Ok(());
        }
        // A ticket, a key update or an answer to one precedes what is encrypted after it.
        self.unsent.extend_from_slice(records);
        self.unsent_is = Unsent::Due;
        match self.poll_send(cx) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }

    /// Encrypts into `out`; says how many bytes that made.
    fn encrypt(
        &mut self,
        out: &mut [u8],
        mut encrypt: impl FnMut(
            &mut WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.tls.process_tls_records(&mut self.received);
            let done = match state.map_err(invalid)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    Some(encrypt(&mut traffic, out).map_err(invalid)?)
                }
                ConnectionState::EncodeTlsData(mut flight) => {
                    append(&mut self.unsent, |out| flight.encode(out))?;
                    None
                }
                ConnectionState::TransmitTlsData(flight) => {
                    flight.done();
                    None
                }
                ConnectionState::PeerClosed => {
                    self.reading = Reading::Ended;
                    None
                }
                // What has come was decrypted when it came, so there is nothing to read; the rest ends a connection.
                ConnectionState::ReadTraffic(_)
                | ConnectionState::ReadEarlyData(_)
                | ConnectionState::Closed
                | ConnectionState::BlockedHandshake
                | _ => return Err(io::ErrorKind::NotConnected.into()),
            };
            self.received.drain(..discard.min(self.received.len()));
            if let Some(length) = done {
                return Ok(length);
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !this.plaintext.is_empty() {
            let fits = this.plaintext.len().min(buf.remaining());
            buf.put_slice(this.plaintext.get(..fits).unwrap_or_default());
            this.plaintext.drain(..fits);
            if this.plaintext.is_empty() {
                this.plaintext = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        while this.reading == Reading::Open && buf.filled().len() == before {
            // What rustls has to say of its own accord (an answer to a key update) need not wait for our next stanza.
            let _ = this.poll_send(cx)?;
            ready!(this.poll_receive(cx, buf))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    /// Takes up to 32 KiB at once and owns them: what the socket refuses now goes out before the next write or flush.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.writing == Writing::Closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(this.poll_send(cx))?;
        let chunk = buf.get(..WRITE).unwrap_or(buf);
        this.encrypt_and_send(cx, |traffic, out| traffic.encrypt(chunk, out))?;
        Poll::Ready(Ok(chunk.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        if this.writing == Writing::Open {
            this.writing = Writing::Closed;
            #[expect(
                clippy::redundant_closure_for_method_calls,
                reason = "the method alone is not general over its lifetime"
            )]
            this.encrypt_and_send(cx, |traffic, out| traffic.queue_close_notify(out))?;
            ready!(this.poll_send(cx))?;
        }
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("reading", &self.reading)
            .field("writing", &self.writing)
            .finish_non_exhaustive()
    }
}

/// Lets `encode` write behind the end of `out`, with as much room as it asks for.
fn append(
    out: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> io::Result<()> {
    let before = out.len();
    let mut room = 0;
    loop {
        out.resize(before + room, 0);
        match encode(out.get_mut(before..).unwrap_or_default()) {
            Ok(written) => {
                out.truncate(before + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(error) => return Err(invalid(error)),
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A partial record is shorter than a record, and a handshake message of the browser than 64 KiB (rustls's own bound).
fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a TLS message is longer than any may be")
}

/// The longest TLS record: header, 16 KiB and what encryption may add (RFC 5246 §6.2.3).
const RECORD: usize = 5 + 16 * 1024 + 2048;
/// Room for the largest handshake message rustls takes, and a record behind it.
const RECEIVE: usize = 96 * 1024;
/// Plaintext taken by one write: two records.
const WRITE: usize = 32 * 1024;
/// The same encrypted: header, type and tag of each record, the explicit nonce of TLS 1.2, and a key update before them.
const SEND: usize = WRITE + 512;

thread_local! {
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUTGOING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

//! The hall of a WebSocket: the browser's own login, answered here up to the features behind it.

use std::future::poll_fn;
use std::num::NonZeroU8;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;
use tokio::time::timeout;

use crate::browser::Browser;
use crate::protocol::jid::Domain;
use crate::protocol::stream_error::StreamError;
use crate::protocol::websocket::frame;
use crate::protocol::websocket::frame::Frame;
use crate::protocol::websocket::frame::Reader;
use crate::protocol::websocket::framing;
use crate::protocol::welcome;
use crate::protocol::welcome::Reply;
use crate::protocol::welcome::Welcome;
use crate::protocol::welcome::Who;
use crate::protocol::xml::check;
use crate::protocol::xml::check::Kind;
use crate::protocol::xml::check::Limits;
use crate::protocol::xml::element::Element;
use crate::session::end::End;
use crate::session::relay::Ahead;
use crate::session::relay::Relay;
use crate::session::relay::farewell;
use crate::session::websocket::Entry;
use crate::session::websocket::FAREWELL;
use crate::upstream;

/// Where the browser stands until it is signed in.
pub(super) struct Hall {
    browser: Browser,
    reader: Reader,
    opened: Opened,
    /// Read and not yet taken.
    incoming: Vec<u8>,
    /// Written and not yet sent.
    out: Vec<u8>,
    limits: Limits,
}

/// Whether the stream to the browser is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    Not,
    Once,
}

impl Hall {
    /// A browser that has said nothing but what was `incoming` with its upgrade, and may say `limit` bytes at once, in
    /// elements within `limits`.
    pub(super) fn new(browser: Browser, incoming: Vec<u8>, limit: usize, limits: Limits) -> Self {
        Self {
            browser,
            reader: Reader::new(limit),
            opened: Opened::Not,
            incoming,
            out: Vec::new(),
            limits,
        }
    }

    /// Answers the browser's login (RFC 7395 §3.4, RFC 6120 §6), up to the features behind it; it may fail so often.
    pub(super) async fn welcome(
        &mut self,
        entry: &mut Entry,
        failures: NonZeroU8,
    ) -> Result<(), End> {
        let (who, domain) = match &*entry {
            Entry::Admitted { who, domain, .. } => (who.clone(), domain.clone()),
            Entry::Denied { domain } => (Who::Nobody, domain.clone()),
            Entry::Unavailable { domain } => {
                self.open(domain).await?;
                return Err(End::Unavailable);
            }
        };
        self.open(&domain).await?;
        let mut welcome = Welcome::new(who, failures);
        framing::write_text(&welcome.features(), &mut self.out);
        loop {
            let text = self.next_message().await?;
            let element = check::check(&text, &self.limits)
                .and_then(|_| Element::parse(&text))
                .map_err(|error| End::BadStream(StreamError::Xml(error)))?;
            match welcome.receive(&element) {
                Reply::Success => break,
                Reply::Failure(failure) => {
                    framing::write_text(failure.to_xml().as_bytes(), &mut self.out);
                }
                Reply::End(error) => return Err(End::BadStream(error)),
            }
        }
        framing::write_text(welcome::success().as_bytes(), &mut self.out);
        self.open(&domain).await?;
        if let Entry::Admitted { stream, resumable, .. } = entry {
            still_there(stream).await?;
            framing::write_text(
                &welcome::established_features(&stream.features, resumable.by(welcome.named())),
                &mut self.out,
            );
        }
        self.flush().await
    }

    /// Awaits `<open/>` and answers it; whatever domain it names, the edge has chosen.
    async fn open(&mut self, domain: &Domain) -> Result<(), End> {
        let text = self.next_message().await?;
        let opened = check::check(&text, &self.limits);
        // RFC 7395 §3.4: an error before the stream is open still needs an open stream.
        framing::write_open(domain.as_str(), &stream_id(), &mut self.out);
        self.opened = Opened::Once;
        match opened {
            Ok(root) if root.kind == Kind::Open => Ok(()),
            Ok(_) => Err(End::BadStream(StreamError::BadFormat)),
            Err(error) => Err(End::BadStream(StreamError::Xml(error))),
        }
    }

    /// The next text message; pings are answered and `<close/>` is an end on the way.
    async fn next_message(&mut self) -> Result<Vec<u8>, End> {
        loop {
            if let Some(text) = self.take_message()? {
                let root = check::check(&text, &self.limits);
                return if root.is_ok_and(|root| root.kind == Kind::Close) {
                    Err(End::BrowserClosed)
                } else {
                    Ok(text)
                };
            }
            self.flush().await?;
            self.incoming.reserve(READ);
            let read = self.browser.read_buf(&mut self.incoming).await;
            if read.map_err(|_| End::BrowserGone)? == 0 {
                return Err(End::BrowserGone);
            }
        }
    }

    /// The next whole text message of what has been read.
    fn take_message(&mut self) -> Result<Option<Vec<u8>>, End> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut rest = incoming.as_mut_slice();
        let mut message = None;
        while let Some(frame) = self.reader.next(&mut rest).map_err(End::BadFrame)? {
            match frame {
                Frame::Text(text) => {
                    message = Some(text.to_vec());
                    break;
                }
                Frame::Ping(payload) => frame::write_pong(payload, &mut self.out),
                Frame::Pong => {}
                Frame::Close(_) => return Err(End::BrowserLeft),
            }
        }
        self.incoming = rest.to_vec();
        Ok(message)
    }

    /// Cancel safe: what is not sent yet stays, so that a frame is never cut in two.
    async fn flush(&mut self) -> Result<(), End> {
        while !self.out.is_empty() {
            let sent = self.browser.write(&self.out).await.map_err(|_| End::BrowserGone)?;
            self.out.drain(..sent);
        }
        self.browser.flush().await.map_err(|_| End::BrowserGone)
    }

    /// Joins the browser with its stream.
    pub(super) fn into_relay(self, stream: upstream::login::Stream) -> Relay {
        let upstream::login::Stream { socket, splitter, rest, .. } = stream;
        let ahead = Ahead { browser: self.incoming, upstream: rest };
        Relay::new((self.browser, self.reader), (socket, splitter), self.limits, ahead)
    }

    /// Ends a connection that did not get as far as the relay.
    pub(super) async fn end(mut self, end: &End, domain: &Domain) {
        match end {
            End::BadStream(error) => self.end_stream(*error, domain),
            End::Revoked => self.end_stream(StreamError::PolicyViolation, domain),
            End::Unavailable
            | End::ShutDown
            | End::UpstreamLost
            | End::UpstreamClosed
            | End::UpstreamError(..)
            | End::BadUpstream(_) => {
                self.end_stream(StreamError::SystemShutdown, domain);
            }
            End::BrowserClosed => framing::write_close(&mut self.out),
            End::BadFrame(error) => framing::write_frame_error(*error, &mut self.out),
            End::BrowserGone => return,
            End::BrowserLeft | End::BrowserSilent => {
                frame::write_close(frame::NORMAL, &mut self.out);
            }
        }
        timeout(FAREWELL, farewell(&mut self.browser, &self.out)).await.ok();
    }

    /// A stream error is told on an open stream (RFC 7395 §3.4).
    fn end_stream(&mut self, error: StreamError, domain: &Domain) {
        if self.opened == Opened::Not {
            framing::write_open(domain.as_str(), &stream_id(), &mut self.out);
        }
        framing::write_stream_error(error, &mut self.out);
    }
}

/// Whether upstream is still there after the browser's login: once a browser has seen the features behind it, a stream that
/// is lost before it is bound signs it out for good.
async fn still_there(upstream: &mut upstream::login::Stream) -> Result<(), End> {
    let mut read = [0; 2048];
    let mut read = ReadBuf::new(&mut read);
    // Reads rather than peeks: what TLS holds is no word of the server, and its farewell is one.
    let socket = &mut upstream.socket;
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *socket).poll_read(cx, &mut read))).await;
    match polled {
        Poll::Pending => Ok(()),
        Poll::Ready(Ok(())) if !read.filled().is_empty() => {
            upstream.rest.extend_from_slice(read.filled());
            Ok(())
        }
        Poll::Ready(Ok(()) | Err(_)) => Err(End::UpstreamLost),
    }
}

/// Room for what one read takes of a browser, in bytes.
const READ: usize = 4096;

/// Names a stream (RFC 6120 §4.7.3); it is no secret.
fn stream_id() -> String {
    let mut id = [0; 8];
    // Without randomness the id is still one; nothing rests on it.
    let _ = aws_lc_rs::rand::fill(&mut id);
    format!("{:016x}", u64::from_be_bytes(id))
}

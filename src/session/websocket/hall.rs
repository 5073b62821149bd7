//! The hall of a WebSocket: the visitor is signed in upstream and the browser here, up to the features behind it.

pub(super) mod again;
mod leaving;
mod threshold;

use std::future::Future;
use std::future::pending;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::browser::Browser;
use crate::protocol::jid::Domain;
use crate::protocol::login::Goal;
use crate::protocol::stream_error::StreamError;
use crate::protocol::websocket::frame;
use crate::protocol::websocket::frame::Frame;
use crate::protocol::websocket::frame::Reader;
use crate::protocol::websocket::framing;
use crate::protocol::welcome;
use crate::protocol::welcome::Manager;
use crate::protocol::welcome::Reply;
use crate::protocol::welcome::Welcome;
use crate::protocol::welcome::Who;
use crate::protocol::xml::check;
use crate::protocol::xml::check::Kind;
use crate::protocol::xml::check::Limits;
use crate::protocol::xml::element::Element;
use crate::scratch::read_more;
use crate::session::end::End;
use crate::session::relay::managed::Managed;
use crate::session::roll::Stay;
use crate::session::websocket::Entry;
use crate::session::websocket::Settings;
use crate::upstream;
use crate::upstream::gate::Gate;

/// Where the browser stands until it is signed in.
pub(super) struct Hall {
    browser: Browser,
    reader: Reader,
    opened: Opened,
    /// Whether `<open/>` and the features are sent before the browser asks for them.
    early: bool,
    /// Whether an `<open/>` of the browser's has been answered and has still to come.
    owed: bool,
    /// Read and not yet taken.
    incoming: Vec<u8>,
    /// Written and not yet sent.
    out: Vec<u8>,
    /// Checked for the server behind the login, and not yet sent there.
    said: Vec<u8>,
    managed: Managed,
    limits: Limits,
    patience: Duration,
}

/// What stands behind the browser's login.
pub(super) enum Behind {
    /// A stream that the server manages, or nobody.
    Server(Box<upstream::login::Stream>),
    /// Streams that the edge manages; none, where the browser has first to say which one.
    Edge(Option<Box<upstream::login::Stream>>),
}

/// Whether the stream to the browser is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    Not,
    Once,
}

impl Hall {
    /// A browser that has said nothing but what was `incoming` with its upgrade, which may have agreed on compression. It speaks in elements within `limits`, and may
    /// take so long to open its stream, then to log in, and then to say a word.
    pub(super) fn new(
        browser: Browser,
        (incoming, deflates): (Vec<u8>, bool),
        limits: Limits,
        settings: &Settings,
    ) -> Self {
        let limit = usize::try_from(settings.stanza.as_u64()).unwrap_or(usize::MAX);
        Self {
            browser,
            reader: Reader::new(limit).deflating(deflates),
            opened: Opened::Not,
            early: settings.early,
            owed: false,
            incoming,
            out: Vec::new(),
            said: Vec::new(),
            managed: Managed::No,
            limits,
            patience: settings.login,
        }
    }

    /// Signs the visitor in upstream, and answers the browser's own login (RFC 7395 §3.4, RFC 6120 §6) up to the features
    /// behind it.
    ///
    /// Who may come back to a stream that the edge keeps is not signed in yet, where it is known what his server would offer.
    pub(super) async fn welcome(
        &mut self,
        entry: &Entry,
        gate: &Gate,
        (stay, keeps): (&Stay, bool),
    ) -> Result<Behind, End> {
        let failures = stay.failed_sign_ins();
        let (target, until, who, resumable) = match entry {
            Entry::Known { target, until, who, resumable } => (target, *until, who, *resumable),
            Entry::Denied { domain } => {
                self.open_in_time(domain).await?;
                let mut welcome = Welcome::new(Who::Nobody, failures);
                return self.log_in(&mut welcome, domain).await.and(Err(End::Unavailable));
            }
            Entry::Unavailable { domain } => {
                self.open_in_time(domain).await?;
                return Err(End::Unavailable);
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        let sign_in = gate.sign_in(target, &Goal::Features, left);
        let mut welcome = Welcome::new(who.clone(), failures);
        let known = stay.may_come_back().then(|| gate.features_of(&target.domain)).flatten();
        if let Some(known) = known {
            self.open_in_time(&target.domain).await?;
            self.log_in(&mut welcome, &target.domain).await?;
            let manager = Manager::of(&known, (resumable, welcome.named()), keeps);
            if manager == Manager::Edge {
                self.show(&known, manager).await?;
                return Ok(Behind::Edge(None));
            }
            let signed_in = self.meanwhile(sign_in).await?;
            let stream = signed_in.map(Box::new).map_err(|_| End::Unavailable)?;
            self.show(&stream.features, manager).await?;
            return Ok(Behind::Server(stream));
        }
        let mut stream = self.open_meanwhile(&target.domain, sign_in).await?;
        self.log_in(&mut welcome, &target.domain).await?;
        still_there(&mut stream).await?;
        let manager = Manager::of(&stream.features, (resumable, welcome.named()), keeps);
        self.show(&stream.features, manager).await?;
        Ok(if manager == Manager::Edge {
            gate.note_features(&target.domain, &stream.features);
            Behind::Edge(Some(stream))
        } else {
            Behind::Server(stream)
        })
    }

    async fn show(&mut self, features: &Element, manager: Manager) -> Result<(), End> {
        let features = welcome::established_features(features, manager);
        framing::write_text(&features, &mut self.out);
        self.flush().await
    }

    /// Opens the browser's stream while its visitor is signed in, so that neither waits for the other; ends with the browser.
    ///
    /// The stream may be open while the sign-in fails, but no features are shown before it is done.
    async fn open_meanwhile(
        &mut self,
        domain: &Domain,
        sign_in: impl Future<Output = Result<upstream::login::Stream, upstream::login::Error>>,
    ) -> Result<Box<upstream::login::Stream>, End> {
        let mut sign_in = pin!(sign_in);
        let early = {
            let mut opening = pin!(self.open_in_time(domain));
            tokio::select! {
                biased;
                opened = &mut opening => {
                    opened?;
                    None
                }
                signed_in = &mut sign_in => {
                    opening.await?;
                    Some(signed_in)
                }
            }
        };
        let signed_in = if let Some(signed_in) = early {
            signed_in
        } else {
            self.flush().await?;
            tokio::select! {
                biased;
                () = self.gone() => return Err(End::BrowserGone),
                signed_in = &mut sign_in => signed_in,
            }
        };
        // The gate has told the log, once for all of an outage.
        signed_in.map(Box::new).map_err(|_| End::Unavailable)
    }

    /// Ends when the browser goes; what it says is kept for later, up to a bound.
    async fn gone(&mut self) {
        while self.incoming.len() < READ {
            if read_more(&mut self.browser, &mut self.incoming).await.unwrap_or(0) == 0 {
                return;
            }
        }
        pending::<()>().await;
    }

    /// Shows what there is to sign in with, and answers until it is done and the stream opened anew.
    async fn log_in(&mut self, welcome: &mut Welcome, domain: &Domain) -> Result<(), End> {
        framing::write_text(&welcome.features(), &mut self.out);
        let patience = self.patience;
        let answering = async {
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
            self.open(domain).await
        };
        in_time(patience, answering).await
    }

    async fn open_in_time(&mut self, domain: &Domain) -> Result<(), End> {
        in_time(self.patience, self.open(domain)).await
    }

    /// Awaits `<open/>` and answers it, or answers it before it has come; whatever domain it names, the edge has chosen.
    async fn open(&mut self, domain: &Domain) -> Result<(), End> {
        if self.early {
            // Of one that has not come it is not known what it says, only that nothing else may come.
            self.owed = true;
            self.answer_open(domain);
            return Ok(());
        }
        let text = self.next_message().await?;
        // RFC 7395 §3.4: an error before the stream is open still needs an open stream.
        self.answer_open(domain);
        self.expect_open(&text)
    }

    fn answer_open(&mut self, domain: &Domain) {
        framing::write_open(domain.as_str(), &stream_id(), &mut self.out);
        self.opened = Opened::Once;
    }

    fn expect_open(&self, text: &[u8]) -> Result<(), End> {
        framing::open(text, &self.limits).map_err(End::BadStream)
    }

    /// The next text message but an `<open/>` that has been answered; pings are answered and `<close/>` is an end on the way.
    async fn next_message(&mut self) -> Result<Vec<u8>, End> {
        loop {
            if let Some(text) = self.take_message()? {
                let root = check::check(&text, &self.limits);
                if root.is_ok_and(|root| root.kind == Kind::Close) {
                    return Err(End::BrowserClosed);
                }
                if !std::mem::take(&mut self.owed) {
                    return Ok(text);
                }
                self.expect_open(&text)?;
                continue;
            }
            self.flush().await?;
            let read = read_more(&mut self.browser, &mut self.incoming).await;
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
}

async fn in_time<T>(
    patience: Duration,
    asked: impl Future<Output = Result<T, End>>,
) -> Result<T, End> {
    let late = |_| Err(End::BadStream(StreamError::ConnectionTimeout));
    timeout(patience, asked).await.unwrap_or_else(late)
}

/// Whether upstream is still there after the browser's login: once a browser has seen the features behind it, a stream that
/// is lost before it is bound signs it out for good.
async fn still_there(upstream: &mut upstream::login::Stream) -> Result<(), End> {
    // Reads rather than peeks: what TLS holds is no word of the server, and its farewell is one.
    let upstream::login::Stream { socket, rest, .. } = upstream;
    let mut reading = pin!(read_more(socket, rest));
    let polled = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
    match polled {
        Poll::Pending | Poll::Ready(Ok(1..)) => Ok(()),
        Poll::Ready(Ok(0) | Err(_)) => Err(End::UpstreamLost),
    }
}

/// How much may be said before it is asked for, in bytes; then no more is read.
const READ: usize = 4096;

/// Names a stream (RFC 6120 §4.7.3); it is no secret.
fn stream_id() -> String {
    let mut id = [0; 8];
    // Without randomness the id is still one; nothing rests on it.
    let _ = aws_lc_rs::rand::fill(&mut id);
    format!("{:016x}", u64::from_be_bytes(id))
}

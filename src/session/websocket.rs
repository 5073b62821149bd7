//! A WebSocket session from the 101 on: the browser's login is answered here, then the relay begins.

use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use serde::Deserialize;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::browser::Browser;
use crate::browser::Place;
use crate::metrics::Direction;
use crate::metrics::Metrics;
use crate::metrics::Transport;
use crate::protocol::jid::Domain;
use crate::protocol::stream_error::StreamError;
use crate::protocol::websocket::frame;
use crate::protocol::websocket::frame::Frame;
use crate::protocol::websocket::frame::Reader;
use crate::protocol::websocket::framing;
use crate::protocol::welcome;
use crate::protocol::welcome::Reply;
use crate::protocol::welcome::Resumable;
use crate::protocol::welcome::Welcome;
use crate::protocol::welcome::Who;
use crate::protocol::xml::check;
use crate::protocol::xml::check::Kind;
use crate::protocol::xml::check::Limits;
use crate::protocol::xml::element::Element;
use crate::session::Subject;
use crate::session::end::End;
use crate::session::relay::Ahead;
use crate::session::relay::Heard;
use crate::session::relay::Relay;
use crate::session::relay::farewell;
use crate::session::roll::Stay;
use crate::upstream;

/// `[websocket]` of proxy.toml.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A browser that has not said a word between two beats of this clock is pinged, and taken for gone if the next beat
    /// finds it silent still: so a silence of once to twice this is broken, and one of three times this ends the session.
    #[serde(with = "humantime_serde")]
    pub ping: Duration,
    /// How long the browser's own login may take, from the 101 to the features behind SASL.
    #[serde(with = "humantime_serde")]
    pub login: Duration,
    /// The largest stanza that is taken from a browser; a larger one ends the connection with close code 1009.
    pub stanza: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(25),
            login: Duration::from_secs(30),
            stanza: ByteSize::kib(256),
        }
    }
}

/// A browser whose upgrade has been answered.
#[derive(Debug)]
pub struct Arrival {
    /// Its connection.
    pub browser: Browser,
    /// What was read from it behind the upgrade request.
    pub read_ahead: Bytes,
    /// Its place among the connections that are allowed, held to the end.
    pub place: Option<Place>,
    /// What has become of its visitor.
    pub entry: Entry,
    /// What the log says of the session.
    pub subject: Subject,
    /// The visitor's place among those who are here.
    pub stay: Stay,
}

/// What has become of the visitor before the 101.
#[derive(Debug)]
pub enum Entry {
    /// Signed in upstream.
    Admitted {
        /// The stream behind SASL.
        stream: Box<upstream::login::Stream>,
        /// Whom the browser signs in as.
        who: Who,
        /// The domain that the edge has chosen.
        domain: Domain,
        /// Whether the server's XEP-0198 is of use to the browser.
        resumable: Resumable,
    },
    /// The site lets no guests in: told in SASL, because on any other status than 101 Converse knocks for ever.
    Denied {
        /// The domain of the site's members.
        domain: Domain,
    },
    /// Upstream or the site does not answer: told as `system-shutdown`, on which browsers come back.
    Unavailable {
        /// The domain that the stream claims to be of.
        domain: Domain,
    },
}

/// Runs a session to its end.
///
/// The relay is spawned on `tasks` as a future of its own, so that an idle session is not as large as its login.
pub async fn run(
    arrival: Arrival,
    settings: Arc<Settings>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let Arrival { browser, read_ahead, place, mut entry, subject, stay } = arrival;
    let _watch = stay.metrics().watch();
    let counted = stay.metrics().session(stay.kind(), Transport::WebSocket);
    let limit = usize::try_from(settings.stanza.as_u64()).unwrap_or(usize::MAX);
    let mut hall = Hall {
        browser,
        reader: Reader::new(limit),
        opened: Opened::Not,
        incoming: read_ahead.to_vec(),
        out: Vec::new(),
        limits: Limits::default(),
    };
    let login = async {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(End::ShutDown),
            () = stay.revoked().cancelled() => Err(End::Revoked),
            login = timeout(settings.login, hall.welcome(&mut entry)) => {
                login.unwrap_or(Err(End::BadStream(StreamError::ConnectionTimeout)))
            }
        }
    };
    match (login.await, entry) {
        (Ok(()), Entry::Admitted { stream, .. }) => {
            let relay = hall.into_relay(*stream);
            let task = established(relay, settings.ping, Box::new((subject, stay)), shutdown);
            tasks.spawn(async move {
                task.await;
                drop((place, counted));
            });
        }
        // The welcome of who is not admitted never ends well.
        (Ok(()), Entry::Denied { .. } | Entry::Unavailable { .. }) => {}
        (Err(end), entry) => {
            hall.end(&end, entry.domain()).await;
            if let Some(bound) = end.bound() {
                stay.metrics().reached(bound);
            }
            subject.report("websocket", &end);
        }
    }
}

/// The whole life of an established session; ends with either side, by silence, or with the edge.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn would hold its arguments twice, for as long as the session lives"
)]
fn established(
    mut relay: Relay,
    ping: Duration,
    who: Box<(Subject, Stay)>,
    shutdown: CancellationToken,
) -> impl Future<Output = ()> + Send {
    async move {
        let (subject, stay) = &*who;
        let _watch = stay.metrics().watch();
        let end = carry(&mut relay, ping, stay, &shutdown).await;
        // In a box, because it is as large as the rest and seldom there.
        Box::pin(async { timeout(FAREWELL, relay.finish(&end)).await }).await.ok();
        tell(&mut relay, stay.metrics());
        if let Some(bound) = end.bound() {
            stay.metrics().reached(bound);
        }
        subject.report("websocket", &end);
    }
}

async fn carry(
    relay: &mut Relay,
    ping: Duration,
    stay: &Stay,
    shutdown: &CancellationToken,
) -> End {
    let mut silence = pin!(sleep(ping));
    let mut asked = false;
    loop {
        tokio::select! {
            biased;
            end = poll_fn(|cx| relay.poll_carry(cx)) => return end,
            () = silence.as_mut() => match relay.take_heard() {
                Heard::Yes => asked = false,
                Heard::No if asked => return End::BrowserSilent,
                Heard::No => {
                    relay.ping();
                    asked = true;
                }
            },
            () = stay.revoked().cancelled() => return End::Revoked,
            () = shutdown.cancelled() => return End::ShutDown,
        }
        tell(relay, stay.metrics());
        silence.as_mut().reset(Instant::now() + ping);
    }
}

/// Counts what was carried since this was last called.
fn tell(relay: &mut Relay, metrics: &Metrics) {
    let carried = relay.take_carried();
    metrics.carried(Transport::WebSocket, Direction::Up, carried.up);
    metrics.carried(Transport::WebSocket, Direction::Down, carried.down);
}

/// Where the browser stands until it is signed in.
struct Hall {
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

impl Entry {
    fn domain(&self) -> &Domain {
        match self {
            Self::Admitted { domain, .. }
            | Self::Denied { domain }
            | Self::Unavailable { domain } => domain,
        }
    }
}

impl Hall {
    /// Answers the browser's login (RFC 7395 §3.4, RFC 6120 §6), up to the features behind it.
    async fn welcome(&mut self, entry: &mut Entry) -> Result<(), End> {
        let (who, domain) = match &*entry {
            Entry::Admitted { who, domain, .. } => (who.clone(), domain.clone()),
            Entry::Denied { domain } => (Who::Nobody, domain.clone()),
            Entry::Unavailable { domain } => {
                self.open(domain).await?;
                return Err(End::Unavailable);
            }
        };
        self.open(&domain).await?;
        let mut welcome = Welcome::new(who);
        framing::write_text(&welcome.features(), &mut self.out);
        loop {
            let text = self.next_message().await?;
            let element =
                Element::parse(&text).map_err(|error| End::BadStream(StreamError::Xml(error)))?;
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
            let mut read = [0; 4096];
            let length = self.browser.read(&mut read).await.map_err(|_| End::BrowserLeft)?;
            if length == 0 {
                return Err(End::BrowserLeft);
            }
            self.incoming.extend_from_slice(read.get(..length).unwrap_or_default());
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
            let sent = self.browser.write(&self.out).await.map_err(|_| End::BrowserLeft)?;
            self.out.drain(..sent);
        }
        self.browser.flush().await.map_err(|_| End::BrowserLeft)
    }

    /// Joins the browser with its stream.
    fn into_relay(self, stream: upstream::login::Stream) -> Relay {
        let upstream::login::Stream { socket, splitter, rest, .. } = stream;
        let ahead = Ahead { browser: self.incoming, upstream: rest };
        Relay::new((self.browser, self.reader), (socket, splitter), self.limits, ahead)
    }

    /// Ends a connection that did not get as far as the relay.
    async fn end(mut self, end: &End, domain: &Domain) {
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

/// Names a stream (RFC 6120 §4.7.3); it is no secret.
fn stream_id() -> String {
    let mut id = [0; 8];
    // Without randomness the id is still one; nothing rests on it.
    let _ = aws_lc_rs::rand::fill(&mut id);
    format!("{:016x}", u64::from_be_bytes(id))
}

/// How long the last words may take to go out.
const FAREWELL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use super::*;
    use crate::address::Addresses;
    use crate::browser::Line;
    use crate::browser::Patience;
    use crate::protocol::xml::splitter::Splitter;
    use crate::session::roll;
    use crate::session::roll::Roll;
    use crate::upstream::stream::Socket;
    use crate::visitor::guest;

    async fn connected() -> TcpStream {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn an_idle_session_is_a_task_of_less_than_a_kibibyte() {
        let ahead = Ahead { browser: Vec::new(), upstream: Vec::new() };
        let patience = Arc::new(Patience::new(Duration::from_secs(1), Arc::default()));
        let browser = Browser::new(Line::Tcp(connected().await), patience);
        let browser = (browser, Reader::new(1000));
        let upstream = (Socket::Tcp(connected().await), Splitter::new(1000));
        let relay = Relay::new(browser, upstream, Limits::default(), ahead);
        let address = Addresses::Full.logged(Ipv4Addr::LOCALHOST.into());
        let subject = Subject { site: String::new(), visitor: String::new(), address };
        let (guests, metrics) = (guest::Settings::default(), Arc::default());
        let roll = Arc::new(Roll::new(&roll::Settings::default(), &guests, metrics));
        let who = Box::new((subject, roll.unknown()));

        let task = established(relay, Duration::from_secs(1), who, CancellationToken::new());

        let bytes = size_of_val(&task);
        assert!(bytes < 1024, "{bytes} bytes");
    }
}

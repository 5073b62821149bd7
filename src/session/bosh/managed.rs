//! A session's stream with upstream under XEP-0198: what is counted, and how it goes on when its connection breaks.

use std::fmt;
use std::future::pending;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;

use crate::metrics::label::Resume;
use crate::protocol::bind;
use crate::protocol::login::Goal;
use crate::protocol::namespace;
use crate::protocol::stream_management;
use crate::protocol::stream_management::client::Arrival;
use crate::protocol::stream_management::client::Client;
use crate::protocol::stream_management::client::Heard;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Cut;
use crate::session::stream_management::Settings;
use crate::upstream::gate::Gate;
use crate::upstream::login::Error;
use crate::upstream::login::Stream;
use crate::upstream::login::Target;

/// What it takes to manage streams: the same for all sessions.
#[derive(Debug)]
pub struct Management {
    /// The bounds.
    pub settings: Settings,
    /// The way back to the servers.
    pub gate: Arc<Gate>,
}

/// The stream of one session that upstream manages, or would.
pub(super) struct Managed {
    management: Arc<Management>,
    /// Where it goes on.
    target: Target,
    /// None before the browser has bound.
    client: Option<Client>,
    /// What goes upstream before all else.
    pending: Vec<u8>,
    /// When something was sent last: what is the first for a while is asked for at once, and the last a while after.
    sent: Option<Instant>,
    /// When it last went on.
    resumed: Option<Instant>,
    resuming: Option<Resuming>,
    /// Whether upstream has been told that it cannot count, which is the end.
    at_fault: bool,
}

/// Another connection on its way.
type Resuming = Pin<Box<dyn Future<Output = Result<Box<Stream>, Resume>> + Send>>;

/// What becomes of what is to go upstream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is written now, with what goes with it.
    Now(Vec<u8>),
    /// It waits here for another connection.
    Waits,
}

impl Managed {
    /// A stream that upstream offers to manage, of whoever signs in at `target`.
    ///
    /// None where it does not, or where it may not.
    pub(super) fn offered(
        stream: &Stream,
        target: Target,
        management: &Arc<Management>,
    ) -> Option<Box<Self>> {
        let is_offered = stream.features.child("sm", namespace::STREAM_MANAGEMENT).is_some();
        (is_offered && management.settings.bosh).then(|| {
            Box::new(Self {
                management: management.clone(),
                target,
                client: None,
                pending: Vec::new(),
                sent: None,
                resumed: None,
                resuming: None,
                at_fault: false,
            })
        })
    }

    /// Asks upstream to manage it, which is due as soon as a resource is bound.
    pub(super) fn enable(&mut self) {
        let limits = self.management.settings.limits();
        self.client = Some(Client::enable(limits, &mut self.pending));
    }

    /// Looks at what came from upstream before anything is made of it.
    ///
    /// # Errors
    /// Where upstream's counting makes the stream useless.
    pub(super) fn see(&mut self, cut: &Cut<'_>) -> Result<Seen, stream_management::Error> {
        let Some(client) = &mut self.client else {
            if bind::given(cut).is_some() {
                self.enable();
            }
            return Ok(Seen::ForBrowser);
        };
        if cut.is_stanza() {
            return Ok(match client.arrived() {
                Arrival::New => Seen::ForBrowser,
                Arrival::Repeated => Seen::Taken,
            });
        }
        if !cut.has_namespace || !NAMES.contains(&cut.name()) {
            return Ok(Seen::ForBrowser);
        }
        match Element::parse(cut.bytes) {
            Ok(element) if element.namespace() == Some(namespace::STREAM_MANAGEMENT) => {
                let heard = client.receive(&element, Instant::now().into_std())?;
                Ok(if heard == Heard::Refused { Seen::Refused } else { Seen::Taken })
            }
            Ok(_) | Err(_) => Ok(Seen::ForBrowser),
        }
    }

    /// Elements with so many stanzas are to go upstream; of what came from there, all but the last `undelivered` have reached
    /// the browser.
    pub(super) fn send(&mut self, elements: &[u8], stanzas: u32, undelivered: u32) -> Way {
        let was_quiet = self.sent.is_none_or(|sent| sent.elapsed() > QUIET);
        self.sent = Some(Instant::now());
        if let Some(client) = &mut self.client {
            client.sent(elements, stanzas);
            // Should the stream be lost, little is in doubt.
            if was_quiet {
                client.ask();
            }
        }
        if self.resuming.is_some() {
            return Way::Waits;
        }
        let mut all = mem::take(&mut self.pending);
        all.extend_from_slice(elements);
        self.write_due(undelivered, &mut all);
        Way::Now(all)
    }

    /// What is to be said to upstream by itself.
    pub(super) fn due(&mut self, undelivered: u32) -> Vec<u8> {
        if self.resuming.is_some() {
            return Vec::new();
        }
        let mut all = mem::take(&mut self.pending);
        self.write_due(undelivered, &mut all);
        all
    }

    /// The browser was heard: if nothing has been sent for a while, upstream is asked whether all has arrived, because an idle
    /// session should hold nothing.
    pub(super) fn browser_was_heard(&mut self) {
        let is_quiet = self.sent.is_some_and(|sent| sent.elapsed() > QUIET);
        if let Some(client) = self.client.as_mut().filter(|_| is_quiet) {
            client.ask();
        }
    }

    /// Whether so much waits for upstream's acknowledgement that the browser has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.client.as_ref().is_some_and(Client::is_full)
    }

    /// When [`due`](Self::due) has something to say whatever happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.client.as_ref().and_then(Client::deadline).map(Instant::from_std)
    }

    /// The connection is gone: begins to make another one, where the stream can go on over it.
    pub(super) fn begin_resuming(&mut self) -> bool {
        let most = self.management.settings.resume;
        let max = self.client.as_ref().and_then(Client::resumable);
        let hold = max.map_or(Duration::ZERO, |max| max.map_or(most, |max| max.min(most)));
        if hold.is_zero() {
            return false;
        }
        let Some(resume) = self.client.as_mut().and_then(Client::resume) else { return false };
        // One that is closed as soon as it is made is not made again and again without a pause.
        let is_shaky = self.resumed.is_some_and(|resumed| resumed.elapsed() < SHAKY);
        let pause = if is_shaky { PAUSE } else { Duration::ZERO };
        let (management, target) = (self.management.clone(), self.target.clone());
        self.pending.clear();
        self.resuming = Some(Box::pin(connect(management, target, resume, (hold, pause))));
        true
    }

    /// Waits for the other connection that is on its way, if one is; cancel safe.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn connected(&mut self) -> Result<Box<Stream>, Resume> {
        let Some(resuming) = &mut self.resuming else { return pending().await };
        let connected = resuming.as_mut().await;
        self.resuming = None;
        connected
    }

    /// Whether another connection is on its way.
    pub(super) fn is_resuming(&self) -> bool {
        self.resuming.is_some()
    }

    /// Takes what upstream has said to the request to go on.
    ///
    /// # Errors
    /// Where its counting makes the stream useless.
    pub(super) fn resumed(&mut self, answer: &Element) -> Result<Heard, stream_management::Error> {
        self.resumed = Some(Instant::now());
        let Some(client) = &mut self.client else { return Ok(Heard::Refused) };
        let heard = client.receive(answer, Instant::now().into_std())?;
        if heard == Heard::Resumed {
            client.write_again(&mut self.pending);
        }
        Ok(heard)
    }

    /// What the browser has sent and upstream has not acknowledged: where the stream is over, nobody knows what became of it.
    pub(super) fn in_doubt(&self) -> Vec<u8> {
        let mut elements = Vec::new();
        if let Some(client) = &self.client {
            client.write_again(&mut elements);
        }
        elements
    }

    /// Upstream cannot count: it is told so, and no more.
    pub(super) fn accuse(&mut self, fault: &stream_management::Error) {
        self.pending = fault.to_xml().into_bytes();
        (self.client, self.at_fault) = (None, true);
    }

    /// Whether upstream is to be told nothing more.
    pub(super) fn is_at_fault(&self) -> bool {
        self.at_fault
    }

    /// What is still to be said to upstream before the stream ends in order, and how many of the last stanzas from there it
    /// sees to itself, because they were not acknowledged.
    pub(super) fn farewell(&mut self, undelivered: u32) -> (Vec<u8>, u32) {
        let mut all = mem::take(&mut self.pending);
        let Some(client) = self.client.as_mut().filter(|client| client.is_managed()) else {
            return (all, 0);
        };
        client.handled(undelivered);
        client.write_farewell(&mut all);
        (all, client.untold())
    }

    fn write_due(&mut self, undelivered: u32, out: &mut Vec<u8>) {
        if let Some(client) = &mut self.client {
            client.handled(undelivered);
            client.write_due(Instant::now().into_std(), out);
        }
    }
}

/// What became of an element of upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is for the browser.
    ForBrowser,
    /// It is not: it was about the stream, or has been here before.
    Taken,
    /// Upstream will not manage the stream.
    Refused,
}

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed").field("client", &self.client).finish_non_exhaustive()
    }
}

/// Signs in anew to resume a stream, within so much time, after a pause.
async fn connect(
    management: Arc<Management>,
    target: Target,
    resume: Vec<u8>,
    (hold, pause): (Duration, Duration),
) -> Result<Box<Stream>, Resume> {
    let (end, goal) = (Instant::now() + hold, Goal::Resume { resume });
    sleep(pause).await;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match management.gate.sign_in(&target, &goal, left).await {
            Ok(stream) => return Ok(Box::new(stream)),
            // Everybody's connection may have broken at once.
            Err(Error::Crowded(_)) if Instant::now() + PAUSE < end => sleep(PAUSE).await,
            Err(error) if error.is_final(&goal) => return Err(Resume::Refused),
            Err(_) => return Err(Resume::Late),
        }
    }
}

const NAMES: [&[u8]; 5] = [b"r", b"a", b"enabled", b"failed", b"resumed"];
/// Between two attempts to have a place at the gate, and before a connection that was just made is replaced.
const PAUSE: Duration = Duration::from_secs(1);
/// A connection that lasts no longer was never good.
const SHAKY: Duration = Duration::from_secs(5);
/// As long after the last stanza, upstream is asked what has arrived.
const QUIET: Duration = Duration::from_secs(10);

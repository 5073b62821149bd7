//! What the sessions do together: come, talk as fast as they are answered, talk at a pace, talk in a room, come back all at once.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use tokio::sync::Barrier;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout;

use crate::latency::Latencies;
use crate::latency::Summary;
use crate::session::Session;
use crate::session::Transport;
use crate::target::Target;
use crate::visitors::Visitors;

/// One phase of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Nobody says anything.
    Idle(Duration),
    /// Each session has `window` messages under way; whenever one is back, it sends the next.
    Messages {
        /// For so long.
        lasts: Duration,
        /// The bytes of one stanza.
        size: usize,
        /// How many are under way at a time.
        window: usize,
    },
    /// All sessions together send so many messages a second, whether or not they are answered. A latency counts from when
    /// the message was due, so that one who waits for a slow gateway is seen to have waited (coordinated omission).
    Paced {
        /// For so long.
        lasts: Duration,
        /// The bytes of one stanza.
        size: usize,
        /// Messages a second, of all sessions.
        rate: f64,
    },
    /// All are in one room, and so many messages a second are said there; each counts for each who hears it.
    Room {
        /// For so long.
        lasts: Duration,
        /// The bytes of one stanza.
        size: usize,
        /// Messages a second, of all sessions.
        rate: f64,
        /// The room's JID.
        room: String,
    },
    /// All sessions are cut off and come back at once.
    Storm,
}

impl Phase {
    /// Whether each message of it comes back to who sent it, and to nobody else.
    fn is_echoed(&self) -> bool {
        matches!(self, Self::Messages { .. } | Self::Paced { .. })
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text.split_once('=').unwrap_or((text, ""));
        let parts: Vec<&str> = rest.split(',').filter(|part| !part.is_empty()).collect();
        let lasts = || {
            let text =
                parts.first().ok_or_else(|| format!("{name} lasts for some time: {HELP}"))?;
            humantime::parse_duration(text).map_err(|error| format!("{text:?}: {error}"))
        };
        let number = |at: usize, default: &str| {
            let text = parts.get(at).copied().unwrap_or(default);
            let digits = text.trim_end_matches("/s").trim_end_matches('B').trim_start_matches('x');
            digits.parse::<u32>().map_err(|_| format!("{text:?} is no number: {HELP}"))
        };
        let size = || number(1, "200B").map(|size| size as usize);
        match name {
            "idle" => Ok(Self::Idle(lasts()?)),
            "messages" => Ok(Self::Messages {
                lasts: lasts()?,
                size: size()?,
                window: number(2, "x1")?.max(1) as usize,
            }),
            "paced" => Ok(Self::Paced {
                lasts: lasts()?,
                size: size()?,
                rate: f64::from(number(2, "100/s")?.max(1)),
            }),
            "room" => {
                let room = parts.get(3).ok_or_else(|| format!("a room has a JID: {HELP}"))?;
                let rate = f64::from(number(2, "1/s")?.max(1));
                Ok(Self::Room { lasts: lasts()?, size: size()?, rate, room: (*room).to_owned() })
            }
            "storm" => Ok(Self::Storm),
            other => Err(format!("{other:?} is no phase: {HELP}")),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(lasts) => write!(f, "idle for {lasts:?}"),
            Self::Messages { lasts, size, window } => {
                write!(f, "messages of {size} B for {lasts:?}, {window} under way in each session")
            }
            Self::Paced { lasts, size, rate } => {
                write!(f, "messages of {size} B for {lasts:?}, {rate} a second in all")
            }
            Self::Room { lasts, size, rate, room } => {
                write!(f, "messages of {size} B for {lasts:?} in {room}, {rate} a second in all")
            }
            Self::Storm => write!(f, "all sessions come back at once"),
        }
    }
}

const HELP: &str = "idle=10s, messages=10s,200B,x1, paced=10s,200B,2000/s, room=10s,200B,5/s,lobby@conference.example.org, or storm";

/// The sessions of a run, and how they are made.
pub struct Crowd {
    /// Where they go.
    pub target: Target,
    /// Who they are.
    pub visitors: Visitors,
    /// How they carry XMPP.
    pub transport: Transport,
    /// How many come at a time.
    pub at_once: usize,
    /// Those who are in.
    pub sessions: Vec<Session>,
    /// Told how many have done whatever the phase counts.
    pub progress: Arc<AtomicU64>,
}

/// What a phase came to.
pub struct Outcome {
    /// How long its messages, or sign-ins, took.
    pub latencies: Option<Summary>,
    /// How many messages were sent, where it is known how many are to come back: each once.
    pub sent: Option<u64>,
    /// How long it lasted.
    pub lasted: Duration,
    /// How many sessions were lost in it, and why the first was.
    pub lost: Option<(usize, String)>,
}

impl Crowd {
    /// Signs `number` visitors in, `at_once` at a time. Those who are in answer pings until the last one is.
    pub async fn connect(&mut self, number: usize, at_once: usize) -> Result<Outcome> {
        let begun = Instant::now();
        let latencies = Arc::new(Latencies::default());
        let turns = Arc::new(Semaphore::new(at_once));
        let mut tasks = JoinSet::new();
        let all = Arc::new(Barrier::new(number));
        let from = self.sessions.len();
        for number in from..from + number {
            let (target, visitors, transport) =
                (self.target.clone(), self.visitors.clone(), self.transport);
            let (turns, latencies, progress) =
                (Arc::clone(&turns), Arc::clone(&latencies), Arc::clone(&self.progress));
            let all = Arc::clone(&all);
            let coming = async move {
                let _turn = turns.acquire_owned().await?;
                let asked = Instant::now();
                let session =
                    timeout(PATIENCE, Session::begin(&target, &visitors, number, transport));
                let session = session.await.context("nobody answered for a minute")??;
                latencies.samples().add(asked.elapsed());
                progress.fetch_add(1, Ordering::Relaxed);
                Ok(session)
            };
            tasks.spawn(async move {
                let came = coming.await;
                // Who fails has come as well.
                let all = async {
                    all.wait().await;
                };
                match came {
                    Ok(session) => attend(session, all).await,
                    Err(error) => {
                        all.await;
                        Err(error)
                    }
                }
            });
        }
        let lost = self.gather(tasks).await?;
        let latencies = Some(latencies.summary());
        Ok(Outcome { latencies, sent: None, lasted: begun.elapsed(), lost })
    }

    /// Lets the sessions do this.
    pub async fn run(&mut self, phase: &Phase) -> Result<Outcome> {
        self.run_some(phase, self.sessions.len()).await
    }

    /// Lets so many of the sessions do this; the others keep still.
    pub async fn run_some(&mut self, phase: &Phase, number: usize) -> Result<Outcome> {
        self.progress.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        let (latencies, sent) = (Arc::new(Latencies::default()), Arc::new(AtomicU64::new(0)));
        let sessions: Vec<Session> =
            self.sessions.drain(..number.min(self.sessions.len())).collect();
        let number = sessions.len();
        let mut tasks = JoinSet::new();
        match phase {
            Phase::Storm => {
                drop(sessions);
                return self.connect(number, number).await;
            }
            Phase::Idle(lasts) => {
                for session in sessions {
                    tasks.spawn(attend(session, sleep_until(begun + *lasts)));
                }
            }
            Phase::Messages { lasts, size, window } => {
                for session in sessions {
                    let talk = Talk::new((&latencies, &sent), &self.progress, begun + *lasts);
                    tasks.spawn(talk.answered(session, *size, *window));
                }
            }
            Phase::Paced { lasts, size, rate } => {
                let pace = pace(number, *rate);
                for (place, session) in sessions.into_iter().enumerate() {
                    let first = begun + delay(pace, place, number);
                    let talk = Talk::new((&latencies, &sent), &self.progress, begun + *lasts);
                    let to = session.jid.clone();
                    tasks.spawn(talk.paced(
                        session,
                        Words { to, kind: "chat", size: *size },
                        first,
                        pace,
                    ));
                }
            }
            Phase::Room { lasts, size, rate, room } => {
                let pace = pace(number, *rate);
                for (place, mut session) in sessions.into_iter().enumerate() {
                    session.queue(&format!(
                        "<presence xmlns='jabber:client' to='{room}/load-{place}'><x xmlns='http://jabber.org/protocol/muc'>\
                         <history maxstanzas='0'/></x></presence>"
                    ));
                    session.flush().await?;
                    let first = begun + delay(pace, place, number);
                    let talk = Talk::new((&latencies, &sent), &self.progress, begun + *lasts);
                    let words = Words { to: room.clone(), kind: "groupchat", size: *size };
                    tasks.spawn(talk.paced(session, words, first, pace));
                }
            }
        }
        let lost = self.gather(tasks).await?;
        let latencies = latencies.summary();
        Ok(Outcome {
            latencies: (latencies.count > 0).then_some(latencies),
            sent: phase.is_echoed().then(|| sent.load(Ordering::Relaxed)),
            lasted: begun.elapsed(),
            lost,
        })
    }

    async fn gather(
        &mut self,
        mut tasks: JoinSet<Result<Session>>,
    ) -> Result<Option<(usize, String)>> {
        let (mut lost, mut why) = (0, None);
        while let Some(done) = tasks.join_next().await {
            match done? {
                Ok(session) => self.sessions.push(session),
                Err(error) => {
                    lost += 1;
                    why.get_or_insert(format!("{error:#}"));
                }
            }
        }
        Ok(why.map(|why| (lost, why)))
    }
}

/// Reads and answers what comes, until it is `over`.
async fn attend(mut session: Session, over: impl Future<Output = ()>) -> Result<Session> {
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return Ok(session),
            received = session.receive(|_| {}) => received?,
        }
        session.flush().await?;
    }
}

/// What one session says: stanzas of one size, whose `id` says when they were due.
struct Words {
    to: String,
    kind: &'static str,
    size: usize,
}

impl Words {
    fn stanza(&self, due: Duration) -> String {
        let (to, kind, id) = (&self.to, self.kind, due.as_nanos());
        let begin =
            format!("<message xmlns='jabber:client' to='{to}' type='{kind}' id='{id}'><body>");
        let end = "</body></message>";
        let body = self.size.saturating_sub(begin.len() + end.len()).max(1);
        format!("{begin}{}{end}", "x".repeat(body))
    }
}

/// One session's part in a phase of messages.
struct Talk {
    latencies: Arc<Latencies>,
    sent: Arc<AtomicU64>,
    progress: Arc<AtomicU64>,
    until: Instant,
    /// What `id`s count from.
    zero: Instant,
}

impl Talk {
    fn new(
        (latencies, sent): (&Arc<Latencies>, &Arc<AtomicU64>),
        progress: &Arc<AtomicU64>,
        until: Instant,
    ) -> Self {
        Self {
            latencies: Arc::clone(latencies),
            sent: Arc::clone(sent),
            progress: Arc::clone(progress),
            until,
            zero: *ZERO,
        }
    }

    async fn answered(self, mut session: Session, size: usize, window: usize) -> Result<Session> {
        let words = Words { to: session.jid.clone(), kind: "chat", size };
        let mut samples = self.latencies.samples();
        let mut sent = VecDeque::with_capacity(window);
        // Its `id` is its own, but its size stays: the latency is known by the order here.
        let stanza = words.stanza(Duration::from_secs(1_000_000));
        for _ in 0..window {
            session.queue(&stanza);
            sent.push_back(Instant::now());
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
        session.flush().await?;
        while !sent.is_empty() {
            let mut back = 0;
            timeout(PATIENCE, session.receive(|_| back += 1))
                .await
                .context("a message did not come back")??;
            let now = Instant::now();
            for _ in 0..back {
                let at = sent.pop_front().context("a message came back twice")?;
                samples.add(now.duration_since(at));
                if now < self.until {
                    session.queue(&stanza);
                    sent.push_back(now);
                    self.sent.fetch_add(1, Ordering::Relaxed);
                }
            }
            self.progress.fetch_add(back, Ordering::Relaxed);
            session.flush().await?;
        }
        drop(samples);
        Ok(session)
    }

    async fn paced(
        self,
        mut session: Session,
        words: Words,
        first: Instant,
        pace: Duration,
    ) -> Result<Session> {
        let mut samples = self.latencies.samples();
        let mut due = first;
        let mut away: u64 = 0;
        let direct = words.kind == "chat";
        // Since when it waits for nothing but the time. If that was before a message was due, the message is late because of
        // the generator's own timers and threads; else because the gateway took nothing, and that counts.
        let mut free = first;
        loop {
            let now = Instant::now();
            while due <= now && due < self.until {
                let from = if free <= due { now } else { due };
                session.queue(&words.stanza(from.duration_since(self.zero)));
                due += pace;
                away += 1;
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            session.flush().await?;
            free = Instant::now();
            let over = due >= self.until;
            if (now >= self.until && direct && away == 0) || now >= self.until + GRACE {
                break;
            }
            // Who has said its last word still answers pings: it is there to the end.
            let wake = match over {
                false => due,
                true if now < self.until => self.until,
                true => self.until + GRACE,
            };
            let mut back = 0;
            let received = tokio::select! {
                received = session.receive(|text| {
                    let took = id(text).map(|due| Instant::now().duration_since(self.zero).saturating_sub(due));
                    if let Some(took) = took {
                        samples.add(took);
                        back += 1;
                    }
                }) => Some(received),
                () = sleep_until(wake) => None,
            };
            if let Some(received) = received {
                received?;
            }
            self.progress.fetch_add(back, Ordering::Relaxed);
            away = away.saturating_sub(back);
        }
        if direct && away > 0 {
            bail!("{away} messages did not come back");
        }
        drop(samples);
        Ok(session)
    }
}

/// How long each of so many sessions waits between two messages, for all of them to send so many a second.
#[expect(clippy::cast_precision_loss, reason = "there are fewer sessions than would lose any")]
fn pace(number: usize, rate: f64) -> Duration {
    Duration::from_secs_f64(number as f64 / rate)
}

/// How long the session at this place waits before its first, so that they do not all send at once.
#[expect(clippy::cast_precision_loss, reason = "there are fewer sessions than would lose any")]
fn delay(gap: Duration, place: usize, number: usize) -> Duration {
    gap.mul_f64(place as f64 / number as f64)
}

/// When the message was due.
fn id(text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once(" id=")?;
    let digits = rest.get(1..)?.split(['\'', '"']).next()?;
    digits.parse().ok().map(Duration::from_nanos)
}

static ZERO: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

/// Nothing that is answered at all is answered later.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a phase waits for the last of its messages.
const GRACE: Duration = Duration::from_secs(5);

//! The BOSH sessions: how they begin, and how a request finds its own.

pub mod managed;
mod task;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::metrics::bound::Bound;
use crate::metrics::label::Transport;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::condition::Condition;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Opening;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::session::Session as Machine;
use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::window::Rid;
use crate::protocol::jid::Domain;
use crate::protocol::welcome;
use crate::protocol::welcome::Manager;
use crate::protocol::welcome::Welcome;
use crate::protocol::welcome::Who;
use crate::session::Subject;
use crate::session::bosh::managed::Managed;
use crate::session::bosh::managed::Management;
use crate::session::bosh::task::Login;
use crate::session::bosh::task::Task;
use crate::session::mailbox;
use crate::session::mailbox::Posts;
use crate::session::owner::Claim;
use crate::session::owner::Owner;
use crate::session::registry::Error;
use crate::session::registry::Found;
use crate::session::registry::Place;
use crate::session::registry::Registry;
use crate::session::registry::Sid;
use crate::session::roll::Stay;
use crate::share::Rates;
use crate::share::budget::Budget;
use crate::upstream::login::Stream;
use crate::upstream::login::Target;

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Post {
    /// In a box, because a mailbox has room for four from its first one on.
    body: Box<Body>,
    reply: oneshot::Sender<Answer>,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Answer {
    /// A body, and its type if that is not the usual one.
    Body(Bytes, Option<Arc<str>>),
    /// The status of HTTP that is for this condition.
    Refused(Condition),
}

/// The answer to a request that its session has; none where the session has ended.
///
/// Dropping it tells the session that the browser no longer waits.
#[derive(Debug)]
#[must_use = "dropped, it tells the session that nobody waits"]
pub struct Reply(oneshot::Receiver<Answer>);

impl Future for Reply {
    type Output = Option<Answer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Result::ok)
    }
}

/// Where requests of a session go.
pub type Mailbox = mailbox::Mailbox<Post>;

/// All BOSH sessions.
#[derive(Debug)]
pub struct Sessions {
    settings: Arc<Settings>,
    management: Arc<Management>,
    registry: Arc<Registry<Post>>,
    unknown_sids: Rates,
    bodies: Budget,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// A place for a session, taken before upstream is asked for a stream.
#[derive(Debug)]
pub struct Reserved {
    place: Place<Post>,
    posts: Posts<Post>,
    stay: Stay,
    wait: Option<Duration>,
}

/// What a browser that begins a session itself is let into.
#[derive(Debug)]
pub struct Hall {
    /// Whom the browser signs in as.
    pub who: Who,
    /// The domain that the edge has chosen.
    pub domain: Domain,
    /// The stream behind SASL; none for somebody who may not enter and is to be told so.
    pub stream: Option<Stream>,
    /// Where the stream can go on over another connection; none for somebody who would be somebody else then.
    pub target: Option<Target>,
}

impl Sessions {
    /// No sessions yet.
    ///
    /// Their tasks are spawned on `tasks` and end, at the latest, on `shutdown`.
    #[must_use]
    pub fn new(
        (settings, management): (Settings, Management),
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let registry = Arc::new(Registry::new(settings.sessions));
        let unknown_sids = Rates::new(settings.unknown_sids);
        let bodies = Budget::new(settings.bodies.as_u64());
        let management = Arc::new(management);
        Self {
            settings: Arc::new(settings),
            management,
            registry,
            unknown_sids,
            bodies,
            metrics,
            tasks,
            shutdown,
        }
    }

    /// Their settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is held of requests that are still arriving.
    #[must_use]
    pub fn bodies(&self) -> &Budget {
        &self.bodies
    }

    /// Whether there is room for one more, before anybody is signed in for it.
    ///
    /// # Errors
    /// When there is none.
    pub fn check_room(&self) -> Result<(), Error> {
        self.registry.check_room().inspect_err(|error| self.count(*error))
    }

    /// Takes a place for a session that `claim` begins, at a site where no request may be held for longer than `wait`.
    ///
    /// # Errors
    /// When there is no room.
    pub fn reserve(
        &self,
        claim: Claim,
        stay: Stay,
        wait: Option<Duration>,
    ) -> Result<Reserved, Error> {
        let owner = Owner::new(claim, Instant::now().into_std());
        let entered = self.registry.enter(owner, stay.bell().clone());
        let (place, posts) = entered.inspect_err(|error| self.count(*error))?;
        Ok(Reserved { place, posts, stay, wait })
    }

    /// Starts a session on a bound stream, which can go on at `target` over another connection; what the browser's first
    /// request must bear is handed back.
    ///
    /// # Errors
    /// [`Error::Random`]
    pub fn prebind(
        &self,
        reserved: Reserved,
        stream: Stream,
        target: Option<Target>,
        subject: Subject,
    ) -> Result<(Sid, Rid), Error> {
        let sid = reserved.place.sid().clone();
        let rid = first_rid()?;
        let machine =
            Machine::prebound(self.settings_of(&reserved), rid, Instant::now().into_std());
        let managed = self.managed(Some(&stream), target);
        self.spawn(Task::new(machine, reserved, Some(stream), None).managed(managed), subject);
        Ok((sid, rid))
    }

    /// Starts a session with the browser's first request, and answers that.
    ///
    /// None when the session ended before there was an answer.
    pub async fn begin(
        &self,
        reserved: Reserved,
        hall: Hall,
        body: Body,
        subject: Subject,
    ) -> Option<Answer> {
        let Hall { who, domain, stream, target } = hall;
        let welcome = Welcome::new(who, reserved.stay.failed_sign_ins());
        let mechanisms = welcome.features();
        let opening = Opening {
            sid: reserved.place.sid().as_str(),
            domain: domain.as_str(),
            features: &mechanisms,
        };
        let content = body.wishes.as_ref().and_then(|wishes| wishes.content.clone());
        let now = Instant::now().into_std();
        let machine =
            Machine::begin(self.settings_of(&reserved), &opening, RequestId(0), body, now);
        // Without the `<sm/>` of the server: a BOSH session is kept by itself.
        let features = stream
            .as_ref()
            .map(|stream| welcome::established_features(&stream.features, Manager::Nobody));
        let login = Login { welcome, features: features.unwrap_or_default() };
        let (reply, answer) = oneshot::channel();
        let managed = self.managed(stream.as_ref(), target);
        let task = Task::new(machine, reserved, stream, Some(login))
            .answering(RequestId(0), reply)
            .managed(managed)
            .with_content(content);
        self.spawn(task, subject);
        answer.await.ok()
    }

    /// Whether there is such a session, whosoever it is: for another nobody need be asked who the visitor is.
    #[must_use]
    pub fn knows(&self, sid: &str) -> bool {
        self.registry.knows(sid)
    }

    /// The session, for its owner.
    #[must_use]
    pub fn find(&self, sid: &str, claim: &Claim) -> Found<Post> {
        self.registry.find(sid, claim, Instant::now().into_std())
    }

    /// The session, for who shows its owner's cookies while the site cannot say whose they are.
    #[must_use]
    pub fn find_unsaid(&self, sid: &str, claim: &Claim) -> Option<Mailbox> {
        self.registry.find_unsaid(sid, claim)
    }

    /// Whether `address` may be told once more that a session is not there, or not its.
    #[must_use]
    pub fn may_miss(&self, address: IpAddr) -> bool {
        let may = self.unknown_sids.allow(address, Instant::now().into_std());
        if !may {
            self.metrics.reached(Bound::UnknownSids);
        }
        may
    }

    /// Hands a request to its session; none where it has ended.
    ///
    /// Cancel safe: a request that was not handed over is not answered.
    pub async fn post(&self, mailbox: Mailbox, body: Body) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        let body = Box::new(body);
        mailbox.post(Post { body, reply }).await.then_some(Reply(answer))
    }

    /// The same without waiting; none also where so much waits for the session that this would have to.
    #[must_use]
    pub fn post_now(&self, mailbox: &Mailbox, body: Body) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        mailbox.post_now(Post { body: Box::new(body), reply }).ok()?;
        Some(Reply(answer))
    }

    fn settings_of(&self, reserved: &Reserved) -> Arc<Settings> {
        match reserved.wait.filter(|wait| *wait < self.settings.wait) {
            Some(wait) => Arc::new(Settings { wait, ..Settings::clone(&self.settings) }),
            None => self.settings.clone(),
        }
    }

    /// What manages a stream, where upstream does.
    fn managed(&self, stream: Option<&Stream>, target: Option<Target>) -> Option<Box<Managed>> {
        Managed::offered(stream?, target?, &self.management)
    }

    fn count(&self, error: Error) {
        match error {
            Error::Full(_) => self.metrics.reached(Bound::Sessions),
            Error::Random => {}
        }
    }

    fn spawn(&self, task: Task, subject: Subject) {
        let (shutdown, metrics) = (self.shutdown.clone(), self.metrics.clone());
        // In a box: a future has what it is given twice.
        let task = Box::new(task);
        // Ends when the machine says so: on the browser's word, its silence, upstream's end, a revocation or the shutdown.
        self.tasks.spawn(async move {
            let _watch = metrics.watch();
            let _counted = metrics.session(task.kind(), Transport::Bosh);
            let end = task.run(shutdown).await;
            if let Some(bound) = bound(&end) {
                metrics.reached(bound);
            }
            subject.report("bosh", &end);
        });
    }
}

/// The bound that ended a session, where it was one.
fn bound(end: &End) -> Option<Bound> {
    match end {
        End::NeverAttached => Some(Bound::Attach),
        End::TooManyRequests | End::PolledTooOften => Some(Bound::Polling),
        End::LoginLate => Some(Bound::Login),
        End::FailedSignIns => Some(Bound::FailedSignIns),
        End::TooFarAhead => Some(Bound::Ahead),
        End::TooEarly => Some(Bound::Early),
        End::TooManyElements => Some(Bound::Elements),
        End::QueueFull => Some(Bound::Queue),
        End::UpstreamStanza => Some(Bound::UpstreamStanza),
        End::Terminated
        | End::Inactive
        | End::BadRequest
        | End::WrongKey
        | End::OutsideWindow { .. }
        | End::UpstreamLost
        | End::StreamError(_)
        | End::Revoked
        | End::ShutDown => None,
    }
}

/// The number of a prebound session's first request: large, not to be guessed, and far from 2^53 (XEP-0124 §14.1).
fn first_rid() -> Result<Rid, Error> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    Rid::new(1_000_000_000 + u64::from_le_bytes(bytes) % 9_000_000_000).ok_or(Error::Random)
}

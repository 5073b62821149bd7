//! The BOSH sessions: how they begin, and how a request finds its own.

mod task;

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::rand;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::metrics::bound::Bound;
use crate::metrics::label::Transport;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Opening;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::session::Session as Machine;
use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::window::Rid;
use crate::protocol::jid::Domain;
use crate::protocol::welcome;
use crate::protocol::welcome::Resumable;
use crate::protocol::welcome::Welcome;
use crate::protocol::welcome::Who;
use crate::session::Subject;
use crate::session::bosh::task::Login;
use crate::session::bosh::task::Task;
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
use crate::upstream;

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct Post {
    body: Body,
    reply: oneshot::Sender<Bytes>,
}

/// Where requests of a session go.
pub type Mailbox = mpsc::Sender<Post>;

/// All BOSH sessions.
#[derive(Debug)]
pub struct Sessions {
    settings: Settings,
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
    posts: mpsc::Receiver<Post>,
    stay: Stay,
}

/// What a browser that begins a session itself is let into.
#[derive(Debug)]
pub struct Hall {
    /// Whom the browser signs in as.
    pub who: Who,
    /// The domain that the edge has chosen.
    pub domain: Domain,
    /// The stream behind SASL; none for somebody who may not enter and is to be told so.
    pub stream: Option<upstream::login::Stream>,
}

impl Sessions {
    /// No sessions yet.
    ///
    /// Their tasks are spawned on `tasks` and end, at the latest, on `shutdown`.
    #[must_use]
    pub fn new(
        settings: Settings,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let registry = Arc::new(Registry::new(settings.sessions));
        let unknown_sids = Rates::new(settings.unknown_sids);
        let bodies = Budget::new(settings.bodies.as_u64());
        Self { settings, registry, unknown_sids, bodies, metrics, tasks, shutdown }
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

    /// Takes a place for a session that `claim` begins.
    ///
    /// # Errors
    /// When there is no room.
    pub fn reserve(&self, claim: Claim, stay: Stay) -> Result<Reserved, Error> {
        let owner = Owner::new(claim, Instant::now().into_std());
        let entered = self.registry.enter(owner, stay.revoked().clone());
        let (place, posts) = entered.inspect_err(|error| self.count(*error))?;
        Ok(Reserved { place, posts, stay })
    }

    /// Starts a session on a bound stream; what the browser's first request must bear is handed back.
    ///
    /// # Errors
    /// [`Error::Random`]
    pub fn prebind(
        &self,
        reserved: Reserved,
        stream: upstream::login::Stream,
        subject: Subject,
    ) -> Result<(Sid, Rid), Error> {
        let sid = reserved.place.sid().clone();
        let rid = first_rid()?;
        let machine = Machine::prebound(self.settings.clone(), rid, Instant::now().into_std());
        self.spawn(Task::new(machine, reserved, Some(stream), None), subject);
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
    ) -> Option<Bytes> {
        let Hall { who, domain, stream } = hall;
        let welcome = Welcome::new(who, reserved.stay.failed_sign_ins());
        let mechanisms = welcome.features();
        let opening = Opening {
            sid: reserved.place.sid().as_str(),
            domain: domain.as_str(),
            features: &mechanisms,
        };
        let now = Instant::now().into_std();
        let machine = Machine::begin(self.settings.clone(), &opening, RequestId(0), body, now);
        // Without the `<sm/>` of the server: a BOSH session is kept by itself.
        let features = stream
            .as_ref()
            .map(|stream| welcome::established_features(&stream.features, Resumable::No));
        let login = Login { welcome, features: features.unwrap_or_default() };
        let (reply, answer) = oneshot::channel();
        let task = Task::new(machine, reserved, stream, Some(login)).answering(RequestId(0), reply);
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

    /// Hands a request to its session, and waits for the answer; cancel safe: the session learns that nobody waits.
    ///
    /// None where it has ended.
    pub async fn post(&self, mailbox: Mailbox, body: Body) -> Option<Bytes> {
        let (reply, answer) = oneshot::channel();
        mailbox.send(Post { body, reply }).await.ok()?;
        drop(mailbox);
        answer.await.ok()
    }

    fn count(&self, error: Error) {
        match error {
            Error::Full(_) => self.metrics.reached(Bound::Sessions),
            Error::Random => {}
        }
    }

    fn spawn(&self, task: Task, subject: Subject) {
        let (shutdown, metrics) = (self.shutdown.clone(), self.metrics.clone());
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
        End::LoginLate => Some(Bound::Login),
        End::FailedSignIns => Some(Bound::FailedSignIns),
        End::QueueFull => Some(Bound::Queue),
        End::UpstreamStanza => Some(Bound::UpstreamStanza),
        End::Terminated
        | End::Inactive
        | End::BadRequest
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

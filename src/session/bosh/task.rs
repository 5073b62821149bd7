//! One BOSH session: a task that owns the upstream stream and the machine, and answers what is posted to it.

mod stream;

use std::future::pending;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant as StdInstant;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::metrics::bound::Bound;
use crate::metrics::label::Direction;
use crate::metrics::label::Kind;
use crate::metrics::label::Resume;
use crate::metrics::label::Transport;
use crate::protocol::bind::Wish;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::event::Event;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::session::Session as Machine;
use crate::protocol::stream_error::StreamError;
use crate::protocol::welcome;
use crate::protocol::welcome::Reply;
use crate::protocol::welcome::Welcome;
use crate::protocol::xml::element::Element;
use crate::scratch::Scratch;
use crate::session::aside::Aside;
use crate::session::bosh::Answer;
use crate::session::bosh::Post;
use crate::session::bosh::Reserved;
use crate::session::bosh::managed::Managed;
use crate::session::bosh::task::stream::Upstream;
use crate::session::bosh::task::stream::read;
use crate::session::mailbox::Posts;
use crate::session::registry::Place;
use crate::session::relay::Traffic;
use crate::session::roll::Stay;
use crate::session::roll::bell::Bell;
use crate::upstream::login::Stream;

/// A session as it runs.
pub(super) struct Task {
    machine: Machine,
    upstream: Option<Upstream>,
    /// None where upstream does not manage its stream.
    managed: Option<Box<Managed>>,
    login: Option<Login>,
    is_bound: bool,
    posts: Posts<Post>,
    posted: u64,
    replies: Vec<(RequestId, oneshot::Sender<Answer>)>,
    /// The type of all answers, if it is not the usual one (XEP-0124 §7.1).
    content: Option<Arc<str>>,
    carried: Traffic,
    /// When it was last told what was carried.
    told: Instant,
    stay: Stay,
    /// Frees the sid when the session is over.
    _place: Place<Post>,
}

/// The login of a browser that began the session itself.
pub(super) struct Login {
    pub(super) welcome: Welcome,
    /// What it is shown behind it.
    pub(super) features: Vec<u8>,
}

/// What a task woke up for.
enum Woken {
    Posted(Post),
    Dropped(RequestId),
    Read(io::Result<(Scratch, usize)>),
    /// Another connection is made in place of one that broke, or is not.
    Connected(Result<Box<Stream>, Resume>),
    Deadline,
    /// The session is over, for a reason that lies outside.
    Over(End),
}

impl Task {
    pub(super) fn new(
        machine: Machine,
        reserved: Reserved,
        stream: Option<Stream>,
        login: Option<Login>,
    ) -> Self {
        let Reserved { place, posts, stay, .. } = reserved;
        Self {
            machine,
            upstream: stream.map(Upstream::from),
            managed: None,
            is_bound: login.is_none(),
            login,
            posts,
            posted: 0,
            replies: Vec::new(),
            content: None,
            carried: Traffic::default(),
            told: Instant::now(),
            stay,
            _place: place,
        }
    }

    /// With a request that the machine has already.
    pub(super) fn answering(mut self, id: RequestId, reply: oneshot::Sender<Answer>) -> Self {
        self.replies.push((id, reply));
        self
    }

    /// On a stream that upstream offers to manage.
    pub(super) fn managed(mut self, managed: Option<Box<Managed>>) -> Self {
        self.managed = managed;
        self
    }

    /// With another type of answers than the usual one, if the browser asked for it.
    pub(super) fn with_content(self, content: Option<Arc<str>>) -> Self {
        Self { content, ..self }
    }

    /// Who the session is for.
    pub(super) fn kind(&self) -> Kind {
        self.stay.kind()
    }

    /// Runs the session to its end.
    pub(super) async fn run(mut self: Box<Self>, shutdown: CancellationToken) -> End {
        self.begin();
        let mut outside = Aside::new(outside(shutdown.clone(), self.stay.bell().clone()));
        let mut alarm = pin!(sleep_until(Instant::now()));
        loop {
            if let Some(end) = self.act(&shutdown).await {
                self.close(&end).await;
                return end;
            }
            let woken = self.wake(&mut outside, alarm.as_mut()).await;
            let now = Instant::now();
            self.tell_now_and_then(now);
            let now = now.into_std();
            match woken {
                Woken::Posted(post) => self.post(post),
                Woken::Dropped(id) => self.machine.receive(Event::Dropped(id), now),
                Woken::Read(read) => self.read(read),
                Woken::Connected(connected) => self.connected(connected),
                Woken::Deadline => self.machine.receive(Event::Deadline, now),
                Woken::Over(End::ShutDown) => {
                    // Who waits hears nothing of the session: the endpoint makes a 503 of that.
                    self.replies.clear();
                    self.close(&End::ShutDown).await;
                    return End::ShutDown;
                }
                Woken::Over(why) => {
                    self.machine.receive(Event::End(why.clone()), now);
                    // There is nothing to wait for after this, whatever the machine thinks: the signal would wake
                    // the task again and again.
                    let end = self.act(&shutdown).await.unwrap_or(why);
                    self.close(&end).await;
                    return end;
                }
            }
        }
    }

    /// Waits for the next thing to happen; all arms are cancel safe.
    async fn wake(
        &mut self,
        outside: impl Future<Output = End>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Woken {
        let managed = self.managed.as_deref();
        let deadlines =
            [self.machine.deadline().map(Instant::from_std), managed.and_then(Managed::deadline)];
        let deadline = deadlines.into_iter().flatten().min();
        // Backpressure the other way: what upstream has not acknowledged must be kept.
        let is_open = !managed.is_some_and(Managed::is_full);
        // One clock for all of them: moved on, it costs next to nothing.
        if let Some(deadline) = deadline.filter(|deadline| *deadline != alarm.deadline()) {
            alarm.as_mut().reset(deadline);
        }
        // Backpressure: what the browser does not fetch stays with upstream.
        let mut socket = self
            .upstream
            .as_mut()
            .filter(|_| !self.machine.is_full())
            .map(|upstream| &mut upstream.socket);
        let read = poll_fn(|cx| match &mut socket {
            Some(socket) => read(socket, cx),
            None => Poll::Pending,
        });
        let connected = async {
            match &mut self.managed {
                Some(managed) => managed.connected().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            end = outside => Woken::Over(end),
            post = self.posts.next(), if is_open => Woken::Posted(post),
            id = poll_fn(|cx| poll_dropped(&mut self.replies, cx)) => Woken::Dropped(id),
            read = read => Woken::Read(read),
            connected = connected => Woken::Connected(connected),
            () = alarm, if deadline.is_some() => Woken::Deadline,
        }
    }

    /// Does what the machine wants, and what upstream waits for; hands back the end when there is one.
    async fn act(&mut self, shutdown: &CancellationToken) -> Option<End> {
        loop {
            while let Some(action) = self.machine.next_action() {
                let now = Instant::now().into_std();
                match action {
                    Action::Answer(id, body) => {
                        self.answer(id, Answer::Body(body, self.content.clone()));
                    }
                    Action::Refuse(id, condition) => self.answer(id, Answer::Refused(condition)),
                    Action::Send(elements, stanzas) => {
                        let elements = self.wish(elements);
                        self.carried.up.add(stanzas, elements.len());
                        self.send(&elements, stanzas, shutdown).await;
                    }
                    Action::Login(element) => self.welcome(&element),
                    Action::Restart => {
                        // A stream begins anew behind the login and at no other time; there would be no features to wait for.
                        match self.login.take() {
                            Some(login) => {
                                self.machine.receive(Event::Welcome(&login.features), now);
                            }
                            None => self.machine.receive(Event::End(End::BadRequest), now),
                        }
                    }
                    Action::Over(end) => return Some(end),
                }
            }
            if !self.tend(shutdown).await {
                break;
            }
        }
        if self.machine.has_forgotten() {
            self.stay.metrics().reached(Bound::Answers);
        }
        if self.replies.is_empty() {
            self.replies = Vec::new();
        }
        None
    }

    /// What goes upstream in the place of what the browser says: the resource that it wishes for is left out where another
    /// session of the visitor has it, as a tab does of which this one is a copy.
    fn wish(&self, elements: Vec<u8>) -> Vec<u8> {
        if self.is_bound {
            return elements;
        }
        let wish = Wish::parse(&elements);
        match wish.filter(|wish| !self.stay.take_resource(wish.resource())) {
            Some(wish) => wish.left_to_the_server(),
            None => elements,
        }
    }

    fn post(&mut self, Post { body, reply }: Post) {
        let now = Instant::now().into_std();
        // A page that was reloaded asks again behind its broken connection, which counts for nothing then.
        self.forget_gone(now);
        self.posted += 1;
        let id = RequestId(self.posted);
        self.replies.push((id, reply));
        self.machine.receive(Event::Request(id, *body), now);
        if let Some(managed) = &mut self.managed {
            managed.browser_was_heard();
        }
    }

    /// Tells the machine of the requests whose browser no longer waits.
    fn forget_gone(&mut self, now: StdInstant) {
        while let Some(at) = self.replies.iter().position(|(_, reply)| reply.is_closed()) {
            let (id, _) = self.replies.swap_remove(at);
            self.machine.receive(Event::Dropped(id), now);
        }
    }

    fn answer(&mut self, id: RequestId, answer: Answer) {
        let at = self.replies.iter().position(|(known, _)| *known == id);
        let reply = at.map(|at| self.replies.swap_remove(at).1);
        if reply.is_none_or(|reply| reply.send(answer).is_err()) {
            self.machine.receive(Event::Dropped(id), Instant::now().into_std());
        }
    }

    fn welcome(&mut self, element: &[u8]) {
        let now = Instant::now().into_std();
        let Some(login) = &mut self.login else { return };
        // The machine has checked it already.
        let Ok(element) = Element::parse(element) else {
            return self.machine.receive(Event::End(End::BadRequest), now);
        };
        match login.welcome.receive(&element) {
            Reply::Success => {
                self.machine.receive(Event::SignedIn(welcome::success().as_bytes()), now);
            }
            Reply::Failure(failure) => {
                self.machine.receive(Event::Welcome(failure.to_xml().as_bytes()), now);
            }
            Reply::End(StreamError::PolicyViolation) => {
                self.machine.receive(Event::End(End::FailedSignIns), now);
            }
            Reply::End(error) => {
                self.machine
                    .receive(Event::End(End::StreamError(error.to_xml().into_bytes())), now);
            }
        }
    }

    /// Counts what was carried; a session that lasts for days is not to be counted at its end alone.
    fn tell_now_and_then(&mut self, now: Instant) {
        if now.saturating_duration_since(self.told) >= TELL {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let Traffic { up, down } = std::mem::take(&mut self.carried);
        self.told = Instant::now();
        self.stay.metrics().carried(Transport::Bosh, Direction::Up, up);
        self.stay.metrics().carried(Transport::Bosh, Direction::Down, down);
    }
}

/// Ends when something outside ends the session.
async fn outside(shutdown: CancellationToken, bell: Arc<Bell>) -> End {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => End::ShutDown,
        () = bell.revoked() => End::Revoked,
    }
}

/// The first request whose browser no longer waits; it is taken out.
fn poll_dropped(
    replies: &mut Vec<(RequestId, oneshot::Sender<Answer>)>,
    cx: &mut Context<'_>,
) -> Poll<RequestId> {
    let gone = replies.iter_mut().position(|(_, reply)| reply.poll_closed(cx).is_ready());
    gone.map_or(Poll::Pending, |at| Poll::Ready(replies.swap_remove(at).0))
}

/// How long what was carried may wait to be counted.
const TELL: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests;

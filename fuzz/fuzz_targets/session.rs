//! A BOSH session in virtual time: whatever happens in whatever order, each request is answered once and in time, each
//! element goes upstream once, and each stanza reaches the browser once and in order.
//!
//! The input is a letter for how it begins, then a letter and a digit for each thing that happens.
#![no_main]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;

use vestibule::protocol::bosh::body::Body;
use vestibule::protocol::bosh::end::End;
use vestibule::protocol::bosh::event::Action;
use vestibule::protocol::bosh::event::Event;
use vestibule::protocol::bosh::event::Opening;
use vestibule::protocol::bosh::event::RequestId;
use vestibule::protocol::bosh::session::Session;
use vestibule::protocol::bosh::settings::Settings;
use vestibule::protocol::bosh::window::REACH;
use vestibule::protocol::bosh::window::Rid;
use vestibule::protocol::xml::check::Limits;
use vestibule::protocol::xml::splitter::Piece;
use vestibule::protocol::xml::splitter::Splitter;

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Nothing,
    Message,
    Restart,
    Terminate,
    Pause,
    Forbidden,
}

/// A session, and what a shell would know of it.
struct Stage {
    session: Session,
    now: Instant,
    login: bool,
    over: bool,
    /// Requests that have no answer, and since when.
    open: BTreeMap<u64, Instant>,
    requests: u64,
    next_rid: u64,
    /// The messages that went upstream, by the rid that brought each.
    sent: BTreeSet<u64>,
    /// What was posted under each rid.
    bodies: BTreeMap<u64, What>,
    /// Requests whose connections broke.
    dropped: BTreeSet<u64>,
    stanzas: u64,
    /// The stanzas that the browser got.
    got: Vec<u64>,
    /// Whether a connection broke or a request was repeated, so that a stanza may come twice.
    broken: bool,
}

fn body(rid: u64, what: What, more: &str) -> Body {
    let message = format!("<message xmlns='jabber:client' id='{rid}'/>");
    let (attributes, payload) = match what {
        What::Nothing => ("", ""),
        What::Message => ("", message.as_str()),
        What::Restart => (" xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true'", ""),
        What::Terminate => (" type='terminate'", message.as_str()),
        What::Pause => (" pause='100'", ""),
        What::Forbidden => ("", "<!-- no -->"),
    };
    let text = format!(
        "<body xmlns='http://jabber.org/protocol/httpbind' sid='s' rid='{rid}'{attributes}{more}>{payload}</body>"
    );
    Body::parse(text.as_bytes(), &Limits::default()).expect("a body")
}

impl Stage {
    /// A session that was prebound (`p`), or that a browser begins which is held (`l`) or polls (`z`).
    fn begin(kind: u8, now: Instant) -> Self {
        let opening = Opening { sid: "s", domain: "a.example", features: b"<stream:features/>" };
        let hold = if kind == b'z' { " hold='0'" } else { " hold='1'" };
        let rid = Rid::new(FIRST).expect("a rid");
        let prebound = kind == b'p';
        let session = if prebound {
            Session::prebound(Settings::default(), rid, now)
        } else {
            let first = body(FIRST, What::Nothing, hold);
            Session::begin(Settings::default(), &opening, RequestId(0), first, now)
        };
        let open = (!prebound).then_some((0, now)).into_iter().collect();
        let mut stage = Self {
            session,
            now,
            login: !prebound,
            over: false,
            open,
            requests: 0,
            next_rid: FIRST + u64::from(!prebound),
            sent: BTreeSet::new(),
            bodies: (!prebound).then_some((FIRST, What::Nothing)).into_iter().collect(),
            dropped: BTreeSet::new(),
            stanzas: 0,
            got: Vec::new(),
            broken: false,
        };
        stage.act();
        stage
    }

    /// One thing happens: a letter says what, and a digit how much of it.
    fn step(&mut self, what: u8, much: u8) {
        let much = u64::from(much % 10);
        match what {
            // Requests with the rid that is due, or so many ahead.
            b'n' => self.post(much, What::Nothing),
            b'm' => self.post(much, What::Message),
            b'r' => self.post(much, What::Restart),
            b't' => self.post(much, What::Terminate),
            b'u' => self.post(much, What::Pause),
            b'f' => self.post(much, What::Forbidden),
            b'a' => self.again(much),
            b'd' => self.drop(much),
            b's' => self.stanza(),
            b'i' if self.login => {
                self.login = false;
                self.session.receive(Event::SignedIn(b"<success/>"), self.now);
            }
            b'w' => {
                if let Some(due) = self.session.deadline() {
                    self.wait(due);
                }
            }
            b'p' => self.pass(Duration::from_millis(700 * (much + 1))),
            b'U' => self.session.receive(Event::End(End::UpstreamLost), self.now),
            b'R' => self.session.receive(Event::End(End::Revoked), self.now),
            b'S' => self.session.receive(Event::End(End::ShutDown), self.now),
            _ => {}
        }
        self.act();
    }

    fn post(&mut self, ahead: u64, what: What) {
        let rid = self.next_rid + ahead;
        // Under a rid that was used it is a repetition, as `again` is.
        self.broken |= self.bodies.contains_key(&rid);
        // A rid stands for one body: another one under it is no repetition, and whatever comes of it is right.
        let what = *self.bodies.entry(rid).or_insert(what);
        while self.bodies.contains_key(&self.next_rid) {
            self.next_rid += 1;
        }
        self.request(rid, what);
    }

    /// A request comes once more, over another connection.
    fn again(&mut self, behind: u64) {
        let rid = self.next_rid.saturating_sub(behind + 1);
        if let Some(what) = self.bodies.get(&rid) {
            // Which of the connections the browser reads, we cannot know.
            self.broken = true;
            self.request(rid, *what);
        }
    }

    fn request(&mut self, rid: u64, what: What) {
        self.requests += 1;
        self.open.insert(self.requests, self.now);
        let body = body(rid, what, "");
        self.session.receive(Event::Request(RequestId(self.requests), body), self.now);
    }

    /// The connection of a request breaks.
    fn drop(&mut self, before: u64) {
        let id = self.requests.saturating_sub(before);
        self.broken = true;
        self.open.remove(&id);
        self.dropped.insert(id);
        self.session.receive(Event::Dropped(RequestId(id)), self.now);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.deadline().filter(|due| *due <= end) {
            self.wait(due);
        }
        self.now = end;
    }

    fn stanza(&mut self) {
        self.stanzas += 1;
        let mut splitter = Splitter::new(1000);
        let header =
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
        let text = format!("{header}<message id='s{}'/>", self.stanzas);
        let mut text = text.as_bytes();
        while let Some(piece) = splitter.next(&mut text).expect("a stream") {
            if let Piece::Stanza(cut) = piece {
                self.session.receive(Event::Stanza(cut), self.now);
            }
        }
    }

    /// The deadline comes, and is not due again.
    fn wait(&mut self, due: Instant) {
        self.now = self.now.max(due);
        self.session.receive(Event::Deadline, self.now);
        self.act();
        assert!(self.session.deadline().is_none_or(|next| next > self.now), "a deadline for ever");
    }

    fn act(&mut self) {
        while let Some(action) = self.session.next_action() {
            match action {
                Action::Answer(RequestId(id), answer) => self.answered(id, &answer),
                Action::Refuse(RequestId(id), _) => self.answered(id, b""),
                Action::Send(bytes, elements) => self.sent_upstream(&bytes, elements),
                Action::Login(_) => {
                    assert!(self.login, "the login is over");
                    self.session.receive(Event::Welcome(b"<challenge/>"), self.now);
                }
                Action::Restart => {
                    self.session.receive(Event::Welcome(b"<stream:features/>"), self.now);
                }
                Action::Over(_) => {
                    assert!(!self.over, "over twice");
                    self.over = true;
                }
            }
        }
        assert!(!self.over || self.open.is_empty(), "over, and {:?} unanswered", self.open);
        let held = usize::try_from(REACH).expect("few") + 1;
        assert!(self.open.len() <= held, "{:?} are held", self.open);
        // Each rid that is missing is waited for, then a request is held for as long as any may be.
        let settings = Settings::default();
        let longest = settings.wait + settings.retries * u32::try_from(REACH).expect("few");
        let oldest = self.open.values().min();
        assert!(oldest.is_none_or(|since| self.now <= *since + longest), "one is held for ever");
        let waits = self.session.deadline().is_some();
        assert!(waits || self.over, "nothing is waited for, and it is not over");
    }

    fn answered(&mut self, id: u64, answer: &[u8]) {
        let answer = std::str::from_utf8(answer).expect("text");
        let was_open = self.open.remove(&id).is_some();
        // Nobody reads the answer to a connection that broke.
        let is_read = !self.dropped.contains(&id);
        assert!(was_open || !is_read, "{id} is answered twice, or was never asked: {answer}");
        for stanza in answer.split(" id='s").skip(1) {
            let number = stanza.split('\'').next().and_then(|number| number.parse().ok());
            self.got.push(number.expect("a number"));
        }
    }

    fn sent_upstream(&mut self, bytes: &[u8], elements: usize) {
        assert!(!self.over, "sent when it was over");
        assert!(!self.login, "sent before the login was over");
        let text = std::str::from_utf8(bytes).expect("text");
        assert_eq!(text.matches("id='").count(), elements, "{text}");
        for message in text.split("id='").skip(1) {
            let rid = message.split('\'').next().and_then(|rid| rid.parse().ok());
            let rid = rid.expect("a rid");
            let brought = self.bodies.get(&rid).copied();
            assert!(matches!(brought, Some(What::Message | What::Terminate)), "{rid} brought none");
            assert!(self.sent.insert(rid), "{rid} was sent twice");
        }
    }
}

const FIRST: u64 = 1000;

fuzz_target!(|input: &[u8]| {
    let Some((kind, steps)) = input.split_first() else { return };
    let mut stage = Stage::begin(*kind, Instant::now());

    // More steps find no more, only later.
    for step in steps.chunks_exact(2).take(200) {
        stage.step(step[0], step[1]);
    }

    if !stage.broken {
        assert!(stage.got.iter().copied().eq(1..=stage.got.len() as u64), "{:?}", stage.got);
    }
});

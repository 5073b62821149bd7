//! The session in virtual time: a scene that the tests of its folder play in.

use std::time::Duration;
use std::time::Instant;

use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::event::Action;
use crate::protocol::bosh::event::Connection;
use crate::protocol::bosh::event::Event;
use crate::protocol::bosh::event::Opening;
use crate::protocol::bosh::event::RequestId;
use crate::protocol::bosh::session::Session;
use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::window::Rid;
use crate::protocol::xml::check::Limits;
use crate::protocol::xml::splitter::Cut;

mod acknowledgements;
mod bounds;
mod cadence;
mod copies;
mod delivery;
mod ending;
mod keys;
mod login;
mod order;
mod overtaking;
mod pace;
mod statuses;
mod tabs;
mod terms;

const EMPTY: &str = "<body xmlns='http://jabber.org/protocol/httpbind'/>";

/// What a request gets in whose place its repetition stands.
const ERROR: &str = "<body xmlns='http://jabber.org/protocol/httpbind' type='error'/>";

/// A session, a clock, and what a shell would have done.
struct Scene {
    session: Session,
    now: Instant,
    requests: u64,
}

/// What the session did, written down.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Done {
    Answered(u64, String),
    Refused(u64, u16),
    Sent(String),
    Login(String),
    Restart,
    Over(End),
}

use Done::Answered;
use Done::Login;
use Done::Over;
use Done::Refused;
use Done::Restart;
use Done::Sent;

impl Scene {
    /// A prebound session whose browser is to begin with rid 1.
    fn prebound() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let now = start();
        Self { session: Session::prebound(settings, Rid::new(1).unwrap(), now), now, requests: 0 }
    }

    /// A session that the browser begins with rid 1.
    fn begun(attributes: &str, payload: &str) -> Self {
        Self::begun_with(Settings::default(), attributes, payload)
    }

    fn begun_with(settings: Settings, attributes: &str, payload: &str) -> Self {
        let now = start();
        let opening =
            Opening { sid: "SID", domain: "xmpp.example.org", features: b"<stream:features/>" };
        let session =
            Session::begin(settings, &opening, RequestId(1), body(1, attributes, payload), now);
        Self { session, now, requests: 1 }
    }

    /// Posts a body; its answer bears the number that is given back.
    fn post(&mut self, rid: u64, attributes: &str, payload: &str) -> u64 {
        self.requests += 1;
        let request = Event::Request(RequestId(self.requests), body(rid, attributes, payload));
        self.session.receive(request, self.now);
        self.requests
    }

    fn poll(&mut self, rid: u64) -> u64 {
        self.post(rid, "", "")
    }

    /// Posts over a connection that is known.
    fn post_over(&mut self, connection: Connection, rid: u64, payload: &str) -> u64 {
        self.requests += 1;
        let body = Body { over: Some(connection), ..body(rid, "", payload) };
        self.session.receive(Event::Request(RequestId(self.requests), body), self.now);
        self.requests
    }

    fn drop_connection(&mut self, request: u64) {
        self.session.receive(Event::Dropped(RequestId(request)), self.now);
    }

    fn stanza(&mut self, name: &str) {
        let text = format!("<{name}/>");
        let stanza = Cut {
            bytes: text.as_bytes(),
            name_end: 1 + name.len(),
            has_namespace: false,
            declares_stream: false,
        };
        self.session.receive(Event::Stanza(stanza), self.now);
    }

    fn end(&mut self, why: End) {
        self.session.receive(Event::End(why), self.now);
    }

    /// Time passes; the deadlines in it come when they are due.
    fn pass(&mut self, time: Duration) -> Vec<Done> {
        let mut done = self.done();
        let until = self.now + time;
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= until) {
            self.now = deadline;
            self.session.receive(Event::Deadline, self.now);
            done.extend(self.done());
        }
        self.now = until;
        done
    }

    fn done(&mut self) -> Vec<Done> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        std::iter::from_fn(|| self.session.next_action())
            .map(|action| match action {
                Action::Answer(RequestId(id), body) => Answered(id, text(&body)),
                Action::Refuse(RequestId(id), condition) => {
                    Refused(id, condition.status().unwrap())
                }
                Action::Send(bytes, _) => Sent(text(&bytes)),
                Action::Login(element) => Login(text(&element)),
                Action::Restart => Restart,
                Action::Over(why) => Over(why),
            })
            .collect()
    }
}

fn body(rid: u64, attributes: &str, payload: &str) -> Body {
    let text = format!(
        "<body rid='{rid}' {attributes} xmlns='http://jabber.org/protocol/httpbind'>{payload}</body>"
    );
    Body::parse(text.as_bytes(), &Limits::default()).unwrap()
}

/// A body that carries this.
fn carrying(content: &str) -> String {
    format!(
        "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:stream='http://etherx.jabber.org/streams'>\
         {content}</body>"
    )
}

fn stanzas(names: &[&str]) -> String {
    let stanzas: Vec<String> =
        names.iter().map(|name| format!("<{name} xmlns='jabber:client'/>")).collect();
    carrying(&stanzas.concat())
}

fn terminate(condition: &str) -> String {
    let condition =
        if condition.is_empty() { String::new() } else { format!(" condition='{condition}'") };
    format!(
        "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:stream='http://etherx.jabber.org/streams' \
         type='terminate'{condition}/>"
    )
}

/// The moment when a test begins; from there it sets the clock itself.
fn start() -> Instant {
    Instant::now()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

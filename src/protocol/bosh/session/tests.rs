//! The session in virtual time: what is posted, what is answered, when.

use std::time::{Duration, Instant};

use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::session::{Action, Event, Opening, RequestId, Session};
use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::window::Rid;
use crate::protocol::xml::check::Limits;
use crate::protocol::xml::splitter::Cut;

const EMPTY: &str = "<body xmlns='http://jabber.org/protocol/httpbind'/>";

/// A session, a clock, and what a shell would have done.
struct Scene {
    session: Session,
    now: Instant,
    requests: u64,
}

/// What the session did, written down.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    Answered(u64, String),
    Sent(String),
    Login(String),
    Restart,
    Over(End),
}

use Done::{Answered, Login, Over, Restart, Sent};

impl Scene {
    /// A prebound session whose browser is to begin with rid 1.
    fn prebound() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let now = Instant::now();
        Self { session: Session::prebound(settings, Rid::new(1).unwrap(), now), now, requests: 0 }
    }

    /// A session that the browser begins with rid 1.
    fn begun(attributes: &str, payload: &str) -> Self {
        let now = Instant::now();
        let opening = Opening { sid: "SID", domain: "xmpp.example.org", features: b"<stream:features/>" };
        let session = Session::begin(Settings::default(), &opening, RequestId(1), body(1, attributes, payload), now);
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

    fn drop_connection(&mut self, request: u64) {
        self.session.receive(Event::Dropped(RequestId(request)), self.now);
    }

    fn stanza(&mut self, name: &str) {
        let text = format!("<{name}/>");
        let stanza =
            Cut { bytes: text.as_bytes(), name_end: 1 + name.len(), has_namespace: false, declares_stream: false };
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
                Action::Send(bytes) => Sent(text(&bytes)),
                Action::Login(element) => Login(text(&element)),
                Action::Restart => Restart,
                Action::Over(why) => Over(why),
            })
            .collect()
    }
}

fn body(rid: u64, attributes: &str, payload: &str) -> Body {
    let text =
        format!("<body rid='{rid}' {attributes} xmlns='http://jabber.org/protocol/httpbind'>{payload}</body>");
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
    carrying(&names.iter().map(|name| format!("<{name} xmlns='jabber:client'/>")).collect::<String>())
}

fn terminate(condition: &str) -> String {
    let condition = if condition.is_empty() { String::new() } else { format!(" condition='{condition}'") };
    format!(
        "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:stream='http://etherx.jabber.org/streams' \
         type='terminate'{condition}/>"
    )
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn request_is_held_until_a_stanza_comes() {
    let mut scene = Scene::prebound();
    let poll = scene.poll(1);
    assert_eq!(scene.done(), []);

    scene.stanza("message");

    assert_eq!(scene.done(), [Answered(poll, stanzas(&["message"]))]);
}

#[test]
fn stanzas_that_are_there_at_once_go_into_one_body() {
    let mut scene = Scene::prebound();
    let poll = scene.poll(1);
    assert_eq!(scene.done(), []);

    scene.stanza("message");
    scene.stanza("presence");
    scene.stanza("iq");

    assert_eq!(scene.done(), [Answered(poll, stanzas(&["message", "presence", "iq"]))]);
}

#[test]
fn stanzas_wait_for_the_next_request() {
    let mut scene = Scene::prebound();
    scene.stanza("message");
    assert_eq!(scene.done(), []);

    let poll = scene.poll(1);

    assert_eq!(scene.done(), [Answered(poll, stanzas(&["message"]))]);
}

#[test]
fn second_request_releases_the_first() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    let second = scene.post(2, "", "<presence/>");

    assert_eq!(scene.done(), [Sent("<presence/>".into()), Answered(first, EMPTY.into())]);

    scene.stanza("iq");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["iq"]))]);
}

#[test]
fn held_request_is_answered_with_nothing_when_the_wait_is_over() {
    let mut scene = Scene::prebound();
    let poll = scene.poll(1);

    assert_eq!(scene.pass(seconds(59)), []);
    assert_eq!(scene.pass(seconds(1)), [Answered(poll, EMPTY.into())]);
}

#[test]
fn requests_sent_as_3_2_1_are_answered_and_sent_on_in_order() {
    let mut scene = Scene::prebound();
    let third = scene.post(3, "", "<c/>");
    let second = scene.post(2, "", "<b/>");
    assert_eq!(scene.done(), []);

    let first = scene.post(1, "", "<a/>");

    assert_eq!(
        scene.done(),
        [
            Sent("<a/>".into()),
            Sent("<b/>".into()),
            Sent("<c/>".into()),
            Answered(first, EMPTY.into()),
            Answered(second, EMPTY.into()),
        ]
    );
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(third, stanzas(&["message"]))]);
}

#[test]
fn repeated_rid_gets_the_same_answer_and_is_not_sent_on_again() {
    let mut scene = Scene::prebound();
    let first = scene.post(1, "", "<a/>");
    scene.stanza("message");
    assert_eq!(scene.done(), [Sent("<a/>".into()), Answered(first, stanzas(&["message"]))]);
    scene.poll(2);

    let again = scene.post(1, "", "<a/>");

    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn repeated_rid_of_a_held_request_takes_its_place() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    let again = scene.poll(1);
    assert_eq!(scene.done(), [Answered(first, EMPTY.into())]);

    scene.stanza("message");

    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn request_whose_connection_broke_is_held_again_when_repeated() {
    let mut scene = Scene::prebound();
    let first = scene.post(1, "", "<a/>");
    scene.done();
    scene.drop_connection(first);
    scene.stanza("message");
    assert_eq!(scene.done(), []);

    let again = scene.post(1, "", "<a/>");

    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn reloaded_page_goes_on_with_the_next_rid_and_loses_nothing() {
    let mut scene = Scene::prebound();
    let old_page = scene.poll(1);
    scene.done();
    scene.drop_connection(old_page);
    scene.stanza("message");

    let new_page = scene.poll(2);

    assert_eq!(scene.done(), [Answered(new_page, stanzas(&["message"]))]);
}

#[test]
fn answer_that_nobody_took_is_given_to_the_next_request() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);

    scene.drop_connection(first);
    scene.stanza("presence");
    let second = scene.poll(2);

    assert_eq!(scene.done(), [Answered(second, stanzas(&["message", "presence"]))]);
}

#[test]
fn answer_that_nobody_took_is_kept_for_its_rid_when_a_later_one_was_answered() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    scene.stanza("message");
    scene.done();
    let second = scene.poll(2);
    scene.stanza("presence");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["presence"]))]);

    scene.drop_connection(first);
    let again = scene.poll(1);

    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn missing_rid_is_waited_for_and_then_done_without() {
    let mut scene = Scene::prebound();
    let second = scene.post(2, "", "<b/>");
    assert_eq!(scene.pass(Duration::from_millis(2_900)), []);

    assert_eq!(scene.pass(Duration::from_millis(100)), [Sent("<b/>".into())]);

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["message"]))]);
}

#[test]
fn missing_rid_that_comes_late_is_still_sent_on() {
    let mut scene = Scene::prebound();
    let second = scene.post(2, "", "<b/>");
    scene.pass(seconds(3));

    let first = scene.post(1, "", "<a/>");

    assert_eq!(scene.done(), [Sent("<a/>".into()), Answered(first, EMPTY.into())]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["message"]))]);
}

#[test]
fn early_request_whose_connection_broke_is_sent_on_all_the_same() {
    let mut scene = Scene::prebound();
    let second = scene.post(2, "", "<b/>");
    scene.drop_connection(second);

    let first = scene.post(1, "", "<a/>");

    assert_eq!(scene.done(), [Sent("<a/>".into()), Sent("<b/>".into())]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);
}

#[test]
fn rid_beyond_the_window_ends_the_session_for_all() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.done();

    let beyond = scene.poll(7);

    let why = End::OutsideWindow { rid: Rid::new(7).unwrap(), expected: Rid::new(2).unwrap() };
    assert_eq!(
        scene.done(),
        [
            Answered(beyond, terminate("item-not-found")),
            Answered(held, terminate("item-not-found")),
            Over(why),
        ]
    );
}

#[test]
fn rid_whose_answer_is_forgotten_ends_the_session() {
    let mut scene = Scene::prebound();
    for rid in 1..=9 {
        scene.poll(rid);
        scene.done();
    }

    let again = scene.poll(1);

    assert_eq!(scene.done().first(), Some(&Answered(again, terminate("item-not-found"))));
}

#[test]
fn large_answers_are_forgotten_but_for_the_last_two() {
    let mut scene = Scene::with(Settings { answers: bytesize::ByteSize::b(100), ..Settings::default() });
    for rid in 1..=4 {
        scene.poll(rid);
        scene.stanza("message");
        scene.done();
    }

    let kept = scene.poll(3);
    assert_eq!(scene.done(), [Answered(kept, stanzas(&["message"]))]);

    let forgotten = scene.poll(1);
    assert_eq!(scene.done().first(), Some(&Answered(forgotten, terminate("item-not-found"))));
}

#[test]
fn browser_that_leaves_says_its_last_word_and_gets_a_farewell() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.done();

    let last = scene.post(2, "type='terminate'", "<presence type='unavailable'/>");

    assert_eq!(
        scene.done(),
        [
            Sent("<presence type='unavailable'/>".into()),
            Answered(held, EMPTY.into()),
            Answered(last, terminate("")),
            Over(End::Terminated),
        ]
    );
}

#[test]
fn broken_payload_ends_the_session_with_bad_request() {
    let mut scene = Scene::prebound();

    let broken = scene.post(1, "", "<message><!-- comment --></message>");

    assert_eq!(scene.done(), [Answered(broken, terminate("bad-request")), Over(End::BadRequest)]);
}

#[test]
fn silent_browser_is_given_up() {
    let mut scene = Scene::prebound();
    let poll = scene.poll(1);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(poll, stanzas(&["message"]))]);

    assert_eq!(scene.pass(seconds(59)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
}

#[test]
fn browser_whose_request_is_held_is_not_silent() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    assert_eq!(scene.pass(seconds(60)), [Answered(first, EMPTY.into())]);

    // The inactivity counts from the answer.
    assert_eq!(scene.pass(seconds(59)), []);
    scene.poll(2);
    assert_eq!(scene.pass(seconds(59)), []);
}

#[test]
fn prebound_session_that_nobody_picks_up_is_given_up() {
    let mut scene = Scene::with(Settings { attach: seconds(20), ..Settings::default() });

    assert_eq!(scene.pass(seconds(19)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::NeverAttached)]);
}

#[test]
fn pause_releases_all_requests_and_stretches_the_inactivity_once() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.done();

    let pause = scene.post(2, "pause='600'", "");

    assert_eq!(scene.done(), [Answered(held, EMPTY.into()), Answered(pause, EMPTY.into())]);
    assert_eq!(scene.pass(seconds(119)), []);
    let back = scene.poll(3);
    scene.drop_connection(back);
    assert_eq!(scene.pass(seconds(60)), [Over(End::Inactive)]);
}

#[test]
fn lost_upstream_is_told_to_the_held_request() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.done();

    scene.end(End::UpstreamLost);

    assert_eq!(scene.done(), [Answered(held, terminate("system-shutdown")), Over(End::UpstreamLost)]);
}

#[test]
fn lost_upstream_is_told_to_the_next_request_with_what_came_before() {
    let mut scene = Scene::prebound();
    scene.stanza("message");
    scene.end(End::StreamError(b"<stream:error><conflict/></stream:error>".to_vec()));
    assert_eq!(scene.done(), []);

    let poll = scene.poll(1);

    let done = scene.done();
    let Some(Answered(answered, body)) = done.first() else { panic!("{done:?}") };
    assert_eq!(*answered, poll);
    assert!(body.contains("type='terminate' condition='remote-stream-error'>"), "{body}");
    assert!(
        body.ends_with("<message xmlns='jabber:client'/><stream:error><conflict/></stream:error></body>"),
        "{body}"
    );
    assert!(matches!(done.last(), Some(Over(End::StreamError(_)))), "{done:?}");
}

#[test]
fn lost_upstream_waits_for_the_browser_no_longer_than_the_inactivity() {
    let mut scene = Scene::prebound();
    scene.end(End::UpstreamLost);

    assert_eq!(scene.pass(seconds(59)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::UpstreamLost)]);
}

#[test]
fn request_that_meets_an_ended_session_is_answered() {
    let mut scene = Scene::prebound();
    scene.end(End::ShutDown);
    assert_eq!(scene.done(), [Over(End::ShutDown)]);

    let late = scene.poll(1);

    assert_eq!(scene.done(), [Answered(late, terminate("item-not-found"))]);
}

#[test]
fn early_requests_are_told_of_the_end_too() {
    let mut scene = Scene::prebound();
    let early = scene.poll(3);

    scene.end(End::Revoked);

    assert_eq!(scene.done(), [Answered(early, terminate("item-not-found")), Over(End::Revoked)]);
}

#[test]
fn queue_for_the_browser_is_bounded_and_says_so_before() {
    let mut scene = Scene::with(Settings { queue: bytesize::ByteSize::b(400), ..Settings::default() });
    assert!(!scene.session.is_full());
    while !scene.session.is_full() {
        scene.stanza("message");
    }
    assert_eq!(scene.done(), []);

    for _ in 0..20 {
        scene.stanza("message");
    }

    assert_eq!(scene.done(), [Over(End::QueueFull)]);
}

#[test]
fn full_queue_is_told_to_who_is_there() {
    let mut scene = Scene::with(Settings { queue: bytesize::ByteSize::b(200), ..Settings::default() });
    let held = scene.poll(1);
    assert_eq!(scene.done(), []);

    for _ in 0..20 {
        scene.stanza("message");
    }

    assert_eq!(scene.done(), [Answered(held, terminate("policy-violation")), Over(End::QueueFull)]);
}

#[test]
fn first_answer_names_the_session_its_terms_and_the_mechanisms() {
    let mut scene = Scene::begun("wait='300' hold='2' ver='1.6'", "");

    let done = scene.done();

    assert_eq!(
        done,
        [Answered(
            1,
            "<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' \
             xmlns:stream='http://etherx.jabber.org/streams' sid='SID' from='xmpp.example.org' wait='60' hold='1' \
             requests='2' inactivity='60' maxpause='120' ver='1.6' secure='true' xmpp:version='1.0' \
             xmpp:restartlogic='true'><stream:features/></body>"
                .into()
        )]
    );
}

#[test]
fn login_is_answered_here_and_goes_upstream_only_when_it_succeeded() {
    let mut scene = Scene::begun("wait='60' hold='1'", "");
    scene.done();
    let auth = scene.post(2, "", "<auth mechanism='EXTERNAL'/>");
    assert_eq!(scene.done(), [Login("<auth mechanism='EXTERNAL'/>".into())]);

    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);
    assert_eq!(scene.done(), [Answered(auth, carrying("<success/>"))]);

    let restart = scene.post(3, "xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "");
    assert_eq!(scene.done(), [Restart]);
    scene.session.receive(Event::Welcome(b"<stream:features><bind/></stream:features>"), scene.now);
    assert_eq!(scene.done(), [Answered(restart, carrying("<stream:features><bind/></stream:features>"))]);

    scene.post(4, "", "<iq id='bind'/>");
    assert_eq!(scene.done(), [Sent("<iq id='bind'/>".into())]);
}

#[test]
fn element_after_the_login_in_the_same_body_goes_upstream() {
    let mut scene = Scene::begun("", "<auth/><iq id='bind'/>");

    assert_eq!(scene.session.next_action(), Some(Action::Login(b"<auth/>".to_vec())));
    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);

    assert_eq!(scene.session.next_action(), Some(Action::Send(b"<iq id='bind'/>".to_vec())));
    assert!(matches!(scene.session.next_action(), Some(Action::Answer(RequestId(1), _))));
}

#[test]
fn nothing_goes_upstream_before_the_login() {
    let mut scene = Scene::begun("", "");
    scene.done();

    scene.post(2, "", "<message/>");
    scene.post(3, "type='terminate'", "<presence/>");

    assert!(scene.done().iter().all(|done| matches!(done, Answered(..) | Over(End::Terminated))));
}

#[test]
fn polling_browser_is_answered_at_once() {
    let mut scene = Scene::begun("wait='0' hold='0'", "");
    let opened = scene.done();
    assert!(matches!(opened.as_slice(), [Answered(1, body)] if body.contains("hold='0' requests='1'")), "{opened:?}");

    let poll = scene.poll(2);

    assert_eq!(scene.done(), [Answered(poll, EMPTY.into())]);
}

#[test]
fn browser_that_only_breaks_connections_is_not_remembered_for_ever() {
    let mut scene = Scene::prebound();
    for rid in 1..1_000 {
        let poll = scene.poll(rid);
        scene.done();
        scene.drop_connection(poll);
    }

    assert!(scene.session.recent.len() <= 6, "{}", scene.session.recent.len());
}

//! The client's part, in virtual time.

use super::*;

mod model;

pub(super) const LIMITS: Limits = Limits { arrived: 300, bytes: 100_000, stanzas: 1000 };

/// A client on a stream, and a clock.
pub(super) struct Scene {
    pub(super) client: Client,
    pub(super) now: Instant,
}

impl Scene {
    /// `<enable/>` is on its way.
    pub(super) fn enabling() -> Self {
        let mut written = Vec::new();
        let client = Client::enable(LIMITS, &mut written);
        assert_eq!(written, b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        Self { client, now: start() }
    }

    fn managed() -> Self {
        let mut scene = Self::enabling();
        let heard = scene.hear("<enabled xmlns='urn:xmpp:sm:3' resume='true' id='ID' max='600'/>");
        assert_eq!(heard, Ok(Heard::Enabled));
        scene
    }

    pub(super) fn hear(&mut self, element: &str) -> Result<Heard, Error> {
        self.client.receive(&Element::parse(element.as_bytes()).unwrap(), self.now)
    }

    fn is_sent(&mut self, stanzas: u32) {
        for _ in 0..stanzas {
            self.client.sent(b"<message/>", 1);
        }
    }

    fn arrive(&mut self, stanzas: u32) {
        for _ in 0..stanzas {
            assert_eq!(self.client.arrived(), Arrival::New);
        }
    }

    pub(super) fn due(&mut self) -> String {
        let mut out = Vec::new();
        self.client.write_due(self.now, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn again(&mut self) -> String {
        let mut out = Vec::new();
        self.client.write_again(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn resume(&mut self) -> Option<String> {
        self.client.resume().map(|resume| String::from_utf8(resume).unwrap())
    }
}

fn a(h: u32) -> String {
    format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>")
}

/// The moment when a test begins; from there it sets the clock itself.
pub(super) fn start() -> Instant {
    Instant::now()
}

const R: &str = "<r xmlns='urn:xmpp:sm:3'/>";

#[test]
fn server_that_asks_is_answered_once_the_stanzas_are_in_safe_hands() {
    let mut scene = Scene::managed();
    scene.arrive(2);
    scene.hear(R).unwrap();
    assert_eq!(scene.due(), "");

    scene.client.handled(0);

    assert_eq!(scene.due(), a(2));
    assert_eq!(scene.due(), "");
}

#[test]
fn server_that_asks_is_answered_in_time_though_nobody_gets_the_stanzas() {
    let mut scene = Scene::managed();
    scene.arrive(2);
    scene.client.handled(1);
    scene.hear(R).unwrap();
    assert_eq!(scene.due(), "");

    scene.now = scene.client.deadline().expect("it is to be answered");

    assert_eq!(scene.due(), a(1));
    assert_eq!(scene.client.deadline(), None);
}

#[test]
fn server_that_asks_before_anything_arrived_is_answered_at_once() {
    let mut scene = Scene::managed();

    scene.hear(R).unwrap();

    assert_eq!(scene.due(), a(0));
}

#[test]
fn no_more_than_the_bound_stands_unacknowledged_whether_the_server_asks_or_not() {
    let mut scene = Scene::managed();
    let mut told = String::new();
    for _ in 0..600 {
        scene.arrive(1);
        told.push_str(&scene.due());
        assert!(scene.client.untold() < 300);
    }

    assert_eq!(told, [a(150), a(300), a(450)].concat());
    // The rest is the server's, should the stream end.
    assert_eq!(scene.client.untold(), 150);
}

#[test]
fn server_is_asked_when_much_was_sent_and_no_second_time_before_it_has_answered() {
    let mut scene = Scene::managed();
    scene.is_sent(9);
    assert_eq!(scene.due(), "");

    scene.is_sent(1);
    assert_eq!(scene.due(), R);
    scene.is_sent(30);
    assert_eq!(scene.due(), "");
    scene.hear(&a(40)).unwrap();

    scene.client.ask();
    assert_eq!(scene.due(), "", "nothing is left to be asked for");
}

#[test]
fn what_was_sent_behind_enable_is_kept_before_the_server_has_said_yes() {
    let mut scene = Scene::enabling();
    scene.is_sent(2);
    scene.hear("<enabled xmlns='urn:xmpp:sm:3' resume='1' id='ID'/>").unwrap();

    scene.hear(&a(1)).unwrap();

    assert_eq!(scene.again(), "<message/>");
    assert_eq!(scene.client.resumable(), Some(None));
}

#[test]
fn server_that_will_not_is_never_resumed_and_nothing_is_kept() {
    let mut scene = Scene::enabling();
    scene.is_sent(2);

    let heard = scene.hear(
        "<failed xmlns='urn:xmpp:sm:3'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
    );

    scene.is_sent(2);
    assert_eq!(heard, Ok(Heard::Refused));
    assert_eq!((scene.again().as_str(), scene.resume()), ("", None));
}

#[test]
fn stream_without_resumption_keeps_nothing_and_acknowledges_all_the_same() {
    let mut scene = Scene::enabling();
    scene.hear("<enabled xmlns='urn:xmpp:sm:3'/>").unwrap();
    scene.is_sent(20);
    scene.arrive(1);
    scene.client.handled(0);
    scene.hear(R).unwrap();

    assert_eq!(scene.due(), a(1));
    assert_eq!((scene.again().as_str(), scene.resume()), ("", None));
}

#[test]
fn resumption_sends_what_the_server_lacks_and_takes_what_was_not_handled_no_second_time() {
    let mut scene = Scene::managed();
    scene.arrive(3);
    scene.client.handled(2);
    for id in 1..=3 {
        scene.client.sent(format!("<message id='{id}'/>").as_bytes(), 1);
    }

    let resume = scene.resume().unwrap();
    scene.client.sent(b"<active xmlns='urn:xmpp:csi:0'/><message id='4'/>", 1);
    let heard = scene.hear("<resumed xmlns='urn:xmpp:sm:3' previd='ID' h='2'/>");

    assert_eq!(
        resume,
        "<resume xmlns='urn:xmpp:sm:3' h='1' previd='ID'/>".replace('\'', quote(&resume))
    );
    assert_eq!(heard, Ok(Heard::Resumed));
    assert_eq!(scene.again(), "<message id='3'/><active xmlns='urn:xmpp:csi:0'/><message id='4'/>");
    let arrivals = [scene.client.arrived(), scene.client.arrived(), scene.client.arrived()];
    assert_eq!(arrivals, [Arrival::Repeated, Arrival::Repeated, Arrival::New]);
    scene.client.handled(0);
    scene.hear(R).unwrap();
    assert_eq!(scene.due(), [a(4).as_str(), R].concat());
}

fn quote(text: &str) -> &'static str {
    if text.contains('"') { "\"" } else { "'" }
}

#[test]
fn connection_that_breaks_before_the_server_has_answered_is_tried_again_with_the_same_count() {
    let mut scene = Scene::managed();
    scene.arrive(2);
    scene.client.handled(1);
    let first = scene.resume();

    scene.client.handled(0);

    assert_eq!(scene.resume(), first);
}

#[test]
fn stream_that_the_server_has_forgotten_is_over_and_its_last_count_is_known() {
    let mut scene = Scene::managed();
    scene.resume();

    let heard = scene.hear(
        "<failed xmlns='urn:xmpp:sm:3' h='7'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
    );

    assert_eq!(heard, Ok(Heard::NotResumed { h: Some(7) }));
    assert_eq!(scene.resume(), None);
}

// XEP-0198 §5: what the server had handled before it forgot is not in doubt.
#[test]
fn what_a_stream_that_is_over_leaves_in_doubt_is_what_its_last_count_does_not_cover() {
    let failed = |h: &str| {
        let mut scene = Scene::managed();
        scene.is_sent(3);
        scene.resume();
        scene.hear(&format!("<failed xmlns='urn:xmpp:sm:3' {h}/>")).unwrap();
        scene.again()
    };

    assert_eq!(failed("h='2'"), "<message/>");
    assert_eq!(failed("h='9'"), "<message/>".repeat(3));
    assert_eq!(failed(""), "<message/>".repeat(3));
}

#[test]
fn server_that_lies_is_not_believed() {
    let mut scene = Scene::managed();
    scene.is_sent(1);
    assert_eq!(scene.hear(&a(2)), Err(Error::Count { h: 2, acknowledged: 0, sent: 1 }));
    assert!(scene.hear("<a xmlns='urn:xmpp:sm:3'/>").is_err());
    assert!(scene.hear("<a xmlns='urn:xmpp:sm:3' h='-1'/>").is_err());
    assert!(scene.hear("<enabled xmlns='urn:xmpp:sm:3'/>").is_err());
    assert!(scene.hear("<resumed xmlns='urn:xmpp:sm:3' previd='ID' h='0'/>").is_err());

    scene.resume();

    let other = scene.hear("<resumed xmlns='urn:xmpp:sm:3' previd='OTHER' h='0'/>");
    assert_eq!(other, Err(Error::Other));
    let high = scene.hear("<resumed xmlns='urn:xmpp:sm:3' previd='ID' h='2'/>");
    assert_eq!(high, Err(Error::Count { h: 2, acknowledged: 0, sent: 1 }));
}

#[test]
fn stream_that_ends_in_order_says_what_is_in_safe_hands() {
    let mut scene = Scene::managed();
    scene.arrive(3);
    scene.client.handled(1);
    let mut farewell = Vec::new();

    scene.client.write_farewell(&mut farewell);

    assert_eq!(String::from_utf8(farewell).unwrap(), a(2));
}

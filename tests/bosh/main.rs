//! BOSH on the real Prosody: who comes in, what is carried, and what a browser is told when something goes wrong.

#[path = "../support/mod.rs"]
mod support;

mod copies;
mod letter;
mod overtaking;

use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use reqwest::header::HeaderMap;
use tokio::time::timeout;

use crate::support::bosh::Answer;
use crate::support::bosh::Browser;
use crate::support::bosh::Session;
use crate::support::bosh::attribute;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::wire::Wire;

fn bob(proxy: &Proxy) -> Browser {
    Browser::new(proxy, Some(session_cookie("bob")))
}

fn is_terminate(answer: &Answer, condition: &str) -> bool {
    let told = |name| attribute(&answer.body, name).unwrap_or_default();
    answer.status == 200 && told("type") == "terminate" && told("condition") == condition
}

fn message(to: &str, text: &str) -> String {
    format!("<message xmlns='jabber:client' to='{to}' type='chat'><body>{text}</body></message>")
}

/// A ping that upstream answers at once.
fn ping(id: &str) -> String {
    format!(
        "<iq xmlns='jabber:client' type='get' id='{id}' to='xmpp.localhost'><ping xmlns='urn:xmpp:ping'/></iq>"
    )
}

async fn join(session: &mut Session, nick: &str) {
    let presence = format!(
        "<presence xmlns='jabber:client' to='lobby@conference.localhost/{nick}'>\
         <x xmlns='http://jabber.org/protocol/muc'/></presence>"
    );
    session.exchange(&presence, &["<subject"]).await;
}

#[tokio::test]
async fn member_and_guest_meet_in_a_room() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).sign_in().await;
    let mut alice = Browser::new(&proxy, None).sign_in().await;
    assert!(bob.jid.starts_with("bob@xmpp.localhost/"), "{}", bob.jid);
    assert!(
        alice.jid.starts_with("guest-") && alice.jid.contains("@guest.localhost/"),
        "{}",
        alice.jid
    );
    join(&mut bob, "Bob").await;
    join(&mut alice, "Alice").await;

    let say = |text: &str| {
        format!(
            "<message xmlns='jabber:client' to='lobby@conference.localhost' type='groupchat'>\
             <body>{text}</body></message>"
        )
    };
    let heard_by_bob = bob.exchange(&say("from Bob &amp; all"), &["from Bob"]).await;
    let heard_by_alice = alice.exchange(&say("from Alice"), &["from Bob", "from Alice"]).await;
    let heard_by_bob = heard_by_bob + &bob.receive(&["from Alice"]).await;

    assert!(heard_by_alice.contains("from='lobby@conference.localhost/Bob'"), "{heard_by_alice}");
    assert!(heard_by_bob.contains("from='lobby@conference.localhost/Alice'"), "{heard_by_bob}");
}

#[tokio::test]
async fn member_is_offered_external_alone_and_cannot_be_somebody_else() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    let (mut session, opened) = bob(&proxy).begin(77).await;

    assert_eq!(attribute(&opened.body, "from").as_deref(), Some("xmpp.localhost"));
    assert_eq!(opened.body.matches("</mechanism>").count(), 1, "{opened:?}");
    assert!(opened.body.contains(">EXTERNAL</mechanism>"), "{opened:?}");
    // base64 of admin@xmpp.localhost
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>YWRtaW5AeG1wcC5sb2NhbGhvc3Q=</auth>";
    let refused = session.send(auth).await;
    assert!(
        refused.body.contains("<failure") && refused.body.contains("invalid-authzid"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_a_browser_says_too_early_is_done_when_it_is_signed_in() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let (mut session, _) = bob(&proxy).begin(1_000).await;

    // As Strophe does, with what was to go over a session that is gone.
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
    let success = session.send(&format!("{}{auth}", ping("early"))).await;
    assert!(success.body.contains("<success"), "{success:?}");
    session.restart().await;
    let bind = "<iq type='set' id='bind' xmlns='jabber:client'>\
                <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    let answered = session.exchange(bind, &["<jid>", "early"]).await;

    let pong = answered.split("<iq").find(|iq| iq.contains("early")).expect("an answer");
    assert!(pong.contains("result"), "{answered}");
}

#[tokio::test]
async fn anonymous_guest_comes_in_where_the_server_knows_no_tickets() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::with(&Proxy::site(&prosody, ANONYMOUS, "")).await;

    let session = Browser::new(&proxy, None).sign_in().await;

    assert!(session.jid.contains("@anon.localhost/"), "{}", session.jid);
}

#[tokio::test]
async fn requests_sent_as_3_2_1_are_answered_in_order() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let session = bob(&proxy).prebind().await;
    let rid = session.rid;
    let post = |rid: u64, id: &str| session.browser.post(session.body(rid, "", &ping(id)));

    let (third, second, first) =
        tokio::join!(post(rid + 2, "ping-3"), post(rid + 1, "ping-2"), post(rid, "ping-1"));

    // Upstream answers in the order in which it was asked, and what it says goes to the oldest request.
    let heard = [first.body, second.body, third.body].concat();
    let mut rest = session.clone();
    rest.rid += 3;
    let heard =
        if heard.contains("ping-3") { heard } else { heard + &rest.receive(&["ping-3"]).await };
    let places: Vec<_> =
        ["ping-1", "ping-2", "ping-3"].iter().map(|id| heard.find(id).unwrap()).collect();
    assert!(places.is_sorted(), "{heard}");
}

#[tokio::test]
async fn repeated_rid_gets_the_same_answer_again() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let session = bob(&proxy).prebind().await;
    let request = session.body(session.rid, "", &ping("once"));
    let first = session.browser.post(request.clone()).await;

    let again = session.browser.post(request).await;

    assert!(first.body.contains("once"), "{first:?}");
    assert_eq!(again.body, first.body);
}

#[tokio::test]
async fn reloaded_page_goes_on_and_loses_nothing() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).prebind().await;
    let mut carol = Browser::new(&proxy, Some(session_cookie("carol"))).prebind().await;
    bob.exchange("<presence xmlns='jabber:client'/>", &["<presence"]).await;
    // The page goes while its request is held: that it is, the release of the one before shows.
    let held = tokio::spawn({
        let (browser, body) = (bob.browser.clone(), bob.body(bob.rid + 1, "", ""));
        async move { browser.post(body).await }
    });
    bob.send("").await;
    bob.rid += 1;
    held.abort();

    // The ping is for an answer.
    carol.send(&(message("bob@xmpp.localhost", "while you were away") + &ping("sent"))).await;

    let heard = bob.receive(&["while you were away"]).await;
    assert_eq!(heard.matches("while you were away").count(), 1, "{heard}");
}

#[tokio::test]
async fn request_is_held_no_longer_than_its_site_says() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::with(&Proxy::site(&prosody, GUESTS, "wait = '1s'")).await;
    let (_, opened) = bob(&proxy).begin(1).await;
    let mut prebound = bob(&proxy).prebind().await;

    let held = timeout(BEFORE_OTHER_SITES_ANSWER, prebound.send("")).await;

    assert_eq!(attribute(&opened.body, "wait").as_deref(), Some("1"));
    let answer = held.expect("an answer");
    assert!(answer.status == 200 && !answer.body.contains("terminate"), "{answer:?}");
}

/// What is in this, and what a repetition of the same request is answered with.
async fn asked_twice(coding: &str, session: &mut Session) -> [(HeaderMap, Vec<u8>); 2] {
    let question = "<iq xmlns='jabber:client' type='get' id='info' to='xmpp.localhost'>\
                    <query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let body = session.body(session.rid, "", question);
    session.rid += 1;
    let first = session.browser.post_taking(coding, body.clone()).await;
    [first, session.browser.post_taking(coding, body).await]
}

fn unpacked(packed: &[u8]) -> String {
    let mut text = String::new();
    let read = GzDecoder::new(packed).read_to_string(&mut text);
    assert!(read.is_ok(), "{read:?}");
    text
}

#[tokio::test]
async fn answer_is_compressed_where_that_is_wanted_and_the_browser_takes_it() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let compress = "[bosh]\ncompress = true\ncompress_from = '256 B'\n";
    let proxy = Proxy::with(&format!("{compress}{site}")).await;
    let mut session = bob(&proxy).prebind().await;

    let [(headers, packed), (_, again)] = asked_twice("gzip, deflate, br", &mut session).await;
    let [(plain_headers, plain), _] = asked_twice("br", &mut session).await;

    assert_eq!(headers["content-encoding"], "gzip");
    assert!(unpacked(&packed).contains("disco#info"), "{}", unpacked(&packed));
    assert_eq!(packed, again);
    assert!(!plain_headers.contains_key("content-encoding"), "{plain_headers:?}");
    assert!(String::from_utf8(plain).expect("text").contains("disco#info"));
    for headers in [headers, plain_headers] {
        let vary: Vec<_> = headers.get_all("vary").iter().collect();
        assert!(vary.iter().any(|field| *field == "Accept-Encoding"), "{vary:?}");
        assert!(vary.iter().any(|field| *field == "Origin"), "{vary:?}");
    }
}

#[tokio::test]
async fn answer_over_http_1_is_compressed_too() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let proxy =
        Proxy::with(&format!("[bosh]\ncompress = true\ncompress_from = '256 B'\n{site}")).await;
    let session = bob(&proxy).prebind().await;
    let body = session.body(session.rid, "", &ping(&"x".repeat(300)));

    let mut wire = Wire::open(&proxy, "http/1.1").await;
    let cookie = session_cookie("bob");
    wire.write(format!(
        "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nCookie: {cookie}\r\n\
         Accept-Encoding: gzip\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let answer = wire.read_to_end().await;

    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (head, packed) = answer.split_at(end);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", packed.len())), "{head}");
    assert!(unpacked(packed).contains("xxx"));
}

#[tokio::test]
async fn nothing_is_compressed_unless_it_is_wanted() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;

    let [(headers, plain), _] = asked_twice("gzip", &mut session).await;

    assert!(!headers.contains_key("content-encoding"), "{headers:?}");
    assert!(String::from_utf8(plain).expect("text").contains("disco#info"));
}

#[tokio::test]
async fn browser_that_leaves_is_unavailable_at_once() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).prebind().await;

    let farewell = bob.terminate().await;

    assert!(is_terminate(&farewell, ""), "{farewell:?}");
    let late = bob.send("").await;
    assert!(is_terminate(&late, "item-not-found"), "{late:?}");
}

#[tokio::test]
async fn second_login_of_a_signed_in_browser_ends_the_session_and_never_reaches_the_server() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = Browser::new(&proxy, Some(session_cookie("bob"))).sign_in().await;

    let auth =
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFkbWluAGFkbWlu</auth>";
    let answer = session.send(auth).await;

    assert!(is_terminate(&answer, "bad-request"), "{answer:?}");
}

#[tokio::test]
async fn restart_before_the_login_ends_the_session() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let (mut session, _) = bob(&proxy).begin(1).await;

    let answer = session.restart().await;

    assert!(is_terminate(&answer, "bad-request"), "{answer:?}");
}

#[tokio::test]
async fn forbidden_xml_ends_the_session() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let browser = bob(&proxy);
    let no_xml = browser.post("<body".to_owned()).await;
    assert!(is_terminate(&no_xml, "bad-request"), "{no_xml:?}");
    let entity = "<!DOCTYPE x [<!ENTITY a 'b'>]><body/>".to_owned();
    assert!(is_terminate(&browser.post(entity).await, "bad-request"));

    let mut session = browser.clone().prebind().await;
    let answer = session.send("<message xmlns='jabber:client'><!-- comment --></message>").await;

    assert!(is_terminate(&answer, "bad-request"), "{answer:?}");
    assert!(is_terminate(&session.send("").await, "item-not-found"));
}

#[tokio::test]
async fn proxy_goes_down_while_a_browser_has_yet_to_learn_of_lost_upstream() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    // Nobody attaches, so nobody hears that the stream is gone.
    let absent = bob(&proxy).prebind().await;
    let mut present = bob(&proxy).prebind().await;
    prosody.stop().await;
    assert!(is_terminate(&present.send("").await, "system-shutdown"));

    let stopped = timeout(BEFORE_THE_GRACE_IS_OVER, proxy.stop()).await;

    assert!(stopped.is_ok(), "{} is still there", absent.jid);
}

/// Elsewhere a request is held for a minute.
const BEFORE_OTHER_SITES_ANSWER: Duration = Duration::from_secs(30);
/// The proxy would leave whoever has not ended after 10 s.
const BEFORE_THE_GRACE_IS_OVER: Duration = Duration::from_secs(8);

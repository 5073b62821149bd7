//! BOSH on the real Prosody: who comes in, what is carried, and what a browser is told when something goes wrong.

mod support;

use std::time::Duration;

use tokio::time::timeout;

use crate::support::bosh::Answer;
use crate::support::bosh::Browser;
use crate::support::bosh::Session;
use crate::support::bosh::attribute;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::Prosody;

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

/// The proxy would leave whoever has not ended after 10 s.
const BEFORE_THE_GRACE_IS_OVER: Duration = Duration::from_secs(8);

//! The column "BOSH, later request".

use super::FAILURES;
use super::FOREIGN;
use super::SHORT;
use super::assert_bare;
use super::assert_dressed;
use super::before;
use super::bob;
use super::is_terminate;
use super::raw;
use crate::support::bosh::Answer;
use crate::support::bosh::Browser;
use crate::support::bosh::Session;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::Prosody;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;

/// A ping that upstream answers at once.
fn ping(id: &str) -> String {
    format!(
        "<iq xmlns='jabber:client' type='get' id='{id}' to='xmpp.localhost'><ping xmlns='urn:xmpp:ping'/></iq>"
    )
}

async fn assert_goes_on(session: &mut Session) {
    let answered = session.send(&ping("mine")).await;
    assert!(answered.body.contains("mine"), "{answered:?}");
}

/// What a held request is told once the session has ended.
async fn told_while_held(session: &mut Session, ends: impl Future<Output = ()>) -> Answer {
    // Once the second request releases the first, the second is held.
    let held = tokio::spawn({
        let (browser, body) = (session.browser.clone(), session.body(session.rid + 1, "", ""));
        async move { browser.post(body).await }
    });
    let released = session.send("").await;
    assert_eq!(released.status, 200, "{released:?}");
    ends.await;
    held.await.unwrap()
}

#[tokio::test]
async fn foreign_origin_and_null_are_403_and_the_session_is_untouched() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;

    for origin in FOREIGN {
        let foreign = session.browser.clone().with_origin(Some(origin));
        let answer = foreign.post(session.body(session.rid, "", &ping("evil"))).await;
        assert_eq!(answer.status, 403, "{origin}: {answer:?}");
        assert_bare(&answer);
    }
    let bare = session.browser.clone().with_origin(None);
    assert_eq!(bare.post(session.body(session.rid, "", "")).await.status, 403);

    assert_goes_on(&mut session).await;
}

#[tokio::test]
async fn host_of_no_site_is_421_and_the_session_is_untouched() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;

    for elsewhere in ["other.test", "localhost.other.test", "xmpp.localhost", "127.0.0.1"] {
        let body = session.body(session.rid, "", &ping("astray"));
        let at = (elsewhere, "/http-bind");
        assert_eq!(raw::status_of_body_for_host(&proxy, at, &body).await, 421, "{elsewhere}");
    }

    assert_goes_on(&mut session).await;
}

#[tokio::test]
async fn unknown_and_stolen_sid_are_item_not_found_and_the_session_is_untouched() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    let thieves = [
        Browser::new(&proxy, None),
        Browser::new(&proxy, Some(session_cookie("alice"))),
        Browser::new(&proxy, Some("session=nonsense".to_owned())),
    ];

    for thief in thieves {
        let theft = session.body(session.rid, "", &ping("theft"));
        let stolen = thief.post(theft.clone()).await;
        let unknown = thief.post(theft.replace(&session.sid, "no-such-sid")).await;
        assert!(is_terminate(&stolen, "item-not-found"), "{stolen:?}");
        assert_eq!(stolen.body, unknown.body);
        assert_dressed(&stolen);
    }

    assert_goes_on(&mut session).await;
}

#[tokio::test]
async fn visitor_who_is_now_another_gets_item_not_found() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = Browser::new(&proxy, None).prebind().await;
    let guest = session.browser.cookie.clone().unwrap();
    session.browser.cookie = Some(format!("{guest}; {}", session_cookie("bob")));

    let as_member = session.send("").await;

    assert!(is_terminate(&as_member, "item-not-found"), "{as_member:?}");
}

#[tokio::test]
async fn member_whom_the_site_signs_out_gets_item_not_found_while_held_and_later() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    let mut guest = Browser::new(&proxy, None).prebind().await;

    let signed_out = async {
        let question = r#"{"site": "localhost", "username": "bob"}"#;
        assert_eq!(proxy.revoke(question).await.0, 200);
    };
    let answer = told_while_held(&mut session, signed_out).await;
    let later = session.browser.post(session.body(session.rid + 1, "", "")).await;

    for answer in [answer, later] {
        assert!(is_terminate(&answer, "item-not-found"), "{answer:?}");
        assert_dressed(&answer);
    }
    assert_goes_on(&mut guest).await;
}

#[tokio::test]
async fn lost_server_is_system_shutdown() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;

    let answer = told_while_held(&mut session, prosody.stop()).await;

    assert!(is_terminate(&answer, "system-shutdown"), "{answer:?}");
    assert_dressed(&answer);
}

#[tokio::test]
async fn scripted_server_that_fails_is_system_shutdown_whatever_it_says() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for trouble in FAILURES {
        server.now(Script::Until(Moment::Established, trouble));
        let mut session = bob(&proxy).prebind().await;
        let mut answer = session.send(&ping("any")).await;
        if answer.body.contains("any") || !answer.body.contains("terminate") {
            answer = session.send("").await;
        }
        assert!(is_terminate(&answer, "system-shutdown"), "{trouble:?}: {answer:?}");
    }

    server.has_seen(|seen| seen.gone == seen.connections).await;
}

#[tokio::test]
async fn conflict_of_the_scripted_server_is_told_as_it_is() {
    let server = Server::start(Script::Until(
        Moment::Established,
        Trouble::Says(
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
        ),
    ))
    .await;
    let proxy = before(&server, SHORT).await;
    let mut session = bob(&proxy).prebind().await;

    let answer = session.send(&ping("any")).await;

    assert!(is_terminate(&answer, "remote-stream-error"), "{answer:?}");
    assert!(answer.body.contains("<conflict"), "{answer:?}");
}

/// The design's table had `system-shutdown` here. On that Converse.js asks `/prebind` at once, where nobody listens while the
/// edge restarts, and never again; after a 503 it repeats the request until somebody answers.
#[tokio::test]
async fn shutdown_is_503() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;

    let answer = told_while_held(&mut session, proxy.stop()).await;

    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    assert_dressed(&answer);
}

#[tokio::test]
async fn forbidden_xml_is_bad_request() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    for stanza in [
        "<message xmlns='jabber:client'><!-- comment --></message>",
        "<message xmlns='jabber:client'><?php ?></message>",
        "<message xmlns='jabber:client'>&undeclared;</message>",
        "<message xmlns='jabber:client'>",
        "<message xmlns='jabber:client'></presence>",
        "<message xmlns='jabber:client'>\u{1}</message>",
        "<message xmlns='jabber:client' a='1' a='2'/>",
    ] {
        let mut session = bob(&proxy).prebind().await;
        let answer = session.send(stanza).await;
        assert!(is_terminate(&answer, "bad-request"), "{stanza}: {answer:?}");
        assert_dressed(&answer);
    }
}

#[tokio::test]
async fn bound_on_the_bytes_of_a_request_is_policy_violation() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;

    let message = format!(
        "<message xmlns='jabber:client' to='bob@xmpp.localhost'><body>{}</body></message>",
        "x".repeat(300_000)
    );
    let answer = session.send(&message).await;

    assert!(is_terminate(&answer, "policy-violation"), "{answer:?}");
    assert_dressed(&answer);
}

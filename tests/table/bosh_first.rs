//! The column "BOSH, first request".

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::ASKED_FOR;
use super::BOB;
use super::CLUELESS;
use super::FOREIGN;
use super::HELD;
use super::OPENING;
use super::SHORT;
use super::assert_bare;
use super::assert_dressed;
use super::before;
use super::before_both;
use super::bob;
use super::is_terminate;
use super::outages;
use super::raw;
use crate::support::bosh::Browser;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::script::Answers;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::script::Whois;

#[tokio::test]
async fn foreign_origin_and_null_are_403_before_scripted_server_and_site_are_asked() {
    let server = Server::start(Script::Good).await;
    let whois = Whois::start(BOB).await;
    let proxy = before_both(&server, &whois, SHORT).await;

    for cookie in [Some(ASKED_FOR.to_owned()), None] {
        for origin in FOREIGN {
            let foreign = Browser::new(&proxy, cookie.clone()).with_origin(Some(origin));
            let answer = foreign.post(OPENING.to_owned()).await;
            assert_eq!(answer.status, 403, "{origin}: {answer:?}");
            assert_bare(&answer);
            assert_eq!(foreign.ask("OPTIONS", "/http-bind").await.status, 403);
        }
    }
    let silent = Browser::new(&proxy, Some(ASKED_FOR.to_owned())).with_origin(None);
    assert_eq!(silent.post(OPENING.to_owned()).await.status, 403);

    assert_eq!((server.seen().connections, whois.asked()), (0, 0));
}

#[tokio::test]
async fn host_of_no_site_is_421_before_a_scripted_server_is_asked() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    assert_eq!(raw::status_for_host(&proxy, "other.test", "/http-bind").await, 421);

    assert_eq!(server.seen().connections, 0);
    assert_eq!(raw::status_for_host(&proxy, "localhost", "/http-bind").await, 200);
}

#[tokio::test]
async fn no_valid_session_where_guests_are_welcome_is_a_guest() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    for cookie in [None, Some("session=nonsense".to_owned())] {
        let mut browser = Browser::new(&proxy, cookie);
        let (_, opened) = browser.begin(1).await;
        assert!(opened.headers.contains_key("set-cookie"), "{opened:?}");
        assert_dressed(&opened);
        // The one pair that is no trap for Converse.js, whatever the page says.
        for mechanism in [">EXTERNAL<", ">ANONYMOUS<"] {
            assert!(opened.body.contains(mechanism), "{opened:?}");
        }
        assert_eq!(opened.body.matches("</mechanism>").count(), 2, "{opened:?}");
        let guest = browser.sign_in().await;
        assert!(guest.jid.contains("@guest.localhost/"), "{}", guest.jid);
    }
}

#[tokio::test]
async fn no_valid_session_where_guests_are_not_welcome_is_not_authorized_in_sasl() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::with(&Proxy::site(&prosody, GUESTS, "without_session = 'refuse'")).await;

    let (mut session, opened) = Browser::new(&proxy, None).begin(1).await;
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
    let refused = session.send(auth).await;

    assert!(opened.status == 200 && opened.body.contains("EXTERNAL"), "{opened:?}");
    assert!(
        refused.body.contains("<failure") && refused.body.contains("<not-authorized/>"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn scripted_site_that_cannot_say_who_it_is_is_503_and_nobody_is_signed_in() {
    let server = Server::start(Script::Good).await;
    let whois = Whois::start(BOB).await;
    let proxy = before_both(&server, &whois, SHORT).await;

    for answers in CLUELESS {
        whois.now(answers);
        let browser = Browser::new(&proxy, Some(ASKED_FOR.to_owned()));
        let answer = browser.post(OPENING.to_owned()).await;
        assert_eq!(answer.status, 503, "{answers:?}: {answer:?}");
        assert_dressed(&answer);
    }

    assert_eq!(server.seen().connections, 0);
}

#[tokio::test]
async fn scripted_site_that_can_say_it_in_time_is_waited_for() {
    let server = Server::start(Script::Good).await;
    let whois = Whois::start(Answers::Hangs).await;
    let proxy = before_both(&server, &whois, HELD).await;

    let page = tokio::spawn({
        let mut page = Browser::new(&proxy, Some(ASKED_FOR.to_owned()));
        async move { page.sign_in().await }
    });
    whois.was_asked(2).await;
    whois.now(BOB);

    assert!(page.await.unwrap().jid.starts_with("bob@xmpp.localhost/"));
}

#[tokio::test]
async fn scripted_server_that_is_no_help_at_any_moment_is_503() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for script in outages(false) {
        server.now(script);
        let answer = bob(&proxy).post(OPENING.to_owned()).await;
        assert_eq!(answer.status, 503, "{script:?}: {answer:?}");
        assert_dressed(&answer);
    }

    // Nothing is left open behind the answer.
    server.has_seen(|seen| seen.gone == seen.connections).await;
}

#[tokio::test]
async fn scripted_server_that_is_itself_again_in_time_is_waited_for() {
    let server = Server::start(Script::Until(Moment::Success, Trouble::Hangs)).await;
    let proxy = before(&server, HELD).await;

    let page = tokio::spawn({
        let mut page = bob(&proxy);
        async move { page.sign_in().await }
    });
    server.has_seen(|seen| seen.connections >= 2).await;
    server.now(Script::Good);

    assert!(page.await.unwrap().jid.starts_with("bob@xmpp.localhost/"));
}

#[tokio::test]
async fn server_that_stays_down_is_503() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::with(&format!("{SHORT}{}", Proxy::site(&prosody, GUESTS, ""))).await;
    prosody.stop().await;

    let (_, answer) = bob(&proxy).begin(1).await;

    assert_eq!(answer.status, 503, "{answer:?}");
    assert_dressed(&answer);
}

#[tokio::test]
async fn shutdown_while_the_request_is_held_is_503() {
    let mut prosody = Prosody::start().await;
    let mut proxy = Proxy::before(&prosody).await;
    prosody.stop().await;
    // Where the server was, nobody answers: once we are asked there, the request is held.
    let silent = TcpListener::bind(prosody.address()).await.unwrap();
    let page = tokio::spawn({
        let page = Browser::new(&proxy, Some(session_cookie("bob")));
        async move { page.post(OPENING.to_owned()).await }
    });
    let _asked = silent.accept().await.unwrap();

    proxy.begin_stop();

    let answer = timeout(BEFORE_THE_GRACE_IS_OVER, page).await.unwrap().unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_dressed(&answer);
    assert!(timeout(BEFORE_THE_GRACE_IS_OVER, proxy.stop()).await.is_ok());
}

#[tokio::test]
async fn no_well_formed_body_is_bad_request_before_a_scripted_server_is_asked() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for body in [
        "",
        "<body",
        "no XML",
        "<!DOCTYPE x [<!ENTITY a 'b'>]><body/>",
        "<?php ?><body rid='1' xmlns='http://jabber.org/protocol/httpbind'/>",
        "<body rid='1' ver='1.6' xmlns='http://jabber.org/protocol/httpbind'><!-- --></body>",
        "<body xmlns='http://jabber.org/protocol/httpbind'/>",
        "<message/>",
    ] {
        let answer = bob(&proxy).post(body.to_owned()).await;
        assert!(is_terminate(&answer, "bad-request"), "{body}: {answer:?}");
        assert_dressed(&answer);
    }

    assert_eq!(server.seen().connections, 0);
}

#[tokio::test]
async fn bound_on_the_guests_of_an_address_is_429() {
    let prosody = Prosody::start().await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let trusting = "trusted_proxies = ['127.0.0.1']\n[guests]\nper_address = 1\n";
    let proxy = Proxy::with(&format!("{trusting}{sites}")).await;
    let alice = Browser::new(&proxy, None).forwarded_for("192.0.2.7");
    alice.clone().sign_in().await;

    let (_, second) = alice.clone().begin(1).await;

    assert_eq!(second.status, 429, "{second:?}");
    assert_dressed(&second);
    alice.forwarded_for("192.0.2.8").sign_in().await;
}

#[tokio::test]
async fn bound_on_the_sessions_of_a_visitor_is_429() {
    let prosody = Prosody::start().await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[sessions]\nper_visitor = 1\n{sites}")).await;
    bob(&proxy).sign_in().await;

    let (_, second) = bob(&proxy).begin(1).await;

    assert_eq!(second.status, 429, "{second:?}");
    assert_dressed(&second);
}

#[tokio::test]
async fn bound_on_browsers_that_wait_for_a_scripted_server_is_503_at_once() {
    let server = Server::start(Script::Until(Moment::Accepted, Trouble::Hangs)).await;
    let proxy =
        before(&server, "[upstream]\nwaiting = 1\nsign_ins = 1\nsign_in = '60s'\nhold = '60s'\n")
            .await;
    let first = tokio::spawn({
        let page = bob(&proxy);
        async move { page.post(OPENING.to_owned()).await }
    });
    server.has_seen(|seen| seen.connections == 1).await;

    let second = bob(&proxy).post(OPENING.to_owned()).await;

    assert_eq!(second.status, 503, "{second:?}");
    assert_dressed(&second);
    first.abort();
    server.has_seen(|seen| seen.gone == 1).await;
}

/// The proxy would leave whoever has not ended after 10 s.
const BEFORE_THE_GRACE_IS_OVER: Duration = Duration::from_secs(8);

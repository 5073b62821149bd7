//! The column `/prebind`.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::ASKED_FOR;
use super::BOB;
use super::CLUELESS;
use super::FOREIGN;
use super::HELD;
use super::SHORT;
use super::assert_bare;
use super::assert_dressed;
use super::before;
use super::before_both;
use super::bob;
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
            for method in ["GET", "POST", "OPTIONS"] {
                let answer = foreign.ask(method, "/prebind").await;
                assert_eq!(answer.status, 403, "{method} {origin}: {answer:?}");
                assert_bare(&answer);
            }
        }
    }
    let silent = Browser::new(&proxy, Some(ASKED_FOR.to_owned())).with_origin(None);
    assert_eq!(silent.ask("GET", "/prebind").await.status, 403);

    assert_eq!((server.seen().connections, whois.asked()), (0, 0));
    // The test can tell: the site's own page is let in.
    Browser::new(&proxy, Some(ASKED_FOR.to_owned())).prebind().await;
    assert_eq!((server.seen().signed_in, whois.asked()), (1, 1));
}

#[tokio::test]
async fn host_of_no_site_is_421_before_a_scripted_server_is_asked() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for host in ["other.test", "127.0.0.1", "localhost.other.test", "xlocalhost"] {
        assert_eq!(raw::status_for_host(&proxy, host, "/prebind").await, 421, "{host}");
    }

    assert_eq!(server.seen().connections, 0);
    assert_eq!(raw::status_for_host(&proxy, "localhost", "/prebind").await, 200);
}

#[tokio::test]
async fn no_valid_session_where_guests_are_welcome_is_a_guest() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    for cookie in [None, Some("session=nonsense".to_owned())] {
        let answer = Browser::new(&proxy, cookie.clone()).ask("GET", "/prebind").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.headers.contains_key("set-cookie"), "{answer:?}");
        assert_dressed(&answer);
        let guest = Browser::new(&proxy, cookie).prebind().await;
        assert!(guest.jid.contains("@guest.localhost/"), "{}", guest.jid);
    }
}

#[tokio::test]
async fn no_valid_session_where_guests_are_not_welcome_is_403() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::with(&Proxy::site(&prosody, GUESTS, "without_session = 'refuse'")).await;

    let refused = Browser::new(&proxy, None).ask("GET", "/prebind").await;

    assert_eq!(refused.status, 403, "{refused:?}");
    assert_dressed(&refused);
    assert_eq!(bob(&proxy).ask("GET", "/prebind").await.status, 200);
}

#[tokio::test]
async fn scripted_site_that_cannot_say_who_it_is_is_503_and_nobody_is_signed_in() {
    let server = Server::start(Script::Good).await;
    let whois = Whois::start(BOB).await;
    let proxy = before_both(&server, &whois, SHORT).await;

    for answers in CLUELESS {
        whois.now(answers);
        let answer = Browser::new(&proxy, Some(ASKED_FOR.to_owned())).ask("GET", "/prebind").await;
        assert_eq!(answer.status, 503, "{answers:?}: {answer:?}");
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
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
        async move { page.prebind().await }
    });
    whois.was_asked(2).await;
    whois.now(Answers::Trickles("{\"authenticated\": true, \"username\": \"bob\"}"));

    assert!(page.await.unwrap().jid.starts_with("bob@xmpp.localhost/"));
}

#[tokio::test]
async fn scripted_server_that_is_no_help_at_any_moment_is_503() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for script in outages(true) {
        server.now(script);
        let answer = bob(&proxy).ask("GET", "/prebind").await;
        assert_eq!(answer.status, 503, "{script:?}: {answer:?}");
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        assert_dressed(&answer);
    }

    // Nothing is left open behind the answer.
    server.has_seen(|seen| seen.gone == seen.connections).await;
}

#[tokio::test]
async fn scripted_server_that_is_itself_again_in_time_is_waited_for_at_every_moment() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, HELD).await;

    for script in outages(true) {
        let before = server.seen().connections;
        server.now(script);
        let page = tokio::spawn({
            let mut page = bob(&proxy);
            async move { page.prebind().await }
        });
        server.has_seen(|seen| seen.connections > before).await;
        server.now(Script::Good);
        assert!(page.await.unwrap().jid.starts_with("bob@xmpp.localhost/"), "{script:?}");
    }
}

#[tokio::test]
async fn scripted_server_that_says_a_byte_at_a_time_is_understood() {
    let server = Server::start(Script::Trickles).await;
    let proxy = before(&server, "").await;

    assert!(bob(&proxy).prebind().await.jid.starts_with("bob@xmpp.localhost/"));
}

#[tokio::test]
async fn scripted_server_that_binds_somebody_else_is_503() {
    let server = Server::start(Script::Until(
        Moment::Bound,
        Trouble::Says(
            "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>alice@xmpp.localhost/x</jid></bind></iq>",
        ),
    ))
    .await;
    let proxy = before(&server, SHORT).await;

    assert_eq!(bob(&proxy).ask("GET", "/prebind").await.status, 503);
}

#[tokio::test]
async fn server_that_restarts_is_waited_for() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    prosody.stop().await;

    let page = tokio::spawn({
        let mut page = bob(&proxy);
        async move { page.prebind().await }
    });
    prosody.restart_stopped().await;

    let session = page.await.unwrap();
    assert!(session.jid.starts_with("bob@xmpp.localhost/"), "{}", session.jid);
}

#[tokio::test]
async fn server_that_stays_down_is_503() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::with(&format!("{SHORT}{}", Proxy::site(&prosody, GUESTS, ""))).await;
    prosody.stop().await;

    let answer = bob(&proxy).ask("GET", "/prebind").await;

    assert_eq!(answer.status, 503, "{answer:?}");
    assert_dressed(&answer);
}

#[tokio::test]
async fn browser_is_sent_to_prebind_again_as_often_as_browsers_follow_while_the_server_is_down() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::with(&format!("{SHORT}{}", Proxy::site(&prosody, GUESTS, ""))).await;
    prosody.stop().await;
    let mut page = bob(&proxy);

    for (asked, sent) in [("/prebind", "?held=1"), ("/prebind?held=18", "?held=19")] {
        let answer = page.get_from_own_page(asked).await;
        assert_eq!(answer.status, 307, "{answer:?}");
        assert_eq!(answer.headers["location"], sent);
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    for asked in ["/prebind?held=19", "/prebind?held=255", "/prebind?held=x", "/prebind?x"] {
        assert_eq!(page.get_from_own_page(asked).await.status, 503, "{asked}");
    }

    prosody.restart_stopped().await;
    let answer = page.get_from_own_page("/prebind?held=19").await;
    assert!(page.prebound(&answer).jid.starts_with("bob@xmpp.localhost/"));
}

#[tokio::test]
async fn shutdown_while_the_page_is_held_is_503() {
    let mut prosody = Prosody::start().await;
    let mut proxy = Proxy::before(&prosody).await;
    prosody.stop().await;
    // Where the server was, nobody answers: once we are asked there, the page is held.
    let silent = TcpListener::bind(prosody.address()).await.unwrap();
    let page = tokio::spawn({
        let page = Browser::new(&proxy, Some(session_cookie("bob")));
        async move { page.ask("GET", "/prebind").await }
    });
    let _asked = silent.accept().await.unwrap();

    proxy.begin_stop();

    let answer = timeout(BEFORE_THE_GRACE_IS_OVER, page).await.unwrap().unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_dressed(&answer);
    assert!(timeout(BEFORE_THE_GRACE_IS_OVER, proxy.stop()).await.is_ok());
}

#[tokio::test]
async fn bound_on_the_guests_of_an_address_is_429() {
    let prosody = Prosody::start().await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let trusting = "trusted_proxies = ['127.0.0.1']\n[guests]\nper_address = 1\n";
    let proxy = Proxy::with(&format!("{trusting}{sites}")).await;
    let alice = Browser::new(&proxy, None).forwarded_for("192.0.2.7");
    let first = alice.clone().prebind().await;

    let second = alice.ask("GET", "/prebind").await;
    let with_cookie = first.browser.ask("GET", "/prebind").await;

    for refused in [second, with_cookie] {
        assert_eq!(refused.status, 429, "{refused:?}");
        assert_dressed(&refused);
    }
    alice.forwarded_for("192.0.2.8").prebind().await;
    bob(&proxy).forwarded_for("192.0.2.7").prebind().await;
}

#[tokio::test]
async fn page_of_a_browser_is_held_at_a_bound_until_there_is_a_place() {
    let prosody = Prosody::start().await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&format!("[sessions]\nper_visitor = 1\n{sites}")).await;
    let mut first = bob(&proxy).prebind().await;
    let second = tokio::spawn({
        let mut page = bob(&proxy);
        async move {
            let answer = page.get_from_own_page("/prebind").await;
            page.prebound(&answer)
        }
    });
    let reached = "vestibule_bounds_reached_total{bound=\"sessions_per_visitor\"} 1";
    let is_held = async { while !proxy.metrics().await.contains(reached) {} };
    timeout(IN_TIME, is_held).await.unwrap();

    first.terminate().await;

    assert!(second.await.unwrap().jid.starts_with("bob@xmpp.localhost/"));
}

#[tokio::test]
async fn page_that_waits_at_a_bound_in_vain_is_sent_here_again() {
    let prosody = Prosody::start().await;
    let sites = Proxy::site(&prosody, GUESTS, "");
    let settings = "[upstream]\nhold = '1s'\n[prebind]\nhold = '3s'\n[sessions]\nper_visitor = 1\n";
    let proxy = Proxy::with(&format!("{settings}{sites}")).await;
    let _first = bob(&proxy).prebind().await;

    let answer = bob(&proxy).get_from_own_page("/prebind").await;
    let last = bob(&proxy).get_from_own_page("/prebind?held=19").await;

    assert_eq!((answer.status, &answer.headers["location"]), (307, &"?held=1".parse().unwrap()));
    assert_eq!(last.status, 429);
}

#[tokio::test]
async fn bound_on_browsers_that_wait_for_a_scripted_server_is_503_at_once() {
    let server = Server::start(Script::Until(Moment::Accepted, Trouble::Hangs)).await;
    let proxy = before(&server, "[upstream]\nwaiting = 1\nsign_ins = 1\nsign_in = '60s'\n").await;
    let first = tokio::spawn({
        let page = bob(&proxy);
        async move { page.ask("GET", "/prebind").await }
    });
    server.has_seen(|seen| seen.connections == 1).await;

    let second = bob(&proxy).ask("GET", "/prebind").await;

    assert_eq!(second.status, 503, "{second:?}");
    assert_dressed(&second);
    first.abort();
    server.has_seen(|seen| seen.gone == 1).await;
    server.now(Script::Good);
    bob(&proxy).prebind().await;
}

/// The proxy would leave whoever has not ended after 10 s.
const BEFORE_THE_GRACE_IS_OVER: Duration = Duration::from_secs(8);

/// What is awaited comes at once; a loaded machine takes more.
const IN_TIME: Duration = Duration::from_secs(30);

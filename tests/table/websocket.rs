//! The column "WebSocket".

mod bounds;
mod framing;

use super::ASKED_FOR;
use super::BOB;
use super::CLUELESS;
use super::FAILURES;
use super::FOREIGN;
use super::HELD;
use super::SHORT;
use super::before;
use super::before_both;
use super::outages;
use crate::support::gateway::ORIGIN;
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
use crate::support::websocket::Socket;

async fn bob(proxy: &Proxy) -> Socket {
    Socket::open(proxy, Some(&session_cookie("bob"))).await
}

/// Behind the 101 the browser is told, in its own language, to come back.
async fn assert_shutdown_behind_the_101(proxy: &Proxy, cookie: Option<&str>, why: &str) {
    let mut socket = Socket::open(proxy, cookie).await;
    let (open, error) = socket.open_stream("xmpp.localhost").await;
    assert!(open.starts_with("<open "), "{why}: {open}");
    assert_error(&error, "system-shutdown", why);
    assert_closed(&mut socket).await;
}

fn assert_error(error: &str, condition: &str, why: &str) {
    assert!(error.starts_with("<stream:error "), "{why}: {error}");
    assert!(error.contains(&format!("<{condition} ")), "{why}: {error}");
    assert!(error.contains("http://etherx.jabber.org/streams"), "{why}: {error}");
}

/// `<close/>`, and then the connection.
async fn assert_closed(socket: &mut Socket) {
    let close = socket.receive().await;
    assert!(close.starts_with("<close "), "{close}");
    socket.next().await;
    assert!(socket.next().await.is_none());
}

#[tokio::test]
async fn foreign_origin_and_null_are_403_before_scripted_server_and_site_are_asked() {
    let server = Server::start(Script::Good).await;
    let whois = Whois::start(BOB).await;
    let proxy = before_both(&server, &whois, SHORT).await;

    for origin in FOREIGN {
        let with = Socket::try_open(&proxy, &[("origin", origin), ("cookie", ASKED_FOR)]).await;
        let without = Socket::try_open(&proxy, &[("origin", origin)]).await;
        assert_eq!((with.unwrap_err(), without.unwrap_err()), (403, 403), "{origin}");
    }
    let silent = Socket::try_open(&proxy, &[("cookie", ASKED_FOR)]).await;
    assert_eq!(silent.unwrap_err(), 403);

    assert_eq!((server.seen().connections, whois.asked()), (0, 0));
    let shown = [("cookie", ASKED_FOR), ("sec-fetch-site", "same-origin")];
    assert!(Socket::try_open(&proxy, &shown).await.is_ok());
}

#[tokio::test]
async fn host_of_no_site_is_421_before_a_scripted_server_is_asked() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    let nowhere = Socket::try_open(&proxy, &[("origin", ORIGIN), ("host", "other.test")]).await;

    assert_eq!(nowhere.unwrap_err(), 421);
    assert_eq!(server.seen().connections, 0);
}

#[tokio::test]
async fn no_valid_session_where_guests_are_welcome_is_a_guest() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;

    for cookie in [None, Some("session=nonsense")] {
        let mut guest = Socket::open(&proxy, cookie).await;
        let (_, features) = guest.open_stream("xmpp.localhost").await;
        // The one pair that is no trap for Converse.js, whatever the page says.
        for mechanism in [">EXTERNAL<", ">ANONYMOUS<"] {
            assert!(features.contains(mechanism), "{features}");
        }
        assert_eq!(features.matches("</mechanism>").count(), 2, "{features}");
        assert!(guest.auth("EXTERNAL", "xmpp.localhost").await.starts_with("<success"));
        guest.open_stream("xmpp.localhost").await;
        assert!(guest.bind().await.contains("@guest.localhost/"));
    }
}

#[tokio::test]
async fn no_valid_session_where_guests_are_not_welcome_is_101_and_not_authorized_in_sasl() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::with(&Proxy::site(&prosody, GUESTS, "without_session = 'refuse'")).await;
    let mut visitor = Socket::open(&proxy, None).await;
    visitor.open_stream("xmpp.localhost").await;

    let answer = visitor.auth("EXTERNAL", "xmpp.localhost").await;

    assert!(answer.starts_with("<failure") && answer.contains("<not-authorized/>"), "{answer}");
}

#[tokio::test]
async fn scripted_site_that_cannot_say_who_it_is_is_system_shutdown_and_nobody_is_signed_in() {
    let server = Server::start(Script::Good).await;
    let whois = Whois::start(BOB).await;
    let proxy = before_both(&server, &whois, SHORT).await;

    for answers in CLUELESS {
        whois.now(answers);
        assert_shutdown_behind_the_101(&proxy, Some(ASKED_FOR), &format!("{answers:?}")).await;
    }

    assert_eq!(server.seen().connections, 0);
}

#[tokio::test]
async fn scripted_site_that_can_say_it_in_time_is_waited_for() {
    let server = Server::start(Script::Good).await;
    let whois = Whois::start(Answers::Hangs).await;
    let proxy = before_both(&server, &whois, HELD).await;

    let held = Socket::open(&proxy, Some(ASKED_FOR));
    let recovers = async {
        whois.was_asked(2).await;
        whois.now(BOB);
    };
    let (mut socket, ()) = tokio::join!(held, recovers);

    assert!(socket.sign_in("bob@xmpp.localhost").await.starts_with("bob@xmpp.localhost/"));
}

#[tokio::test]
async fn scripted_server_that_is_no_help_at_any_moment_is_system_shutdown() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;
    let bob = session_cookie("bob");

    for script in outages(false) {
        server.now(script);
        assert_shutdown_behind_the_101(&proxy, Some(&bob), &format!("{script:?}")).await;
    }
    // A guest is told the same.
    assert_shutdown_behind_the_101(&proxy, None, "a guest").await;

    // Nothing is left open behind the answer.
    server.has_seen(|seen| seen.gone == seen.connections).await;
}

#[tokio::test]
async fn scripted_server_that_is_itself_again_in_time_is_waited_for() {
    let server = Server::start(Script::Until(Moment::Success, Trouble::Hangs)).await;
    let proxy = before(&server, HELD).await;

    let mut socket = bob(&proxy).await;
    let recovers = async {
        server.has_seen(|seen| seen.connections >= 2).await;
        server.now(Script::Good);
    };
    let (jid, ()) = tokio::join!(socket.sign_in("bob@xmpp.localhost"), recovers);

    assert!(jid.starts_with("bob@xmpp.localhost/"), "{jid}");
}

#[tokio::test]
async fn what_the_browser_says_while_a_scripted_server_is_waited_for_is_heard_when_it_is_there() {
    let server = Server::start(Script::Until(Moment::Success, Trouble::Hangs)).await;
    let proxy = before(&server, HELD).await;
    let mut bob = bob(&proxy).await;
    bob.send(OPEN).await;
    assert!(bob.receive().await.starts_with("<open "));

    bob.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>").await;
    bob.send(OPEN).await;
    server.has_seen(|seen| seen.connections >= 2).await;
    server.now(Script::Good);

    for answer in
        ["EXTERNAL</mechanism>", "<success ", "<open ", "urn:ietf:params:xml:ns:xmpp-bind"]
    {
        let said = bob.receive().await;
        assert!(said.contains(answer), "{answer}: {said}");
    }
}

#[tokio::test]
async fn server_that_restarts_is_waited_for() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    prosody.stop().await;

    let mut bob = bob(&proxy).await;
    let (jid, ()) = tokio::join!(bob.sign_in("bob@xmpp.localhost"), prosody.restart_stopped());

    assert!(jid.starts_with("bob@xmpp.localhost/"), "{jid}");
}

#[tokio::test]
async fn server_that_stays_down_is_system_shutdown() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::with(&format!("{SHORT}{}", Proxy::site(&prosody, GUESTS, ""))).await;
    prosody.stop().await;

    assert_shutdown_behind_the_101(&proxy, Some(&session_cookie("bob")), "down").await;
}

#[tokio::test]
async fn member_whom_the_site_signs_out_is_told_policy_violation() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).await;
    bob.sign_in("bob@xmpp.localhost").await;

    let question = r#"{"site": "localhost", "username": "bob"}"#;
    assert_eq!(proxy.revoke(question).await.0, 200);

    assert_error(&bob.receive().await, "policy-violation", "signed out");
    assert_closed(&mut bob).await;
}

#[tokio::test]
async fn lost_server_is_system_shutdown() {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).await;
    bob.sign_in("bob@xmpp.localhost").await;

    prosody.stop().await;

    assert_error(&bob.receive().await, "system-shutdown", "killed");
    assert_closed(&mut bob).await;
}

#[tokio::test]
async fn server_that_goes_during_the_browsers_login_is_system_shutdown_before_the_features_behind_it()
 {
    let mut prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).await;
    bob.open_stream("xmpp.localhost").await;

    prosody.stop().await;
    bob.auth("EXTERNAL", "bob@xmpp.localhost").await;
    let (open, error) = bob.open_stream("xmpp.localhost").await;

    assert!(open.starts_with("<open "), "{open}");
    assert_error(&error, "system-shutdown", "gone");
    assert_closed(&mut bob).await;
}

#[tokio::test]
async fn scripted_server_that_fails_is_system_shutdown_whatever_it_says() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for trouble in FAILURES {
        for moment in [Moment::Bound, Moment::Established] {
            let why = format!("{moment:?} {trouble:?}");
            server.now(Script::Until(moment, trouble));
            let mut bob = bob(&proxy).await;
            bob.open_stream("xmpp.localhost").await;
            bob.auth("EXTERNAL", "bob@xmpp.localhost").await;
            bob.open_stream("xmpp.localhost").await;
            bob.send(BIND).await;
            if moment == Moment::Established {
                assert!(bob.receive().await.contains("<jid>"), "{why}");
                bob.send("<presence xmlns='jabber:client'/>").await;
            }
            assert_error(&bob.receive().await, "system-shutdown", &why);
            assert_closed(&mut bob).await;
        }
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
    let mut bob = bob(&proxy).await;
    bob.sign_in("bob@xmpp.localhost").await;

    bob.send("<presence xmlns='jabber:client'/>").await;

    let error = bob.receive().await;
    assert!(error.contains("stream:error") && error.contains("<conflict "), "{error}");
    assert_closed(&mut bob).await;
}

#[tokio::test]
async fn shutdown_while_the_scripted_site_is_asked_is_503() {
    let whois = Whois::start(Answers::Hangs).await;
    let server = Server::start(Script::Good).await;
    let mut proxy = before_both(&server, &whois, HELD).await;
    let address = proxy.address();
    let tls = proxy.tls("http/1.1");
    let headers = [("origin", ORIGIN), ("cookie", ASKED_FOR)];
    let held = Socket::dial(address, tls, "/xmpp-websocket", &headers);
    let goes = async {
        whois.was_asked(1).await;
        proxy.begin_stop();
    };
    let (opened, ()) = tokio::join!(held, goes);

    assert_eq!(opened.unwrap_err(), 503);
}

#[tokio::test]
async fn shutdown_while_the_scripted_server_is_waited_for_is_system_shutdown() {
    let server = Server::start(Script::Until(Moment::Accepted, Trouble::Hangs)).await;
    let mut proxy = before(&server, HELD).await;
    let mut bob = bob(&proxy).await;
    bob.send(OPEN).await;
    let open = bob.receive().await;
    assert!(open.starts_with("<open "), "no word of the server is in it: {open}");
    server.has_seen(|seen| seen.connections == 1).await;

    proxy.begin_stop();

    assert_error(&bob.receive().await, "system-shutdown", "we go down");
    assert_closed(&mut bob).await;
    server.has_seen(|seen| seen.gone == 1).await;
}

#[tokio::test]
async fn shutdown_is_system_shutdown() {
    let prosody = Prosody::start().await;
    let mut proxy = Proxy::before(&prosody).await;
    let mut in_session = bob(&proxy).await;
    in_session.sign_in("bob@xmpp.localhost").await;
    let mut in_login = bob(&proxy).await;
    in_login.open_stream("xmpp.localhost").await;

    proxy.begin_stop();

    for mut socket in [in_session, in_login] {
        assert_error(&socket.receive().await, "system-shutdown", "we go down");
        assert_closed(&mut socket).await;
    }
    proxy.stop().await;
}

#[tokio::test]
async fn forbidden_xml_is_a_stream_error_at_every_moment() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for (text, condition) in [
        ("<message xmlns='jabber:client'><!-- hidden --></message>", "restricted-xml"),
        ("<message xmlns='jabber:client'><?php ?></message>", "restricted-xml"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><message xmlns='jabber:client'/>", "restricted-xml"),
        ("<message xmlns='jabber:client'>", "not-well-formed"),
        ("<message xmlns='jabber:client'/><message xmlns='jabber:client'/>", "not-well-formed"),
        ("", "not-well-formed"),
    ] {
        let mut established = bob(&proxy).await;
        established.sign_in("bob@xmpp.localhost").await;
        established.send(text).await;
        assert_error(&established.receive().await, condition, text);
        assert_closed(&mut established).await;

        let mut in_login = bob(&proxy).await;
        in_login.open_stream("xmpp.localhost").await;
        in_login.send(text).await;
        let error = in_login.receive().await;
        assert!(error.contains("stream:error"), "{text}: {error}");
        assert_closed(&mut in_login).await;
    }
}

const OPEN: &str =
    "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='xmpp.localhost' version='1.0'/>";
const BIND: &str = "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";

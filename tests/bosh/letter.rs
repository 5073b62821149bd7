//! What stands in the attributes and headers of a request, as XEP-0124 and XEP-0206 have it, on the wire.

use std::net::SocketAddr;

use crate::bob;
use crate::is_terminate;
use crate::ping;
use crate::support::bosh::Browser;
use crate::support::bosh::attribute;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::Prosody;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::wire::Wire;

/// For guests without accounts, at a server that does as it is told.
fn anonymous(server: SocketAddr) -> String {
    format!(
        "[[site]]\nhosts = ['localhost']\n[site.guests]\ndomain = 'guest.localhost'\n\
         upstream = '{server}'\npass = 'anonymous'\n"
    )
}

// XEP-0124 §7.1: "the default language of any human-readable XML character data sent or received during the session".
#[tokio::test]
async fn language_of_a_session_is_that_of_its_stream_with_the_server() {
    let server = Server::start(Script::Good).await;
    let proxy = Proxy::with(&anonymous(server.address())).await;
    let browser = Browser::new(&proxy, None);

    browser.open("ver='1.11' xml:lang='de-AT'").await;
    let said = server.headers();
    browser.open("ver='1.11' xml:lang='&#39; from=&#39;evil'").await;

    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said.iter().all(|header| header.contains(" xml:lang='de-AT'")), "{said:?}");
    let other = server.headers().split_off(2);
    assert!(other.len() == 2 && !other.concat().contains("lang"), "{other:?}");
}

// XEP-0206 §3, RFC 6120 §4.9.3.25
#[tokio::test]
async fn browser_older_than_xmpp_1_0_is_told_so_before_anybody_is_signed_in() {
    let server = Server::start(Script::Good).await;
    let proxy = Proxy::with(&anonymous(server.address())).await;
    let browser = Browser::new(&proxy, None);

    let xmpp = "xmlns:xmpp='urn:xmpp:xbosh' xmpp:version";
    let (_, old) = browser.open(&format!("ver='1.11' {xmpp}='0.9'")).await;

    assert!(is_terminate(&old, "remote-stream-error"), "{old:?}");
    assert!(old.body.contains("<unsupported-version "), "{old:?}");
    assert_eq!(server.seen().connections, 0);
    for version in ["1.0", "1.5"] {
        let (_, opened) = browser.open(&format!("ver='1.11' {xmpp}='{version}'")).await;
        assert_eq!(attribute(&opened.body, "xmpp:version").as_deref(), Some("1.0"));
    }
}

// XEP-0124 §7.2: no `accept` has said that it may; §17.2: `bad-request` is for the header that is not acceptable.
#[tokio::test]
async fn request_in_a_coding_is_refused_over_either_version_of_http_and_the_session_goes_on() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    let body = session.body(session.rid, "", &ping("coded"));
    let cookie = session_cookie("bob");

    let coded = session.browser.post_with(&[("Content-Encoding", "gzip")], body.clone()).await;
    let mut wire = Wire::open(&proxy, "http/1.1").await;
    wire.write(format!(
        "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nCookie: {cookie}\r\n\
         Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    let by_hand = String::from_utf8(wire.read_to_end().await).expect("text");

    assert!(is_terminate(&coded, "bad-request"), "{coded:?}");
    assert!(by_hand.starts_with("HTTP/1.1 200"), "{by_hand}");
    assert!(by_hand.ends_with(&coded.body), "{by_hand}");
    let plain = session.browser.post_with(&[("Content-Encoding", "identity")], body).await;
    assert_eq!(plain.status, 200);
    session.rid += 1;
    assert!(plain.body.contains("coded") || !session.receive(&["coded"]).await.is_empty());
}

// XEP-0124 §5: "SHOULD ignore all HTTP Content-Type headers"; §6: the content holds no processing instruction, the document may
// have a declaration.
#[tokio::test]
async fn type_of_a_request_means_nothing_and_a_declaration_before_its_body_neither() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    let declared = "<?xml version='1.0' encoding='utf-8'?>\n";
    let body = session.body(session.rid, "", &ping("declared"));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];

    let answer = session.browser.post_with(&form, format!("{declared}{body}")).await;

    session.rid += 1;
    let heard = if answer.body.contains("declared") {
        answer.body
    } else {
        session.receive(&["declared"]).await
    };
    assert!(heard.contains("result"), "{heard}");
}

// XEP-0124 §16.3: what is for a feature that was not offered is ignored; §7.1: a sid that is no session's is not found.
#[tokio::test]
async fn attributes_as_long_as_a_request_may_be_harm_nobody() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    let long = "x".repeat(100_000);

    let to = session.body(session.rid, &format!("to='{long}' stream='{long}'"), &ping("long"));
    let answer = session.browser.post(to).await;
    let nobody = session.body(1, "", "").replace(&session.sid, &long);

    session.rid += 1;
    assert!(is_terminate(&session.browser.post(nobody).await, "item-not-found"));
    assert!(answer.body.contains("long") || !session.receive(&["long"]).await.is_empty());
    let (_, wishes) = session.browser.open(&format!("ver='1.11' content='text/{long}'")).await;
    assert!(is_terminate(&wishes, "bad-request"), "{wishes:?}");
    let numbers = "ver='1.11' wait='99999999999999999999999' hold='99999999999999999999999'";
    let (_, numbers) = session.browser.open(numbers).await;
    assert_eq!(attribute(&numbers.body, "wait").as_deref(), Some("60"), "{numbers:?}");
}

// XEP-0124 §7.1: the type "that MUST appear in all the connection manager's responses during the session".
#[tokio::test]
async fn every_answer_of_a_session_has_the_type_that_its_browser_asked_for_and_acts_as_no_page() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let browser = bob(&proxy);

    let (mut session, opened) = browser.open("content='text/html' ver='1.11'").await;
    let failed =
        session.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'/>").await;
    let farewell = session.terminate().await;

    for answer in [opened, failed, farewell] {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "text/html", "{answer:?}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["content-security-policy"], "default-src 'none'; sandbox");
    }
    let (_, usual) = browser.open("ver='1.11'").await;
    assert_eq!(usual.headers["content-type"], "text/xml; charset=utf-8");
    let (_, lie) = browser.open("content='text/xml; charset=iso-8859-1' ver='1.11'").await;
    assert!(is_terminate(&lie, "bad-request"), "{lie:?}");
}

// XEP-0124 §7.1, §17.2
#[tokio::test]
async fn route_elsewhere_is_host_unknown_and_one_to_the_sites_domain_changes_nothing() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let browser = bob(&proxy);

    let (_, elsewhere) = browser.open("ver='1.11' route='xmpp:elsewhere.test:5222'").await;
    let (_, own) = browser.open("ver='1.11' route='xmpp:xmpp.localhost:5222'").await;

    assert!(is_terminate(&elsewhere, "host-unknown"), "{elsewhere:?}");
    assert_eq!(attribute(&own.body, "from").as_deref(), Some("xmpp.localhost"));
}

// XEP-0206 §5: there is nothing to begin anew, and nothing to wait for.
#[tokio::test]
async fn restart_of_a_prebound_session_ends_it() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;

    let answer = session.restart().await;

    assert!(is_terminate(&answer, "bad-request"), "{answer:?}");
}

// XEP-0124 §9, §15
#[tokio::test]
async fn acknowledgements_and_keys_are_kept_on_the_wire() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let browser = bob(&proxy);

    // The keys of the examples in XEP-0124 §15.4.
    let newkey = "newkey='ca393b51b682f61f98e7877d61146407f3d0a770'";
    let (session, opened) = browser.open(&format!("ver='1.11' ack='1' {newkey}")).await;
    assert_eq!(attribute(&opened.body, "ack").as_deref(), Some("1000"));
    let keyed = "key='bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d'";
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
    let success = browser.post(session.body(1001, keyed, auth)).await;
    assert!(success.body.contains("<success"), "{success:?}");
    let forged = browser.post(session.body(1002, keyed, "")).await;

    assert!(is_terminate(&forged, "item-not-found"), "{forged:?}");
}

// XEP-0124 §17.1
#[tokio::test]
async fn legacy_browser_is_told_by_statuses() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let browser = bob(&proxy);

    let (session, opened) = browser.open("wait='60' hold='1'").await;
    assert!(opened.body.contains(" ver='1.11'"), "{opened:?}");
    let outside = browser.post(session.body(session.rid + 100, "", "")).await;
    assert_eq!((outside.status, outside.body.as_str()), (404, ""));
    let (mut session, _) = browser.open("wait='60' hold='0'").await;
    assert_eq!(session.send("").await.status, 200);
    assert_eq!(session.send("").await.status, 403);
    let (mut session, _) = browser.open("wait='60' hold='1'").await;
    assert_eq!(session.send("<!-- comment -->").await.status, 400);

    let nobody = session.body(1, "", "").replace(&session.sid, "no-such-sid");
    assert!(
        is_terminate(&browser.post(nobody).await, "item-not-found"),
        "whose it was, nobody knows"
    );
}

// XEP-0124 §12
#[tokio::test]
async fn browser_that_polls_too_often_is_sent_away() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let (mut session, opened) = bob(&proxy).open("ver='1.11' wait='0' hold='0'").await;
    assert_eq!(attribute(&opened.body, "polling").as_deref(), Some("2"));
    assert_eq!(session.send("").await.status, 200);

    let hasty = session.send("").await;

    assert!(is_terminate(&hasty, "policy-violation"), "{hasty:?}");
    assert!(is_terminate(&session.send("").await, "item-not-found"));
}

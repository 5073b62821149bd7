//! The row "not one well-formed stanza, forbidden XML", and what else RFC 7395 says of messages and of the end of a stream.

use tokio_tungstenite::tungstenite::Message;

use super::OPEN;
use super::assert_closed;
use super::assert_error;
use super::bob;
use crate::SHORT;
use crate::before;
use crate::support::gateway::Proxy;
use crate::support::prosody::Prosody;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::websocket::Socket;

/// Where a browser is when it says something.
#[derive(Clone, Copy, Debug)]
enum When {
    First,
    InLogin,
    Established,
}

const ALWAYS: [When; 3] = [When::First, When::InLogin, When::Established];

async fn bob_at(proxy: &Proxy, when: When) -> Socket {
    let mut bob = bob(proxy).await;
    match when {
        When::First => {}
        When::InLogin => {
            bob.open_stream("xmpp.localhost").await;
        }
        When::Established => {
            bob.sign_in("bob@xmpp.localhost").await;
        }
    }
    bob
}

/// Says this, and is told this stream error, behind an `<open/>` where there was none (§3.4).
async fn assert_refused(proxy: &Proxy, when: When, text: &str, condition: &str) {
    let why = format!("{when:?} {text:?}");
    let mut bob = bob_at(proxy, when).await;
    bob.send(text).await;
    if matches!(when, When::First) {
        let open = bob.receive().await;
        assert!(open.starts_with("<open "), "{why}: {open}");
    }
    assert_error(&bob.receive().await, condition, &why);
    assert_closed(&mut bob).await;
}

// §3.8: each message has to start with "<".
#[tokio::test]
async fn white_space_to_keep_the_connection_alive_is_no_message() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for when in ALWAYS {
        for text in [" ", "\n", ""] {
            assert_refused(&proxy, when, text, "not-well-formed").await;
        }
    }
}

#[tokio::test]
async fn white_space_around_a_stanza_does_no_harm() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).await;
    let jid = bob.sign_in("bob@xmpp.localhost").await;

    bob.send(&format!(
        "\n <message xmlns='jabber:client' to='{jid}'><body>aired</body></message>\r\n"
    ))
    .await;

    assert!(bob.receive().await.contains("aired"));
}

#[tokio::test]
async fn prolog_of_any_kind_is_refused_at_every_moment() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for when in ALWAYS {
        for prolog in
            ["<?xml version='1.0'?>", "<?xml-stylesheet href='x'?>", "<!-- hello -->", DOCTYPE]
        {
            for element in [OPEN, MESSAGE] {
                let text = format!("{prolog}{element}");
                assert_refused(&proxy, when, &text, "restricted-xml").await;
            }
        }
    }
}

#[tokio::test]
async fn two_elements_are_not_one_message() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for when in ALWAYS {
        for text in
            [[OPEN, OPEN].concat(), [MESSAGE, MESSAGE].concat(), [MESSAGE, "hello"].concat()]
        {
            assert_refused(&proxy, when, &text, "not-well-formed").await;
        }
    }
}

#[tokio::test]
async fn stream_does_not_begin_with_anything_but_its_open() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for text in [
        MESSAGE,
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
        "<open to='xmpp.localhost' version='1.0'/>",
        "<open xmlns='jabber:client' to='xmpp.localhost' version='1.0'/>",
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='xmpp.localhost' version='1.0'/>",
    ] {
        assert_refused(&proxy, When::First, text, "bad-format").await;
    }
    let older =
        "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='xmpp.localhost' version='0.9'/>";
    assert_refused(&proxy, When::First, older, "unsupported-version").await;
}

#[tokio::test]
async fn open_without_a_domain_and_a_version_is_one() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;
    let mut bob = bob(&proxy).await;

    bob.send("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>").await;

    let open = bob.receive().await;
    assert!(open.contains("from=\"xmpp.localhost\"") && open.contains("version=\"1.0\""), "{open}");
    assert!(bob.receive().await.starts_with("<stream:features "));
}

// RFC 6455 §7.4.1.
#[tokio::test]
async fn binary_message_ends_the_connection_with_1003_at_every_moment() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for when in ALWAYS {
        let mut bob = bob_at(&proxy, when).await;
        bob.send_frame(Message::binary(OPEN.as_bytes().to_vec())).await;
        let code = loop {
            match bob.next().await {
                Some(Message::Close(Some(frame))) => break u16::from(frame.code),
                Some(Message::Text(_)) => {}
                other => panic!("{when:?}: {other:?}"),
            }
        };
        assert_eq!(code, 1003, "{when:?}");
    }
}

#[tokio::test]
async fn stanza_that_names_no_namespace_is_in_that_of_the_stream() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut bob = bob(&proxy).await;
    let jid = bob.sign_in("bob@xmpp.localhost").await;

    bob.send(&format!("<message to='{jid}'><body>plain</body></message>")).await;

    let message = bob.receive().await;
    assert!(message.contains("plain"), "{message}");
    assert!(message.contains("jabber:client"), "what comes names it (§3.3.3): {message}");
}

#[tokio::test]
async fn close_is_answered_by_close_at_every_moment_and_its_address_is_nobodys_business() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for when in ALWAYS {
        for more in ["", " see-other-uri='wss://elsewhere.test/xmpp'"] {
            let mut bob = bob_at(&proxy, when).await;
            bob.send(&format!("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'{more}/>")).await;
            let mut said = Vec::new();
            let close = loop {
                match bob.next().await {
                    Some(Message::Text(text)) => said.push(text.to_string()),
                    other => break other,
                }
            };
            // Strophe knows a clean close by exactly this.
            let last = said.last().map(String::as_str);
            assert_eq!(
                last,
                Some("<close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\" />"),
                "{when:?}"
            );
            assert!(!said.concat().contains("error"), "{when:?}: {said:?}");
            let Some(Message::Close(Some(frame))) = close else { panic!("{when:?}: {close:?}") };
            assert_eq!(u16::from(frame.code), 1000, "{when:?}");
        }
    }
    server.has_seen(|seen| seen.gone == seen.connections).await;
}

// §3.6.1: a browser would go where `see-other-uri` says, with the site's cookie at best; only the administrator says where his
// server is.
#[tokio::test]
async fn server_that_names_another_host_is_an_outage_and_nobody_is_sent_there() {
    let server = Server::start(Script::Good).await;
    let proxy = before(&server, SHORT).await;

    for moment in [Moment::Features, Moment::SecondFeatures, Moment::Bound, Moment::Established] {
        server.now(Script::Until(moment, Trouble::Says(ELSEWHERE)));
        let mut bob = bob(&proxy).await;
        let mut said = String::new();
        for text in [
            OPEN,
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
            OPEN,
            super::BIND,
            "<presence xmlns='jabber:client'/>",
        ] {
            bob.is_taken(text).await;
        }
        while let Some(Message::Text(text)) = bob.next().await {
            said.push_str(&text);
        }
        assert!(
            said.contains("<system-shutdown ") && said.contains("<close "),
            "{moment:?}: {said}"
        );
        assert!(!said.contains("elsewhere") && !said.contains("see-other"), "{moment:?}: {said}");
    }
}

const MESSAGE: &str = "<message xmlns='jabber:client'><body>hello</body></message>";
const DOCTYPE: &str = "<!DOCTYPE x [<!ENTITY a 'b'>]>";
const ELSEWHERE: &str = "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>elsewhere.test:5222</see-other-host>\
    </stream:error></stream:stream>";

//! BOSH over one connection of HTTP/1.1, byte by byte: what one request has shown, the next is not believed to have shown.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use tokio::io::AsyncReadExt;

use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::wire::Wire;

/// A session of bob's, over one connection.
struct Talk {
    wire: Wire,
    sid: String,
    _proxy: Proxy,
    _upstream: Server,
}

impl Talk {
    /// Signs bob in: two of these requests differ from the one before in their bodies alone.
    async fn of_bob() -> Self {
        let upstream = Server::start(Script::Good).await;
        let proxy = Proxy::with(&format!(
            "[[site]]\nhosts = ['localhost']\nwithout_session = 'refuse'\n\
             [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{}'\nsecret = 'a secret of both, long enough for it 0123'\n\
             [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n",
            upstream.address()
        ))
        .await;
        let wire = Wire::open(&proxy, "http/1.1").await;
        let mut talk = Self { wire, sid: String::new(), _proxy: proxy, _upstream: upstream };
        let wishes = " to='xmpp.localhost' ver='1.6' wait='60' hold='1'";
        let first = talk.asked(&request("bob", &body("", 1, wishes, ""))).await;
        let (_, rest) = first.split_once(" sid='").unwrap();
        rest.split_once('\'').unwrap().0.clone_into(&mut talk.sid);
        let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
        let success = talk.say("bob", 2, "", auth).await;
        assert!(success.contains("<success"), "{success}");
        let again = " xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'";
        let features = talk.say("bob", 3, again, "").await;
        assert!(features.contains("<bind"), "{features}");
        let bind = "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
        let bound = talk.say("bob", 4, "", bind).await;
        assert!(bound.contains("<jid>bob@xmpp.localhost"), "{bound}");
        talk
    }

    async fn say(&mut self, who: &str, rid: u64, attributes: &str, elements: &str) -> String {
        let request = request(who, &body(&self.sid, rid, attributes, elements));
        self.asked(&request).await
    }

    async fn asked(&mut self, request: &str) -> String {
        self.wire.write(request).await;
        self.answer().await
    }

    /// The next answer, head and body.
    async fn answer(&mut self) -> String {
        let head = self.wire.read_to("\r\n\r\n").await;
        let (_, length) = head.split_once("content-length: ").unwrap();
        let mut body = vec![0; length.split_once('\r').unwrap().0.parse().unwrap()];
        self.wire.stream.read_exact(&mut body).await.unwrap();
        head + &String::from_utf8(body).unwrap()
    }
}

fn body(sid: &str, rid: u64, attributes: &str, elements: &str) -> String {
    let sid = if sid.is_empty() { String::new() } else { format!(" sid='{sid}'") };
    format!(
        "<body rid='{rid}'{sid} xmlns='http://jabber.org/protocol/httpbind'{attributes}>{elements}</body>"
    )
}

fn request(who: &str, body: &str) -> String {
    with(&format!("Origin: {ORIGIN}\r\nCookie: {}\r\n", session_cookie(who)), body)
}

fn with(fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /http-bind HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn question(id: &str) -> String {
    format!("<iq xmlns='jabber:client' type='get' id='{id}'><q/></iq>")
}

#[tokio::test]
async fn each_request_of_a_connection_shows_for_itself_whose_the_session_is() {
    let mut talk = Talk::of_bob().await;
    let stolen = body(&talk.sid, 5, "", &question("stolen"));

    // Eve comes through the same reverse proxy, say, and knows the sid.
    let eve = talk.asked(&request("eve", &stolen)).await;
    let nobody = talk.asked(&with(&format!("Origin: {ORIGIN}\r\n"), &stolen)).await;
    let cookie = session_cookie("bob");
    let elsewhere = format!("Origin: https://evil.example\r\nCookie: {cookie}\r\n");
    let elsewhere = talk.asked(&with(&elsewhere, &stolen)).await;
    let bob = talk.say("bob", 5, "", &question("his")).await;

    assert!(eve.contains("item-not-found"), "{eve}");
    assert!(nobody.contains("item-not-found"), "{nobody}");
    assert!(elsewhere.starts_with("HTTP/1.1 403"), "{elsewhere}");
    assert!(bob.contains("his") && !bob.contains("stolen"), "{bob}");
}

#[tokio::test]
async fn another_session_on_the_connection_is_not_the_one_before() {
    let mut talk = Talk::of_bob().await;

    let other = talk.asked(&request("bob", &body("not-a-sid", 5, "", ""))).await;
    let his = talk.say("bob", 5, "", &question("his")).await;
    let broken = talk.say("bob", 6, "", "<a></b>").await;

    assert!(other.contains("item-not-found"), "{other}");
    assert!(his.contains("his"), "{his}");
    assert!(broken.contains("bad-request"), "{broken}");
}

#[tokio::test]
async fn requests_that_do_not_wait_for_their_answers_are_answered_in_order() {
    let mut talk = Talk::of_bob().await;
    let ask = |rid, id: &str| request("bob", &body(&talk.sid, rid, "", &question(id)));
    let all = [ask(5, "one"), ask(6, "two"), ask(7, "three")].concat();

    // In pieces that end anywhere.
    for piece in all.as_bytes().chunks(100) {
        talk.wire.write(piece).await;
    }

    for id in ["one", "two", "three"] {
        let answer = talk.answer().await;
        assert!(answer.contains(&format!("id='{id}'")), "{id}: {answer}");
    }
}

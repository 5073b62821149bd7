//! A browser with two connections of HTTP/1.1, over which a later answer could be the faster (XEP-0124 §14.2).

use crate::bob;
use crate::ping;
use crate::support::bosh::Session;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::Prosody;
use crate::support::wire::Wire;

/// One of its connections.
struct Line(Wire);

impl Line {
    async fn open(proxy: &Proxy) -> Self {
        Self(Wire::open(proxy, "http/1.1").await)
    }

    /// Says this with the next rid; the body of the answer.
    async fn says(&mut self, session: &mut Session, elements: &str) -> String {
        let body = session.body(session.rid, "", elements);
        session.rid += 1;
        let (cookie, length) = (session_cookie("bob"), body.len());
        let head = format!(
            "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nCookie: {cookie}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        self.0.write(head + &body).await;
        self.0.read_answer().await
    }
}

#[tokio::test]
async fn what_is_said_over_another_connection_than_the_last_answer_brings_nothing_that_could_overtake_it()
 {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    let (mut one, mut other) = (Line::open(&proxy).await, Line::open(&proxy).await);
    // As a page does that has nothing to say.
    let mut next = session.clone();
    next.rid += 1;
    let ping_first = ping("first");
    let (_, first) = tokio::join!(one.says(&mut session, ""), other.says(&mut next, &ping_first));
    assert!(first.contains("first"), "{first}");

    let beside = one.says(&mut next, &ping("beside")).await;

    assert!(beside.ends_with("/>") && !beside.contains("beside"), "{beside}");
    // Whoever asks for more has read all.
    let next = other.says(&mut next, "").await;
    assert!(next.contains("beside"), "{next}");
}

#[tokio::test]
async fn what_is_said_over_the_connection_of_the_last_answer_is_answered_in_full() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    let mut line = Line::open(&proxy).await;

    for id in ["first", "second", "third", "fourth"] {
        let answer = line.says(&mut session, &ping(id)).await;
        assert!(answer.contains(id), "{answer}");
    }
}

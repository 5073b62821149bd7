//! How many sessions there may be, and how often somebody may come: each bound reached, refused and counted.

use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::bob;
use crate::bob_by_websocket;
use crate::counted;
use crate::goes_on;
use crate::is_terminate;
use crate::message_to_bob;
use crate::ping;
use crate::proxy;
use crate::reached;
use crate::support::bosh::Answer;
use crate::support::bosh::Browser;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::session_cookie;
use crate::support::prosody::Prosody;
use crate::support::websocket::Socket;

/// Refused by HTTP, in a way that the page can see.
fn is_too_many(answer: &Answer) -> bool {
    answer.status == 429 && answer.headers.contains_key("access-control-allow-origin")
}

#[tokio::test]
async fn one_visitor_has_only_so_many_sessions_over_both_transports_together() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[sessions]\nper_visitor = 2").await;
    let _first = bob(&proxy).prebind().await;
    let second = bob_by_websocket(&proxy).await;

    let prebind = bob(&proxy).ask("GET", "/prebind").await;
    let (_, begun) = bob(&proxy).begin(1).await;
    let cookie = session_cookie("bob");
    let headers = [("origin", ORIGIN), ("cookie", cookie.as_str())];
    let socket = Socket::try_open(&proxy, &headers).await;

    assert!(is_too_many(&prebind), "{prebind:?}");
    assert!(is_too_many(&begun), "{begun:?}");
    assert_eq!(socket.unwrap_err(), 429);
    counted(&proxy, &reached("sessions_per_visitor", 3)).await;
    assert!(Browser::new(&proxy, Some(session_cookie("alice"))).prebind().await.rid > 0);
    second.vanish();
    prosody.logged(&["c2s", "disconnected"]).await;
    counted(&proxy, r#"vestibule_sessions{kind="member",transport="websocket"} 0"#).await;
    bob_by_websocket(&proxy).await;
}

#[tokio::test]
async fn guests_of_one_address_have_only_so_many_sessions_over_both_transports_together() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[guests]\nper_address = 1").await;
    let at = |address| [("origin", ORIGIN), ("x-forwarded-for", address)];
    let _first = Socket::try_open(&proxy, &at("192.0.2.7")).await.unwrap();

    let browser = Browser::new(&proxy, None).forwarded_for("192.0.2.7");
    let prebind = browser.ask("GET", "/prebind").await;
    let (_, begun) = browser.clone().begin(1).await;
    let socket = Socket::try_open(&proxy, &at("192.0.2.7")).await;

    assert!(is_too_many(&prebind), "{prebind:?}");
    assert!(is_too_many(&begun), "{begun:?}");
    assert_eq!(socket.unwrap_err(), 429);
    counted(&proxy, &reached("guests_per_address", 3)).await;
    assert!(Socket::try_open(&proxy, &at("192.0.2.8")).await.is_ok());
    bob(&proxy).forwarded_for("192.0.2.7").prebind().await;
}

#[tokio::test]
async fn guests_of_one_address_are_signed_in_only_so_often() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[guests]\nsign_ins_per_minute = 1").await;
    let at = |address| [("origin", ORIGIN), ("x-forwarded-for", address)];
    let browser = Browser::new(&proxy, None).forwarded_for("192.0.2.7");
    browser.clone().prebind().await.terminate().await;

    let prebind = browser.ask("GET", "/prebind").await;
    let (_, begun) = browser.clone().begin(1).await;
    let socket = Socket::try_open(&proxy, &at("192.0.2.7")).await;

    assert!(is_too_many(&prebind), "{prebind:?}");
    assert!(is_too_many(&begun), "{begun:?}");
    assert_eq!(socket.unwrap_err(), 429);
    counted(&proxy, &reached("guest_sign_ins", 3)).await;
    assert!(Socket::try_open(&proxy, &at("192.0.2.8")).await.is_ok());
    bob(&proxy).forwarded_for("192.0.2.7").prebind().await;
}

#[tokio::test]
async fn who_asks_for_sessions_that_are_not_there_is_told_so_only_so_often() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\nunknown_sids = 2").await;
    let mut session = bob(&proxy).forwarded_for("192.0.2.7").prebind().await;
    let thief = Browser::new(&proxy, None).forwarded_for("192.0.2.7");
    let unknown = || session.body(1, "", "").replace(&session.sid, "no-such-sid");
    let stolen = || session.body(session.rid, "", "");
    assert!(is_terminate(&thief.post(unknown()).await, "item-not-found"));
    assert!(is_terminate(&thief.post(stolen()).await, "item-not-found"));

    // Whether there is such a session is not to be told by this either.
    for body in [unknown(), stolen()] {
        let refused = thief.post(body).await;
        assert!(is_too_many(&refused), "{refused:?}");
    }

    counted(&proxy, &reached("unknown_sids", 2)).await;
    let elsewhere = thief.clone().forwarded_for("192.0.2.8").post(unknown()).await;
    assert!(is_terminate(&elsewhere, "item-not-found"), "{elsewhere:?}");
    assert!(goes_on(&session.send(&ping("mine")).await), "its owner is there");
}

#[tokio::test]
async fn there_are_only_so_many_sessions_over_bosh_in_all() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\nsessions = 1").await;
    let mut first = bob(&proxy).prebind().await;
    let mut alice = Browser::new(&proxy, Some(session_cookie("alice")));

    let prebind = alice.ask("GET", "/prebind").await;
    let (_, begun) = alice.begin(1).await;

    for refused in [prebind, begun] {
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.headers.contains_key("access-control-allow-origin"), "{refused:?}");
    }
    counted(&proxy, &reached("sessions", 2)).await;
    first.terminate().await;
    counted(&proxy, r#"vestibule_sessions{kind="member",transport="bosh"} 0"#).await;
    alice.prebind().await;
}

#[tokio::test]
async fn browser_asks_for_nothing_only_so_often() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\npolling = '10s'").await;
    let (mut session, _) = bob(&proxy).open("ver='1.11' wait='0' hold='0'").await;
    assert!(goes_on(&session.send("").await));

    let hasty = session.send("").await;

    assert!(is_terminate(&hasty, "policy-violation"), "{hasty:?}");
    counted(&proxy, &reached("polling", 1)).await;
}

#[tokio::test]
async fn browser_has_only_so_many_requests_unanswered() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "").await;
    let session = bob(&proxy).sign_in().await;
    let mut posts = JoinSet::new();

    // One is held; one never comes, and these wait for it. It was told that it may have two.
    for ahead in [0, 2, 3, 4, 5] {
        let elements = if ahead == 0 { String::new() } else { ping("ahead") };
        let body = session.body(session.rid + ahead, "", &elements);
        let browser = session.browser.clone();
        posts.spawn(async move { browser.post(body).await });
    }
    let answers = posts.join_all().await;

    let told = |condition| answers.iter().filter(|answer| is_terminate(answer, condition)).count();
    assert_eq!(told("policy-violation"), 1, "{answers:?}");
    assert_eq!(told("other-request"), 4, "{answers:?}");
    counted(&proxy, &reached("polling", 1)).await;
}

#[tokio::test]
async fn only_so_much_is_kept_that_is_said_to_the_server_before_the_login() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\nearly = '1 KiB'").await;
    let (mut session, _) = bob(&proxy).begin(1).await;

    let answer = session.send(&message_to_bob(2_000)).await;

    assert!(is_terminate(&answer, "policy-violation"), "{answer:?}");
    counted(&proxy, &reached("early", 1)).await;
}

#[tokio::test]
async fn only_so_much_of_old_answers_is_kept_for_who_asks_for_them_again() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\nanswers = '0 B'").await;
    let mut session = bob(&proxy).prebind().await;
    let mut answers = Vec::new();
    for number in 0..4 {
        let elements = ping(&format!("number {number}"));
        let body = session.body(session.rid, "", &elements);
        let answer = session.send(&elements).await;
        assert!(answer.body.contains(&format!("number {number}")), "{answer:?}");
        answers.push((body, answer.body));
    }

    // The last two may not have been read yet.
    for (age, (body, answer)) in answers.into_iter().rev().enumerate() {
        let again = session.browser.post(body).await;
        if age < 2 {
            assert_eq!(again.body, answer);
        } else {
            assert!(is_terminate(&again, "item-not-found"), "{again:?}");
        }
    }

    counted(&proxy, &reached("answers", 2)).await;
    assert!(goes_on(&session.send(&ping("still there")).await));
}

#[tokio::test]
async fn browser_fails_to_sign_in_only_so_often_on_one_stream() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[sessions]\nfailed_sign_ins = 2").await;
    let (mut session, _) = bob(&proxy).begin(1).await;
    let mut socket = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    socket.open_stream("xmpp.localhost").await;
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>=</auth>";
    for _ in 0..2 {
        let answer = session.send(auth).await;
        assert!(answer.body.contains("<failure"), "{answer:?}");
        assert!(socket.auth("PLAIN", "bob").await.contains("<failure"));
    }

    let third = session.send(auth).await;
    socket.send(auth).await;

    assert!(is_terminate(&third, "policy-violation"), "{third:?}");
    crate::assert_stream_error(&mut socket, "policy-violation").await;
    counted(&proxy, &reached("failed_sign_ins", 2)).await;
}

#[tokio::test]
async fn element_of_a_browser_is_only_so_deep_and_has_only_so_many_attributes() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[xml]\ndepth = 8\nattributes = 9").await;
    let deep = |levels| message_of(&format!("{}{}", "<x>".repeat(levels), "</x>".repeat(levels)));
    let attributes = |count| (0..count).map(|n| format!(" a{n}=''")).collect::<Vec<_>>().concat();
    let wide = |count| message_of(&format!("<x{}/>", attributes(count)));

    // The body of BOSH is one level of its own.
    for (bound, within, over_bosh, over_websocket) in
        [("depth", deep(6), deep(7), deep(8)), ("attributes", wide(9), wide(10), wide(10))]
    {
        let mut session = bob(&proxy).prebind().await;
        let mut socket = bob_by_websocket(&proxy).await;
        assert!(goes_on(&session.send(&(within.clone() + &ping("there"))).await), "{bound}");
        socket.send(&within).await;
        socket.send(&ping("still-here")).await;
        socket.receive_with("still-here").await;
        counted(&proxy, &reached(bound, 0)).await;

        let answer = session.send(&over_bosh).await;
        assert!(is_terminate(&answer, "bad-request"), "{bound}: {answer:?}");
        counted(&proxy, &reached(bound, 1)).await;
        socket.send(&over_websocket).await;
        crate::assert_stream_error(&mut socket, "policy-violation").await;
        counted(&proxy, &reached(bound, 2)).await;
    }
}

#[tokio::test]
async fn login_over_websocket_is_only_so_deep() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[xml]\ndepth = 8").await;
    let mut socket = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    socket.open_stream("xmpp.localhost").await;

    socket.send(&format!("{}{}", "<x>".repeat(9), "</x>".repeat(9))).await;

    crate::assert_stream_error(&mut socket, "policy-violation").await;
    counted(&proxy, &reached("depth", 1)).await;
}

/// A message to Bob himself with this in it.
fn message_of(content: &str) -> String {
    format!(
        "<message xmlns='jabber:client' to='bob@xmpp.localhost' type='chat' id='alike'>{content}</message>"
    )
}

#[tokio::test]
async fn browser_sends_only_so_much_at_once() {
    let prosody = Prosody::start().await;
    let small = "[bosh]\nbody = '16 KiB'\n[websocket]\nstanza = '16 KiB'";
    let proxy = proxy(&prosody, small).await;
    let mut session = bob(&proxy).prebind().await;
    let mut socket = bob_by_websocket(&proxy).await;
    let large = message_to_bob(20_000);

    let answer = session.send(&large).await;
    socket.send(&large).await;

    assert!(is_terminate(&answer, "policy-violation"), "{answer:?}");
    crate::assert_stream_error(&mut socket, "policy-violation").await;
    let closed = socket.next().await;
    let is_too_big =
        matches!(&closed, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 1009);
    assert!(is_too_big, "{closed:?}");
    counted(&proxy, &reached("body", 1)).await;
    counted(&proxy, &reached("stanza", 1)).await;
}

#[tokio::test]
async fn server_sends_only_so_much_at_once() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[upstream]\nstanza = '8 KiB'").await;
    let mut session = bob(&proxy).prebind().await;
    let mut socket = bob_by_websocket(&proxy).await;
    session.exchange("<presence xmlns='jabber:client'/>", &["<presence"]).await;
    socket.send("<presence xmlns='jabber:client'/>").await;
    socket.receive_with("<presence").await;

    socket.send(&message_to_bob(10_000)).await;

    crate::assert_stream_error(&mut socket, "system-shutdown").await;
    let answer = loop {
        let answer = session.send("").await;
        if !goes_on(&answer) {
            break answer;
        }
    };
    assert!(is_terminate(&answer, "system-shutdown"), "{answer:?}");
    counted(&proxy, &reached("upstream_stanza", 2)).await;
}

#[tokio::test]
async fn only_so_much_waits_for_a_browser_that_fetches_nothing() {
    let prosody = Prosody::start().await;
    let small = "[bosh]\nqueue = '1 KiB'\nqueue_limit = '9 KiB'\n[upstream]\nstanza = '8 KiB'";
    let proxy = proxy(&prosody, small).await;
    let mut session = bob(&proxy).prebind().await;
    session.exchange("<presence xmlns='jabber:client'/>", &["<presence"]).await;
    let mut alice = Socket::open(&proxy, Some(&session_cookie("alice"))).await;
    alice.sign_in("alice@xmpp.localhost").await;

    // The first is enough to read no further. The others come at once when it is fetched, and nobody fetches them.
    for _ in 0..5 {
        alice.send(&message_to_bob(7_000)).await;
    }
    alice.send(&ping("they are there")).await;
    alice.receive_with("they are there").await;
    session.send("").await;

    counted(&proxy, &reached("queue", 1)).await;
    assert!(is_terminate(&session.send("").await, "item-not-found"));
}

#[tokio::test]
async fn backlog_is_fetched_whole_and_in_order_in_answers_of_bounded_size() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\nanswer = '8 KiB'").await;
    let mut session = bob(&proxy).prebind().await;
    session.exchange("<presence xmlns='jabber:client'/>", &["<presence"]).await;
    let mut alice = Socket::open(&proxy, Some(&session_cookie("alice"))).await;
    alice.sign_in("alice@xmpp.localhost").await;
    let text = |number: u32| format!("number {number:03}");

    for number in 0..30 {
        let message = message_to_bob(1_000).replace("<body>", &format!("<body>{} ", text(number)));
        alice.send(&message).await;
    }
    counted(&proxy, &reached("answer", 1)).await;
    let mut heard = String::new();
    while !heard.contains(&text(29)) {
        let answer = session.send("").await;
        assert!(goes_on(&answer) && answer.body.len() <= 8 * 1024 + "</body>".len(), "{answer:?}");
        heard.push_str(&answer.body);
    }

    let places: Vec<_> = (0..30).map(|number| heard.find(&text(number)).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(heard.matches("number ").count(), 30);
}

#[tokio::test]
async fn request_carries_only_so_many_elements() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\nelements = 2").await;
    let mut session = bob(&proxy).prebind().await;
    session.exchange(&(ping("one") + &ping("two")), &["one", "two"]).await;

    let answer = session.send(&(ping("three") + &ping("four") + &ping("five"))).await;

    assert!(is_terminate(&answer, "policy-violation"), "{answer:?}");
    counted(&proxy, &reached("elements", 1)).await;
}

#[tokio::test]
async fn only_so_much_is_kept_that_comes_before_its_turn() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "[bosh]\nahead = '1 KiB'").await;
    let mut session = bob(&proxy).prebind().await;
    // The request before this one never comes.
    session.rid += 1;

    let answer = session.send(&message_to_bob(2_000)).await;

    assert!(is_terminate(&answer, "policy-violation"), "{answer:?}");
    counted(&proxy, &reached("ahead", 1)).await;
}

#[tokio::test]
async fn what_a_browser_does_not_fetch_stays_with_the_server_until_it_does() {
    let prosody = Prosody::start().await;
    let small = "[bosh]\nqueue = '16 KiB'\nqueue_limit = '256 KiB'\n[upstream]\nstanza = '128 KiB'";
    let proxy = proxy(&prosody, small).await;
    let mut session = bob(&proxy).prebind().await;
    session.exchange("<presence xmlns='jabber:client'/>", &["<presence"]).await;
    let mut alice = Socket::open(&proxy, Some(&session_cookie("alice"))).await;
    alice.sign_in("alice@xmpp.localhost").await;
    let text = |number: u32| format!("number {number:03}");

    // Six times as much as may wait here at all.
    for number in 0..40 {
        let message = message_to_bob(40_000).replace("<body>", &format!("<body>{} ", text(number)));
        alice.send(&message).await;
    }
    alice.send(&ping("all is said")).await;
    alice.receive_with("all is said").await;
    let heard = session.receive(&[&text(39)]).await;

    let places: Vec<_> = (0..40).map(|number| heard.find(&text(number)).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(proxy.metrics().await.contains(&reached("queue", 0)));
}

//! How a site ends the sessions of a visitor.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::assert_stream_error;
use crate::bob;
use crate::bob_by_websocket;
use crate::counted::before;
use crate::goes_on;
use crate::is_terminate;
use crate::ping;
use crate::support::bosh::Browser;
use crate::support::bosh::Session;
use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::Prosody;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::websocket::Socket;

#[tokio::test]
async fn member_whom_the_site_signs_out_is_gone_from_both_transports_at_once() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;
    let mut socket = bob_by_websocket(&proxy).await;
    socket.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let enabled = socket.receive_with("<enabled").await;
    let id = enabled.split("id='").nth(1).unwrap().split('\'').next().unwrap();
    let mut alice = Browser::new(&proxy, Some(session_cookie("alice"))).prebind().await;
    // Once the second request releases the first, the second is held.
    let held = tokio::spawn({
        let (browser, body) = (session.browser.clone(), session.body(session.rid + 1, "", ""));
        async move { browser.post(body).await }
    });
    assert!(goes_on(&session.send("").await));

    let answer = proxy.revoke(r#"{"site": "localhost", "username": "Bob"}"#).await;

    assert_eq!(answer, (200, r#"{"ended":2}"#.to_owned()));
    let held = held.await.unwrap();
    assert!(is_terminate(&held, "item-not-found"), "{held:?}");
    session.rid += 1;
    let later = session.send("").await;
    assert!(is_terminate(&later, "item-not-found"), "{later:?}");
    assert_stream_error(&mut socket, "policy-violation").await;
    assert!(goes_on(&alice.send(&ping("mine")).await));
    // He may sign in again, but the stream was closed in order and does not wait to be resumed.
    let mut again = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    again.open_stream("xmpp.localhost").await;
    again.auth("EXTERNAL", "bob@xmpp.localhost").await;
    again.open_stream("xmpp.localhost").await;
    again.send(&format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>")).await;
    let failed = again.receive().await;
    assert!(failed.contains("<failed") && failed.contains("item-not-found"), "{failed}");
}

#[tokio::test]
async fn browser_that_is_just_being_signed_in_is_told_on_the_open_stream() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut socket = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    socket.open_stream("xmpp.localhost").await;

    proxy.revoke(r#"{"site": "localhost", "username": "bob"}"#).await;

    assert_stream_error(&mut socket, "policy-violation").await;
}

#[tokio::test]
async fn browser_whose_scripted_server_is_still_waited_for_is_told_on_the_open_stream() {
    let server = Server::start(Script::Until(Moment::Accepted, Trouble::Hangs)).await;
    let session = format!("[site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n");
    let proxy = before(&server, "[upstream]\nsign_in = '60s'\nhold = '60s'\n", &session).await;
    let mut socket = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    server.has_seen(|seen| seen.connections == 1).await;

    let answer = proxy.revoke(r#"{"site": "localhost", "username": "bob"}"#).await;

    assert_eq!(answer, (200, r#"{"ended":1}"#.to_owned()));
    assert!(socket.receive().await.starts_with("<open "));
    assert_stream_error(&mut socket, "policy-violation").await;
    server.has_seen(|seen| seen.gone == 1).await;
}

#[tokio::test]
async fn question_that_names_nobody_or_too_much_is_told_so() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let mut session = bob(&proxy).prebind().await;

    for (question, status) in [
        (r#"{"site": "localhost", "username": "nobody"}"#, 200),
        (r#"{"site": "localhost", "username": "not an address "}"#, 200),
        (r#"{"site": "localhost"}"#, 400),
        (r#"{"site": "localhost", "username": "bob", "session_id": "1"}"#, 400),
        (r#"{"site": "other.example", "username": "bob"}"#, 400),
        (r#"{"site": "localhost", "username": "bob", "all": true}"#, 400),
        ("", 400),
    ] {
        let answer = proxy.revoke(question).await;
        assert_eq!(answer.0, status, "{question}: {answer:?}");
        assert!(!answer.1.contains("\"ended\":1"), "{question}: {answer:?}");
    }

    assert!(goes_on(&session.send(&ping("mine")).await));
}

#[tokio::test]
async fn who_shows_a_cookie_that_names_another_now_ends_what_its_last_owner_had() {
    let prosody = Prosody::start().await;
    let site = Site::start().await;
    let proxy = site.proxy(&prosody).await;
    site.say(&member("bob", "1"));
    let (mut session, mut socket) = bob_by_both(&proxy).await;

    site.say(&member("alice", "2"));
    let alice = Browser::new(&proxy, Some(COOKIE.to_owned())).prebind().await;

    assert!(alice.jid.starts_with("alice@"), "{}", alice.jid);
    assert_stream_error(&mut socket, "policy-violation").await;
    let answer = session.send("").await;
    assert!(is_terminate(&answer, "item-not-found"), "{answer:?}");
}

#[tokio::test]
async fn later_request_with_a_cookie_that_names_nobody_any_more_ends_both_transports() {
    let prosody = Prosody::start().await;
    let site = Site::start().await;
    let proxy = site.proxy(&prosody).await;
    site.say(&member("bob", "1"));
    let (mut session, mut socket) = bob_by_both(&proxy).await;

    site.say(r#"{"authenticated": false}"#);
    let answer = session.send("").await;

    assert!(is_terminate(&answer, "item-not-found"), "{answer:?}");
    assert_stream_error(&mut socket, "policy-violation").await;
}

#[tokio::test]
async fn only_the_session_of_the_site_that_is_named_ends() {
    let prosody = Prosody::start().await;
    let site = Site::start().await;
    let proxy = site.proxy(&prosody).await;
    site.say(&member("bob", "office"));
    let mut office = Browser::new(&proxy, Some("PHPSESSID=1".to_owned())).prebind().await;
    site.say(&member("bob", "home"));
    let mut home = Browser::new(&proxy, Some("PHPSESSID=2".to_owned())).prebind().await;

    let answer = proxy.revoke(r#"{"site": "localhost", "session_id": "office"}"#).await;

    assert_eq!(answer, (200, r#"{"ended":1}"#.to_owned()));
    let ended = office.send("").await;
    assert!(is_terminate(&ended, "item-not-found"), "{ended:?}");
    assert!(goes_on(&home.send(&ping("mine")).await));
}

#[tokio::test]
async fn site_is_not_asked_about_who_shows_an_unknown_sid() {
    let prosody = Prosody::start().await;
    let site = Site::start().await;
    let proxy = site.proxy(&prosody).await;
    site.say(&member("bob", "1"));
    let browser = Browser::new(&proxy, Some("PHPSESSID=1".to_owned()));

    let answer = browser
        .post(
            "<body rid='1' sid='no-such-sid' xmlns='http://jabber.org/protocol/httpbind'/>".into(),
        )
        .await;

    assert!(is_terminate(&answer, "item-not-found"), "{answer:?}");
    assert_eq!(site.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn member_who_is_revoked_while_the_site_is_asked_about_him_is_asked_about_anew() {
    let prosody = Prosody::start().await;
    let site = Site::start().await;
    let proxy = site.proxy(&prosody).await;
    site.say(&member("bob", "1"));
    let held = site.answering.clone().lock_owned().await;
    let browser = Browser::new(&proxy, Some(COOKIE.to_owned()));
    let coming = tokio::spawn({
        let browser = browser.clone();
        async move { browser.ask("GET", "/prebind").await }
    });
    let asked = async {
        while site.asked.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
    };
    timeout(PATIENCE, asked).await.unwrap();

    let answer = proxy.revoke(r#"{"site": "localhost", "username": "bob"}"#).await;
    assert_eq!(answer, (200, r#"{"ended":0}"#.to_owned()));
    // The first question is answered with what was true when it was asked.
    site.say(r#"{"authenticated": false}"#);
    drop(held);

    let answer = coming.await.unwrap();
    assert!(answer.body.contains("@guest.localhost/"), "{answer:?}");
}

/// Bob over either transport, with the cookie of the scripted site.
async fn bob_by_both(proxy: &Proxy) -> (Session, Socket) {
    let session = Browser::new(proxy, Some(COOKIE.to_owned())).prebind().await;
    let mut socket = Socket::open(proxy, Some(COOKIE)).await;
    socket.sign_in("bob@xmpp.localhost").await;
    (session, socket)
}

/// A scripted site, because a real one does not change its mind on demand.
struct Site {
    address: std::net::SocketAddr,
    reply: Arc<Mutex<String>>,
    /// While this is locked, questions get no answer.
    answering: Arc<tokio::sync::Mutex<()>>,
    asked: Arc<AtomicUsize>,
}

impl Site {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reply, asked) = (Arc::<Mutex<String>>::default(), Arc::<AtomicUsize>::default());
        let answering = Arc::<tokio::sync::Mutex<()>>::default();
        let (replies, count, may_answer) = (reply.clone(), asked.clone(), answering.clone());
        tokio::spawn(async move {
            while let Ok((mut question, _)) = listener.accept().await {
                let _ = question.read(&mut [0; 4096]).await;
                let reply = replies.lock().unwrap().clone();
                count.fetch_add(1, Ordering::Relaxed);
                let _may = may_answer.lock().await;
                let length = reply.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{reply}"
                );
                let _ = question.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, reply, answering, asked }
    }

    /// What it answers from now on; nothing of what it said before is believed.
    fn say(&self, reply: &str) {
        reply.clone_into(&mut self.reply.lock().unwrap());
    }

    async fn proxy(&self, prosody: &Prosody) -> Proxy {
        let (upstream, secret) = (prosody.address(), prosody.folder().join("ticket.secret"));
        let (address, secret) = (self.address, secret.display());
        Proxy::with(&format!(
            "[whois]\nfresh = '1us'\nkeep = '1us'\n[[site]]\nhosts = ['localhost']\n\
             [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{upstream}'\nsecret = {{ file = '{secret}' }}\n\
             [site.guests]\ndomain = 'guest.localhost'\nupstream = '{upstream}'\nsecret = {{ file = '{secret}' }}\n\
             [site.session.whois]\nurl = 'http://{address}/'\nsecret = 'a secret of the tests'\ncookies = ['PHPSESSID']\n"
        ))
        .await
    }
}

fn member(name: &str, session: &str) -> String {
    format!(r#"{{"authenticated": true, "username": "{name}", "session_id": "{session}"}}"#)
}

const COOKIE: &str = "PHPSESSID=1";

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

//! Asking a scripted CMS who a visitor is.

mod browsers;

use std::net::Ipv4Addr;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;
use crate::site::Session;

/// A CMS that answers when the test tells it to.
struct Cms {
    url: String,
    questions: mpsc::Receiver<Asked>,
}

/// A question that waits for its answer.
struct Asked {
    head: Vec<String>,
    stream: TcpStream,
}

impl Cms {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/whois", listener.local_addr().unwrap());
        let (sender, questions) = mpsc::channel(8);
        tokio::spawn(async move {
            loop {
                let mut stream = BufReader::new(listener.accept().await.unwrap().0);
                let mut head = Vec::new();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).await.unwrap();
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push(line.trim().to_owned());
                }
                if sender.send(Asked { head, stream: stream.into_inner() }).await.is_err() {
                    break;
                }
            }
        });
        Self { url, questions }
    }

    async fn asked(&mut self) -> Asked {
        self.questions.recv().await.unwrap()
    }

    fn has_not_been_asked(&mut self) -> bool {
        self.questions.try_recv().is_err()
    }

    fn site(&self) -> Arc<Site> {
        self.site_at("www.example.org")
    }

    fn site_at(&self, host: &str) -> Arc<Site> {
        let text = format!(
            "hosts = ['{host}']
             without_session = 'refuse'
             [registered]
             domain = 'xmpp.example.org'
             upstream = '127.0.0.1:5222'
             secret = 'a secret we share'
             [session.whois]
             url = '{}'
             secret = 'between us'
             cookies = ['PHPSESSID', 'PHPSESSIDCV']",
            self.url
        );
        Arc::new(crate::site::tests::site(&text).unwrap())
    }
}

impl Asked {
    async fn say(mut self, status: &str, body: &str) {
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // The other side may have had enough already.
        drop(self.stream.write_all(format!("{head}{body}").as_bytes()).await);
    }

    async fn say_bob(self) {
        self.say("200 OK", BOB).await;
    }
}

const BOB: &str = r#"{"authenticated":true,"username":"bob","nick":"Bob B.","groups":["Registered"],"session_id":"s1","more":1}"#;
const NOBODY: &str = r#"{"authenticated":false}"#;

const FIREFOX: &str = "Firefox";
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn whois(settings: Settings) -> Arc<Whois> {
    Arc::new(Whois::new(settings, Client::new(&outbound::Settings::default()), Arc::default()))
}

type Asking = tokio::task::JoinHandle<Result<Option<Member>, Error>>;

/// Asks about a request with this `cookie` field, in a task of its own.
fn ask(whois: &Arc<Whois>, site: &Arc<Site>, cookie: &str, freshness: Freshness) -> Asking {
    ask_for((FIREFOX, ADDRESS), whois, site, cookie, freshness)
}

/// The same for a browser of this name, at this address.
fn ask_for(
    (agent, address): (&str, IpAddr),
    whois: &Arc<Whois>,
    site: &Arc<Site>,
    cookie: &str,
    freshness: Freshness,
) -> Asking {
    let (whois, site) = (Arc::clone(whois), Arc::clone(site));
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, cookie.parse().unwrap());
    headers.insert(header::USER_AGENT, agent.parse().unwrap());
    tokio::spawn(async move {
        let Some(Session::Whois(settings)) = &site.session else { panic!("no whois") };
        let cookies = Cookies::of(&headers);
        whois
            .ask(
                &Question { site: &site, settings, cookies: &cookies, headers: &headers, address },
                freshness,
            )
            .await
    })
}

fn forget(whois: &Whois, site: &Site, cookie: &str) {
    let headers = HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
    whois.forget(site, &Cookies::of(&headers));
}

/// Lets time pass without letting it run: sockets know only the real one.
async fn pass(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

fn name(member: Result<Option<Member>, Error>) -> String {
    member.unwrap().unwrap().localpart.to_string()
}

#[tokio::test]
async fn member_is_who_the_site_says() {
    let mut cms = Cms::start().await;
    let asking =
        ask(&whois(Settings::default()), &cms.site(), "PHPSESSID=1", Freshness::NewSession);

    cms.asked().await.say_bob().await;

    let member = asking.await.unwrap().unwrap().unwrap();
    assert_eq!(member.localpart.as_str(), "bob");
    assert_eq!(member.nick.as_deref(), Some("Bob B."));
    assert_eq!(member.groups, ["Registered"]);
    assert_eq!(member.session_id.as_deref(), Some("s1"));
}

#[tokio::test]
async fn site_is_shown_the_named_cookies_and_who_asks_for_whom() {
    let mut cms = Cms::start().await;
    let cookie = "theme=dark; PHPSESSID=1; token=x; PHPSESSIDCV=2";
    let asking = ask(&whois(Settings::default()), &cms.site(), cookie, Freshness::NewSession);

    let asked = cms.asked().await;

    let mut head = asked.head.clone();
    head.retain(|line| !line.starts_with("host:"));
    head.sort();
    let expected = [
        "GET /whois HTTP/1.1",
        "accept: application/json",
        "authorization: Bearer between us",
        "cookie: PHPSESSID=1; PHPSESSIDCV=2",
        "user-agent: Firefox",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: www.example.org",
        "x-forwarded-proto: https",
    ];
    assert_eq!(head, expected);
    asked.say("200 OK", NOBODY).await;
    assert!(asking.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn site_is_not_asked_without_one_of_its_cookies() {
    let mut cms = Cms::start().await;

    let member = ask(&whois(Settings::default()), &cms.site(), "theme=dark", Freshness::NewSession)
        .await
        .unwrap();

    assert!(member.unwrap().is_none());
    assert!(cms.has_not_been_asked());
}

#[tokio::test]
async fn all_who_wait_for_one_cookie_get_one_answer() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let first = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    let asked = cms.asked().await;
    let second = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    let third = ask(&whois, &site, "PHPSESSID=1", Freshness::KnownSession);
    tokio::task::yield_now().await;

    asked.say_bob().await;

    for asking in [first, second, third] {
        assert_eq!(name(asking.await.unwrap()), "bob");
    }
    assert!(cms.has_not_been_asked());
}

#[tokio::test]
async fn answer_comes_though_who_asked_first_has_left() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let first = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    let asked = cms.asked().await;
    let second = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    tokio::task::yield_now().await;
    first.abort();

    asked.say_bob().await;

    assert_eq!(name(second.await.unwrap()), "bob");
}

#[tokio::test]
async fn two_cookies_are_two_visitors() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let bob = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    cms.asked().await.say_bob().await;
    assert_eq!(name(bob.await.unwrap()), "bob");

    let other = ask(&whois, &site, "PHPSESSID=2", Freshness::KnownSession);

    cms.asked().await.say("200 OK", NOBODY).await;
    assert!(other.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn new_session_asks_again_after_two_seconds_and_a_known_one_after_a_minute() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let first = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    cms.asked().await.say_bob().await;
    assert_eq!(name(first.await.unwrap()), "bob");

    pass(Duration::from_secs(3)).await;
    assert_eq!(
        name(ask(&whois, &site, "PHPSESSID=1", Freshness::KnownSession).await.unwrap()),
        "bob"
    );
    let new = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    cms.asked().await.say("200 OK", NOBODY).await;
    assert!(new.await.unwrap().unwrap().is_none());

    pass(Duration::from_secs(61)).await;
    let known = ask(&whois, &site, "PHPSESSID=1", Freshness::KnownSession);
    cms.asked().await.say_bob().await;
    assert_eq!(name(known.await.unwrap()), "bob");
}

#[tokio::test]
async fn slow_answer_asked_too_long_ago_is_not_for_a_new_session() {
    let mut cms = Cms::start().await;
    let (whois, site) =
        (whois(Settings { timeout: Duration::from_secs(60), ..Settings::default() }), cms.site());
    let first = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    let slow = cms.asked().await;
    pass(Duration::from_secs(3)).await;

    let second = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    cms.asked().await.say("200 OK", NOBODY).await;
    slow.say_bob().await;

    assert_eq!(name(first.await.unwrap()), "bob");
    assert!(second.await.unwrap().unwrap().is_none());
    // The overtaken answer does not come back later either.
    assert!(
        ask(&whois, &site, "PHPSESSID=1", Freshness::KnownSession)
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn site_can_shorten_how_long_it_is_believed() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let first = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    cms.asked().await.say("200 OK", r#"{"authenticated":false,"expires_in":10}"#).await;
    assert!(first.await.unwrap().unwrap().is_none());

    pass(Duration::from_secs(11)).await;
    let second = ask(&whois, &site, "PHPSESSID=1", Freshness::KnownSession);

    cms.asked().await.say_bob().await;
    assert_eq!(name(second.await.unwrap()), "bob");
}

#[tokio::test]
async fn forgotten_answer_is_asked_for_again() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let first = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    cms.asked().await.say("200 OK", NOBODY).await;
    assert!(first.await.unwrap().unwrap().is_none());

    forget(&whois, &site, "x=1; PHPSESSID=1");

    let second = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    cms.asked().await.say_bob().await;
    assert_eq!(name(second.await.unwrap()), "bob");
}

#[tokio::test]
async fn answer_asked_for_before_it_was_forgotten_is_for_nobody_who_asks_after() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let before = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    let old = cms.asked().await;

    forget(&whois, &site, "PHPSESSID=1");
    let after = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    let new = cms.asked().await;
    old.say("200 OK", NOBODY).await;

    assert!(before.await.unwrap().unwrap().is_none());
    new.say_bob().await;
    assert_eq!(name(after.await.unwrap()), "bob");
    assert_eq!(
        name(ask(&whois, &site, "PHPSESSID=1", Freshness::KnownSession).await.unwrap()),
        "bob"
    );
}

#[tokio::test]
async fn site_that_does_not_say_is_unavailable_and_asked_again() {
    let mut cms = Cms::start().await;
    let (whois, site) =
        (whois(Settings { body: ByteSize::b(200), ..Settings::default() }), cms.site());
    let long = format!("{NOBODY}{}", " ".repeat(200));
    let answers = [
        ("401 Unauthorized", NOBODY),
        ("403 Forbidden", NOBODY),
        ("302 Found", NOBODY),
        ("204 No Content", ""),
        ("404 Not Found", NOBODY),
        ("503 Service Unavailable", NOBODY),
        ("200 OK", "<html>"),
        ("200 OK", r#"{"authenticated":true}"#),
        ("200 OK", &long),
    ];

    for (status, body) in answers {
        let asking = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
        cms.asked().await.say(status, body).await;
        assert_eq!(asking.await.unwrap(), Err(Error::Unavailable), "{status} {body}");
    }
}

#[tokio::test]
async fn session_that_goes_on_waits_for_a_silent_site_once_and_hears_it_when_it_is_back() {
    let mut cms = Cms::start().await;
    let (whois, site) = (whois(Settings::default()), cms.site());
    let go_on = || ask(&whois, &site, "PHPSESSID=1", Freshness::KnownSession);
    let first = go_on();
    cms.asked().await.say("503 Service Unavailable", "").await;
    assert_eq!(first.await.unwrap(), Err(Error::Unavailable));

    assert_eq!(go_on().await.unwrap(), Err(Error::Unavailable));
    assert!(cms.has_not_been_asked());
    pass(PAUSE * 2).await;
    // This one and all after it ask, but do not wait for it.
    assert_eq!(go_on().await.unwrap(), Err(Error::Unavailable));
    let asked = cms.asked().await;
    assert_eq!(go_on().await.unwrap(), Err(Error::Unavailable));
    let begins = ask(&whois, &site, "PHPSESSID=1", Freshness::NewSession);
    tokio::task::yield_now().await;
    asked.say_bob().await;

    assert_eq!(name(begins.await.unwrap()), "bob");
    assert_eq!(name(go_on().await.unwrap()), "bob");
    assert!(cms.has_not_been_asked());
}

#[tokio::test]
async fn site_that_is_silent_is_unavailable() {
    let mut cms = Cms::start().await;
    let asking =
        ask(&whois(Settings::default()), &cms.site(), "PHPSESSID=1", Freshness::NewSession);
    let silent = cms.asked().await;

    pass(Duration::from_secs(6)).await;

    assert_eq!(asking.await.unwrap(), Err(Error::Unavailable));
    drop(silent);
}

#[tokio::test]
async fn member_whose_name_is_no_address_is_nobody() {
    let mut cms = Cms::start().await;
    let asking =
        ask(&whois(Settings::default()), &cms.site(), "PHPSESSID=1", Freshness::NewSession);

    cms.asked().await.say("200 OK", r#"{"authenticated":true,"username":""}"#).await;

    assert!(asking.await.unwrap().unwrap().is_none());
}

//! Fetching keys from a scripted site.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use jsonwebtoken::Algorithm;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::site::key::tests::Pair;

/// A site that publishes keys.
struct Publisher {
    url: Uri,
    said: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
    /// How many questions may be answered yet.
    answers: Arc<Semaphore>,
}

impl Publisher {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
        let publisher = Self {
            url,
            said: Arc::new(Mutex::new((503, String::new()))),
            asked: Arc::default(),
            answers: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        };
        let (said, asked) = (Arc::clone(&publisher.said), Arc::clone(&publisher.asked));
        let answers = Arc::clone(&publisher.answers);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                asked.fetch_add(1, Ordering::SeqCst);
                answers.acquire().await.unwrap().forget();
                let (status, body) = said.lock().unwrap().clone();
                let answer = format!(
                    "HTTP/1.1 {status} OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                // The other side may have had enough already.
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        publisher
    }

    fn say(&self, status: u16, body: &str) {
        *self.said.lock().unwrap() = (status, body.to_owned());
    }

    fn publish(&self, keys: &[(&Pair, &str)]) {
        let keys: Vec<_> = keys.iter().map(|(pair, kid)| pair.jwk(kid)).collect();
        self.say(200, &json!({ "keys": keys }).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn jwks() -> Arc<Jwks> {
    Arc::new(Jwks::new(Settings::default(), Client::new(&outbound::Settings::default())))
}

/// What a token says that was signed with this key.
fn header(kid: &str) -> Header {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(kid.to_owned());
    header
}

async fn ask(
    jwks: &Jwks,
    site: &Publisher,
    kid: &str,
    freshness: Freshness,
) -> Result<bool, Error> {
    let keys = jwks.keys(&site.url, &header(kid), freshness).await?;
    Ok(keys.meant_by(Algorithm::ES256, Some(kid)).next().is_some())
}

async fn begin(jwks: &Jwks, site: &Publisher, kid: &str) -> Result<bool, Error> {
    ask(jwks, site, kid, Freshness::NewSession).await
}

async fn go_on(jwks: &Jwks, site: &Publisher, kid: &str) -> Result<bool, Error> {
    ask(jwks, site, kid, Freshness::KnownSession).await
}

/// Lets time pass without letting it run: sockets know only the real one.
async fn pass(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

const PAUSE: Duration = Duration::from_secs(6);
const KEEP: Duration = Duration::from_secs(3601);

#[tokio::test]
async fn keys_are_fetched_once_for_all_and_kept() {
    let (site, jwks, pair) = (Arc::new(Publisher::start().await), jwks(), Pair::ec());
    site.publish(&[(&pair, "1")]);

    let all: Vec<JoinHandle<_>> = (0..20)
        .map(|_| {
            let (jwks, site) = (Arc::clone(&jwks), Arc::clone(&site));
            tokio::spawn(async move { begin(&jwks, &site, "1").await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), Ok(true));
    }
    pass(PAUSE).await;

    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));
    assert_eq!(go_on(&jwks, &site, "1").await, Ok(true));
    assert_eq!(site.asked(), 1);
}

#[tokio::test]
async fn new_key_is_fetched_once_when_it_is_first_seen() {
    let (site, jwks) = (Publisher::start().await, jwks());
    let (old, new) = (Pair::ec(), Pair::ec());
    site.publish(&[(&old, "1")]);
    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));

    site.publish(&[(&old, "1"), (&new, "2")]);
    pass(PAUSE).await;

    assert_eq!(go_on(&jwks, &site, "2").await, Ok(true));
    assert_eq!(begin(&jwks, &site, "2").await, Ok(true));
    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));
    assert_eq!(site.asked(), 2);
}

#[tokio::test]
async fn keys_that_nobody_knows_are_asked_for_at_a_bounded_rate() {
    let (site, jwks, pair) = (Publisher::start().await, jwks(), Pair::ec());
    site.publish(&[(&pair, "1")]);

    assert_eq!(begin(&jwks, &site, "unknown 0").await, Ok(false));
    for kid in 1..100 {
        let began = begin(&jwks, &site, &format!("unknown {kid}")).await;
        assert_eq!(began, Err(Error::Unavailable), "it may have been published a moment ago");
    }
    assert_eq!(site.asked(), 1);
    pass(PAUSE).await;
    assert_eq!(begin(&jwks, &site, "unknown 0").await, Ok(false));
    for kid in 0..100 {
        assert_eq!(go_on(&jwks, &site, &format!("unknown {kid}")).await, Ok(false));
    }

    assert_eq!(site.asked(), 2);
    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));
}

#[tokio::test]
async fn key_that_is_published_a_moment_after_the_others_were_fetched_is_waited_for() {
    let (site, jwks) = (Publisher::start().await, jwks());
    let (old, new) = (Pair::ec(), Pair::ec());
    site.publish(&[(&old, "1")]);
    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));

    site.publish(&[(&old, "1"), (&new, "2")]);
    assert_eq!(begin(&jwks, &site, "2").await, Err(Error::Unavailable));
    assert_eq!(go_on(&jwks, &site, "2").await, Err(Error::Unavailable));
    assert_eq!(site.asked(), 1);
    pass(PAUSE).await;

    assert_eq!(begin(&jwks, &site, "2").await, Ok(true));
}

#[tokio::test]
async fn key_that_was_looked_for_in_vain_stays_nobodys_though_the_url_goes_down() {
    let (site, jwks, pair) = (Publisher::start().await, jwks(), Pair::ec());
    site.publish(&[(&pair, "1")]);
    assert_eq!(begin(&jwks, &site, "withdrawn").await, Ok(false));

    site.say(503, "");
    for _ in 0..3 {
        pass(PAUSE).await;
        assert_eq!(begin(&jwks, &site, "withdrawn").await, Ok(false));
        assert_eq!(begin(&jwks, &site, "new").await, Err(Error::Unavailable));
    }
}

#[tokio::test]
async fn only_so_many_names_of_missing_keys_are_remembered() {
    let (site, jwks) = (Publisher::start().await, jwks());

    for kid in 0..2 * MOST_MISSED {
        jwks.find(&site.url, &header(&format!("unknown {kid}")));
    }

    assert_eq!(lock(&jwks.published)[&site.url.to_string()].missed.len(), MOST_MISSED);
}

#[tokio::test]
async fn nobody_can_be_known_until_the_keys_have_come() {
    let (site, jwks, pair) = (Publisher::start().await, jwks(), Pair::ec());

    for (status, body) in [(503, ""), (200, "no JSON"), (200, "{\"keys\": []}"), (302, "{}")] {
        site.say(status, body);
        assert_eq!(begin(&jwks, &site, "1").await, Err(Error::Unavailable), "{status} {body}");
        assert_eq!(go_on(&jwks, &site, "1").await, Err(Error::Unavailable), "{status} {body}");
        pass(PAUSE).await;
    }
    site.say(200, &"x".repeat(64 * 1024 + 1));
    assert_eq!(begin(&jwks, &site, "1").await, Err(Error::Unavailable));
    assert_eq!(site.asked(), 5);
    pass(PAUSE).await;
    site.publish(&[(&pair, "1")]);

    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));
}

#[tokio::test]
async fn old_keys_do_while_the_url_is_down() {
    let (site, jwks, pair) = (Publisher::start().await, jwks(), Pair::ec());
    site.publish(&[(&pair, "1")]);
    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));
    site.say(503, "");

    pass(KEEP).await;

    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));
    assert_eq!(begin(&jwks, &site, "2").await, Err(Error::Unavailable));
    assert_eq!(site.asked(), 2);
}

#[tokio::test]
async fn session_begins_with_the_keys_of_now_and_goes_on_with_those_that_are_there() {
    let (site, jwks) = (Publisher::start().await, jwks());
    let (old, new) = (Pair::ec(), Pair::ec());
    site.publish(&[(&old, "1")]);
    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));
    site.publish(&[(&new, "2")]);
    site.answers.forget_permits(Semaphore::MAX_PERMITS);
    pass(KEEP).await;

    assert_eq!(go_on(&jwks, &site, "1").await, Ok(true));
    site.answers.add_permits(1);
    assert_eq!(begin(&jwks, &site, "1").await, Ok(false));
    assert_eq!(site.asked(), 2);
}

#[tokio::test]
async fn keys_that_are_on_their_way_are_waited_for_however_short_the_pause() {
    let site = Publisher::start().await;
    let settings = Settings { pause: Duration::ZERO, ..Settings::default() };
    let jwks = Jwks::new(settings, Client::new(&outbound::Settings::default()));

    let first = jwks.find(&site.url, &header("1")).coming.unwrap();
    let second = jwks.find(&site.url, &header("2")).coming.unwrap();

    assert!(first.landing.same_channel(&second.landing));
    assert!(first.is_later && !second.is_later);
}

#[tokio::test]
async fn silent_url_is_given_up_in_time_and_who_asked_first_may_leave() {
    let (site, pair) = (Arc::new(Publisher::start().await), Pair::ec());
    let settings = Settings { timeout: Duration::from_millis(200), ..Settings::default() };
    let jwks = Arc::new(Jwks::new(settings, Client::new(&outbound::Settings::default())));
    site.answers.forget_permits(Semaphore::MAX_PERMITS);
    let first = {
        let (jwks, site) = (Arc::clone(&jwks), Arc::clone(&site));
        tokio::spawn(async move { begin(&jwks, &site, "1").await })
    };
    while site.asked() == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();

    assert_eq!(begin(&jwks, &site, "1").await, Err(Error::Unavailable));

    assert_eq!(site.asked(), 1);
    site.publish(&[(&pair, "1")]);
    site.answers.add_permits(2);
    pass(PAUSE).await;
    assert_eq!(begin(&jwks, &site, "1").await, Ok(true));
}

//! Members by signed cookies on the real Prosody: each algorithm, keys that a site publishes, and a cookie that ends while
//! its session goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use jsonwebtoken::jwk::Jwk;
use rcgen::KeyPair;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::bosh::Browser;
use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::gateway::signed_cookie;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;

/// Who signs the cookies of a site.
struct Signer {
    algorithm: Algorithm,
    private: EncodingKey,
    public: String,
}

impl Signer {
    fn rsa() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { algorithm: Algorithm::RS256, private, public: pair.public_key_pem() }
    }

    fn ec() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { algorithm: Algorithm::ES256, private, public: pair.public_key_pem() }
    }

    fn ed() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let private = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { algorithm: Algorithm::EdDSA, private, public: pair.public_key_pem() }
    }

    /// The cookie of a member for an hour, signed with the key of this name.
    fn cookie(&self, username: &str, kid: &str) -> String {
        let end = jsonwebtoken::get_current_timestamp() + 3600;
        let mut header = Header::new(self.algorithm);
        header.kid = Some(kid.to_owned());
        let claims = json!({ "sub": username, "exp": end });
        format!("session={}", jsonwebtoken::encode(&header, &claims, &self.private).unwrap())
    }

    fn jwk(&self, kid: &str) -> serde_json::Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(kid.to_owned());
        serde_json::to_value(jwk).unwrap()
    }
}

/// A site of `prosody` whose cookies are proved by this, with these tables beside it.
async fn proxy(prosody: &Prosody, proof: &str, tables: &str) -> Proxy {
    let site = Proxy::site(prosody, GUESTS, "");
    let by_secret = format!("secret = '{JWT_SECRET}'");
    assert!(site.contains(&by_secret), "{site}");
    Proxy::with(&format!("{tables}\n{}", site.replace(&by_secret, proof))).await
}

async fn jid(proxy: &Proxy, cookie: String) -> String {
    Browser::new(proxy, Some(cookie)).prebind().await.jid
}

/// Where a site publishes its keys.
struct Publisher {
    url: String,
    keys: Arc<Mutex<Option<serde_json::Value>>>,
    asked: Arc<AtomicUsize>,
}

impl Publisher {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let publisher = Self { url, keys: Arc::default(), asked: Arc::default() };
        let (keys, asked) = (Arc::clone(&publisher.keys), Arc::clone(&publisher.asked));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (keys, asked) = (Arc::clone(&keys), Arc::clone(&asked));
                let answer = service_fn(move |_| {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let keys = keys.lock().unwrap().clone();
                    let status = if keys.is_some() { 200 } else { 503 };
                    let body = Full::<Bytes>::from(keys.unwrap_or_default().to_string());
                    let answer = Response::builder().status(status).body(body).unwrap();
                    async { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        publisher
    }

    fn publish(&self, keys: &[serde_json::Value]) {
        *self.keys.lock().unwrap() = Some(json!({ "keys": keys }));
    }
}

#[tokio::test]
async fn member_is_known_by_a_cookie_of_each_algorithm() {
    let prosody = Prosody::start().await;

    for signer in [Signer::rsa(), Signer::ec(), Signer::ed()] {
        let proxy = proxy(&prosody, &format!("key = '''{}'''", signer.public), "").await;

        let member = jid(&proxy, signer.cookie("bob", "1")).await;
        let confused = signed_cookie("bob", &signer.public, 3600);
        let guest = jid(&proxy, confused).await;

        assert!(member.starts_with("bob@xmpp.localhost/"), "{member}");
        assert!(guest.contains("@guest.localhost/"), "{guest}");
    }
}

#[tokio::test]
async fn new_key_of_a_site_is_found_where_it_publishes_them() {
    let prosody = Prosody::start().await;
    let (publisher, old, new) = (Publisher::start().await, Signer::ec(), Signer::rsa());
    publisher.publish(&[old.jwk("1")]);
    let at = format!("jwks = '{}'", publisher.url);
    let proxy = proxy(&prosody, &at, "[jwks]\npause = '1ms'").await;

    let first = jid(&proxy, old.cookie("bob", "1")).await;
    let unknown = jid(&proxy, new.cookie("bob", "2")).await;
    publisher.publish(&[old.jwk("1"), new.jwk("2")]);
    let second = jid(&proxy, new.cookie("bob", "2")).await;
    let asked = publisher.asked.load(Ordering::SeqCst);
    let again = jid(&proxy, old.cookie("bob", "1")).await;

    assert!(unknown.contains("@guest.localhost/"), "{unknown}");
    for member in [first, second, again] {
        assert!(member.starts_with("bob@xmpp.localhost/"), "{member}");
    }
    assert_eq!(
        publisher.asked.load(Ordering::SeqCst),
        asked,
        "a key that is known is not asked for"
    );
}

#[tokio::test]
async fn member_is_known_by_the_keys_of_a_file() {
    let prosody = Prosody::start().await;
    let (first, second, other) = (Signer::ec(), Signer::rsa(), Signer::ec());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, json!({ "keys": [first.jwk("1"), second.jwk("2")] }).to_string())
        .unwrap();
    let at = format!("jwks = {{ file = '{}' }}", file.display());
    let proxy = proxy(&prosody, &at, "").await;

    let members =
        [jid(&proxy, first.cookie("bob", "1")).await, jid(&proxy, second.cookie("bob", "2")).await];
    let guests = [
        // The key of another name, one that is not there, and somebody else's by a name that is.
        jid(&proxy, first.cookie("bob", "2")).await,
        jid(&proxy, first.cookie("bob", "3")).await,
        jid(&proxy, other.cookie("bob", "1")).await,
    ];

    assert!(members.iter().all(|jid| jid.starts_with("bob@xmpp.localhost/")), "{members:?}");
    assert!(guests.iter().all(|jid| jid.contains("@guest.localhost/")), "{guests:?}");
}

#[tokio::test]
async fn member_is_held_and_no_guest_while_the_keys_cannot_be_fetched() {
    let prosody = Prosody::start().await;
    let (publisher, signer) = (Publisher::start().await, Signer::ec());
    let at = format!("jwks = '{}'", publisher.url);
    let tables = "[prebind]\nhold = '100ms'\n[jwks]\npause = '1ms'";
    let impatient = proxy(&prosody, &at, tables).await;
    let patient = proxy(&prosody, &at, "[jwks]\npause = '1ms'").await;
    let cookie = signer.cookie("bob", "1");

    let refused = Browser::new(&impatient, Some(cookie.clone())).ask("GET", "/prebind").await;
    let without_cookie = Browser::new(&patient, None).ask("GET", "/prebind").await;
    let asked = publisher.asked.load(Ordering::SeqCst);
    let held = tokio::spawn(async move { jid(&patient, cookie).await });
    while publisher.asked.load(Ordering::SeqCst) == asked {
        tokio::task::yield_now().await;
    }
    publisher.publish(&[signer.jwk("1")]);

    assert_eq!((refused.status, without_cookie.status), (503, 200));
    assert!(held.await.unwrap().starts_with("bob@xmpp.localhost/"));
}

#[tokio::test]
async fn session_goes_on_when_its_cookie_ends_and_none_begins_with_it() {
    let prosody = Prosody::start().await;
    let proxy = Proxy::before(&prosody).await;
    let expired = signed_cookie("bob", JWT_SECRET, -300);
    let mut session = Browser::new(&proxy, Some(session_cookie("bob"))).sign_in().await;
    let ping = "<iq xmlns='jabber:client' type='get' id='p' to='xmpp.localhost'><ping xmlns='urn:xmpp:ping'/></iq>";

    session.browser.cookie = Some(expired.clone());
    let answered = session.exchange(ping, &["id='p'"]).await;

    assert!(!answered.contains("terminate"), "{answered}");
    let begun = jid(&proxy, expired).await;
    assert!(begun.contains("@guest.localhost/"), "{begun}");
    for no_proof in [
        signed_cookie("bob", JWT_SECRET, -2 * 3600),
        signed_cookie("bob", "another secret than the site's, of 32 bytes", -300),
        signed_cookie("charlie", JWT_SECRET, -300),
    ] {
        let mut stolen = session.clone();
        stolen.browser.cookie = Some(no_proof);
        let answer = stolen.send("").await;
        assert!(answer.body.contains("item-not-found"), "{answer:?}");
    }
    let untouched = session.exchange(&ping.replace("'p'", "'q'"), &["id='q'"]).await;
    assert!(!untouched.contains("terminate"), "{untouched}");
}

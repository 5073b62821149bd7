//! Tokens that prove something, and the many that do not.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use serde_json::json;

use super::*;
use crate::site::Session;
use crate::site::key::tests::Pair;
use crate::throttle::Throttles;
use crate::visitor::Member;

const SECRET: &str = "a secret of 32 bytes, shared, ok";

/// A site whose `[site.session.jwt]` has these lines, and the site itself these.
fn site_with(jwt: &str, more: &str) -> Site {
    let text = format!(
        "hosts = ['a.example']
         without_session = 'refuse'
         reserved = ['admin']
         {more}
         [registered]
         domain = 'xmpp.example.org'
         upstream = '127.0.0.1:5222'
         secret = 'a secret we share'
         [session.jwt]
         cookie = 'session'
         {jwt}"
    );
    crate::site::tests::site(&text).unwrap()
}

fn with_secret(more: &str) -> Site {
    site_with(&format!("secret = '{SECRET}'\n{more}"), "")
}

fn with_key(pair: &Pair) -> Site {
    site_with(&format!("key = '''{}'''", pair.public_pem), "")
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn token(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret);
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

fn signed(claims: &Value) -> String {
    token(Algorithm::HS256, SECRET.as_bytes(), claims)
}

fn said(site: &Site, token: &str, freshness: Freshness) -> Result<Said, Error> {
    let Some(Session::Jwt(jwt)) = &site.session else { panic!("no jwt") };
    let Source::Here(keys) = &jwt.keys else { panic!("no key") };
    Reading { jwt, keys, now: SystemTime::now(), freshness }.said(token.as_bytes())
}

fn new(site: &Site, token: &str) -> Result<Said, Error> {
    said(site, token, Freshness::NewSession)
}

fn new_by(claims: &Value) -> Result<Said, Error> {
    new(&with_secret(""), &signed(claims))
}

/// Who the cookie names, by all that a site asks of a name.
fn member_of(site: &Site, token: &str) -> Option<Member> {
    visitor::member(site, new(site, token).ok()?, &Throttles::default())
}

fn bob() -> Value {
    json!({"sub": "bob", "exp": now() + 60})
}

fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

#[test]
fn member_is_who_the_signed_cookie_says() {
    let claims = json!({"sub": "bob", "exp": now() + 60, "nick": "Bob B.", "groups": ["Registered"], "sid": "s1"});

    let said = new_by(&claims).unwrap();

    assert_eq!(said.username, "bob");
    assert_eq!(said.nick.as_deref(), Some("Bob B."));
    assert_eq!(said.groups, ["Registered"]);
    assert_eq!(said.session_id.as_deref(), Some("s1"));
}

#[test]
fn what_a_member_is_besides_is_left_out_where_it_is_something_else() {
    let claims = json!({"sub": "bob", "exp": now() + 60, "nick": 7, "groups": "all", "sid": null});

    let said = new_by(&claims).unwrap();

    assert_eq!((said.nick, said.groups, said.session_id), (None, Vec::new(), None));
}

#[test]
fn names_of_the_claims_are_settings() {
    let site = with_secret("claim = 'login'\nnick = 'name'\ngroups = 'roles'\nsession_id = 'jti'");
    let claims = json!({
        "sub": "7", "login": "bob", "name": "Bob", "roles": ["a"], "jti": "s1", "exp": now() + 60
    });

    let said = new(&site, &signed(&claims)).unwrap();

    assert_eq!((said.username.as_str(), said.nick.as_deref()), ("bob", Some("Bob")));
    assert_eq!((said.groups, said.session_id.as_deref()), (vec!["a".to_owned()], Some("s1")));
}

#[test]
fn each_algorithm_has_its_key() {
    for pair in [Pair::rsa(), Pair::ec(), Pair::ed()] {
        let site = with_key(&pair);

        assert_eq!(new(&site, &pair.signed(None, &bob())).unwrap().username, "bob");
        assert!(new(&site, &pair.signed(Some("any"), &bob())).is_ok());
    }
}

#[test]
fn public_key_is_no_secret() {
    for pair in [Pair::rsa(), Pair::ec(), Pair::ed()] {
        let site = with_key(&pair);
        let pem = pair.public_pem.as_bytes();

        for secret in [pem, pair.public_pem.trim().as_bytes(), SECRET.as_bytes()] {
            let refused = new(&site, &token(Algorithm::HS256, secret, &bob()));
            assert!(matches!(refused, Err(Error::NoKey)), "{refused:?}");
        }
    }
}

#[test]
fn other_keys_and_algorithms_prove_nothing() {
    let (ours, other, rsa) = (Pair::ec(), Pair::ec(), Pair::rsa());
    let site = with_key(&ours);
    let sign =
        |algorithm| jsonwebtoken::encode(&Header::new(algorithm), &bob(), &rsa.private).unwrap();

    assert!(matches!(new(&site, &other.signed(None, &bob())), Err(Error::Token(_))));
    assert!(matches!(new(&site, &rsa.signed(None, &bob())), Err(Error::NoKey)));
    let site = with_key(&rsa);
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        assert!(matches!(new(&site, &sign(algorithm)), Err(Error::NoKey)), "{algorithm:?}");
    }
    let site = with_secret("");
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert!(new(&site, &token(algorithm, SECRET.as_bytes(), &bob())).is_err());
    }
    assert!(new(&site, &token(Algorithm::HS256, b"another secret", &bob())).is_err());
}

#[test]
fn token_without_its_signature_proves_nothing() {
    let site = with_secret("");
    let good = signed(&bob());
    let (head, seal) = good.rsplit_once('.').unwrap();
    let (_, body) = head.split_once('.').unwrap();
    let none = |algorithm: &str| {
        URL_SAFE_NO_PAD.encode(format!("{{\"typ\":\"JWT\",\"alg\":\"{algorithm}\"}}"))
    };

    assert!(new(&site, &good).is_ok());
    for token in [
        format!("{}.{body}.", none("none")),
        format!("{}.{body}.{seal}", none("None")),
        format!("{}.{body}.{seal}", none("hs256")),
        format!("{head}."),
        head.to_owned(),
        format!("{good}x"),
        format!("{good}="),
        format!("{good}.x"),
        format!(" {good}"),
        format!("\"{good}\""),
        "x".to_owned(),
        "..".to_owned(),
        String::new(),
    ] {
        assert!(new(&site, &token).is_err(), "{token}");
    }
}

#[test]
fn key_that_a_token_brings_along_is_not_believed() {
    let (ours, own) = (Pair::ec(), Pair::ec());
    let mut header = Header::new(Algorithm::ES256);
    header.jwk = Some(serde_json::from_value(own.jwk("1")).unwrap());
    header.jku = Some("https://evil.example/keys".to_owned());
    header.x5u = Some("https://evil.example/certificate".to_owned());
    let signed_by = |pair: &Pair| jsonwebtoken::encode(&header, &bob(), &pair.private).unwrap();

    assert!(new(&with_key(&ours), &signed_by(&own)).is_err());
    assert!(new(&with_key(&ours), &signed_by(&ours)).is_ok());
}

#[test]
fn what_is_critical_and_unknown_refuses_the_token() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".to_owned()]);
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&header, &bob(), &key).unwrap();

    assert!(matches!(new(&with_secret(""), &token), Err(Error::Critical)));
}

#[test]
fn token_proves_something_between_its_beginning_and_its_end() {
    for (claims, good) in [
        (json!({"sub": "bob", "exp": now() - 10}), true),
        (json!({"sub": "bob", "exp": now() - 60}), false),
        (json!({"sub": "bob", "exp": 1.5}), false),
        (json!({"sub": "bob", "exp": 1e300}), false),
        (json!({"sub": "bob", "exp": u64::MAX}), true),
        (json!({"sub": "bob", "exp": -1}), false),
        (json!({"sub": "bob", "exp": (now() + 60).to_string()}), false),
        (json!({"sub": "bob", "exp": null}), false),
        (json!({"sub": "bob"}), false),
        (with(bob(), "nbf", now() + 10), true),
        (with(bob(), "nbf", now() + 60), false),
        (with(bob(), "nbf", "soon"), false),
        (with(bob(), "iat", now() + 10), true),
        (with(bob(), "iat", now() + 60), false),
        (with(bob(), "iat", Value::Null), false),
    ] {
        assert_eq!(new_by(&claims).is_ok(), good, "{claims}");
    }
}

#[test]
fn leeway_is_a_setting() {
    let token = signed(&json!({"sub": "bob", "exp": now() - 10}));

    assert!(matches!(new(&with_secret("leeway = '2s'"), &token), Err(Error::Expired)));
    assert!(new(&with_secret("leeway = '1m'"), &token).is_ok());
}

#[test]
fn token_that_has_ended_a_while_ago_proves_whose_a_session_is_and_begins_none() {
    let site = with_secret("proof = '10m'");
    let ended = |seconds: u64| signed(&json!({"sub": "bob", "exp": now() - seconds}));
    let known = |token: &str| said(&site, token, Freshness::KnownSession);

    assert!(matches!(new(&site, &ended(300)), Err(Error::Expired)));
    assert_eq!(known(&ended(300)).unwrap().username, "bob");
    assert!(matches!(known(&ended(700)), Err(Error::Expired)));
    let early = json!({"sub": "bob", "exp": now() - 300, "nbf": now() + 60});
    assert!(known(&signed(&early)).is_err());
    let false_one =
        token(Algorithm::HS256, b"another secret", &json!({"sub": "bob", "exp": now() - 300}));
    assert!(known(&false_one).is_err());
    let strict = with_secret("proof = '0s'");
    assert!(said(&strict, &ended(60), Freshness::KnownSession).is_err());
    assert!(said(&strict, &ended(10), Freshness::KnownSession).is_ok());
}

#[test]
fn issuer_and_audience_are_looked_at_where_they_are_asked_for() {
    let site = with_secret("issuer = 'https://id.example'\naudience = ['chat', 'forum']");
    let issued = || with(bob(), "iss", "https://id.example");

    assert!(new_by(&with(with(bob(), "iss", "x"), "aud", "y")).is_ok());
    for audience in [json!("chat"), json!("forum"), json!(["other", "chat"])] {
        assert!(new(&site, &signed(&with(issued(), "aud", audience))).is_ok());
    }
    for audience in [json!("other"), json!([]), json!(["CHAT"]), json!({"chat": 1}), json!(null)] {
        let refused = new(&site, &signed(&with(issued(), "aud", audience)));
        assert!(matches!(refused, Err(Error::Audience)), "{refused:?}");
    }
    assert!(matches!(new(&site, &signed(&issued())), Err(Error::Audience)));
    for issuer in [json!("https://id.example/"), json!(["https://id.example"]), json!(null)] {
        let claims = with(with(bob(), "aud", "chat"), "iss", issuer);
        assert!(matches!(new(&site, &signed(&claims)), Err(Error::Issuer)));
    }
    assert!(matches!(new(&site, &signed(&with(bob(), "aud", "chat"))), Err(Error::Issuer)));
    assert!(new(&with_secret("audience = 'chat'"), &signed(&with(bob(), "aud", "chat"))).is_ok());
}

#[test]
fn cookie_without_a_name_proves_nothing() {
    for claims in [json!({"exp": now() + 60}), json!({"sub": 7, "exp": now() + 60})] {
        assert!(matches!(new_by(&claims), Err(Error::NoName(_))), "{claims}");
    }
}

#[test]
fn reserved_name_is_nobody_in_any_case() {
    for name in ["admin", "Admin"] {
        let token = signed(&json!({"sub": name, "exp": now() + 60}));
        assert!(member_of(&with_secret(""), &token).is_none(), "{name}");
    }
}

#[test]
fn name_that_cannot_be_an_address_is_nobody() {
    let empty = signed(&json!({"sub": "", "exp": now() + 60}));
    let capital = signed(&json!({"sub": "Bob", "exp": now() + 60}));
    let exact = site_with(&format!("secret = '{SECRET}'"), "usernames = 'exact'");

    assert!(member_of(&with_secret(""), &empty).is_none());
    assert_eq!(member_of(&with_secret(""), &capital).unwrap().localpart.as_str(), "bob");
    assert!(member_of(&exact, &capital).is_none());
}

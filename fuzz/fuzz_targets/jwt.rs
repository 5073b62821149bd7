//! Signed cookies: a token proves nothing unless the site's key has signed it with the key's own algorithm, and then no more
//! than what it says, for whom and when.
//!
//! The input is a letter: `t` for a token as it comes, `s` for two lines (a header and claims) that the site signs, `c` for the
//! same signed with the public key as if it were a secret.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;
use std::time::UNIX_EPOCH;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use vestibule::site::Session;
use vestibule::site::Sites;
use vestibule::site::jwt::Jwt;
use vestibule::site::jwt::Source;
use vestibule::visitor::Freshness;
use vestibule::visitor::jwt::Reading;

const SECRET: &str = "a secret of 32 bytes, shared, ok";
const PUBLIC: &str = include_str!("../../tests/config/accepted/jwt.pem");
/// The time by our clock, in seconds since 1970.
const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 30;

/// What proves the cookies of a site that has this key.
fn jwt(key: &str) -> Jwt {
    let text = format!(
        "hosts = ['a.example']
         [registered]
         domain = 'xmpp.example.org'
         upstream = '127.0.0.1:5222'
         secret = 'a secret we share'
         [session.jwt]
         cookie = 'session'
         issuer = 'https://a.example'
         audience = ['chat', 'more']
         leeway = '{LEEWAY}s'
         {key}"
    );
    let settings = toml::from_str(&text).expect("settings of a site");
    let sites = Sites::new(vec![settings], &vestibule::file::read);
    let site = sites.expect("a site").iter().next().expect("one").clone();
    match &site.session {
        Some(Session::Jwt(jwt)) => Jwt::clone(jwt),
        Some(Session::Whois(_)) | None => panic!("no jwt"),
    }
}

static BY_SECRET: LazyLock<Jwt> = LazyLock::new(|| jwt(&format!("secret = '{SECRET}'")));
static BY_PUBLIC_KEY: LazyLock<Jwt> = LazyLock::new(|| jwt(&format!("key = '''{PUBLIC}'''")));

/// The username that a token proves.
fn proven(jwt: &Jwt, token: &[u8]) -> Option<String> {
    let Source::Here(keys) = &jwt.keys else { panic!("the key is here") };
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let freshness = Freshness::NewSession;
    Reading { jwt, keys, now, freshness }.said(token).ok().map(|said| said.username)
}

fn signed(header: &[u8], claims: &[u8], secret: &[u8]) -> String {
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let text = format!("{}.{}", encode(header), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", encode(tag.as_ref()))
}

/// Whether the site's secret has signed it, looked at by hand (RFC 7515 §5.2).
fn is_signed(token: &[u8]) -> bool {
    let Some(dot) = token.iter().rposition(|byte| *byte == b'.') else { return false };
    let Ok(tag) = BASE64_URL_SAFE_NO_PAD.decode(&token[dot + 1..]) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::verify(&key, &token[..dot], &tag).is_ok()
}

/// What a token that proves something must have said.
fn is_for_us(header: &Value, claims: &Value, username: &str) {
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none_or(Value::is_null), "{header}");
    assert_eq!(claims["iss"], "https://a.example");
    let ours = |audience: &Value| audience == "chat" || audience == "more";
    let audience = &claims["aud"];
    assert!(ours(audience) || audience.as_array().is_some_and(|all| all.iter().any(ours)));
    assert_eq!(claims["sub"], username);
    let date = |name: &str| claims.get(name).map(|date| date.as_f64().expect("a number"));
    #[expect(clippy::cast_precision_loss, reason = "a second is a second")]
    let (earliest, latest) = ((NOW - LEEWAY) as f64, (NOW + LEEWAY) as f64);
    assert!(date("exp").expect("an end") >= earliest, "{claims}");
    for begin in [date("nbf"), date("iat")].into_iter().flatten() {
        assert!(begin <= latest, "{claims}");
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let mut lines = rest.splitn(2, |byte| *byte == b'\n');
    let (header, claims) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    match kind {
        b's' => {
            let token = signed(header, claims, SECRET.as_bytes());
            assert_eq!(proven(&BY_PUBLIC_KEY, token.as_bytes()), None);
            if let Some(username) = proven(&BY_SECRET, token.as_bytes()) {
                let read = |part| serde_json::from_slice(part).expect("JSON");
                is_for_us(&read(header), &read(claims), &username);
            }
        }
        b'c' => {
            for secret in [PUBLIC, PUBLIC.trim_end()] {
                let token = signed(header, claims, secret.as_bytes());
                assert_eq!(proven(&BY_PUBLIC_KEY, token.as_bytes()), None);
                assert_eq!(proven(&BY_SECRET, token.as_bytes()), None);
            }
        }
        _ => {
            assert_eq!(proven(&BY_PUBLIC_KEY, rest), None);
            assert!(proven(&BY_SECRET, rest).is_none() || is_signed(rest), "nobody signed it");
        }
    }
});

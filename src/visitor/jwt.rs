//! A member known by a signed cookie: a JWT with HS256 (RFC 7519).

use jsonwebtoken::Algorithm;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::Validation;
use serde_json::Map;
use serde_json::Value;

use crate::site::Site;
use crate::site::settings::Jwt;
use crate::visitor::Member;
use crate::visitor::Said;
use crate::visitor::cookies::Cookies;

/// The member whom the cookie names; nobody where there is none, or it proves nothing.
///
/// It must be signed with the site's secret, have an `exp` that is to come and, if any, an `nbf` that is past.
#[must_use]
pub fn member(site: &Site, settings: &Jwt, cookies: &Cookies) -> Option<Member> {
    let token = cookies.first(&settings.cookie)?;
    match claims(settings, token) {
        Ok(said) => super::member(site, said),
        Err(reason) => {
            // An expired cookie is everyday life; the operator who looks for more finds it here.
            tracing::debug!(site = site.name, %reason, "the signed cookie proves nothing");
            None
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Token(#[from] jsonwebtoken::errors::Error),
    #[error("no claim {0:?} with a text")]
    NoName(String),
}

fn claims(settings: &Jwt, token: &[u8]) -> Result<Said, Error> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = settings.leeway.as_secs();
    validation.validate_nbf = true;
    // The audience is the site's business: the key is its own.
    validation.validate_aud = false;
    let key = DecodingKey::from_secret(settings.secret.expose());
    let mut claims: Map<String, Value> = jsonwebtoken::decode(token, &key, &validation)?.claims;
    let Some(Value::String(username)) = claims.remove(&settings.claim) else {
        return Err(Error::NoName(settings.claim.clone()));
    };
    let nick = match claims.remove("nick") {
        Some(Value::String(nick)) => Some(nick),
        Some(_) | None => None,
    };
    let groups = claims
        .remove("groups")
        .and_then(|groups| serde_json::from_value(groups).ok())
        .unwrap_or_default();
    Ok(Said { username, nick, groups, session_id: None })
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header;
    use jsonwebtoken::EncodingKey;
    use jsonwebtoken::Header;
    use serde_json::json;

    use super::*;
    use crate::site::Session;

    const SECRET: &str = "a secret of 32 bytes, shared, ok";

    fn site(more: &str) -> Site {
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
             secret = '{SECRET}'"
        );
        crate::site::tests::site(&text).unwrap()
    }

    fn now() -> u64 {
        jsonwebtoken::get_current_timestamp()
    }

    fn token(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn seen(site: &Site, token: &str) -> Option<Member> {
        let Some(Session::Jwt(settings)) = &site.session else { panic!("no jwt") };
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("other=1; session={token}").parse().unwrap());
        member(site, settings, &Cookies::of(&headers))
    }

    fn seen_by(claims: &Value) -> Option<Member> {
        seen(&site(""), &token(Algorithm::HS256, SECRET, claims))
    }

    #[test]
    fn member_is_who_the_signed_cookie_says() {
        let member = seen_by(
            &json!({"sub": "bob", "exp": now() + 60, "nick": "Bob B.", "groups": ["Registered"]}),
        )
        .unwrap();

        assert_eq!(member.localpart.as_str(), "bob");
        assert_eq!(member.nick.as_deref(), Some("Bob B."));
        assert_eq!(member.groups, ["Registered"]);
    }

    #[test]
    fn expired_and_early_cookies_prove_nothing_beyond_the_leeway() {
        assert!(seen_by(&json!({"sub": "bob", "exp": now() - 10})).is_some());
        assert!(seen_by(&json!({"sub": "bob", "exp": now() - 60})).is_none());
        assert!(seen_by(&json!({"sub": "bob", "exp": now() + 600, "nbf": now() + 10})).is_some());
        assert!(seen_by(&json!({"sub": "bob", "exp": now() + 600, "nbf": now() + 60})).is_none());
    }

    #[test]
    fn cookie_without_end_or_name_proves_nothing() {
        assert!(seen_by(&json!({"sub": "bob"})).is_none());
        assert!(seen_by(&json!({"sub": "bob", "exp": "never"})).is_none());
        assert!(seen_by(&json!({"exp": now() + 60})).is_none());
        assert!(seen_by(&json!({"sub": 7, "exp": now() + 60})).is_none());
    }

    #[test]
    fn other_keys_and_algorithms_prove_nothing() {
        let claims = json!({"sub": "bob", "exp": now() + 60});
        let site = site("");
        let good = token(Algorithm::HS256, SECRET, &claims);
        let mut parts = good.split('.');
        let (_, body, seal) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        // {"alg":"none"}
        let none = "eyJhbGciOiJub25lIn0";

        assert!(seen(&site, &good).is_some());
        assert!(seen(&site, &token(Algorithm::HS256, "another secret", &claims)).is_none());
        assert!(seen(&site, &token(Algorithm::HS512, SECRET, &claims)).is_none());
        for token in [
            format!("{none}.{body}."),
            format!("{none}.{body}.{seal}"),
            format!("{good}x"),
            "x".into(),
            String::new(),
        ] {
            assert!(seen(&site, &token).is_none(), "{token}");
        }
    }

    #[test]
    fn reserved_name_is_nobody_in_any_case() {
        for name in ["admin", "Admin"] {
            assert!(seen_by(&json!({"sub": name, "exp": now() + 60})).is_none(), "{name}");
        }
    }

    #[test]
    fn name_that_cannot_be_an_address_is_nobody() {
        assert!(seen_by(&json!({"sub": "", "exp": now() + 60})).is_none());
        let token = token(Algorithm::HS256, SECRET, &json!({"sub": "Bob", "exp": now() + 60}));
        assert!(seen(&site(""), &token).is_some());
        assert!(seen(&site("usernames = 'exact'"), &token).is_none());
    }

    #[test]
    fn claim_of_the_username_is_a_setting() {
        let text = "hosts = ['a.example']
            [registered]
            domain = 'xmpp.example.org'
            upstream = '127.0.0.1:5222'
            secret = 'a secret we share'
            [session.jwt]
            cookie = 'session'
            claim = 'login'
            secret = 'a secret of 32 bytes, shared, ok'";
        let site = crate::site::tests::site(text).unwrap();

        let member = seen(
            &site,
            &token(
                Algorithm::HS256,
                SECRET,
                &json!({"login": "bob", "sub": "7", "exp": now() + 60}),
            ),
        );

        assert_eq!(member.unwrap().localpart.as_str(), "bob");
    }
}

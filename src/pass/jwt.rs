//! A JWT: good for seconds, for one user of one domain; ejabberd believes it as it comes (`auth_method: jwt`).

use std::fmt;
use std::time::Duration;
use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use crate::secret::Secret;

/// Signs the tokens of one XMPP domain, with HS256 (RFC 7519, RFC 7518 §3.2).
pub struct Signer {
    key: hmac::Key,
    lifetime: Duration,
}

impl Signer {
    /// Tokens that are signed with `secret` and good for `lifetime`, by whole seconds.
    #[must_use]
    pub fn new(secret: &Secret, lifetime: Duration) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), lifetime }
    }

    /// Makes a token for `localpart@domain`, both prepared: the server compares what it has prepared itself.
    ///
    /// `nonce` is random, and makes each token another one.
    #[must_use]
    pub fn sign(&self, localpart: &str, domain: &str, now: SystemTime, nonce: [u8; 16]) -> String {
        // A clock before 1970 is wrong in any case, and the server will say so.
        let issued = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let claims = json!({
            "jid": format!("{localpart}@{domain}"),
            "iat": issued.as_secs(),
            "exp": issued.saturating_add(self.lifetime).as_secs(),
            "jti": BASE64_URL_SAFE_NO_PAD.encode(nonce),
        });
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(HEADER), encode(&claims.to_string()));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;
    use jsonwebtoken::DecodingKey;
    use jsonwebtoken::Validation;
    use serde_json::Value;

    use super::*;

    const SECRET: &str = "a secret that only the tests know";

    fn claims(token: &str, secret: &str) -> Option<Value> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let key = DecodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::decode(token, &key, &validation).ok().map(|token| token.claims)
    }

    fn token(localpart: &str, now: SystemTime) -> String {
        let signer = Signer::new(&Secret::new(SECRET), Duration::from_secs(10));
        signer.sign(localpart, "xmpp.example.org", now, [0xff; 16])
    }

    #[test]
    fn token_says_who_and_until_when_to_whoever_has_the_secret() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);

        let claims = claims(&token("bob", now), SECRET).expect("a token");

        let expected = json!({
            "jid": "bob@xmpp.example.org",
            "iat": 1_700_000_000,
            "exp": 1_700_000_010,
            "jti": "_____________________w",
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn who_has_another_secret_does_not_believe_it() {
        let token = token("bob", SystemTime::now());

        assert_eq!(claims(&token, "another secret of just the same size"), None);
    }

    #[test]
    fn quotes_and_letters_of_any_script_in_a_name_stay_what_they_are() {
        let claims = claims(&token("\\27o\\22müller", SystemTime::now()), SECRET).expect("one");

        assert_eq!(claims["jid"], "\\27o\\22müller@xmpp.example.org");
    }

    #[test]
    fn clock_before_1970_is_no_panic() {
        let claims = claims(&token("bob", SystemTime::UNIX_EPOCH - Duration::from_secs(1)), SECRET);

        assert_eq!(claims.expect("one")["iat"], 0);
    }
}

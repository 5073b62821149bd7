//! A cookie that is a JWT: what it must be signed with, and what it must say.

use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;

use crate::secret::Secret;
use crate::site::Error;
use crate::site::Fault;
use crate::site::key::Algorithm;
use crate::site::key::Jwks;
use crate::site::key::Key;
use crate::site::key::Keys;
use crate::site::settings::Checked;
use crate::site::settings::CookieName;

/// `[site.session.jwt]`: the cookie is a JWT that says who the visitor is.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The name of the cookie.
    pub cookie: Checked<CookieName>,
    /// What signs it, with HS256: 32 bytes at least.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// What proves it: a public key in PEM, for RS256, ES256 or `EdDSA`.
    #[serde(default)]
    pub key: Option<Checked<Key>>,
    /// What proves it: a JWK set, or the URL of one.
    #[serde(default)]
    pub jwks: Option<Checked<Jwks>>,
    /// The one algorithm that is believed; by default the one that the key is for.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// What its `iss` must be; by default anything.
    #[serde(default)]
    pub issuer: Option<String>,
    /// What its `aud` must name, or one of these; by default anything.
    #[serde(default)]
    pub audience: Audience,
    /// How far the site's clock and ours may differ: up to 10 minutes.
    #[serde(default = "leeway", with = "humantime_serde")]
    pub leeway: Duration,
    /// How long after its end it still proves whose a session over BOSH is that has begun before: up to a day.
    #[serde(default = "proof", with = "humantime_serde")]
    pub proof: Duration,
    /// The claim that has the username.
    #[serde(default = "username_claim")]
    pub claim: String,
    /// The claim that has the name to be shown.
    #[serde(default = "nick_claim")]
    pub nick: String,
    /// The claim that has the groups: a list of texts.
    #[serde(default = "groups_claim")]
    pub groups: String,
    /// The claim that has the site's own name for the session.
    #[serde(default = "session_id_claim")]
    pub session_id: String,
}

/// One text or several.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(untagged, expecting = "expected a text or a list of texts")]
pub enum Audience {
    /// One.
    One(String),
    /// Several; none is no demand.
    Several(Vec<String>),
}

impl Audience {
    /// Whether nobody in particular is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::One(_) => false,
            Self::Several(several) => several.is_empty(),
        }
    }
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// How a site's signed cookie is read.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// The name of the cookie.
    pub cookie: String,
    /// What proves it.
    pub keys: Source,
    /// What its `iss` must be.
    pub issuer: Option<String>,
    /// One of these must be in its `aud`, if there are any.
    pub audience: Vec<String>,
    /// How far the site's clock and ours may differ.
    pub leeway: Duration,
    /// How long after its end it still proves whose a session is that goes on.
    pub proof: Duration,
    /// Where it says who the visitor is.
    pub claims: Claims,
}

/// Where the keys of a site are.
#[derive(Debug, Clone)]
pub enum Source {
    /// Here.
    Here(Keys),
    /// At a URL.
    At {
        /// The URL.
        url: Uri,
        /// The one algorithm that is believed; by default the one that each key is for.
        algorithm: Option<Algorithm>,
    },
}

/// The names of the claims that say who a visitor is.
#[derive(Debug, Clone)]
pub struct Claims {
    /// The username.
    pub username: String,
    /// The name to be shown.
    pub nick: String,
    /// The groups.
    pub groups: String,
    /// The site's own name for the session.
    pub session_id: String,
}

impl Jwt {
    /// Nothing where [`faults_of`] finds a fault.
    pub(super) fn new(settings: Settings) -> Option<Self> {
        let keys = keys_of(&settings)?;
        let Settings { cookie, issuer, audience, leeway, proof, .. } = settings;
        let (username, nick) = (settings.claim, settings.nick);
        let claims =
            Claims { username, nick, groups: settings.groups, session_id: settings.session_id };
        let audience = match audience {
            Audience::One(one) => vec![one],
            Audience::Several(several) => several,
        };
        Some(Self { cookie: cookie.0.0, keys, issuer, audience, leeway, proof, claims })
    }
}

/// What does not fit together.
pub(super) fn faults_of(settings: &Settings) -> Vec<Fault> {
    let Settings { secret, key, jwks, algorithm, leeway, proof, .. } = settings;
    let mut faults = Vec::new();
    let mut fault = |wrong: bool, key: &'static str, error: Error| {
        if wrong {
            faults.push((key, error));
        }
    };
    let given = [secret.is_some(), key.is_some(), jwks.is_some()];
    let given = given.into_iter().filter(|given| *given).count();
    fault(given == 0, "session.jwt", Error::NoKey);
    fault(given > 1, "session.jwt", Error::SeveralKeys);
    let is_short = secret.as_ref().is_some_and(|secret| secret.expose().len() < LEAST_SECRET);
    fault(is_short, "session.jwt.secret", Error::ShortKey);
    if let (1, Some(algorithm), None) = (given, algorithm, keys_of(settings)) {
        fault(true, "session.jwt.algorithm", Error::Algorithm(*algorithm));
    }
    fault(*leeway > LONGEST_LEEWAY, "session.jwt.leeway", Error::TooLong(LONGEST_LEEWAY));
    fault(*proof > LONGEST_PROOF, "session.jwt.proof", Error::TooLong(LONGEST_PROOF));
    faults
}

/// Nothing where there is no key, or none for the algorithm.
fn keys_of(settings: &Settings) -> Option<Source> {
    let algorithm = settings.algorithm;
    let keys = match (&settings.secret, &settings.key, &settings.jwks) {
        (Some(secret), None, None) => Keys::from(Key::of_secret(secret)),
        (None, Some(Checked(key)), None) => Keys::from(key.clone()),
        (None, None, Some(Checked(Jwks::Here(keys)))) => keys.clone(),
        (None, None, Some(Checked(Jwks::At(url)))) => {
            // What is published is no secret.
            let is_public = algorithm != Some(Algorithm::Hs256);
            return is_public.then(|| Source::At { url: url.clone(), algorithm });
        }
        _ => return None,
    };
    let keys = keys.only(algorithm);
    (!keys.is_empty()).then_some(Source::Here(keys))
}

fn leeway() -> Duration {
    Duration::from_secs(30)
}

fn proof() -> Duration {
    Duration::from_secs(60 * 60)
}

fn username_claim() -> String {
    "sub".to_owned()
}

fn nick_claim() -> String {
    "nick".to_owned()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

fn session_id_claim() -> String {
    "sid".to_owned()
}

/// RFC 7518 §3.2: as long as what it makes.
pub(super) const LEAST_SECRET: usize = 32;
const LONGEST_LEEWAY: Duration = Duration::from_secs(10 * 60);
const LONGEST_PROOF: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::key::tests::Pair;
    use crate::site::tests::site;

    fn faults(lines: &str) -> Vec<Fault> {
        let text = format!(
            "hosts = ['a.example']
             [registered]
             domain = 'xmpp.example.org'
             upstream = '127.0.0.1:5222'
             secret = 'a secret we share'
             [session.jwt]
             cookie = 'session'
             {lines}"
        );
        site(&text).err().unwrap_or_default()
    }

    const SECRET: &str = "secret = 'a secret of 32 bytes, shared, ok'";

    #[test]
    fn exactly_one_key_is_expected() {
        let pem = Pair::ed().public_pem;

        assert_eq!(faults(""), [("session.jwt", Error::NoKey)]);
        assert_eq!(faults(SECRET), []);
        assert_eq!(faults(&format!("key = '''{pem}'''")), []);
        assert_eq!(faults("jwks = 'https://id.example.org/keys'"), []);
        let both = format!("{SECRET}\nkey = '''{pem}'''");
        assert_eq!(faults(&both), [("session.jwt", Error::SeveralKeys)]);
    }

    #[test]
    fn secret_is_as_long_as_the_hash() {
        let short = "secret = 'a secret of 31 bytes, shared, o'";

        assert_eq!(faults(short), [("session.jwt.secret", Error::ShortKey)]);
    }

    #[test]
    fn algorithm_that_the_key_is_not_for_is_refused() {
        let pair = Pair::ed();
        let key = format!("key = '''{}'''", pair.public_pem);
        let set = format!("jwks = '{}'", serde_json::json!({ "keys": [pair.jwk("1")] }));
        let url = "jwks = 'https://id.example.org/keys'";

        for (given, right, wrong) in [
            (SECRET, "HS256", Algorithm::Rs256),
            (&key, "EdDSA", Algorithm::Hs256),
            (&set, "EdDSA", Algorithm::Es256),
            (url, "EdDSA", Algorithm::Hs256),
        ] {
            let with = |algorithm: &str| faults(&format!("{given}\nalgorithm = '{algorithm}'"));
            assert_eq!(with(right), []);
            let told = [("session.jwt.algorithm", Error::Algorithm(wrong))];
            assert_eq!(with(&wrong.to_string()), told);
        }
    }

    #[test]
    fn times_are_bounded() {
        let told = faults(&format!("{SECRET}\nleeway = '11m'\nproof = '25h'"));

        assert_eq!(
            told,
            [
                ("session.jwt.leeway", Error::TooLong(LONGEST_LEEWAY)),
                ("session.jwt.proof", Error::TooLong(LONGEST_PROOF)),
            ]
        );
        assert_eq!(Error::TooLong(LONGEST_PROOF).to_string(), "expected at most 1day");
    }
}

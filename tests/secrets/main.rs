//! Nothing that is secret is ever in the log: everybody signs in by every way, and some are refused, with the log at trace.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod behind;
mod edge;
mod faults;
mod signer;

use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::behind::Behind;
use crate::edge::Edge;
use crate::signer::Signer;
use crate::support::gateway::signed_cookie;
use crate::support::prosody::Prosody;
use crate::support::script::Answers;

#[tokio::test]
async fn everybody_signs_in_by_every_way_and_no_secret_is_in_the_log_at_trace() {
    assert_no_secret_is_logged(None).await;
}

#[tokio::test]
async fn everybody_signs_in_by_every_way_and_no_secret_is_in_the_log_of_everything() {
    assert_no_secret_is_logged(Some("trace")).await;
}

/// With this as `RUST_LOG`, which lets other people's crates speak too.
async fn assert_no_secret_is_logged(rust_log: Option<&str>) {
    let signers = Signer::of_each();
    let behind = Behind::start().await;
    let edge = Edge::start(&(SETTINGS.to_owned() + &behind.sites()), rust_log).await;
    let mut secrets = Secrets::of_the_configuration(&behind.prosody);
    let bob = signed_cookie("bob", JWT_KEY, 3600);

    all_come(&edge, &mut secrets, &bob).await;
    for host in ["starttls.localhost", "direct.localhost"] {
        edge.visit(host, Some(bob.clone()), &mut secrets).await;
    }
    // They cannot be read when the first member comes.
    behind.keys.now(Answers::Json(NONSENSES[0]));
    edge.is_refused("published.localhost", Some(signers[0].cookie("bob")), "503").await;
    behind.publishes(&signers);
    for signer in &signers {
        let cookie = signer.cookie("bob");
        secrets.add_cookie(&cookie);
        edge.visit("published.localhost", Some(cookie), &mut secrets).await;
    }
    edge.resumes_and_is_signed_out(&bob, &mut secrets).await;
    edge.is_not_understood(&bob, NONSENSE).await;
    let asked = "PHPSESSID=THE-COOKIE-THAT-THE-SITE-IS-ASKED-ABOUT".to_owned();
    secrets.add_cookie(&asked);
    edge.visit("asked.localhost", Some(asked.clone()), &mut secrets).await;
    for nonsense in NONSENSES {
        behind.whois.now(Answers::Json(nonsense));
        edge.is_refused("asked.localhost", Some(asked.clone()), "503").await;
    }
    edge.is_refused("refused.localhost", None, "503").await;
    secrets.add_tickets(&behind.refusing.auths());
    edge.is_internally_refused("A-GUESS-AT-THE-SECRET-OF-THE-INTERNAL-LISTENER").await;
    secrets.add("A-GUESS-AT-THE-SECRET-OF-THE-INTERNAL-LISTENER");

    let said = edge.ended().await;
    assert!(said.contains("DEBUG"), "the log says little");
    for told in [
        "bob@xmpp.localhost",
        "check the clocks",
        "something else than the JSON",
        "the keys of a site",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    secrets.assert_none_in(&said);
}

/// With each cookie that there is, and without.
async fn all_come(edge: &Edge, secrets: &mut Secrets, bob: &str) {
    let forged = signed_cookie("bob", "A-KEY-THAT-THE-SITE-DOES-NOT-HAVE", 3600);
    let expired = signed_cookie("bob", JWT_KEY, -3600);
    let bad_guest = "__Host-vestibule-guest=A-GUEST-COOKIE-THAT-IS-NOT-OURS".to_owned();
    for cookie in [Some(bob.to_owned()), Some(forged), Some(expired), Some(bad_guest), None] {
        if let Some(cookie) = &cookie {
            secrets.add_cookie(cookie);
        }
        edge.visit("localhost", cookie.clone(), secrets).await;
        edge.visit("anonymous.localhost", cookie, secrets).await;
    }
}

#[tokio::test]
async fn nothing_of_what_a_load_balancer_says_is_in_a_log_without_addresses() {
    const CALLER: &str = "198.51.100.77";
    let balanced = "[listen]\nhttps = []\ntrusted_proxies = ['127.0.0.1']\nproxy_protocol = true\n\
        [[site]]\nhosts = ['localhost']\n[site.guests]\ndomain = 'guest.localhost'\nupstream = '127.0.0.1:1'\n\
        secret = 'a secret of the tests'\n[upstream]\nhold = '10ms'\n";
    let edge = Edge::start(balanced, Some("trace")).await;

    let known = format!("PROXY TCP4 {CALLER} 192.0.2.1 40000 443\r\n");
    for head in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n",
        "GET /http-bind HTTP/1.1\r\nOrigin: null\r\n",
        NONSENSE,
    ] {
        edge.says_by_hand(&known, head).await;
    }
    for bad in
        [format!("PROXY {CALLER} {NONSENSE}\r\n"), format!("{NONSENSE}\r\n"), "\r\n".to_owned()]
    {
        edge.says_by_hand(&bad, "").await;
    }

    let said = edge.ended().await;
    assert!(said.contains("closed at the door"), "{said}");
    for unwanted in [CALLER, NONSENSE] {
        assert!(!said.contains(unwanted), "{unwanted}: {said}");
    }
}

/// What nobody may read in the log.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    fn of_the_configuration(prosody: &Prosody) -> Self {
        let mut secrets = Self::default();
        let ticket_secret = fs::read_to_string(prosody.folder().join("ticket.secret")).unwrap();
        for secret in [
            ticket_secret.trim_end(),
            JWT_KEY,
            WHOIS_SECRET,
            INTERNAL_SECRET,
            STANZA,
            NONSENSE,
            QUERY,
        ] {
            secrets.add(secret);
        }
        secrets
    }

    /// This, and as base64 whatever stands before it.
    fn add(&mut self, secret: &str) {
        self.0.push(secret.to_owned());
        for before in 0..3 {
            let shifted = [&b"\0\0"[..before], secret.as_bytes()].concat();
            for text in [BASE64_STANDARD.encode(&shifted), BASE64_URL_SAFE_NO_PAD.encode(&shifted)]
            {
                // The first and the last signs depend on the neighbours.
                let whole = text.trim_end_matches('=');
                self.0.push(whole.get(4..whole.len() - 2).unwrap_or_default().to_owned());
            }
        }
    }

    /// The value of a cookie, and the parts of a token.
    fn add_cookie(&mut self, cookie: &str) {
        let value = cookie.split_once('=').unwrap().1;
        self.add(value);
        // The first part of a token is its header, which is everybody's.
        for part in value.split('.').skip(1).filter(|part| part.len() > 16) {
            self.add(part);
        }
    }

    /// What was shown to a server: each `<auth/>` whole, and the ticket in it.
    fn add_tickets(&mut self, auths: &[String]) {
        assert!(!auths.is_empty(), "no pass was shown");
        for auth in auths {
            let message = auth.split('>').nth(1).unwrap().split('<').next().unwrap();
            let plain = String::from_utf8(BASE64_STANDARD.decode(message).unwrap()).unwrap();
            let ticket = plain.rsplit('\0').next().unwrap();
            self.0.extend([message.to_owned(), ticket.to_owned()]);
        }
        // Of those that were not seen, too.
        self.0.push("vt1.".to_owned());
    }

    fn assert_none_in(&self, said: &str) {
        assert!(self.0.len() > 50, "too few are looked for");
        let is_secret = |line: &&str| {
            self.0.iter().filter(|secret| secret.len() >= 4).any(|secret| line.contains(secret))
        };
        let lines: Vec<_> = said.lines().filter(is_secret).collect();
        assert!(lines.is_empty(), "there are secrets in the log: {lines:#?}");
    }
}

const JWT_KEY: &str = "THE-KEY-THAT-THE-SITE-SIGNS-COOKIES-WITH";
const WHOIS_SECRET: &str = "THE-SECRET-THAT-WHOIS-IS-SHOWN";
const INTERNAL_SECRET: &str = "THE-SECRET-OF-THE-INTERNAL-LISTENER";
const STANZA: &str = "what-bob-says-is-nobodys-business";

const QUERY: &str = "token=THE-TOKEN-THAT-THE-KEYS-ARE-ASKED-FOR-WITH";
/// What stands where something else is expected.
const NONSENSE: &str = "WHAT-NOBODY-UNDERSTANDS-MAY-BE-A-SECRET";
/// What is no answer to whose session it is.
const NONSENSES: [&str; 3] = [
    "{\"authenticated\": \"WHAT-NOBODY-UNDERSTANDS-MAY-BE-A-SECRET\"}",
    "{\"authenticated\": true, \"username\": [\"WHAT-NOBODY-UNDERSTANDS-MAY-BE-A-SECRET\"]}",
    "WHAT-NOBODY-UNDERSTANDS-MAY-BE-A-SECRET",
];
/// `https` is filled in.
const SETTINGS: &str = "[upstream]\nhold = '2s'\n[prebind]\nhold = '2s'\n[whois]\nfresh = '0s'\n[jwks]\npause = '1ms'\n[listen]\nhttps = []\n";

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

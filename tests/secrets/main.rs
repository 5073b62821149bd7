//! Nothing that is secret is ever in the log: everybody signs in by every way, and some are refused, with the log at trace.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::bosh::Browser;
use crate::support::gateway::signed_cookie;
use crate::support::gateway::trusting;
use crate::support::prosody::Prosody;
use crate::support::prosody::free_address;
use crate::support::script::Answers;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::script::Whois;
use crate::support::websocket::Socket;

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
    let prosody = Prosody::start().await;
    let refusing = Server::start(REFUSES).await;
    let whois =
        Whois::start(Answers::Json("{\"authenticated\": true, \"username\": \"wendy\"}")).await;
    let edge = Edge::start((&prosody, &refusing, &whois), rust_log).await;
    let mut secrets = Secrets::of_the_configuration(&prosody);
    let bob = signed_cookie("bob", JWT_KEY, 3600);
    let forged = signed_cookie("bob", "A-KEY-THAT-THE-SITE-DOES-NOT-HAVE", 3600);
    let expired = signed_cookie("bob", JWT_KEY, -3600);
    let asked = "PHPSESSID=THE-COOKIE-THAT-THE-SITE-IS-ASKED-ABOUT".to_owned();
    let bad_guest = "__Host-vestibule-guest=A-GUEST-COOKIE-THAT-IS-NOT-OURS".to_owned();

    for cookie in [&bob, &forged, &expired, &asked, &bad_guest] {
        secrets.add_cookie(cookie);
    }
    for cookie in [Some(bob), Some(forged), Some(expired), Some(bad_guest), None] {
        edge.visit("localhost", cookie.clone(), &mut secrets).await;
        edge.visit("anonymous.localhost", cookie, &mut secrets).await;
    }
    edge.visit("asked.localhost", Some(asked.clone()), &mut secrets).await;
    whois.now(Answers::Json("{\"authenticated\": \"THE-ANSWER-OF-THE-SITE\"}"));
    edge.is_refused("asked.localhost", Some(asked), "503").await;
    edge.is_refused("refused.localhost", None, "503").await;
    secrets.add_tickets(&refusing.auths());
    edge.is_internally_refused("Bearer A-GUESS-AT-THE-SECRET-OF-THE-INTERNAL-LISTENER").await;
    secrets.add("A-GUESS-AT-THE-SECRET-OF-THE-INTERNAL-LISTENER");

    let said = edge.ended().await;
    assert!(said.contains("DEBUG"), "the log says little");
    assert!(said.contains("bob@xmpp.localhost") && said.contains("check the clocks"), "{said}");
    secrets.assert_none_in(&said);
}

/// What nobody may read in the log.
#[derive(Default)]
struct Secrets(Vec<String>);

impl Secrets {
    fn of_the_configuration(prosody: &Prosody) -> Self {
        let mut secrets = Self::default();
        let ticket_secret = fs::read_to_string(prosody.folder().join("ticket.secret")).unwrap();
        for secret in [ticket_secret.trim_end(), JWT_KEY, WHOIS_SECRET, INTERNAL_SECRET, STANZA] {
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
        for secret in self.0.iter().filter(|secret| secret.len() >= 4) {
            let lines: Vec<_> =
                said.lines().filter(|line| line.contains(secret.as_str())).collect();
            assert!(lines.is_empty(), "{secret:?} is in the log: {lines:#?}");
        }
    }
}

/// The program with its log at trace, before real and scripted servers.
struct Edge {
    folder: TempDir,
    child: Child,
    address: std::net::SocketAddr,
    internal: std::net::SocketAddr,
    said: watch::Receiver<String>,
}

impl Edge {
    async fn start(
        (prosody, refusing, whois): (&Prosody, &Server, &Whois),
        rust_log: Option<&str>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, internal) = (free_address(), free_address());
        let secret = prosody.folder().join("ticket.secret");
        let ticket = format!("secret = {{ file = '{}' }}", secret.display());
        let signed = format!("[site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_KEY}'\n");
        let asked = format!(
            "[site.session.whois]\nurl = 'http://{}/'\nsecret = '{WHOIS_SECRET}'\ncookies = ['PHPSESSID']\n",
            whois.address()
        );
        let (real, bad) = (prosody.address(), refusing.address());
        let sites = [
            site("localhost", real, (&ticket, "guest.localhost", &ticket), &signed),
            site(
                "anonymous.localhost",
                real,
                (&ticket, "anon.localhost", "pass = 'anonymous'"),
                &signed,
            ),
            site("asked.localhost", real, (&ticket, "guest.localhost", &ticket), &asked),
            site("refused.localhost", bad, (&ticket, "guest.localhost", &ticket), &signed),
        ];
        let settings = format!(
            "[log]\nlevel = 'trace'\n[upstream]\nhold = '2s'\n[prebind]\nhold = '2s'\n[whois]\nfresh = '0s'\n\
             [listen]\nhttps = ['{address}']\n[internal]\nlisten = '{internal}'\nsecret = '{INTERNAL_SECRET}'\n"
        );
        fs::write(folder.path().join("proxy.toml"), settings + &sites.concat()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .current_dir(folder.path())
            .arg("run")
            .env_remove("RUST_LOG")
            .envs(rust_log.map(|filter| ("RUST_LOG", filter)))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, mut said) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|said| said.extend([line.as_str(), "\n"]));
            }
        });
        let listens = said.wait_for(|said| said.matches("listening").count() >= 2);
        timeout(PATIENCE, listens).await.unwrap().unwrap();
        Self { folder, child, address, internal, said }
    }

    /// Comes by prebind, BOSH and WebSocket, and says something each time.
    async fn visit(&self, host: &str, cookie: Option<String>, secrets: &mut Secrets) {
        let browser = self.browser(host, cookie.clone());
        let mut sessions = vec![browser.clone().prebind().await, browser.clone().sign_in().await];
        for session in &mut sessions {
            let me = session.jid.clone();
            session.exchange(&message_to(&me), &[STANZA]).await;
            secrets.0.push(session.sid.clone());
            // The cookie of a guest who showed none, or a bad one.
            if let Some(cookie) =
                session.browser.cookie.clone().filter(|now| Some(now) != cookie.as_ref())
            {
                secrets.add_cookie(&cookie);
            }
        }
        let mut socket = self.socket(host, cookie.as_deref()).await;
        let jid = socket.sign_in("xmpp.localhost").await;
        socket.send(&message_to(&jid)).await;
        socket.receive_with(STANZA).await;
        if let Some(cookie) = socket.headers.get("set-cookie") {
            secrets.add_cookie(cookie.to_str().unwrap().split(';').next().unwrap());
        }
    }

    async fn is_refused(&self, host: &str, cookie: Option<String>, status: &str) {
        let browser = self.browser(host, cookie.clone());
        let answer = browser.ask("GET", "/prebind").await;
        assert_eq!(answer.status.to_string(), status, "{answer:?}");
        let mut socket = self.socket(host, cookie.as_deref()).await;
        assert!(socket.open_stream(host).await.1.contains("system-shutdown"));
    }

    async fn is_internally_refused(&self, authorization: &str) {
        let asked = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/metrics", self.internal);
        let answer = asked.get(&url).header("Authorization", authorization).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{answer:?}");
        let shown = format!("Bearer {INTERNAL_SECRET}");
        let answer = asked.get(url).header("Authorization", shown).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    fn browser(&self, host: &str, cookie: Option<String>) -> Browser {
        Browser::at(host, self.address, &self.certificate(), cookie)
    }

    async fn socket(&self, host: &str, cookie: Option<&str>) -> Socket {
        let origin = format!("https://{host}");
        let mut headers = vec![("origin", origin.as_str()), ("host", host)];
        headers.extend(cookie.map(|cookie| ("cookie", cookie)));
        let tls = trusting(&self.certificate(), "http/1.1");
        Socket::dial(self.address, tls, "/xmpp-websocket", &headers).await.expect("it is let in")
    }

    fn certificate(&self) -> std::path::PathBuf {
        self.folder.path().join("certs/development.pem")
    }

    /// Ends it, and gives all that it has said.
    async fn ended(mut self) -> String {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().await.unwrap().success());
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        // The sender goes with the last line.
        while self.said.changed().await.is_ok() {}
        self.said.borrow().clone()
    }
}

fn site(
    host: &str,
    server: std::net::SocketAddr,
    (pass, guests, guests_pass): (&str, &str, &str),
    session: &str,
) -> String {
    format!(
        "[[site]]\nhosts = ['{host}']\n[site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{server}'\n{pass}\n\
         [site.guests]\ndomain = '{guests}'\nupstream = '{server}'\n{guests_pass}\n{session}"
    )
}

fn message_to(jid: &str) -> String {
    format!("<message xmlns='jabber:client' to='{jid}' type='chat'><body>{STANZA}</body></message>")
}

const REFUSES: Script = Script::Until(
    Moment::Success,
    Trouble::Says("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"),
);

const JWT_KEY: &str = "THE-KEY-THAT-THE-SITE-SIGNS-COOKIES-WITH";
const WHOIS_SECRET: &str = "THE-SECRET-THAT-WHOIS-IS-SHOWN";
const INTERNAL_SECRET: &str = "THE-SECRET-OF-THE-INTERNAL-LISTENER";
const STANZA: &str = "what-bob-says-is-nobodys-business";

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

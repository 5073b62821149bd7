//! Signing in at a server over TLS: a real Prosody that takes nobody without, and scripted servers that lie.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vestibule::file::read;
use vestibule::metrics::Metrics;
use vestibule::metrics::label::Kind;
use vestibule::metrics::label::SignIn;
use vestibule::pass::Pass;
use vestibule::protocol::jid::Domain;
use vestibule::protocol::jid::Jid;
use vestibule::protocol::jid::Localpart;
use vestibule::protocol::login::Goal;
use vestibule::protocol::login::Pace;
use vestibule::protocol::login::Plan;
use vestibule::protocol::sasl::Channel;
use vestibule::protocol::sasl::Credentials;
use vestibule::protocol::sasl::scram::Hash;
use vestibule::secret::Secret;
use vestibule::site::upstream::Security;
use vestibule::site::upstream::Upstream;
use vestibule::tls::client::Identity;
use vestibule::upstream::dial::dial;
use vestibule::upstream::gate::Gate;
use vestibule::upstream::login::Error;
use vestibule::upstream::login::Stream;
use vestibule::upstream::login::Target;
use vestibule::upstream::login::log_in;
use vestibule::upstream::login::secure;
use vestibule::upstream::settings::Settings;

use crate::support::authority::Age;
use crate::support::authority::Authority;
use crate::support::bosh::Browser;
use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::prosody::free_address;
use crate::support::tickets::mint;
use crate::support::websocket::Socket;

#[tokio::test]
async fn member_signs_in_over_starttls_that_the_server_requires() {
    let (authority, prosody, _) = start(MEMBERS, Age::Good).await;
    for pipelining in [true, false] {
        let security = Security::StartTls(identity(&authority.file()));
        let upstream = Upstream { security, pipelining, ..local(prosody.address()) };

        let (signed_in, metrics) = sign_in(upstream, HOLD).await;

        assert_eq!(signed_in.expect("signed in").jid.map(|jid| jid.to_bare()), Some(bob()));
        assert!(metrics.contains(r#"sign_ins_total{outcome="done"} 1"#), "{metrics}");
    }
}

#[tokio::test]
async fn member_signs_in_where_tls_is_spoken_from_the_first_byte() {
    let (authority, _prosody, direct) = start(MEMBERS, Age::Good).await;
    let security = Security::Tls(identity(&authority.file()));

    let (signed_in, _) = sign_in(Upstream { security, ..local(direct) }, HOLD).await;

    assert_eq!(signed_in.expect("signed in").jid.map(|jid| jid.to_bare()), Some(bob()));
}

#[tokio::test]
async fn server_that_cannot_prove_whose_it_is_is_not_signed_in_to() {
    let stranger = Authority::new();
    for (name, age, wrong) in [
        ("other.localhost", Age::Good, "its certificate is for other names"),
        (MEMBERS, Age::Expired, "its certificate has expired"),
        (MEMBERS, Age::Good, "an authority that is not believed"),
    ] {
        let (authority, prosody, direct) = start(name, age).await;
        let is_stranger = wrong.contains("authority");
        let believed = if is_stranger { stranger.file() } else { authority.file() };
        let ways = [
            Upstream {
                security: Security::StartTls(identity(&believed)),
                ..local(prosody.address())
            },
            Upstream { security: Security::Tls(identity(&believed)), ..local(direct) },
        ];
        for upstream in ways {
            let (refused, metrics) = sign_in(upstream, Duration::from_millis(100)).await;

            let error = refused.expect_err(wrong);
            assert_eq!(error.outcome(), SignIn::Insecure, "{error:?}");
            let source = std::error::Error::source(&error).expect("a cause").to_string();
            assert!(source.contains(wrong) && source.contains(MEMBERS), "{source}");
            assert!(!metrics.contains(r#"sign_ins_total{outcome="insecure"} 0"#), "{metrics}");
        }
    }
}

#[tokio::test]
async fn password_signs_in_by_the_scram_that_the_server_takes() {
    for (option, hash) in [("SHA-1", Hash::Sha1), ("SHA-256", Hash::Sha256)] {
        let authority = Authority::new();
        let lua = authority.prosody(MEMBERS, Age::Good, free_address().port());
        let prosody = Prosody::start_with(&format!("password_hash = '{option}'\n{lua}")).await;
        prosody.add_account(MEMBERS, "bob", "pencil, =and more");
        let security = Security::StartTls(identity(&authority.file()));
        let upstream = Upstream { security, ..local(prosody.address()) };

        for known in [None, Some(hash)] {
            let signed_in = by_password(&upstream, "pencil, =and more", known).await;
            let stream = signed_in.unwrap_or_else(|error| panic!("{option} {known:?}: {error}"));
            assert_eq!(stream.jid.map(|jid| jid.to_bare()), Some(bob()));

            let refused = by_password(&upstream, "pencil", known).await;
            let outcome = refused.map(|_| ()).map_err(|error| error.outcome());
            assert_eq!(outcome, Err(SignIn::Refused), "{option} {known:?}");
        }
    }
}

#[tokio::test]
async fn scripted_server_that_hides_tls_or_speaks_before_it_is_shown_nothing() {
    const FEATURES: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
        <mechanism>PLAIN</mechanism></mechanisms></stream:features>";
    const OFFER: &str =
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";
    const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
    let authority = Authority::new();
    for said in [
        format!("{HEADER}{FEATURES}"),
        format!("{HEADER}{FEATURES}{PROCEED}"),
        format!("{HEADER}{OFFER}{PROCEED}{HEADER}{FEATURES}{SUCCESS}"),
        format!("{HEADER}{OFFER}{PROCEED} "),
        format!(
            "{HEADER}{OFFER}<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"
        ),
    ] {
        let (address, heard) = scripted(said.clone()).await;
        let security = Security::StartTls(identity(&authority.file()));

        let (refused, metrics) =
            sign_in(Upstream { security, ..local(address) }, Duration::from_millis(10)).await;

        let error = refused.expect_err("not signed in");
        assert_eq!(error.outcome(), SignIn::Insecure, "{error:?} of {said}");
        assert!(!metrics.contains(r#"sign_ins_total{outcome="insecure"} 0"#), "{metrics}");
        let heard = timeout(PATIENCE, heard).await.expect("it ends").expect("no panic");
        assert!(heard.contains("<starttls ") && !heard.contains("<auth"), "{heard}");
    }
}

#[tokio::test]
async fn scripted_server_that_does_not_know_the_password_signs_nobody_in() {
    const NONCE: &str = "BwcHBwcHBwcHBwcHBwcHBw==";
    let challenge = |message: &str| {
        let message = BASE64_STANDARD.encode(message);
        format!("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{message}</challenge>")
    };
    let success = |message: &str| {
        let message = BASE64_STANDARD.encode(message);
        format!("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{message}</success>")
    };
    let good = challenge(&format!("r={NONCE}more,s=QSXCR+Q6sek8bf92,i=4096"));
    let iterations = |asked: u64| challenge(&format!("r={NONCE}more,s=QSXCR+Q6sek8bf92,i={asked}"));
    let foreign = challenge("r=somebody+elses,s=QSXCR+Q6sek8bf92,i=4096");
    for (second, third, wrong) in [
        (success(""), String::new(), "without proof"),
        (foreign, String::new(), "nonce"),
        (iterations(1), String::new(), "asks for 1 rounds"),
        (iterations(1_000_000_000), String::new(), "asks for 1000000000 rounds"),
        (good.clone(), success(""), "without proof"),
        (good.clone(), success("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="), "signature"),
        (good.clone(), challenge("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="), "signature"),
        (good, success("e=invalid-proof"), "refuses: invalid-proof"),
    ] {
        // Both lists are a lie where the second flight is about SCRAM.
        for (listed, known) in [("PLAIN", Some(Hash::Sha1)), ("SCRAM-SHA-1", None)] {
            let features = format!(
                "{HEADER}<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
                 <mechanism>{listed}</mechanism></mechanisms></stream:features>"
            );
            let said = match known {
                Some(_) => vec![features + &second, third.clone()],
                None => vec![features, second.clone(), third.clone()],
            };
            let (address, _heard) = scripted_in_turn(said).await;

            let refused = by_password(&local(address), "pencil", known).await;

            let error = refused.expect_err("not signed in").to_string();
            assert!(error.contains(wrong), "{error}, and not {wrong}");
        }
    }
}

#[tokio::test]
async fn scripted_server_that_takes_plain_alone_is_shown_no_password_off_loopback() {
    let plan = Plan {
        domain: Domain::parse(MEMBERS).expect("a domain"),
        language: None,
        goal: Goal::Features,
        pace: Pace::Pipelined,
        // As if it had been reached over a network.
        channel: Channel::Open,
        limit: 100_000,
    };
    let features = format!(
        "{HEADER}<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
         <mechanism>PLAIN</mechanism></mechanisms></stream:features>"
    );
    let (address, heard) = scripted(features).await;
    let tcp = TcpStream::connect(address).await.expect("the server listens");
    let username = Localpart::parse("bob").expect("a localpart");
    let password = Secret::new("pencil");
    let credentials = Credentials::Password { username, password, nonce: [7; 16], known: None };

    let refused = log_in(vestibule::upstream::stream::Socket::Tcp(tcp), plan, credentials).await;

    assert_eq!(refused.map(|_| ()).map_err(|error| error.outcome()), Err(SignIn::Insecure));
    let heard = timeout(PATIENCE, heard).await.expect("it ends").expect("no panic");
    assert!(!heard.contains("<auth"), "{heard}");
}

#[tokio::test]
async fn sessions_over_tls_carry_large_stanzas_both_ways() {
    let (authority, prosody, direct) = start(MEMBERS, Age::Good).await;
    for (security, address) in [("starttls", prosody.address()), ("tls", direct)] {
        let proxy = before(&prosody, &authority, (security, address)).await;

        by_websocket(&proxy).await;
        by_bosh(&proxy).await;
    }
}

#[tokio::test]
async fn browser_is_told_of_an_outage_where_the_server_is_not_trusted() {
    let (_authority, prosody, _) = start(MEMBERS, Age::Good).await;
    let proxy = before(&prosody, &Authority::new(), ("starttls", prosody.address())).await;

    let mut socket = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    let (_, error) = socket.open_stream(MEMBERS).await;
    let prebind = Browser::new(&proxy, Some(session_cookie("bob"))).ask("GET", "/prebind").await;

    assert!(error.contains("stream:error") && error.contains("system-shutdown"), "{error}");
    assert_eq!(prebind.status, 503, "{prebind:?}");
}

/// A Prosody that shows a certificate for `name`, its authority, and where it speaks TLS from the first byte.
async fn start(name: &str, age: Age) -> (Authority, Prosody, SocketAddr) {
    let authority = Authority::new();
    let direct = free_address();
    let prosody = Prosody::start_with(&authority.prosody(name, age, direct.port())).await;
    (authority, prosody, direct)
}

/// A proxy before a Prosody whose members are reached at `address`; holds are short, so that the tests are.
async fn before(
    prosody: &Prosody,
    authority: &Authority,
    (security, address): (&str, SocketAddr),
) -> Proxy {
    let (secret, authority) = (prosody.folder().join("ticket.secret"), authority.file());
    Proxy::with(&format!(
        "[upstream]\nhold = '2s'\n[prebind]\nhold = '2s'\n[[site]]\nhosts = ['localhost']\n\
         [site.registered]\ndomain = '{MEMBERS}'\nupstream = '{address}'\nsecurity = '{security}'\n\
         authority = '{}'\nsecret = {{ file = '{}' }}\n\
         [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n",
        authority.display(),
        secret.display(),
    ))
    .await
}

async fn by_websocket(proxy: &Proxy) {
    let mut socket = Socket::open(proxy, Some(&session_cookie("bob"))).await;
    let jid = socket.sign_in("bob@xmpp.localhost").await;
    // Sent one behind the other before anything is read, so that there is more than any buffer takes.
    for number in 0..MESSAGES {
        socket.send(&message(&jid, number)).await;
    }
    for number in 0..MESSAGES {
        let received = socket.receive_with(&format!("end-of-{number}-")).await;
        assert!(received.len() > LARGE, "{} bytes", received.len());
    }
}

async fn by_bosh(proxy: &Proxy) {
    let mut browser = Browser::new(proxy, Some(session_cookie("bob")));
    let mut session = browser.prebind().await;
    for number in 0..3 {
        let sent = message(&session.jid, number);
        let received = session.exchange(&sent, &[&format!("end-of-{number}-")]).await;
        assert!(received.len() > LARGE, "{} bytes", received.len());
    }
    session.terminate().await;
}

fn message(to: &str, number: usize) -> String {
    let text = "x".repeat(LARGE);
    format!(
        "<message xmlns='jabber:client' to='{to}' type='chat'><body>{text}end-of-{number}-</body></message>"
    )
}

fn local(address: SocketAddr) -> Upstream {
    Upstream::local(&address.to_string())
}

fn identity(authority: &Path) -> Identity {
    Identity::new(MEMBERS, Some(authority), None, &read).expect("an identity")
}

fn bob() -> Jid {
    let domain = Domain::parse(MEMBERS).expect("a domain");
    Jid::bare(Localpart::parse("bob").expect("a localpart"), domain)
}

/// Signs bob in by ticket, held for so long; and what was counted.
async fn sign_in(upstream: Upstream, hold: Duration) -> (Result<Stream, Error>, String) {
    let domain = Domain::parse(MEMBERS).expect("a domain");
    let localpart = Localpart::parse("bob").expect("a localpart");
    let target = Target {
        upstream: Arc::new(upstream),
        domain: domain.clone(),
        language: None,
        pass: Pass::Ticket { mint: Arc::new(mint()), localpart, domain },
        expected: Some(bob()),
        kind: Kind::Member,
        visitor: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let metrics = Arc::new(Metrics::new());
    let gate = Gate::new(Settings::default(), metrics.clone());
    let goal = Goal::Bind { resource: "one".to_owned() };
    let signed_in = gate.sign_in(&target, &goal, hold).await;
    (signed_in, metrics.text())
}

/// Signs bob in by his own password.
async fn by_password(
    upstream: &Upstream,
    password: &str,
    known: Option<Hash>,
) -> Result<Stream, Error> {
    let tcp = dial(&upstream.address).await.expect("the server listens");
    let domain = Domain::parse(MEMBERS).expect("a domain");
    let visitor = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let socket = secure(tcp, upstream, (&domain, Pace::Pipelined), visitor).await?;
    let (channel, goal) = (socket.channel(), Goal::Bind { resource: "one".to_owned() });
    let language = None;
    let plan = Plan { domain, language, goal, pace: Pace::Pipelined, channel, limit: 100_000 };
    let username = Localpart::parse("bob").expect("a localpart");
    let password = Secret::new(password);
    log_in(socket, plan, Credentials::Password { username, password, nonce: [7; 16], known }).await
}

/// A server that says this to the first that comes, and everything that it heard until the other side went.
async fn scripted(said: String) -> (SocketAddr, JoinHandle<String>) {
    scripted_in_turn(vec![said]).await
}

/// The same with one text after another, each when something has come.
async fn scripted_in_turn(said: Vec<String>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let hearing = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.expect("somebody comes");
        let mut heard = Vec::new();
        for said in said {
            // Who has gone already hears no more.
            if !matches!(peer.read_buf(&mut heard).await, Ok(1..)) {
                break;
            }
            peer.write_all(said.as_bytes()).await.ok();
        }
        // What was unread when it went is an error here, and no word more.
        peer.read_to_end(&mut heard).await.ok();
        String::from_utf8_lossy(&heard).into_owned()
    });
    (address, hearing)
}

const HEADER: &str = "<?xml version='1.0'?><stream:stream id='1' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
/// Long enough for a sign-in on a loaded machine.
const HOLD: Duration = Duration::from_secs(10);
/// More than TLS keeps in one record or a socket takes at once.
const LARGE: usize = 150_000;
const MESSAGES: usize = 12;
/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

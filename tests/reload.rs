//! What a running Vestibule takes over: certificates by themselves, and `proxy.toml` on SIGHUP.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::bosh::Browser;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::gateway::trusting;
use crate::support::program::Program;
use crate::support::program::text;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::websocket::Socket;

#[tokio::test]
async fn new_certificate_is_shown_after_sighup_while_a_session_talks_on() {
    let prosody = Prosody::start().await;
    let config = config("watch = '1h'", &Proxy::site(&prosody, GUESTS, ""));
    let mut program =
        Program::run(&config, |folder| certificate(folder.path(), "a", &["localhost"])).await;
    let old = trusting(&program.path("a.pem"), "http/1.1");
    let headers = [("origin", ORIGIN), ("cookie", &session_cookie("bob"))];
    let opened = Socket::dial(program.address(), old.clone(), "/xmpp-websocket", &headers);
    let mut bob = opened.await.unwrap();
    bob.sign_in("bob@xmpp.localhost").await;
    knock(&program, old.clone(), "localhost").await;

    certificate(program.path("").as_path(), "a", &["localhost"]);
    program.hang_up().await;
    program.says("the configuration is taken over").await;

    let new = trusting(&program.path("a.pem"), "http/1.1");
    let shown = knock(&program, new, "localhost").await.0;
    assert_eq!(shown, der(&program.path("a.pem")));
    let (_, kind) = knock(&program, old, "localhost").await;
    assert_eq!(kind, Some(HandshakeKind::Resumed), "a session ticket of before is good");
    bob.send("<iq xmlns='jabber:client' type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>")
        .await;
    bob.receive_with("still").await;
}

#[tokio::test]
async fn certificate_is_shown_when_its_files_change_and_a_broken_one_is_told_once() {
    let config = config("watch = '20ms'", SITE).replace("'a.", "'live/a.");
    let mut program = Program::run(&config, |folder| {
        for version in ["first", "broken", "second"] {
            fs::create_dir(folder.path().join(version)).unwrap();
            certificate(&folder.path().join(version), "a", &["localhost"]);
        }
        fs::write(folder.path().join("broken/a.pem"), "half of a certificate").unwrap();
        make_live(folder.path(), "first");
    })
    .await;
    let [first, second] = ["first/a.pem", "second/a.pem"].map(|file| program.path(file));

    make_live(&program.path(""), "broken");
    let told = program.says("the old certificates are still shown").await;
    assert_eq!(text(&told, "level"), "ERROR");
    assert!(text(&told, "problem").contains("there is no certificate in live/a.pem"), "{told}");
    assert_eq!(knock(&program, trusting(&first, "http/1.1"), "localhost").await.0, der(&first));

    make_live(&program.path(""), "second");
    // The next thing that it says: the broken one is told no second time.
    let told = program.next_event().await;
    assert_eq!(text(&told, "message"), "new certificates are shown", "{told}");
    assert_eq!(knock(&program, trusting(&second, "http/1.1"), "localhost").await.0, der(&second));
}

#[tokio::test]
async fn certificate_is_chosen_by_the_name_that_the_browser_asks_for() {
    let more = "watch = '1h'\n\
        [[tls.certificates]]\ncertificate = 'b.pem'\nkey = 'b.key'\n\
        [[tls.certificates]]\ncertificate = 'c.pem'\nkey = 'c.key'";
    let program = Program::run(&config(more, SITE), |folder| {
        certificate(folder.path(), "a", &["localhost"]);
        certificate(folder.path(), "b", &["*.example.org"]);
        certificate(folder.path(), "c", &["www.example.org"]);
    })
    .await;
    let shown = async |name: &str| {
        let file = ["a", "b", "c"].map(|file| program.path(&format!("{file}.pem")));
        let all = file.iter().map(|file| fs::read_to_string(file).unwrap()).collect::<String>();
        let (shown, _) = knock(&program, trusting_text(&all), name).await;
        file.iter().position(|file| der(file) == shown).unwrap()
    };

    assert_eq!(shown("localhost").await, 0);
    assert_eq!(shown("chat.example.org").await, 1);
    assert_eq!(shown("www.example.org").await, 2);
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_level_of_the_log_is_taken_over() {
    let mut program = Program::run(&config("watch = '1h'", SITE), |folder| {
        certificate(folder.path(), "a", &["localhost"]);
    })
    .await;
    let changed = config("watch = '1h'", SITE)
        .replace("127.0.0.1:0", "127.0.0.2:0")
        .replace("[log]", "[http]\nconnections = 7\n[log]\nlevel = 'debug'");

    program.write("proxy.toml", &changed);
    program.hang_up().await;

    let told = program.says("changed, but is taken over only by a restart").await;
    assert_eq!(text(&told, "keys"), "http.connections, listen.https");
    program.says("the configuration is taken over").await;
    let tls = trusting(&program.path("a.pem"), "http/1.1");
    knock(&program, tls, "localhost").await;
    while text(&program.next_event().await, "level") != "DEBUG" {}
}

#[tokio::test]
async fn configuration_with_errors_changes_nothing_and_all_of_them_are_told() {
    let mut program = Program::run(&config("watch = '1h'", SITE), |folder| {
        certificate(folder.path(), "a", &["localhost"]);
    })
    .await;
    let wrong = config("watch = 'soon'", SITE).replace("localhost']", "other.example']\nhots = []");

    program.write("proxy.toml", &wrong);
    program.hang_up().await;

    let first = program.says("wrong in the configuration").await;
    let second = program.says("wrong in the configuration").await;
    let told = program.says("the configuration stays as it was").await;
    assert!(
        text(&first, "problem").contains("proxy.toml:8: tls.watch: expected a duration"),
        "{first}"
    );
    assert!(text(&second, "problem").contains("did you mean `hosts`?"), "{second}");
    assert_eq!(told["problems"], 2);
    let tls = trusting(&program.path("a.pem"), "http/1.1");
    assert_eq!(status(&program, tls, "localhost").await, 404);
}

#[tokio::test]
async fn new_site_is_there_and_one_that_is_no_more_gets_421_but_for_its_sessions() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&site).await;
    let mut socket = Socket::open(&proxy, Some(&session_cookie("bob"))).await;
    socket.sign_in("bob@xmpp.localhost").await;
    let mut browser = Browser::new(&proxy, Some(session_cookie("alice")));
    let mut session = browser.sign_in().await;
    let reader = browser.clone();
    let status = async |path| reader.ask("GET", path).await.status;
    assert_eq!(status("/.well-known/host-meta").await, 200);

    assert!(proxy.reload(&site.replace("'localhost'", "'127.0.0.1'")).await);

    assert_eq!(status("/.well-known/host-meta").await, 421);
    assert_eq!(status("/prebind").await, 421);
    assert_eq!(browser.begin(7_000).await.1.status, 421);
    let ping = "<iq xmlns='jabber:client' type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>";
    socket.send(ping).await;
    socket.receive_with("still").await;
    session.exchange(ping, &["still"]).await;

    assert!(proxy.reload(&site).await);
    assert_eq!(status("/.well-known/host-meta").await, 200);
    session.exchange(&ping.replace("still", "again"), &["again"]).await;
}

#[tokio::test]
async fn sessions_are_revoked_and_go_on_though_the_site_s_hosts_are_turned_or_gone() {
    let prosody = Prosody::start().await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let proxy = Proxy::with(&site).await;
    let mut browser = Browser::new(&proxy, Some(session_cookie("bob")));
    let mut session = browser.sign_in().await;
    let mut socket = Socket::open(&proxy, Some(&session_cookie("alice"))).await;
    socket.sign_in("alice@xmpp.localhost").await;

    let origins = "origins = ['https://localhost']\n";
    let turned = site.replace("['localhost']\n", &format!("['127.0.0.1', 'localhost']\n{origins}"));
    assert!(proxy.reload(&turned).await);
    let ping = "<iq xmlns='jabber:client' type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>";
    session.exchange(ping, &["still"]).await;
    let bob = proxy.revoke(r#"{"site": "localhost", "username": "bob"}"#).await;
    assert_eq!(bob, (200, r#"{"ended":1}"#.to_owned()));

    assert!(proxy.reload(&site.replace("'localhost'", "'other.test'")).await);
    let alice = proxy.revoke(r#"{"site": "localhost", "username": "alice"}"#).await;
    assert_eq!(alice, (200, r#"{"ended":1}"#.to_owned()));
    socket.receive_with("policy-violation").await;
}

#[tokio::test]
async fn secret_of_the_tickets_is_changed_without_a_restart() {
    let prosody = Prosody::start().await;
    let right = prosody.folder().join("ticket.secret");
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("ticket.secret");
    fs::write(&secret, "another secret, as long").unwrap();
    let site = Proxy::site(&prosody, GUESTS, "")
        .replace(right.to_str().unwrap(), secret.to_str().unwrap());
    let holds = "[prebind]\nhold = '500ms'\n";
    let proxy = Proxy::with(&format!("{holds}{site}")).await;
    let browser = Browser::new(&proxy, Some(session_cookie("bob")));
    assert_eq!(browser.ask("GET", "/prebind").await.status, 503);

    fs::copy(right, secret).unwrap();
    assert!(proxy.reload(&format!("[prebind]\nhold = '500ms'\n{site}")).await);

    // On a loaded machine a sign-in may take longer than the hold.
    let signed_in = async { while browser.ask("GET", "/prebind").await.status != 200 {} };
    assert!(timeout(PATIENCE, signed_in).await.is_ok());
}

/// A configuration on a free port, with this in `[tls]` and these sites; `[tls]` begins in its seventh line.
fn config(tls: &str, sites: &str) -> String {
    format!(
        "[listen]\nhttps = ['127.0.0.1:0']\n[log]\nformat = 'json'\n\
         [tls]\ncertificate = 'a.pem'\nkey = 'a.key'\n{tls}\n{sites}"
    )
}

/// A new certificate for these names, with its key.
fn certificate(folder: &Path, name: &str, hosts: &[&str]) {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(hosts).unwrap();
    fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
}

/// Has `live` lead to another folder from one moment to the next, as Kubernetes does.
fn make_live(folder: &Path, version: &str) {
    std::os::unix::fs::symlink(version, folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("live")).unwrap();
}

fn der(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

fn trusting_text(certificates: &str) -> Arc<ClientConfig> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    fs::write(&file, certificates).unwrap();
    trusting(&file, "http/1.1")
}

/// The certificate that is shown to who asks for `name`, and how the handshake went.
async fn knock(
    program: &Program,
    tls: Arc<ClientConfig>,
    name: &str,
) -> (CertificateDer<'static>, Option<HandshakeKind>) {
    let (stream, _) = ask(program.address(), tls, name).await;
    let tls = stream.get_ref().1;
    (tls.peer_certificates().unwrap()[0].clone().into_owned(), tls.handshake_kind())
}

async fn status(program: &Program, tls: Arc<ClientConfig>, name: &str) -> u16 {
    let (_, answer) = ask(program.address(), tls, name).await;
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Asks for a page over a connection of its own, to the end: the session ticket has come by then.
async fn ask(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    name: &str,
) -> (TlsStream<TcpStream>, String) {
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let socket = TcpStream::connect(address).await.unwrap();
    let mut stream = TlsConnector::from(tls).connect(server, socket).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (stream, answer)
}

/// A site that nobody signs in to.
const SITE: &str = "[[site]]\nhosts = ['localhost']\n[site.guests]\ndomain = 'guest.localhost'\n\
    upstream = '127.0.0.1:1'\nsecret = 'a secret of the tests'\n";

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

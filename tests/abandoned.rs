//! Ten thousand sessions that are refused, break or are abandoned, of every kind, leave nothing behind: neither descriptors
//! nor memory. The server behind is a scripted one, because ten thousand sign-ins would be too many for a real one in a test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::interval;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use futures_util::SinkExt;

use crate::support::bosh::attribute;
use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::session_cookie;
use crate::support::gateway::trusting;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_refused_broken_and_abandoned_sessions_of_every_kind_leave_nothing_behind() {
    let edge = Arc::new(Edge::start().await);
    edge.visits(2_000).await;
    let before = edge.settled().await;

    edge.visits(10_000).await;
    let after = edge.settled().await;

    assert_eq!(after.descriptors, before.descriptors, "descriptors: {before:?}, {after:?}");
    // With one arena, and after two thousand visits that made it as large as their bustle needs, the heap grows by what
    // stays alone: by some ten bytes a visit when this was written. A fifth of a KiB a visit would be two MiB.
    let grown = after.memory.saturating_sub(before.memory);
    assert!(grown < 2 * 1024, "the program grew by {grown} KiB: {before:?}, {after:?}");
}

/// The program, before scripted servers: one that is itself, one that refuses every pass, one that says nothing.
struct Edge {
    folder: TempDir,
    child: Child,
    https: SocketAddr,
    http: SocketAddr,
    good: Server,
    refusing: Server,
    silent: Server,
}

/// What the program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Belongings {
    /// Open descriptors.
    descriptors: usize,
    /// Resident memory that no file backs, in KiB.
    memory: usize,
}

impl Edge {
    async fn start() -> Self {
        let good = Server::start(Script::Good).await;
        let refusing = Server::start(REFUSES).await;
        let silent = Server::start(Script::Until(Moment::Accepted, Trouble::Hangs)).await;
        let folder = tempfile::tempdir().unwrap();
        let sites = [("localhost", &good), ("refused.test", &refusing), ("silent.test", &silent)]
            .map(|(host, server)| site(host, server.address()));
        fs::write(folder.path().join("proxy.toml"), format!("{SETTINGS}{}", sites.concat()))
            .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .current_dir(folder.path())
            .arg("run")
            .env_remove("RUST_LOG")
            // Several arenas would each grow when chance has it.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut listening = Vec::new();
        while listening.len() < 2 {
            let line = timeout(PATIENCE, log.next_line()).await.unwrap().unwrap().expect("it runs");
            listening.extend(line.split_once("://").map(|(_, rest)| address_of(rest)));
        }
        // It must not meet a closed pipe when it logs.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { folder, child, https: listening[0], http: listening[1], good, refusing, silent }
    }

    /// So many visits, some at a time, each of another kind than the one before.
    async fn visits(self: &Arc<Self>, count: usize) {
        let visits = (0..count).map(|number| {
            let edge = self.clone();
            tokio::spawn(async move {
                let visited = timeout(PATIENCE, edge.visit(number)).await;
                assert!(visited.is_ok(), "a visit of kind {} hangs", number % KINDS);
            })
        });
        let visited: Vec<_> = stream::iter(visits).buffer_unordered(AT_A_TIME).collect().await;
        for visit in visited {
            visit.unwrap();
        }
    }

    async fn visit(&self, number: usize) {
        match number % KINDS {
            0 => self.told("403", "GET /prebind", ["localhost", "https://evil.test"], "").await,
            1 => self.told("403", "POST /http-bind", ["localhost", "null"], OPENING).await,
            2 => self.told("421", "GET /prebind", ["nowhere.test", "https://localhost"], "").await,
            3 => self.told("426", "GET /xmpp-websocket", HERE, "").await,
            4 => self.breaks_off_tls(number).await,
            5 => self.says(b"GET /prebind HTTP/1.1\r\nHost: loc").await,
            6 => self.says(b"POST /http-bind HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\nContent-Length: 500\r\n\r\n<body").await,
            7 => self.told("item-not-found", "POST /http-bind", HERE, UNKNOWN_SID).await,
            8 => self.told("bad-request", "POST /http-bind", HERE, "<body><!-- --></body>").await,
            9 => self.told("503", "GET /prebind", ["refused.test", "https://refused.test"], "").await,
            10 => self.told("503", "POST /http-bind", ["refused.test", "https://refused.test"], OPENING).await,
            11 => self.leaves_while_held(&address_of_visit(number)).await,
            12 => self.told("jid", "GET /prebind", HERE, "").await,
            13 => self.told("EXTERNAL", "POST /http-bind", HERE, OPENING).await,
            14 => self.begins_and_sends_what_is_forbidden().await,
            kind => self.leaves_websocket_at(kind - 15, number).await,
        }
    }

    /// Asks by hand; the answer holds these words, and the connection is then over.
    async fn told(&self, words: &str, line: &str, [host, origin]: [&str; 2], body: &str) {
        let mut answer = self.asks(line, [host, origin], body).await;
        // A machine that is busy elsewhere makes the server late; a browser comes back.
        while words != "503" && answer.contains(" 503 ") {
            answer = self.asks(line, [host, origin], body).await;
        }
        assert!(answer.contains(words), "{line} of {host} from {origin}: {answer}");
    }

    async fn asks(&self, line: &str, [host, origin]: [&str; 2], body: &str) -> String {
        let mut connection = TcpStream::connect(self.http).await.unwrap();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nCookie: {}\r\nX-Forwarded-Proto: https\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            session_cookie("bob"),
            body.len()
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Says no more than this, and goes.
    async fn says(&self, bytes: &[u8]) {
        let mut connection = TcpStream::connect(self.http).await.unwrap();
        connection.write_all(bytes).await.unwrap();
    }

    /// Goes in the middle of the handshake, or right behind it.
    async fn breaks_off_tls(&self, number: usize) {
        let mut connection = TcpStream::connect(self.https).await.unwrap();
        if number.is_multiple_of(2) {
            // The beginning of a ClientHello of 512 bytes.
            connection.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
        } else {
            self.tls(connection).await;
        }
    }

    async fn tls(&self, connection: TcpStream) -> tokio_rustls::client::TlsStream<TcpStream> {
        let trusted = trusting(&self.folder.path().join("certs/development.pem"), "http/1.1");
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(trusted).connect(name, connection).await.unwrap()
    }

    async fn leaves_while_held(&self, address: &str) {
        let asked = self.silent.seen().connections;
        let request = format!(
            "GET /prebind HTTP/1.1\r\nHost: silent.test\r\nOrigin: https://silent.test\r\nX-Forwarded-For: {address}\r\n\r\n"
        );
        let mut connection = TcpStream::connect(self.http).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        self.silent.has_seen(|seen| seen.connections > asked).await;
    }

    async fn begins_and_sends_what_is_forbidden(&self) {
        let begun = self.asks("POST /http-bind", HERE, OPENING).await;
        let Some(sid) = attribute(begun.split_once("\r\n\r\n").unwrap().1, "sid") else {
            return assert!(begun.contains(" 503 "), "{begun}");
        };
        let body = format!(
            "<body rid='2' sid='{sid}' xmlns='http://jabber.org/protocol/httpbind'><x><!-- --></x></body>"
        );
        self.told("bad-request", "POST /http-bind", HERE, &body).await;
    }

    /// Gets so far in a session by WebSocket, and goes without a word; one of three visitors is a guest, and some come by TLS.
    async fn leaves_websocket_at(&self, step: usize, number: usize) {
        let connection = TcpStream::connect(self.http).await.unwrap();
        if number.is_multiple_of(5) {
            let connection = TcpStream::connect(self.https).await.unwrap();
            return goes_in(self.tls(connection).await, step, number).await;
        }
        goes_in(connection, step, number).await;
    }

    /// What it has when nothing is under way any more.
    async fn settled(&self) -> Belongings {
        for server in [&self.good, &self.refusing, &self.silent] {
            server.has_seen(|seen| seen.gone == seen.connections).await;
        }
        // Nobody tells when the last of its own connections is closed; the smallest number that stays is looked for.
        let mut beat = interval(Duration::from_millis(50));
        let mut last = self.belongings();
        let mut unchanged = 0;
        timeout(PATIENCE, async {
            while unchanged < 20 {
                beat.tick().await;
                let now = self.belongings();
                unchanged = if now.descriptors == last.descriptors { unchanged + 1 } else { 0 };
                last = now;
            }
        })
        .await
        .expect("it comes to rest");
        last
    }

    fn belongings(&self) -> Belongings {
        let process = format!("/proc/{}", self.child.id().expect("it runs"));
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        Belongings {
            descriptors: fs::read_dir(format!("{process}/fd")).unwrap().count(),
            memory: memory.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

async fn goes_in<S>(connection: S, step: usize, number: usize)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut request = "ws://localhost/xmpp-websocket".into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("origin", "https://localhost".parse().unwrap());
    headers.insert("sec-websocket-protocol", "xmpp".parse().unwrap());
    headers.insert("x-forwarded-proto", "https".parse().unwrap());
    headers.insert("x-forwarded-for", address_of_visit(number).parse().unwrap());
    if !number.is_multiple_of(3) {
        headers.insert("cookie", session_cookie("bob").parse().unwrap());
    }
    let (mut socket, _) = client_async(request, connection).await.unwrap();
    for (said, answers) in STEPS.iter().take(step) {
        socket.send(Message::text(*said)).await.unwrap();
        for _ in 0..*answers {
            if next(&mut socket).await.contains("system-shutdown") {
                // The server was late; that, too, is a session that broke.
                return;
            }
        }
    }
}

async fn next<S>(socket: &mut WebSocketStream<S>) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    match socket.next().await {
        Some(Ok(Message::Text(text))) => text.to_string(),
        other => panic!("no text, but {other:?}"),
    }
}

fn site(host: &str, server: SocketAddr) -> String {
    let pass = format!("upstream = '{server}'\nsecret = 'a secret of the tests'\n");
    format!(
        "[[site]]\nhosts = ['{host}']\n[site.registered]\ndomain = 'xmpp.localhost'\n{pass}\
         [site.guests]\ndomain = 'guest.localhost'\n{pass}\
         [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n"
    )
}

/// Where the visitor is: somewhere else each time, so that what is kept by address is kept of many.
fn address_of_visit(number: usize) -> String {
    format!("10.{}.{}.{}", number % 199, number % 211, number % 223)
}

fn address_of(text: &str) -> SocketAddr {
    let end = text.find(|sign: char| !"0123456789.:".contains(sign)).unwrap_or(text.len());
    text[..end].parse().unwrap()
}

/// What a browser sends in a session by WebSocket, and how many messages come back to each.
const STEPS: [(&str, usize); 6] = [
    ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>", 2),
    ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>", 1),
    ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>", 2),
    (
        "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        1,
    ),
    ("<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>", 1),
    ("<message xmlns='jabber:client'><!-- forbidden --></message>", 1),
];

/// Fifteen by hand, and a WebSocket that is left before, between and behind its steps.
const KINDS: usize = 15 + STEPS.len() + 1;

/// Enough to have all of them mixed, and few enough for any machine.
const AT_A_TIME: usize = 64;

const HERE: [&str; 2] = ["localhost", "https://localhost"];

const OPENING: &str = "<body rid='1' to='localhost' ver='1.6' wait='60' hold='1' xmlns='http://jabber.org/protocol/httpbind'/>";

const UNKNOWN_SID: &str =
    "<body rid='7' sid='no-such-session' xmlns='http://jabber.org/protocol/httpbind'/>";

const REFUSES: Script = Script::Until(
    Moment::Success,
    Trouble::Says("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"),
);

/// Whatever waits for a browser that does not come is short.
const SETTINGS: &str = "[listen]\nhttps = ['127.0.0.1:0']\nhttp = ['127.0.0.1:0']\ntrusted_proxies = ['127.0.0.1']\n\
    [upstream]\nhold = '1s'\n[prebind]\nhold = '1s'\n\
    [bosh]\nattach = '300ms'\ninactivity = '300ms'\n[guests]\nper_address = 100000\n";

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

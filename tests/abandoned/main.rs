//! Ten thousand sessions that are refused, break or are abandoned, of every kind, leave nothing behind: no descriptor, no
//! memory, and no place that somebody else could have. The servers behind are scripted ones, because ten thousand sign-ins
//! would be too many for a real one in a test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod behind;
mod by_hand;
mod http_2;
mod websocket;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
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
use tokio_rustls::client::TlsStream;

use crate::behind::Behind;
use crate::support::gateway::trusting;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_refused_broken_and_abandoned_sessions_of_every_kind_leave_nothing_behind() {
    let edge = Arc::new(Edge::start().await);
    let crowd = Visit {
        edge: &edge,
        number: 0,
        round: 1,
        member: String::new(),
        address: CROWD.to_owned(),
    };
    let _seat = websocket::stays(&crowd).await;
    edge.visits(4_000).await;
    let before = edge.settled().await;

    edge.visits(10_000).await;
    let after = edge.settled().await;

    assert_eq!(after.descriptors, before.descriptors, "descriptors: {before:?}, {after:?}");
    // With one arena, and after four thousand visits that made it as large as their bustle needs, the heap grows by what
    // stays alone: by none of it in forty thousand more, when this was written, give or take a quarter of a MiB.
    let grown = after.memory.saturating_sub(before.memory);
    assert!(grown < MOST_GROWN, "the program grew by {grown} KiB: {before:?}, {after:?}");
    // The seat alone is there still, and its connection beside the one that asks.
    let metrics = edge.asks_internally("GET /metrics", "").await;
    let sum = |name: &str| -> u32 {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()).sum()
    };
    assert_eq!((sum("vestibule_sessions{"), sum("vestibule_connections ")), (1, 1), "{metrics}");
    assert_eq!((sum("vestibule_held "), sum("vestibule_panics_total ")), (0, 0), "{metrics}");
}

/// The program, and what stands behind it.
struct Edge {
    folder: TempDir,
    child: Child,
    https: SocketAddr,
    http: SocketAddr,
    internal: SocketAddr,
    behind: Behind,
}

/// Somebody who comes.
struct Visit<'a> {
    edge: &'a Edge,
    /// What visit it is, of all kinds.
    number: usize,
    /// What visit of its kind: so that the variants of a kind have their turn.
    round: usize,
    /// Who it is, unless it is a guest.
    member: String,
    /// Where a reverse proxy says that it is.
    address: String,
}

impl Visit<'_> {
    /// The same by a member who has no other session.
    fn alone(&self) -> Self {
        let member = format!("member-{}", self.number);
        Self { member, address: self.address.clone(), ..*self }
    }
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
        let behind = Behind::start().await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proxy.toml"), SETTINGS.to_owned() + &behind.sites()).unwrap();
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
        while listening.len() < 3 {
            let line = timeout(PATIENCE, log.next_line()).await.unwrap().unwrap().expect("it runs");
            listening.extend(line.split_once("://").map(|(_, rest)| address_of(rest)));
        }
        // It must not meet a closed pipe when it logs.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let [https, http, internal] = listening[..] else { panic!("{listening:?}") };
        Self { folder, child, https, http, internal, behind }
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
        let mut visited = stream::iter(visits).buffer_unordered(AT_A_TIME);
        while let Some(visit) = visited.next().await {
            visit.unwrap();
        }
    }

    async fn visit(&self, number: usize) {
        let (kind, round) = (number % KINDS, number / KINDS);
        // Each kind has a member of its own, who is missed when his places are not given back; a guest's are missed where he
        // is: there are more of these addresses than visits at a time, and fewer than visits.
        let member = format!("bob-{kind}");
        let address = format!("10.{}.{}.1", number % 37, number % 41);
        let visit = Visit { edge: self, number, round, member, address };
        if kind < by_hand::KINDS {
            by_hand::visit(&visit, kind).await;
        } else if let Some(kind) = kind.checked_sub(by_hand::KINDS + websocket::KINDS) {
            http_2::visit(&visit, kind).await;
        } else {
            websocket::visit(&visit, kind - by_hand::KINDS).await;
        }
    }

    async fn tls(&self, alpn: &str) -> TlsStream<TcpStream> {
        let connection = TcpStream::connect(self.https).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let trusted = trusting(&self.certificate(), alpn);
        TlsConnector::from(trusted).connect(name, connection).await.unwrap()
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certs/development.pem")
    }

    /// The site signs a member out, who has one session.
    async fn signs_out(&self, member: &str) {
        let question = format!(r#"{{"site": "localhost", "username": "{member}"}}"#);
        let answer = self.asks_internally("POST /sessions/revoke", &question).await;
        assert!(answer.ends_with(r#"{"ended":1}"#), "{answer}");
    }

    async fn asks_internally(&self, line: &str, body: &str) -> String {
        let mut connection = TcpStream::connect(self.internal).await.unwrap();
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// What it has when nothing is under way any more.
    async fn settled(&self) -> Belongings {
        self.behind.is_left().await;
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

fn address_of(text: &str) -> SocketAddr {
    let end = text.find(|sign: char| !"0123456789.:".contains(sign)).unwrap_or(text.len());
    text[..end].parse().unwrap()
}

/// All of them.
const KINDS: usize = by_hand::KINDS + websocket::KINDS + http_2::KINDS;

/// Enough to have all of them mixed, and few enough for any machine.
const AT_A_TIME: usize = 64;

/// Where a guest has the one place that guests of an address may have.
const CROWD: &str = "192.0.2.1";

/// In KiB: five KiB for each visit of one kind, or a hundred bytes for each of all kinds.
const MOST_GROWN: usize = 1024;

/// Whatever waits for a browser that does not come is short. There is room for those who are here at once, and not for as
/// many as come in all: what keeps its place makes that felt. Who stays need not answer pings.
const SETTINGS: &str = "[listen]\nhttps = ['127.0.0.1:0']\nhttp = ['127.0.0.1:0']\ntrusted_proxies = ['127.0.0.1']\n\
    [internal]\nlisten = '127.0.0.1:0'\n[upstream]\nhold = '500ms'\n[prebind]\nhold = '500ms'\n[whois]\ntimeout = '200ms'\n\
    [websocket]\nping = '1h'\n[bosh]\nattach = '1s'\ninactivity = '1s'\nsessions = 200\n[sessions]\nper_visitor = 100\n\
    [guests]\nper_address = 1\nsign_ins_per_minute = 100000\n";

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

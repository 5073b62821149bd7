//! What memory a session costs: how often a message allocates, and what a session that says nothing holds.
//!
//! Neither depends on the day or the machine. Vestibule has a thread of its own here, and what that thread allocates is counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::thread;

use allocation_counter::AllocationInfo;
use allocation_counter::measure;
use tempfile::TempDir;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use vestibule::config::Config;
use vestibule::gateway::Gateway;

use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::session_cookie;
use crate::support::gateway::trusting;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::websocket::Socket;

/// rustls keeps a record's plaintext until it is read, and a record it has written until it is sent.
const OF_RUSTLS: u64 = 2;

#[tokio::test]
async fn a_round_trip_allocates_nothing_but_what_rustls_does() {
    let vestibule = Vestibule::start().await;
    let mut browser = vestibule.browser("bob").await;

    assert_eq!(vestibule.per_round_trip(&mut browser).await, OF_RUSTLS);
}

#[tokio::test]
async fn a_round_trip_behind_a_reverse_proxy_allocates_nothing() {
    let vestibule = Vestibule::start().await;
    let mut browser = vestibule.browser_in_the_clear("bob").await;

    assert_eq!(vestibule.per_round_trip(&mut browser).await, 0);
}

#[tokio::test]
async fn a_session_that_says_nothing_holds_little_and_after_a_burst_no_more() {
    let vestibule = Vestibule::start().await;
    // What is made once, whoever comes and whatever is said.
    let mut first = vestibule.browser("bob").await;
    talk(&mut first, LONG).await;

    let (mut browsers, came) = vestibule
        .counting(async {
            let mut browsers = Vec::new();
            for _ in 0..SESSIONS {
                browsers.push(Box::pin(vestibule.browser("bob")).await);
            }
            browsers
        })
        .await;
    let ((), talked) = vestibule
        .counting(async {
            for browser in &mut browsers {
                talk(browser, LONG).await;
            }
        })
        .await;

    let each = came.bytes_current / SESSIONS;
    assert!((0..=IDLE).contains(&each), "{each} bytes for each session");
    let more = talked.bytes_current / SESSIONS;
    assert_eq!(more, 0, "bytes more for each after a burst");
}

/// A Vestibule on a thread of its own, which ends with the test's process.
struct Vestibule {
    folder: TempDir,
    https: SocketAddr,
    http: SocketAddr,
    counts: mpsc::Sender<Count>,
    _upstream: Server,
}

/// Counts what the thread allocates until the first says so, and tells the second.
struct Count {
    until: oneshot::Receiver<()>,
    told: oneshot::Sender<AllocationInfo>,
}

impl Vestibule {
    async fn start() -> Self {
        let upstream = Server::start(Script::Good).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.toml");
        fs::write(&path, SETTINGS.to_owned() + &site(upstream.address())).unwrap();
        let (counts, mut asked) = mpsc::channel::<Count>(1);
        let (bound, ports) = oneshot::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let gateway = runtime.block_on(Gateway::bind(Config::load(&path).unwrap())).unwrap();
            bound.send(gateway.ports()).unwrap();
            runtime.spawn(gateway.run(std::future::pending()));
            while let Some(count) = runtime.block_on(asked.recv()) {
                let counted = measure(|| runtime.block_on(count.until).unwrap());
                count.told.send(counted).unwrap();
            }
        });
        let ports = ports.await.unwrap();
        let at = |place: usize| SocketAddr::from(([127, 0, 0, 1], *ports.get(place).unwrap()));
        Self { folder, https: at(0), http: at(1), counts, _upstream: upstream }
    }

    /// What Vestibule allocates while this is done, as far as it did so on its own thread.
    async fn counting<T>(&self, done: impl Future<Output = T>) -> (T, AllocationInfo) {
        let (over, until) = oneshot::channel();
        let (told, counted) = oneshot::channel();
        self.counts.send(Count { until, told }).await.unwrap();
        let outcome = done.await;
        over.send(()).unwrap();
        (outcome, counted.await.unwrap())
    }

    /// How often it allocates for one message there and one back, when both ways are warm.
    async fn per_round_trip<S>(&self, browser: &mut Socket<S>) -> u64
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        for _ in 0..ROUNDS {
            talk(browser, 200).await;
        }
        let ((), counted) = self
            .counting(async {
                for _ in 0..ROUNDS {
                    talk(browser, 200).await;
                }
            })
            .await;
        assert_eq!(counted.count_total % ROUNDS, 0, "{counted:?}");
        counted.count_total / ROUNDS
    }

    /// A member who is in, by TLS.
    async fn browser(&self, name: &str) -> Socket {
        let tls = trusting(&self.folder.path().join("certs/development.pem"), "http/1.1");
        let cookie = session_cookie(name);
        let headers = [("origin", ORIGIN), ("cookie", &cookie)];
        let socket = Socket::dial(self.https, tls, "/xmpp-websocket", &headers).await;
        signed_in(socket.unwrap(), name).await
    }

    /// A member who is in, behind a reverse proxy that has taken the TLS away.
    async fn browser_in_the_clear(&self, name: &str) -> Socket<TcpStream> {
        let tcp = TcpStream::connect(self.http).await.unwrap();
        let cookie = session_cookie(name);
        let headers = [("origin", ORIGIN), ("cookie", &cookie), ("x-forwarded-proto", "https")];
        let socket = Socket::upgrade(tcp, "/xmpp-websocket", &headers).await;
        signed_in(socket.unwrap(), name).await
    }
}

async fn signed_in<S>(mut socket: Socket<S>, name: &str) -> Socket<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    socket.sign_in(&format!("{name}@xmpp.localhost")).await;
    socket
}

/// Says something of this length, and hears what upstream says to it.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(browser: &mut Socket<S>, length: usize) {
    let padding = "x".repeat(length);
    let question = format!("<iq xmlns='jabber:client' type='get' id='{padding}'><q/></iq>");
    browser.send(&question).await;
    assert!(browser.receive().await.contains(&padding));
}

fn site(upstream: SocketAddr) -> String {
    format!(
        "[[site]]\nhosts = ['localhost']\nwithout_session = 'refuse'\n\
         [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{upstream}'\nsecret = 'a secret of both, long enough for it 0123'\n\
         [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n"
    )
}

/// All is done on the one thread, and nothing but what is counted: nobody is pinged, and no file is looked at.
const SETTINGS: &str = "[listen]\nhttps = ['127.0.0.1:0']\nhttp = ['127.0.0.1:0']\ntrusted_proxies = ['127.0.0.1']\nthreads = 1\n\
    [websocket]\nping = '1h'\n[tls]\nwatch = '1h'\n[http]\nheader = '1m'\n[sessions]\nper_visitor = 1000\n";

/// Longer than one read and one record.
const LONG: usize = 20_000;
const ROUNDS: u64 = 100;
const SESSIONS: i64 = 100;
/// What a session may hold of the heap: a tenth more than it does; most of it is rustls's, and the task.
const IDLE: i64 = 5000;

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
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
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
use crate::support::http2::Line;
use crate::support::http2::Tunnel;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::websocket::Socket;

/// rustls keeps a record's plaintext until it is read, and a record it has written until it is sent.
const OF_RUSTLS: u64 = 2;

/// Over HTTP/2 a message goes from one task to another on its way up, and on its way down: what lies between them each time, and
/// the note of whose turn it is.
const OVER_HTTP_2: u64 = OF_RUSTLS + 3;

/// A request of BOSH goes from one task to another and back, and its answer is kept for who asks again: the body and what is in
/// it, the way back, what waits in the session, the answer. Ten mostly, and some more where an answer is not there at once.
const OF_A_REQUEST: u64 = 12;

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
async fn a_round_trip_over_http_2_allocates_little() {
    let vestibule = Vestibule::start().await;
    let mut browser = vestibule.browser_over_http_2("bob").await;

    let each = vestibule.in_all_rounds(&mut browser).await.div_ceil(ROUNDS);

    assert!(each <= OVER_HTTP_2, "{each} for a message and one back");
}

#[tokio::test]
async fn a_session_over_http_2_that_says_nothing_holds_little_and_after_a_burst_no_more() {
    let vestibule = Vestibule::start().await;
    // What is made once, whoever comes and whatever is said.
    let mut first = vestibule.browser_over_http_2("bob").await;
    talk(&mut first, LONG).await;

    let (mut browsers, came) = vestibule
        .counting(async {
            let mut browsers = Vec::new();
            for _ in 0..SESSIONS {
                browsers.push(Box::pin(vestibule.browser_over_http_2("bob")).await);
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
    assert!((0..=IDLE_OVER_HTTP_2).contains(&each), "{each} bytes for each session");
    let more = talked.bytes_current / SESSIONS;
    assert!(more <= 0, "{more} bytes more for each after a burst");
}

#[tokio::test]
async fn a_request_of_bosh_allocates_little_and_no_more_the_longer_the_session_lasts() {
    let vestibule = Vestibule::start().await;
    let mut page = vestibule.page_in_the_clear("bob").await;

    let first = vestibule.per_request(&mut page).await;
    let later = vestibule.per_request(&mut page).await;

    for each in [first, later] {
        assert!(each <= OF_A_REQUEST, "{each} for a request and its answer");
    }
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
            // Each is somebody else, as visitors are.
            for number in 0..SESSIONS {
                let name = format!("member-{number}");
                browsers.push(Box::pin(vestibule.browser(&name)).await);
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
        let all = self.in_all_rounds(browser).await;
        assert_eq!(all % ROUNDS, 0, "{all}");
        all / ROUNDS
    }

    /// The same for all messages.
    async fn in_all_rounds<S>(&self, browser: &mut Socket<S>) -> u64
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
        counted.count_total
    }

    /// How often it allocates for one request of BOSH that says something, and the answer that brings something back; rounded
    /// up, because a list may grow now and then.
    async fn per_request(&self, page: &mut Page) -> u64 {
        for _ in 0..ROUNDS {
            page.talk().await;
        }
        let ((), counted) = self
            .counting(async {
                for _ in 0..ROUNDS {
                    page.talk().await;
                }
            })
            .await;
        counted.count_total.div_ceil(ROUNDS)
    }

    /// A member's browser that has signed in over HTTP/2, on a connection of its own.
    async fn browser_over_http_2(&self, name: &str) -> Socket<Tunnel> {
        let tls = trusting(&self.folder.path().join("certs/development.pem"), "h2");
        let line = Line::at(self.https, tls).await;
        let mut browser = line.socket(Some(&session_cookie(name))).await;
        browser.sign_in(&format!("{name}@xmpp.localhost")).await;
        browser
    }

    /// A member's page with a session over BOSH, behind a reverse proxy that has taken the TLS away.
    async fn page_in_the_clear(&self, name: &str) -> Page {
        let tcp = TcpStream::connect(self.http).await.unwrap();
        let mut page = Page { tcp, cookie: session_cookie(name), sid: String::new(), rid: 1 };
        let opened = page.ask(" to='xmpp.localhost' ver='1.6' wait='60' hold='1'", "").await;
        let (_, sid) = opened.split_once(" sid='").unwrap();
        page.sid = format!(" sid='{}'", sid.split_once('\'').unwrap().0);
        let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
        page.ask("", auth).await;
        page.ask(" xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true'", "").await;
        let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";
        let bound =
            page.ask("", &format!("<iq xmlns='jabber:client' type='set' id='b'>{bind}</iq>")).await;
        assert!(bound.contains("<jid>"), "{bound}");
        page
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

/// A session over BOSH whose requests go over one connection of HTTP/1.1.
struct Page {
    tcp: TcpStream,
    cookie: String,
    sid: String,
    rid: u64,
}

impl Page {
    /// Says something, and hears what upstream says to it.
    async fn talk(&mut self) {
        let id = format!("question {}", self.rid);
        let question = format!("<iq xmlns='jabber:client' type='get' id='{id}'><q/></iq>");
        let answer = self.ask("", &question).await;
        assert!(answer.contains(&id), "{answer}");
    }

    /// Posts a body, and gives the answer's.
    async fn ask(&mut self, attributes: &str, elements: &str) -> String {
        let Self { tcp, cookie, sid, rid } = self;
        let body = format!(
            "<body rid='{rid:04}'{sid}{attributes} xmlns='http://jabber.org/protocol/httpbind'>{elements}</body>"
        );
        *rid += 1;
        let length = body.len();
        let request = format!(
            "POST /http-bind HTTP/1.1\r\nHost: localhost\r\nOrigin: {ORIGIN}\r\nX-Forwarded-Proto: https\r\n\
             Cookie: {cookie}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let mut body = vec![0; length.split_once('\r').unwrap().0.parse().unwrap()];
        tcp.read_exact(&mut body).await.unwrap();
        String::from_utf8(body).unwrap()
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
/// What a session of a visitor with no other may hold of the heap: a little more than it does; most of it is rustls's, and the
/// task. A few hundred bytes are who it is, and the cookie by which a member is known again later.
const IDLE: i64 = 5200;
/// The same over HTTP/2, where each is alone on its connection: with that connection's task, and the fields that its browser has
/// had it remember.
const IDLE_OVER_HTTP_2: i64 = 10_900;

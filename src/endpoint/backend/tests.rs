//! Requests on their way to a scripted web server, and answers on their way back.

mod failures;
mod pauses;
mod upgrades;

use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::visitor::Bounds;
use crate::visitor::Freshness;
use crate::visitor::Visitor;
use crate::visitor::guest;

/// A web server whose every answer is written by the test.
struct Server {
    listener: TcpListener,
}

/// A connection on which something was asked.
struct Asked {
    stream: TcpStream,
    /// What has come so far.
    text: String,
}

impl Server {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn site(&self, backend: bool) -> Arc<Site> {
        let address = self.listener.local_addr().unwrap();
        let backend = if backend { format!("backend = 'http://{address}'") } else { String::new() };
        let text = format!(
            "hosts = ['www.example.org']
             {backend}
             [registered]
             domain = 'xmpp.example.org'
             upstream = '127.0.0.1:5222'
             secret = 'a secret we share'
             [guests]
             domain = 'guest.example.org'
             upstream = '127.0.0.1:5222'
             secret = 'a secret we share'
             [session.whois]
             url = 'http://{address}/whois'
             secret = 'between us'
             cookies = ['PHPSESSID']"
        );
        Arc::new(crate::site::tests::site(&text).unwrap())
    }

    /// Waits for a request whose head or body ends with this.
    async fn asked(&self, end: &str) -> Asked {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("nothing was asked").unwrap();
        let mut asked = Asked { stream, text: String::new() };
        asked.read_to(end).await;
        asked
    }
}

impl Asked {
    async fn read_to(&mut self, end: &str) {
        while !self.text.ends_with(end) {
            let mut byte = [0; 1];
            assert_eq!(self.stream.read(&mut byte).await.unwrap(), 1, "{}", self.text);
            self.text.push(char::from(byte[0]));
        }
    }

    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    fn headers(&self) -> Vec<String> {
        let (head, _) = self.text.split_once("\r\n\r\n").unwrap();
        head.split("\r\n").map(ToOwned::to_owned).collect()
    }
}

fn visitors() -> Arc<Visitors> {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        guest::Settings { key_file: folder.path().join("key"), ..guest::Settings::default() };
    let client = Client::new(&outbound::Settings::default());
    Arc::new(Visitors::new(
        guest::Key::load(&settings).unwrap(),
        Bounds::default(),
        client,
        Arc::default(),
    ))
}

fn backend(visitors: &Arc<Visitors>) -> Backend {
    Backend::new(
        (Client::new(&outbound::Settings::default()), Settings::default()),
        Arc::clone(visitors),
        TaskTracker::new(),
        CancellationToken::new(),
    )
}

fn request(method: Method, cookie: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method;
    *request.uri_mut() = "/wiki/Page?x=1".parse().unwrap();
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("www.example.org:8443"));
    request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
    request
}

fn answer<B>(
    backend: &Backend,
    site: &Arc<Site>,
    request: Request<B>,
) -> JoinHandle<Result<Response<Body>, Refusal>>
where
    B: body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let (backend, site) = (backend.clone(), Arc::clone(site));
    tokio::spawn(
        async move { backend.answer(&site, request, IpAddr::from([192, 0, 2, 7]), true).await },
    )
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Long enough for anything on loopback: a test that fails must not hang.
const PATIENCE: Duration = Duration::from_secs(30);

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

#[tokio::test]
async fn server_is_told_where_the_browser_is_and_nothing_that_the_browser_says_of_it() {
    let server = Server::start().await;
    let mut request = request(Method::GET, "a=1");
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "80"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("x_forwarded_for", "203.0.113.9"),
        ("x-forwarded_proto", "http"),
        ("x_real_ip", "203.0.113.9"),
        ("x.client!ip", "203.0.113.9"),
        ("proxy", "http://203.0.113.9"),
        ("true-client-ip", "203.0.113.9"),
        ("x-cluster-client-ip", "203.0.113.9"),
        ("x-original-url", "/admin"),
        ("x_rewrite_url", "/admin"),
        ("connection", "keep-alive, X-Secret"),
        ("x-secret", "1"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("accept", "*/*"),
    ] {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let answering = answer(&backend(&visitors()), &server.site(true), request);

    let mut asked = server.asked("\r\n\r\n").await;

    let mut headers = asked.headers();
    headers.sort();
    let expected = [
        "GET /wiki/Page?x=1 HTTP/1.1",
        "accept: */*",
        "cookie: a=1",
        "host: www.example.org:8443",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: www.example.org:8443",
        "x-forwarded-proto: https",
    ];
    assert_eq!(headers, expected);
    asked.say(OK).await;
    assert_eq!(text(answering.await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn host_of_http_2_is_its_authority() {
    let server = Server::start().await;
    let mut request = request(Method::GET, "a=1");
    request.headers_mut().remove(header::HOST);
    *request.uri_mut() = "https://www.example.org/".parse().unwrap();
    *request.version_mut() = Version::HTTP_2;
    let answering = answer(&backend(&visitors()), &server.site(true), request);

    let mut asked = server.asked("\r\n\r\n").await;

    assert!(asked.headers().contains(&"host: www.example.org".to_owned()), "{}", asked.text);
    asked.say(OK).await;
    assert_eq!(answering.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn answer_keeps_its_headers_but_those_of_the_connection() {
    let server = Server::start().await;
    let answering = answer(&backend(&visitors()), &server.site(true), request(Method::GET, "a=1"));

    let mut asked = server.asked("\r\n\r\n").await;
    asked.say("HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=2\r\nSet-Cookie: b=3\r\nKeep-Alive: 5\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n").await;

    let response = answering.await.unwrap().unwrap();
    let mut headers: Vec<String> = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    assert_eq!(response.status(), StatusCode::FOUND);
    assert_eq!(
        headers,
        ["content-length: 0", "location: /x", "set-cookie: a=2", "set-cookie: b=3"]
    );
}

/// A body that the test writes piece by piece.
struct Pieces(mpsc::Receiver<Bytes>);

impl body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn bodies_flow_both_ways_before_they_end() {
    let server = Server::start().await;
    let (upload, pieces) = mpsc::channel(1);
    let request = request(Method::POST, "a=1").map(|_| Pieces(pieces));
    let answering = answer(&backend(&visitors()), &server.site(true), request);

    upload.send(Bytes::from_static(b"first")).await.unwrap();
    let mut asked = server.asked("5\r\nfirst\r\n").await;
    asked.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    let mut body = answering.await.unwrap().unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");

    upload.send(Bytes::from_static(b"second")).await.unwrap();
    asked.read_to("6\r\nsecond\r\n").await;
    drop(upload);
    asked.read_to("0\r\n\r\n").await;
    asked.say("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn post_without_a_body_has_a_length() {
    let server = Server::start().await;
    let mut request = request(Method::POST, "a=1");
    request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    let answering = answer(&backend(&visitors()), &server.site(true), request);

    let mut asked = server.asked("\r\n\r\n").await;

    assert!(asked.headers().contains(&"content-length: 0".to_owned()), "{}", asked.text);
    asked.say(OK).await;
    answering.await.unwrap().unwrap();
}

#[tokio::test]
async fn site_without_a_server_has_nothing_else() {
    let server = Server::start().await;

    let response = answer(&backend(&visitors()), &server.site(false), request(Method::GET, "a=1"))
        .await
        .unwrap();

    assert_eq!(response.unwrap_err(), Refusal::NotFound);
}

#[tokio::test]
async fn server_that_is_gone_is_a_bad_gateway() {
    let server = Server::start().await;
    let site = server.site(true);
    drop(server);

    let response = answer(&backend(&visitors()), &site, request(Method::GET, "a=1")).await.unwrap();

    assert_eq!(response.unwrap_err(), Refusal::BadGateway);
}

#[tokio::test]
async fn server_that_is_silent_is_a_gateway_timeout() {
    let server = Server::start().await;
    let answering = answer(&backend(&visitors()), &server.site(true), request(Method::GET, "a=1"));
    let _silent = server.asked("\r\n\r\n").await;

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(301)).await;

    assert_eq!(answering.await.unwrap().unwrap_err(), Refusal::GatewayTimeout);
}

/// Asks who the visitor is; the site answers this, or is not asked.
async fn seen(
    server: &Server,
    visitors: &Arc<Visitors>,
    site: &Arc<Site>,
    answer: Option<&str>,
) -> bool {
    let (asking, site) = (Arc::clone(visitors), Arc::clone(site));
    let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static("PHPSESSID=1"))]);
    let address = IpAddr::from([192, 0, 2, 7]);
    let task =
        tokio::spawn(
            async move { asking.of(&site, &headers, address, Freshness::NewSession).await },
        );
    if let Some(answer) = answer {
        let mut asked = server.asked("\r\n\r\n").await;
        let length = answer.len();
        asked
            .say(&format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{answer}"
            ))
            .await;
    }
    matches!(task.await.unwrap().unwrap().visitor, Visitor::Member(_))
}

const BOB: &str = r#"{"authenticated":true,"username":"bob"}"#;
const NOBODY: &str = r#"{"authenticated":false}"#;

#[tokio::test]
async fn page_that_changes_nothing_leaves_what_is_known() {
    let server = Server::start().await;
    let (site, visitors) = (server.site(true), visitors());
    assert!(seen(&server, &visitors, &site, Some(BOB)).await);

    let answering = answer(&backend(&visitors), &site, request(Method::GET, "PHPSESSID=1"));
    server.asked("\r\n\r\n").await.say(OK).await;
    text(answering.await.unwrap().unwrap()).await;

    assert!(seen(&server, &visitors, &site, None).await);
}

#[tokio::test]
async fn post_makes_what_is_known_forgotten_when_it_is_answered_and_when_the_answer_ends() {
    let server = Server::start().await;
    let (site, visitors) = (server.site(true), visitors());
    assert!(seen(&server, &visitors, &site, Some(BOB)).await);

    let answering = answer(&backend(&visitors), &site, request(Method::POST, "PHPSESSID=1"));
    let mut asked = server.asked("\r\n\r\n").await;
    asked.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n").await;
    let response = answering.await.unwrap().unwrap();
    assert!(seen(&server, &visitors, &site, Some(BOB)).await);
    asked.say("ok").await;
    assert_eq!(text(response).await, "ok");

    assert!(!seen(&server, &visitors, &site, Some(NOBODY)).await);
}

#[tokio::test]
async fn post_whose_browser_does_not_stay_makes_what_is_known_forgotten() {
    let server = Server::start().await;
    let (site, visitors) = (server.site(true), visitors());
    assert!(seen(&server, &visitors, &site, Some(BOB)).await);

    let answering = answer(&backend(&visitors), &site, request(Method::POST, "PHPSESSID=1"));
    let _asked = server.asked("\r\n\r\n").await;
    answering.abort();
    assert!(answering.await.unwrap_err().is_cancelled());

    assert!(!seen(&server, &visitors, &site, Some(NOBODY)).await);
}

#[tokio::test]
async fn page_that_sets_a_named_cookie_makes_what_is_known_forgotten() {
    let server = Server::start().await;
    let (site, visitors) = (server.site(true), visitors());
    assert!(seen(&server, &visitors, &site, Some(BOB)).await);

    let answering = answer(&backend(&visitors), &site, request(Method::GET, "PHPSESSID=1"));
    let mut asked = server.asked("\r\n\r\n").await;
    asked.say("HTTP/1.1 200 OK\r\nConnection: close\r\nSet-Cookie: PHPSESSID=1; Path=/\r\nContent-Length: 0\r\n\r\n").await;
    text(answering.await.unwrap().unwrap()).await;

    assert!(!seen(&server, &visitors, &site, Some(NOBODY)).await);
}

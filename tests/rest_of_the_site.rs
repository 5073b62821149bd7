//! The whole proxy before a site's own web server: browsers by HTTP/2, a reverse proxy by HTTP/1.1.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Certificate;
use reqwest::Client;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use vestibule::config::Config;
use vestibule::gateway::Gateway;

/// A running proxy before a web server that tells what it was asked; it stops when it is dropped.
struct Proxy {
    https: u16,
    http: u16,
    certificate: Certificate,
    _stop: oneshot::Sender<()>,
}

impl Proxy {
    async fn start(trusted: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, settings(mirror().await, trusted)).unwrap();
        let gateway = Gateway::bind(Config::load(&file).unwrap()).await.unwrap();
        let ports = gateway.ports();
        let certificate = certificate(folder.path());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(gateway.run(async {
            drop(stopped.await);
        }));
        Self { https: ports[0], http: ports[1], certificate, _stop: stop }
    }

    fn browser(&self) -> Client {
        let address = SocketAddr::from(([127, 0, 0, 1], self.https));
        Client::builder()
            .no_proxy()
            .tls_certs_only([self.certificate.clone()])
            .resolve("www.example.org", address)
            .build()
            .unwrap()
    }

    /// What is answered over plain HTTP to a head without its last lines; the body is JSON where the mirror answers.
    async fn answer_to(&self, head: &str) -> (String, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).await.unwrap();
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        (status.to_owned(), serde_json::from_str(body).unwrap_or_default())
    }

    fn url(&self, path: &str) -> String {
        format!("https://www.example.org:{}{path}", self.https)
    }
}

fn settings(backend: SocketAddr, trusted: &str) -> String {
    format!(
        "[listen]
         https = ['127.0.0.1:0']
         http = ['127.0.0.1:0']
         trusted_proxies = [{trusted}]
         [[site]]
         hosts = ['www.example.org']
         backend = 'http://{backend}'
         [site.guests]
         domain = 'guest.example.org'
         upstream = '127.0.0.1:5222'
         secret = 'a secret we share'"
    )
}

fn certificate(folder: &Path) -> Certificate {
    let chain = std::fs::read(folder.join("certs/development.pem")).unwrap();
    // The authority stands behind the certificate it has signed.
    Certificate::from_pem_bundle(&chain).unwrap().pop().unwrap()
}

/// A web server whose every answer is what it was asked.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(reflect)),
            );
        }
    });
    address
}

async fn reflect(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let headers = head.headers.iter();
    let headers: Vec<Value> =
        headers.map(|(name, value)| json!([name.as_str(), value.to_str().unwrap()])).collect();
    let body = body.collect().await.unwrap().to_bytes();
    let asked = json!({
        "method": head.method.as_str(),
        "path": head.uri.to_string(),
        "headers": headers,
        "length": body.len(),
    });
    Ok(Response::new(Full::from(asked.to_string())))
}

/// The values of a header that the web server has got.
fn got<'a>(asked: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = asked["headers"].as_array().unwrap().iter();
    headers.filter(|header| header[0] == name).map(|header| header[1].as_str().unwrap()).collect()
}

#[tokio::test]
async fn browser_by_http_2_reaches_the_site_s_own_web_server() {
    let proxy = Proxy::start("").await;
    let upload = vec![b'x'; 1 << 20];

    let answer = proxy
        .browser()
        .post(proxy.url("/wiki/Page?x=1"))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-forwarded-for", "203.0.113.9")
        .body(upload)
        .send()
        .await
        .unwrap();

    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    let asked: Value = answer.json().await.unwrap();
    assert_eq!(asked["method"], "POST");
    assert_eq!(asked["path"], "/wiki/Page?x=1");
    assert_eq!(asked["length"], 1 << 20);
    assert_eq!(got(&asked, "cookie"), ["a=1; b=2"]);
    assert_eq!(got(&asked, "host"), [format!("www.example.org:{}", proxy.https)]);
    assert_eq!(got(&asked, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(got(&asked, "x-forwarded-proto"), ["https"]);
}

#[tokio::test]
async fn browser_behind_a_trusted_proxy_is_known_by_its_address() {
    let proxy = Proxy::start("'127.0.0.1'").await;

    let answer = Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(format!("http://127.0.0.1:{}/", proxy.http))
        .header("host", "www.example.org")
        .header("x-forwarded-for", "203.0.113.9, 198.51.100.1")
        .header("x-forwarded-proto", "https")
        .send()
        .await
        .unwrap();

    let asked: Value = answer.json().await.unwrap();
    assert_eq!(got(&asked, "x-forwarded-for"), ["198.51.100.1"]);
    assert_eq!(got(&asked, "x-forwarded-proto"), ["https"]);
    assert_eq!(got(&asked, "host"), ["www.example.org"]);
}

#[tokio::test]
async fn host_meta_is_found_under_the_site_and_its_xmpp_domains_alone() {
    let proxy = Proxy::start("").await;
    let client = Client::builder().no_proxy().build().unwrap();

    for (host, path, status) in [
        ("www.example.org", "/.well-known/host-meta", 200),
        ("guest.example.org", "/.well-known/host-meta.json", 200),
        ("guest.example.org", "/", 421),
        ("other.example.org", "/.well-known/host-meta", 421),
    ] {
        let url = format!("http://127.0.0.1:{}{path}", proxy.http);
        let answer = client.get(url).header("host", host).send().await.unwrap();

        assert_eq!(answer.status(), status, "{host}{path}");
        let links = answer.text().await.unwrap();
        let named = links.contains("wss://www.example.org/xmpp-websocket");
        assert_eq!(named, status == 200, "{links}");
    }
}

#[tokio::test]
async fn host_with_something_else_than_a_port_is_of_no_site() {
    let proxy = Proxy::start("").await;

    for head in [
        "GET / HTTP/1.1\r\nHost: www.example.org:x@evil.example",
        "GET / HTTP/1.1\r\nHost: www.example.org:443@evil.example",
        "GET / HTTP/1.1\r\nHost: www.example.org:443/evil",
        "GET / HTTP/1.1\r\nHost: www.example.org:",
        "GET / HTTP/1.1\r\nHost: www.example.org\r\nHost: evil.example",
        "GET / HTTP/1.1\r\nHost: evil.example\r\nHost: www.example.org",
        "GET http://www.example.org@evil.example/ HTTP/1.1\r\nHost: www.example.org",
        "GET http://evil.example/ HTTP/1.1\r\nHost: www.example.org",
    ] {
        assert_eq!(proxy.answer_to(head).await.0, "421", "{head}");
    }
}

#[tokio::test]
async fn host_that_names_the_site_is_the_one_its_web_server_gets() {
    let proxy = Proxy::start("").await;

    for (head, host) in [
        ("GET /x HTTP/1.1\r\nHost: www.example.org:8080", "www.example.org:8080"),
        ("GET http://www.example.org/x HTTP/1.1\r\nHost: evil.example", "www.example.org"),
        (
            "GET http://www.example.org/x HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nX_Forwarded_Host: evil.example",
            "www.example.org",
        ),
    ] {
        let (status, asked) = proxy.answer_to(head).await;

        assert_eq!(status, "200", "{head}");
        assert_eq!(asked["path"], "/x");
        assert_eq!(got(&asked, "host"), [host]);
        assert_eq!(got(&asked, "x-forwarded-host"), [host]);
        assert!(!asked.to_string().contains("evil"), "{asked}");
    }
}

#[tokio::test]
async fn own_paths_may_end_with_one_slash() {
    let proxy = Proxy::start("").await;
    // The edge's own paths want another page's or another kind of request; the site's own web server answers any.
    let foreign = "Host: www.example.org\r\nOrigin: https://evil.example";

    for (path, status) in [
        ("/http-bind", "403"),
        ("/http-bind/", "403"),
        ("/prebind/", "403"),
        ("/xmpp-websocket/", "403"),
        ("/http-bind//", "200"),
        ("/prebind/x", "200"),
        ("/", "200"),
    ] {
        let (answered, _) = proxy.answer_to(&format!("GET {path} HTTP/1.1\r\n{foreign}")).await;

        assert_eq!(answered, status, "{path}");
    }
}

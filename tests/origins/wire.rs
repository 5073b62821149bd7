//! A proxy without an XMPP server, requests as they are written, and answers as they come.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use vestibule::config::Config;
use vestibule::gateway::Gateway;

/// A running proxy; it stops when it is dropped.
pub(crate) struct Proxy {
    http: u16,
    internal: u16,
    _stop: oneshot::Sender<()>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Proxy {
    /// With these tables of its own.
    pub(crate) async fn start(tables: &str) -> Self {
        Self::with(tables, "").await
    }

    /// With these tables, and these lines for the site.
    pub(crate) async fn with(tables: &str, site: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, settings(tables, site)).unwrap();
        let config = Config::load(&file).unwrap();
        let gateway = Gateway::bind(config).await.unwrap();
        let ports = gateway.ports();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(gateway.run(async {
            drop(stopped.await);
        }));
        Self { http: ports[0], internal: ports[1], _stop: stop }
    }

    /// The answer to a request with these lines in its head.
    pub(crate) async fn ask(&self, request: &str, lines: &[&str]) -> Answer {
        let head = [&[request, "Host: www.example.org"], lines].concat().join("\r\n");
        answer_at(self.http, &head).await
    }

    /// The answer to what a page would ask for there.
    pub(crate) async fn ask_for(&self, path: &str, lines: &[&str]) -> Answer {
        let (request, own): (_, &[&str]) = match path {
            "/http-bind" => ("POST /http-bind HTTP/1.1", &["Content-Length: 0"]),
            "/xmpp-websocket" => ("GET /xmpp-websocket HTTP/1.1", &UPGRADE),
            _ => ("GET /prebind HTTP/1.1", &[]),
        };
        self.ask(request, &[own, lines].concat()).await
    }

    pub(crate) async fn metrics(&self) -> String {
        answer_at(self.internal, "GET /metrics HTTP/1.1\r\nHost: localhost").await.body
    }
}

/// Upstream nobody listens, and nobody is held for it.
fn settings(tables: &str, site: &str) -> String {
    format!(
        "[listen]
         https = []
         http = ['127.0.0.1:0']
         [internal]
         listen = '127.0.0.1:0'
         [upstream]
         hold = '1ms'
         [prebind]
         hold = '1ms'
         {tables}
         [[site]]
         hosts = ['www.example.org']
         origins = ['https://www.example.org', 'http://pages.example.net:8080', 'https://[::1]:8443']
         {site}
         [site.registered]
         domain = 'xmpp.example.org'
         upstream = '127.0.0.1:1'
         secret = 'a secret we share'
         [site.guests]
         domain = 'guest.example.org'
         upstream = '127.0.0.1:1'
         secret = 'a secret we share'
         [site.session.jwt]
         cookie = 'session'
         secret = 'what the site signs its cookies with'"
    )
}

/// A web server that lets every page read everything.
pub(crate) async fn permissive() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\
                          Access-Control-Allow-Origin: *\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

async fn answer_at(port: u16, head: &str) -> Answer {
    let answered = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // A 101 is followed by a stream of its own, so its end is not waited for.
        let close = if head.contains("Upgrade") { "" } else { "\r\nConnection: close" };
        stream.write_all(format!("{head}{close}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(answer).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut body = String::new();
        if !close.is_empty() {
            stream.read_to_string(&mut body).await.unwrap();
        }
        Answer { status, headers, body }
    };
    timeout(PATIENCE, answered).await.unwrap()
}

impl Answer {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(found, _)| found == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The CORS headers, by name.
    pub(crate) fn cors(&self) -> Vec<(&str, &str)> {
        let pairs = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut cors: Vec<_> =
            pairs.filter(|(name, _)| name.starts_with("access-control-")).collect();
        cors.sort_unstable();
        cors
    }

    /// Whether the answer tells a page of another site nothing but that.
    #[track_caller]
    pub(crate) fn assert_refused(&self, asked: &str) {
        assert_eq!(self.status, 403, "{asked}: {self:?}");
        assert_eq!(self.cors(), [], "{asked}: {self:?}");
        assert_eq!(self.all("vary"), ["Origin"], "{asked}: {self:?}");
        assert_eq!(self.all("set-cookie"), [""; 0], "{asked}: {self:?}");
    }

    /// Whether a page of this origin may read the answer, and the headers say so once.
    #[track_caller]
    pub(crate) fn assert_dressed_for(&self, origin: &str) {
        let dress =
            [("access-control-allow-credentials", "true"), ("access-control-allow-origin", origin)];
        assert_eq!(self.cors(), dress, "{self:?}");
        assert_eq!(self.all("vary"), ["Origin"], "{self:?}");
    }
}

const UPGRADE: [&str; 5] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Protocol: xmpp",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const PATIENCE: Duration = Duration::from_secs(30);

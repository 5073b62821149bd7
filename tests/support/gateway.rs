//! The whole proxy in this process, on a port of its own, before a Prosody of the test's.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vestibule::config::Config;
use vestibule::gateway::Gateway;
use vestibule::gateway::reload::Reload;

use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;

/// The origin of the site's own pages.
pub(crate) const ORIGIN: &str = "https://localhost";

/// A running proxy; it goes down when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    folder: TempDir,
    ports: Vec<u16>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
    reload: Reload,
}

/// What [`serve`] has started.
struct Serving {
    ports: Vec<u16>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
    reload: Reload,
}

impl Proxy {
    /// Before `prosody`, for one site whose members have a signed cookie; everybody else is a guest.
    pub(crate) async fn before(prosody: &Prosody) -> Self {
        Self::with(&Self::site(prosody, GUESTS, "")).await
    }

    /// The site of [`before`](Self::before), with guests at `guests` and other keys of its own.
    pub(crate) fn site(prosody: &Prosody, guests: &str, more: &str) -> String {
        let (upstream, secret) = (prosody.address(), prosody.folder().join("ticket.secret"));
        let secret = secret.display();
        let pass = if guests == GUESTS {
            format!("secret = {{ file = '{secret}' }}")
        } else {
            "pass = 'anonymous'".to_owned()
        };
        format!(
            "[[site]]\nhosts = ['localhost']\nrooms = 'conference.localhost'\nreserved = ['admin']\n{more}\n\
             [site.registered]\ndomain = '{MEMBERS}'\nupstream = '{upstream}'\nsecret = {{ file = '{secret}' }}\n\
             [site.guests]\ndomain = '{guests}'\nupstream = '{upstream}'\n{pass}\n\
             [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n"
        )
    }

    /// Configured by this, on a free port.
    pub(crate) async fn with(sites: &str) -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), sites).await
    }

    /// Configured by this, at this address.
    pub(crate) async fn at(address: SocketAddr, sites: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("proxy.toml");
        let internal = if sites.contains("[internal]") { "" } else { INTERNAL };
        fs::write(&path, format!("[listen]\nhttps = ['{address}']\n{sites}\n{internal}"))
            .expect("a configuration");
        let Serving { ports, stop, running, reload } = serve(&path).await;
        Self { folder, ports, stop: Some(stop), running, reload }
    }

    /// Reads its configuration again, which has become this; whether it is taken over.
    pub(crate) async fn reload(&self, sites: &str) -> bool {
        let path = self.folder.path().join("proxy.toml");
        fs::write(&path, format!("[listen]\nhttps = ['127.0.0.1:0']\n{sites}"))
            .expect("a configuration");
        self.reload.reload(&path, Arc::new(|_| {})).await
    }

    /// Tells it to go down, and starts it again with the same files, when it has; for a port that is not 0.
    pub(crate) async fn restart(&mut self) {
        self.go_down().await;
        self.come_up().await;
    }

    /// Tells it to go down, and waits until it has.
    pub(crate) async fn go_down(&mut self) {
        self.stop.take();
        (&mut self.running).await.expect("it ends in order");
    }

    /// Starts it again after [`go_down`](Self::go_down).
    pub(crate) async fn come_up(&mut self) {
        let path = self.folder.path().join("proxy.toml");
        let Serving { ports, stop, running, reload } = serve(&path).await;
        (self.ports, self.stop, self.running) = (ports, Some(stop), running);
        self.reload = reload;
    }

    /// Where browsers find it.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], *self.ports.first().expect("one listener")))
    }

    /// Where reverse proxies find it in the clear, if it has been told so.
    pub(crate) fn plain(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], *self.ports.get(1).expect("a second listener")))
    }

    /// Where monitoring finds it, if it has been told so.
    pub(crate) fn internal(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], *self.ports.last().expect("one listener")))
    }

    /// What it has counted.
    pub(crate) async fn metrics(&self) -> String {
        self.ask_internally("GET /metrics", "").await.1
    }

    /// Asks it to end sessions; status and answer.
    pub(crate) async fn revoke(&self, question: &str) -> (u16, String) {
        self.ask_internally("POST /sessions/revoke", question).await
    }

    async fn ask_internally(&self, what: &str, body: &str) -> (u16, String) {
        let mut peer = TcpStream::connect(self.internal()).await.expect("it listens");
        let length = body.len();
        let request = format!(
            "{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        peer.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// Tells it to go down, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stop.take();
        (&mut self.running).await.expect("it ends in order");
    }

    /// Tells it to go down, and does not wait.
    pub(crate) fn begin_stop(&mut self) {
        self.stop.take();
    }

    /// The certificate, with its authority.
    pub(crate) fn certificate(&self) -> std::path::PathBuf {
        self.folder.path().join("certs/development.pem")
    }

    /// TLS that trusts the development certificate, and speaks `alpn`.
    pub(crate) fn tls(&self, alpn: &str) -> Arc<ClientConfig> {
        trusting(&self.certificate(), alpn)
    }
}

/// Starts what this file describes.
async fn serve(path: &Path) -> Serving {
    let mut config = Config::load(path).unwrap_or_else(|problems| panic!("{problems}"));
    // However many cores there are: a test sees what its own thread logs.
    config.settings.listen.threads = NonZeroUsize::new(1);
    let gateway = Gateway::bind(config).await.unwrap_or_else(|error| panic!("{error}"));
    let (ports, reload) = (gateway.ports(), gateway.reload());
    let (stop, told) = oneshot::channel::<()>();
    let running = tokio::spawn(gateway.run(async {
        // Dropped without a word, it is told all the same.
        let _ = told.await;
    }));
    Serving { ports, stop, running, reload }
}

/// TLS that trusts what is in this file alone, and speaks `alpn`.
pub(crate) fn trusting(certificate: &Path, alpn: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certificate).expect("a certificate file") {
        roots.add(certificate.expect("a certificate")).expect("one to trust");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

/// The cookie of a member, as the site signs it; good for an hour.
pub(crate) fn session_cookie(username: &str) -> String {
    signed_cookie(username, JWT_SECRET, 3600)
}

/// The same with another key, or that ends in `seconds`.
pub(crate) fn signed_cookie(username: &str, secret: &str, seconds: i64) -> String {
    let now = i64::try_from(jsonwebtoken::get_current_timestamp()).expect("a date");
    let claims = serde_json::json!({ "sub": username, "exp": now + seconds });
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key).expect("a token");
    format!("session={token}")
}

const INTERNAL: &str = "[internal]\nlisten = '127.0.0.1:0'\n";

/// What the site signs its cookies with.
pub(crate) const JWT_SECRET: &str = "what the site signs its cookies with";

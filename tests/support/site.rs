//! The demo site, run by Node as the demo does, and the proxy in front of it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::time::SystemTime;

use reqwest::Certificate;
use reqwest::redirect::Policy;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::timeout;
use vestibule::pass::jwt::Signer;
use vestibule::secret::Secret;

use crate::support::ejabberd::Ejabberd;
use crate::support::forwarder::Forwarder;
use crate::support::forwarder::Way;
use crate::support::gateway::Proxy;
use crate::support::http::counted;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::prosody::free_address;
use crate::support::story;
use crate::support::story::LONGEST_VISIT;
use crate::support::tickets;

/// The XMPP server behind a site.
#[derive(Debug)]
pub(crate) enum Server {
    Prosody(Prosody),
    Ejabberd(Ejabberd),
}

impl Server {
    pub(crate) async fn prosody() -> Self {
        Self::Prosody(Prosody::start().await)
    }

    pub(crate) async fn ejabberd() -> Self {
        Self::Ejabberd(Ejabberd::with_tokens(TOKEN_SECRET).await)
    }

    /// Where it takes clients.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Prosody(prosody) => prosody.address(),
            Self::Ejabberd(ejabberd) => ejabberd.address(),
        }
    }

    /// What it is shown for a visitor.
    pub(crate) fn pass(&self) -> String {
        match self {
            Self::Prosody(prosody) => {
                let secret = prosody.folder().join("ticket.secret");
                format!("secret = {{ file = '{}' }}", secret.display())
            }
            Self::Ejabberd(_) => format!("pass = 'jwt'\nsecret = '{TOKEN_SECRET}'"),
        }
    }

    /// What a member shows the server himself, by SASL PLAIN: once, and soon.
    pub(crate) fn password_of(&self, username: &str) -> String {
        match self {
            Self::Prosody(_) => tickets::ticket(MEMBERS, username),
            Self::Ejabberd(_) => Signer::new(&Secret::new(TOKEN_SECRET), Duration::from_secs(60))
                .sign(username, MEMBERS, SystemTime::now(), tickets::nonce()),
        }
    }

    fn as_prosody(&self) -> &Prosody {
        match self {
            Self::Prosody(prosody) => prosody,
            Self::Ejabberd(_) => panic!("only Prosody does this"),
        }
    }

    async fn stop(&mut self) {
        match self {
            Self::Prosody(prosody) => prosody.stop().await,
            Self::Ejabberd(ejabberd) => ejabberd.stop().await,
        }
    }

    async fn restart_stopped(&mut self) {
        match self {
            Self::Prosody(prosody) => prosody.restart_stopped().await,
            Self::Ejabberd(ejabberd) => ejabberd.restart_stopped().await,
        }
    }
}

/// The demo site with a chat: an XMPP server behind it, the proxy before it.
#[derive(Debug)]
pub(crate) struct Site {
    /// Where its members and guests are.
    server: Server,
    /// What stands between the proxy and the server.
    upstream: Forwarder,
    /// What stands between browsers and the proxy.
    network: Forwarder,
    /// What browsers speak with.
    pub(crate) proxy: Proxy,
    /// What stands in the way to the site's answers about its visitors.
    whois: Forwarder,
    /// What stands where the server was, while that hangs.
    silent: Option<TcpListener>,
    held: Vec<TcpStream>,
    _pages: Child,
}

impl Site {
    /// Starts all three.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts all three, with settings of the proxy's.
    pub(crate) async fn start_with(settings: &str) -> Self {
        Self::start_as(settings, "").await
    }

    /// Starts all three, with settings of the proxy's and more keys of its `[[site]]`.
    pub(crate) async fn start_as(settings: &str, keys: &str) -> Self {
        Self::before(Server::prosody().await, settings, keys).await
    }

    /// Starts all three, with guests who sign in by ANONYMOUS.
    pub(crate) async fn with_anonymous_guests(settings: &str) -> Self {
        let guests = (ANONYMOUS, "pass = 'anonymous'".to_owned());
        Self::with_guests(Server::prosody().await, (settings, ""), guests).await
    }

    /// Starts the site and the proxy before this server.
    pub(crate) async fn before(server: Server, settings: &str, keys: &str) -> Self {
        let guests = (GUESTS, server.pass());
        Self::with_guests(server, (settings, keys), guests).await
    }

    async fn with_guests(
        server: Server,
        (settings, keys): (&str, &str),
        (guests, pass_of_guests): (&str, String),
    ) -> Self {
        let (pages, address) = serve(guests).await;
        let site = address.trim_start_matches("http://").parse().expect("an address");
        let whois = Forwarder::to(site).await;
        let at = free_address();
        let (upstream, network) = (Forwarder::to(server.address()).await, Forwarder::to(at).await);
        let (behind, pass) = (upstream.address(), server.pass());
        let proxy = Proxy::at(
            at,
            &format!(
                "{settings}[[site]]\nhosts = ['localhost']\norigins = ['https://localhost:{port}']\nbackend = '{address}'\n\
                 reserved = ['admin']\nrooms = 'conference.localhost'\n{keys}\n\
                 [site.registered]\ndomain = '{MEMBERS}'\nupstream = '{behind}'\n{pass}\n\
                 [site.guests]\ndomain = '{guests}'\nupstream = '{behind}'\n{pass_of_guests}\n\
                 [site.session.whois]\nurl = 'http://{asked}/chat/whois'\nsecret = '{WHOIS_SECRET}'\ncookies = ['PHPSESSID']\n",
                port = network.address().port(),
                asked = whois.address(),
            ),
        )
        .await;
        let (silent, held) = (None, Vec::new());
        Self { server, upstream, network, proxy, whois, silent, held, _pages: pages }
    }

    /// Where browsers find it.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.network.address().port())
    }

    /// Signs in with the site's own form, through the proxy; the session's cookie.
    pub(crate) async fn signed_in(&self, username: &str) -> String {
        let certificate = std::fs::read(self.proxy.certificate()).expect("a certificate");
        let trusted = Certificate::from_pem_bundle(&certificate).expect("PEM");
        let client = reqwest::Client::builder().tls_certs_only(trusted).redirect(Policy::none());
        let client = client.resolve("localhost", self.network.address()).build().expect("a client");
        let password = format!("{username}-demo");
        let form = [("username", username), ("password", &password)];
        let login = client.post(format!("{}/login", self.url())).form(&form);
        let answer = login.send().await.expect("the site answers");
        let cookie = answer.headers()["set-cookie"].to_str().expect("a cookie");
        cookie.split(';').next().expect("its value").to_owned()
    }

    /// Runs one of the programs under `tests/` in Node to its end; panics with what it printed, unless it succeeds.
    pub(crate) async fn visited_by(&self, script: &str, arguments: &[&str]) {
        let ran = Command::new("node")
            .arg(repository().join("tests").join(script))
            .arg(self.url())
            .args(arguments)
            .env("NODE_EXTRA_CA_CERTS", self.proxy.certificate())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ran =
            timeout(LONGEST_VISIT, ran).await.expect("it ends in time").expect("node is installed");
        let said = String::from_utf8_lossy(&ran.stdout);
        let complaint = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{script} {arguments:?}:\n{said}\n{complaint}");
    }
}

impl Site {
    /// Like [`visited_by`](Self::visited_by), for a program that has wishes on the way: what is to fail, and to work again.
    pub(crate) async fn seen_by(&mut self, script: &str, arguments: &[&str]) {
        let url = self.url();
        let arguments = [&[url.as_str()], arguments].concat();
        let certificate = self.proxy.certificate();
        story::told((script, &arguments), &certificate, async |wish| self.grant(wish).await).await;
    }

    /// Waits until so many chats of members are there, on one connection.
    async fn carries(&self, transport: &str, chats: u64) {
        let sessions = format!("vestibule_sessions{{kind=\"member\",transport=\"{transport}\"}}");
        counted(&self.proxy, &sessions, chats).await;
        counted(&self.proxy, "vestibule_connections", 1).await;
    }

    /// Does what a story asks for.
    async fn grant(&mut self, wish: &str) {
        match wish {
            "the server is down" => self.server.stop().await,
            "the server hangs" => {
                self.server.stop().await;
                self.silent =
                    Some(TcpListener::bind(self.server.address()).await.expect("its port"));
            }
            "somebody is held" => {
                let silent = self.silent.as_ref().expect("the server hangs");
                let (held, _) =
                    timeout(LONGEST_VISIT, silent.accept()).await.expect("in time").expect("one");
                // It hangs on, and breaks off with the listener.
                self.held.push(held);
            }
            "the server is up" => {
                self.silent = None;
                self.held.clear();
                self.server.restart_stopped().await;
            }
            "the server stands still" => self.server.as_prosody().signal("STOP").await,
            "the server moves on" => self.server.as_prosody().signal("CONT").await,
            "the server restarts" => {
                self.server.stop().await;
                self.server.restart_stopped().await;
            }
            "upstream's connections break" => {
                self.upstream.now(Way::Cut);
                self.upstream.now(Way::Open);
            }
            "the network stands still" => self.network.now(Way::Still),
            "the network moves on" => self.network.now(Way::Open),
            "the server has another secret" => {
                self.server.as_prosody().configure(OTHER_SECRET).await;
            }
            "a pass is refused" => {
                self.server
                    .as_prosody()
                    .logged(&["Refused a ticket", "not signed with our secret"])
                    .await;
            }
            "the server has its secret again" => self.server.as_prosody().configure("").await,
            "whois hangs" => self.whois.now(Way::Hangs),
            "whois is down" => self.whois.now(Way::Cut),
            "whois is up" => self.whois.now(Way::Open),
            "bob is signed out of the chat" => {
                let question = r#"{"site": "localhost", "username": "bob"}"#;
                assert_eq!(self.proxy.revoke(question).await.0, 200);
            }
            "one connection carries one chat over HTTP/2" => {
                self.carries("websocket_http2", 1).await;
            }
            "one connection carries two chats over HTTP/2" => {
                self.carries("websocket_http2", 2).await;
            }
            "a connection of its own carries one chat" => self.carries("websocket", 1).await,
            "the proxy is down" => self.proxy.go_down().await,
            "the proxy is up" => self.proxy.come_up().await,
            "the proxy restarts" => self.proxy.restart().await,
            unknown => panic!("nobody can grant {unknown:?}"),
        }
    }
}

/// Starts the site on a free port; its address.
pub(crate) async fn serve(guests: &str) -> (Child, String) {
    let mut child = Command::new("node")
        .arg(repository().join("examples/demo-site/server.mjs"))
        .args(["--listen", "127.0.0.1:0", "--whois-secret", WHOIS_SECRET, "--guests", guests])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is installed: scripts/test does it");
    let stdout = child.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines();
    let line =
        timeout(Duration::from_secs(30), lines.next_line()).await.expect("it starts in time");
    let line = line.expect("it writes").expect("it says where it listens");
    let address = line.rsplit(' ').next().expect("an address").trim_end_matches('/').to_owned();
    // It must not meet a closed pipe when it logs.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (child, address)
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lua that makes the server believe in no ticket of the proxy's.
const OTHER_SECRET: &str = "for _, host in ipairs { 'xmpp.localhost', 'guest.localhost' } do
    VirtualHost(host)
    vestibule_secret_file = {}
    vestibule_secret = 'another secret than the proxy has'
end";

/// What signs the tokens that ejabberd is shown.
const TOKEN_SECRET: &str = "a secret that only the tests and ejabberd know";

pub(crate) const WHOIS_SECRET: &str = "a secret that the site and the proxy share in tests";

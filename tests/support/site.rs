//! The demo site, run by Node as the demo does, and the proxy in front of it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::forwarder::Forwarder;
use crate::support::forwarder::Way;
use crate::support::gateway::Proxy;
use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::prosody::free_address;

/// The demo site with a chat: Prosody behind it, the proxy before it.
#[derive(Debug)]
pub(crate) struct Site {
    /// Where its members and guests are.
    pub(crate) prosody: Prosody,
    /// What browsers speak with.
    pub(crate) proxy: Proxy,
    /// What stands in the way to the site's answers about its visitors.
    whois: Forwarder,
    /// What stands where the server was, while that hangs.
    silent: Option<TcpListener>,
    held: Vec<TcpStream>,
    _server: Child,
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
        let prosody = Prosody::start().await;
        let (server, address) = serve().await;
        let site = address.trim_start_matches("http://").parse().expect("an address");
        let whois = Forwarder::to(site).await;
        let at = free_address();
        let (upstream, secret) = (prosody.address(), prosody.folder().join("ticket.secret"));
        let secret = secret.display();
        let proxy = Proxy::at(
            at,
            &format!(
                "{settings}[[site]]\nhosts = ['localhost']\norigins = ['https://localhost:{port}']\nbackend = '{address}'\n\
                 reserved = ['admin']\nrooms = 'conference.localhost'\n{keys}\n\
                 [site.registered]\ndomain = '{MEMBERS}'\nupstream = '{upstream}'\nsecret = {{ file = '{secret}' }}\n\
                 [site.guests]\ndomain = '{GUESTS}'\nupstream = '{upstream}'\nsecret = {{ file = '{secret}' }}\n\
                 [site.session.whois]\nurl = 'http://{asked}/chat/whois'\nsecret = '{WHOIS_SECRET}'\ncookies = ['PHPSESSID']\n",
                port = at.port(),
                asked = whois.address(),
            ),
        )
        .await;
        Self { prosody, proxy, whois, silent: None, held: Vec::new(), _server: server }
    }

    /// Where browsers find it.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.proxy.address().port())
    }

    /// Signs in with the site's own form, through the proxy; the session's cookie.
    pub(crate) async fn signed_in(&self, username: &str) -> String {
        let certificate = std::fs::read(self.proxy.certificate()).expect("a certificate");
        let trusted = Certificate::from_pem_bundle(&certificate).expect("PEM");
        let client = reqwest::Client::builder().tls_certs_only(trusted).redirect(Policy::none());
        let client = client.resolve("localhost", self.proxy.address()).build().expect("a client");
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
        let mut child = Command::new("node")
            .arg(repository().join("tests").join(script))
            .arg(self.url())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let mut answers = child.stdin.take().expect("it is piped");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut complaint = child.stderr.take().expect("it is piped");
        let complaint = tokio::spawn(async move {
            let mut text = String::new();
            complaint.read_to_string(&mut text).await.expect("text");
            text
        });
        let mut story = Vec::new();
        let told = async {
            while let Some(line) = said.next_line().await.expect("text") {
                if let Some(wish) = line.strip_prefix("wish: ") {
                    self.grant(wish).await;
                    // Who has failed meanwhile does not read this any more.
                    let _ = answers.write_all(b"granted\n").await;
                }
                story.push(line);
            }
            child.wait().await.expect("it ends")
        };
        let ended = timeout(LONGEST_VISIT, told).await;
        // Who does not come to an end says no more.
        child.start_kill().ok();
        let complaint = complaint.await.expect("it is read");
        let succeeded = matches!(&ended, Ok(status) if status.success());
        assert!(succeeded, "{script} {arguments:?}: {ended:?}\n{}\n{complaint}", story.join("\n"));
    }

    /// Does what a story asks for.
    async fn grant(&mut self, wish: &str) {
        match wish {
            "the server is down" => self.prosody.stop().await,
            "the server hangs" => {
                self.prosody.stop().await;
                self.silent =
                    Some(TcpListener::bind(self.prosody.address()).await.expect("its port"));
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
                self.prosody.restart_stopped().await;
            }
            "the server stands still" => self.prosody.signal("STOP").await,
            "the server moves on" => self.prosody.signal("CONT").await,
            "the server restarts" => self.prosody.restart().await,
            "the server has another secret" => self.prosody.configure(OTHER_SECRET).await,
            "a pass is refused" => {
                self.prosody.logged(&["Refused a ticket", "not signed with our secret"]).await;
            }
            "the server has its secret again" => self.prosody.configure("").await,
            "whois hangs" => self.whois.now(Way::Hangs),
            "whois is down" => self.whois.now(Way::Cut),
            "whois is up" => self.whois.now(Way::Open),
            "bob is signed out of the chat" => {
                let question = r#"{"site": "localhost", "username": "bob"}"#;
                assert_eq!(self.proxy.revoke(question).await.0, 200);
            }
            "the proxy is down" => self.proxy.go_down().await,
            "the proxy is up" => self.proxy.come_up().await,
            "the proxy restarts" => self.proxy.restart().await,
            unknown => panic!("nobody can grant {unknown:?}"),
        }
    }
}

/// Starts the site on a free port; its address.
async fn serve() -> (Child, String) {
    let mut child = Command::new("node")
        .arg(repository().join("examples/demo-site/server.mjs"))
        .args(["--listen", "127.0.0.1:0", "--whois-secret", WHOIS_SECRET])
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

const WHOIS_SECRET: &str = "a secret that the site and the proxy share in tests";

/// A browser takes seconds; a loaded machine takes more.
const LONGEST_VISIT: Duration = Duration::from_secs(240);

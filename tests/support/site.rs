//! The demo site, run by Node as the demo does, and the proxy in front of it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::redirect::Policy;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::timeout;

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
    _server: Child,
}

impl Site {
    /// Starts all three.
    pub(crate) async fn start() -> Self {
        let prosody = Prosody::start().await;
        let (server, address) = serve().await;
        let at = free_address();
        let (upstream, secret) = (prosody.address(), prosody.folder().join("ticket.secret"));
        let secret = secret.display();
        let proxy = Proxy::at(
            at,
            &format!(
                "[[site]]\nhosts = ['localhost']\norigins = ['https://localhost:{port}']\nbackend = '{address}'\n\
                 reserved = ['admin']\nrooms = 'conference.localhost'\n\
                 [site.registered]\ndomain = '{MEMBERS}'\nupstream = '{upstream}'\nsecret = {{ file = '{secret}' }}\n\
                 [site.guests]\ndomain = '{GUESTS}'\nupstream = '{upstream}'\nsecret = {{ file = '{secret}' }}\n\
                 [site.session.whois]\nurl = '{address}/chat/whois'\nsecret = '{WHOIS_SECRET}'\ncookies = ['PHPSESSID']\n",
                port = at.port(),
            ),
        )
        .await;
        Self { prosody, proxy, _server: server }
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

const WHOIS_SECRET: &str = "a secret that the site and the proxy share in tests";

/// A browser takes seconds; a loaded machine takes more.
const LONGEST_VISIT: Duration = Duration::from_secs(240);

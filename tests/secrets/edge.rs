//! The program with its log at trace, and everybody who comes to it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::INTERNAL_SECRET;
use crate::PATIENCE;
use crate::STANZA;
use crate::Secrets;
use crate::support::bosh::Browser;
use crate::support::gateway::trusting;
use crate::support::prosody::free_address;
use crate::support::websocket::Socket;

/// The program with its log at trace, before real and scripted servers.
pub(crate) struct Edge {
    folder: TempDir,
    child: Child,
    pub(crate) address: SocketAddr,
    internal: SocketAddr,
    said: watch::Receiver<String>,
}

impl Edge {
    /// With these tables, and this as `RUST_LOG`.
    pub(crate) async fn start(tables: &str, rust_log: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (address, internal) = (free_address(), free_address());
        let listen = format!("https = ['{address}']");
        let settings = format!(
            "[log]\nlevel = 'trace'\naddresses = 'none'\n[internal]\nlisten = '{internal}'\nsecret = '{INTERNAL_SECRET}'\n{}",
            tables.replace("https = []", &listen)
        );
        fs::write(folder.path().join("proxy.toml"), settings).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .current_dir(folder.path())
            .arg("run")
            .env_remove("RUST_LOG")
            .envs(rust_log.map(|filter| ("RUST_LOG", filter)))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, mut said) = watch::channel(String::new());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sender.send_modify(|said| said.extend([line.as_str(), "\n"]));
            }
        });
        let listens = said.wait_for(|said| said.matches("listening").count() >= 2);
        timeout(PATIENCE, listens).await.unwrap().unwrap();
        Self { folder, child, address, internal, said }
    }

    /// Comes by prebind, BOSH and WebSocket, and says something each time.
    pub(crate) async fn visit(&self, host: &str, cookie: Option<String>, secrets: &mut Secrets) {
        let browser = self.browser(host, cookie.clone());
        let mut sessions = vec![browser.clone().prebind().await, browser.clone().sign_in().await];
        for session in &mut sessions {
            let me = session.jid.clone();
            session.exchange(&message_to(&me), &[STANZA]).await;
            secrets.add(&session.sid);
            // The cookie of a guest who showed none, or a bad one.
            if let Some(cookie) =
                session.browser.cookie.clone().filter(|now| Some(now) != cookie.as_ref())
            {
                secrets.add_cookie(&cookie);
            }
        }
        let mut socket = self.socket(host, cookie.as_deref()).await;
        let jid = socket.sign_in("xmpp.localhost").await;
        socket.send(&message_to(&jid)).await;
        socket.receive_with(STANZA).await;
        if let Some(cookie) = socket.headers.get("set-cookie") {
            secrets.add_cookie(cookie.to_str().unwrap().split(';').next().unwrap());
        }
    }

    pub(crate) async fn is_refused(&self, host: &str, cookie: Option<String>, status: &str) {
        let browser = self.browser(host, cookie.clone());
        let answer = browser.ask("GET", "/prebind").await;
        assert_eq!(answer.status.to_string(), status, "{answer:?}");
        let mut socket = self.socket(host, cookie.as_deref()).await;
        assert!(socket.open_stream(host).await.1.contains("system-shutdown"));
    }

    /// Resumes the stream that was left, and is signed out of it by the site.
    pub(crate) async fn resumes_and_is_signed_out(&self, cookie: &str, secrets: &mut Secrets) {
        let mut socket = self.socket("localhost", Some(cookie)).await;
        socket.sign_in("xmpp.localhost").await;
        socket.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
        let enabled = socket.receive_with("<enabled").await;
        let id = enabled.split("id='").nth(1).unwrap().split('\'').next().unwrap();
        secrets.add(id);
        socket.vanish();
        let mut socket = self.socket("localhost", Some(cookie)).await;
        socket.open_stream("xmpp.localhost").await;
        socket.auth("EXTERNAL", "bob@xmpp.localhost").await;
        socket.open_stream("xmpp.localhost").await;
        socket.send(&format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>")).await;
        socket.receive_with("<resumed").await;
        let question = r#"{"site": "localhost", "username": "bob"}"#;
        let (status, answer) = self.asks_internally(INTERNAL_SECRET, question).await;
        assert!(status == 200 && answer.contains("ended"), "{status} {answer}");
        socket.receive_with("policy-violation").await;
    }

    /// Tries passwords at us, which nobody takes, and sends stanzas that are none.
    pub(crate) async fn is_not_understood(&self, cookie: &str, words: &str) {
        let mut socket = self.socket("localhost", Some(cookie)).await;
        socket.open_stream("xmpp.localhost").await;
        let password = BASE64_STANDARD.encode(format!("\0bob\0{words}"));
        for auth in [password.as_str(), words, "="] {
            let auth = format!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{auth}</auth>"
            );
            socket.send(&auth).await;
            let refused = socket.receive().await;
            assert!(refused.contains("<failure"), "{refused}");
        }
        socket.send(&format!("<message xmlns='jabber:client' {words}='1><{words}")).await;
        socket.receive_with("stream:error").await;
        let browser = self.browser("localhost", Some(cookie.to_owned()));
        for body in [format!("<body {words}='1' {words}"), format!("<body rid='{words}'/>")] {
            let answer = browser.post(body).await;
            assert!(answer.body.contains("bad-request"), "{answer:?}");
        }
        for bad in [
            format!("GET /prebind?{words} HTTP/1.1\r\nHost: nowhere.test\r\nCookie: {words}\r\n"),
            format!("GET /prebind?{words} HTTP/1.1\r\nHost: localhost\r\nCookie {words}\r\n"),
            format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {words}\0\r\n"),
            format!("GET / {words}\r\nHost: {words}\r\n"),
            format!(
                "GET /prebind HTTP/1.1\r\nHost: localhost\r\n{words}\r\nContent-Length: {words}\r\n"
            ),
        ] {
            self.says_by_hand("", &bad).await;
        }
        let (status, _) =
            self.asks_internally(INTERNAL_SECRET, &format!("{{\"{words}\": {words}")).await;
        assert_eq!(status, 400);
    }

    /// This first, then TLS, and this as the head of a request; until the connection is over.
    pub(crate) async fn says_by_hand(&self, first: &str, head: &str) {
        let mut connection = TcpStream::connect(self.address).await.unwrap();
        connection.write_all(first.as_bytes()).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let tls = tokio_rustls::TlsConnector::from(trusting(&self.certificate(), "http/1.1"));
        // What comes first may have been too bad.
        let Ok(mut connection) = tls.connect(name, connection).await else { return };
        let request = format!("{head}Connection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let over = connection.read_to_end(&mut answer);
        // It may be cut off.
        let _ = timeout(PATIENCE, over).await.expect("it is closed in time");
    }

    pub(crate) async fn is_internally_refused(&self, secret: &str) {
        for (secret, is_right) in [(secret, false), (INTERNAL_SECRET, true)] {
            let asked = reqwest::Client::builder().no_proxy().build().unwrap();
            let asked = asked.get(format!("http://{}/metrics", self.internal)).bearer_auth(secret);
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status().is_success(), is_right, "{answer:?}");
        }
        assert_eq!(self.asks_internally(secret, secret).await.0, 401);
    }

    async fn asks_internally(&self, secret: &str, question: &str) -> (u16, String) {
        let asked = reqwest::Client::builder().no_proxy().build().unwrap();
        let asked = asked.post(format!("http://{}/sessions/revoke", self.internal));
        let answer = asked.bearer_auth(secret).body(question.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    fn browser(&self, host: &str, cookie: Option<String>) -> Browser {
        Browser::at(host, self.address, &self.certificate(), cookie)
    }

    async fn socket(&self, host: &str, cookie: Option<&str>) -> Socket {
        let origin = format!("https://{host}");
        let mut headers = vec![("origin", origin.as_str()), ("host", host)];
        headers.extend(cookie.map(|cookie| ("cookie", cookie)));
        let tls = trusting(&self.certificate(), "http/1.1");
        Socket::dial(self.address, tls, "/xmpp-websocket", &headers).await.expect("it is let in")
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certs/development.pem")
    }

    /// Ends it, and gives all that it has said.
    pub(crate) async fn ended(mut self) -> String {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().await.unwrap().success());
        timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        // The sender goes with the last line.
        while self.said.changed().await.is_ok() {}
        self.said.borrow().clone()
    }
}

fn message_to(jid: &str) -> String {
    format!("<message xmlns='jabber:client' to='{jid}' type='chat'><body>{STANZA}</body></message>")
}

//! An XMPP client over plain TCP that sends what it is told and shows what came.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    domain: String,
    received: String,
}

/// What a server says to `<auth/>` or `<response/>`, with the text that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Signed in.
    Success(Vec<u8>),
    /// One step of more.
    Challenge(Vec<u8>),
    /// The condition, such as `not-authorized`.
    Failure(String),
}

impl Client {
    /// Connects, and sends nothing yet.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        Self { stream, domain: String::new(), received: String::new() }
    }

    /// Connects from this address of the same machine.
    pub(crate) async fn connect_from(from: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from.parse().expect("an address"), 0)).expect("it is ours");
        let stream = socket.connect(address).await.expect("the server listens");
        Self { stream, domain: String::new(), received: String::new() }
    }

    /// Sends as it is.
    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the server reads");
    }

    /// Everything that came, up to and with the first of these texts.
    pub(crate) async fn read_until(&mut self, ends: &[&str]) -> String {
        loop {
            let end =
                ends.iter().filter_map(|end| Some(self.received.find(end)? + end.len())).min();
            if let Some(end) = end {
                let rest = self.received.split_off(end);
                return std::mem::replace(&mut self.received, rest);
            }
            let mut bytes = [0; 4096];
            let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await;
            let length = read
                .unwrap_or_else(|_| panic!("no {ends:?} in {}", self.received))
                .expect("the server writes");
            assert_ne!(length, 0, "the server closed before {ends:?}, after {}", self.received);
            let text =
                bytes.get(..length).map(String::from_utf8_lossy).expect("as long as was read");
            self.received.push_str(&text);
        }
    }

    /// Opens a stream, and gives the features that are offered.
    pub(crate) async fn open(&mut self, domain: &str) -> String {
        domain.clone_into(&mut self.domain);
        self.send(&header(domain)).await;
        self.read_until(&["</stream:features>"]).await
    }

    /// Shows a mechanism's first message, on an open stream.
    pub(crate) async fn authenticate(&mut self, mechanism: &str, message: &[u8]) -> Answer {
        self.send(&auth(mechanism, message)).await;
        self.answer().await
    }

    /// Both without waiting for the features.
    pub(crate) async fn open_and_authenticate(
        &mut self,
        domain: &str,
        mechanism: &str,
        message: &[u8],
    ) -> Answer {
        domain.clone_into(&mut self.domain);
        self.send(&(header(domain) + &auth(mechanism, message))).await;
        self.read_until(&["</stream:features>"]).await;
        self.answer().await
    }

    /// Shows a mechanism's next message.
    pub(crate) async fn respond(&mut self, message: &[u8]) -> Answer {
        let text = BASE64_STANDARD.encode(message);
        self.send(&format!("<response xmlns='{SASL}'>{text}</response>")).await;
        self.answer().await
    }

    async fn answer(&mut self) -> Answer {
        let empty = format!("<success xmlns='{SASL}'/>");
        let answer = self.read_until(&[&empty, "</success>", "</challenge>", "</failure>"]).await;
        let (tag, text) = answer.split_once('>').expect("an element");
        let text = text.split('<').next().unwrap_or_default();
        let decoded = || BASE64_STANDARD.decode(text).expect("base64");
        if tag.starts_with("<success") {
            Answer::Success(decoded())
        } else if tag.starts_with("<challenge") {
            Answer::Challenge(decoded())
        } else {
            let condition = answer.split('<').nth(2).expect("a condition");
            Answer::Failure(condition.trim_end_matches(['>', '/']).to_owned())
        }
    }

    /// Waits until the server has done everything that was sent before.
    pub(crate) async fn answered_ping(&mut self) {
        self.send("<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>").await;
        self.read_until(&["id='ping'"]).await;
        self.read_until(&["/>", "</iq>"]).await;
    }

    /// Binds a resource of the server's choice after signing in, and gives the full JID.
    pub(crate) async fn bind(&mut self) -> String {
        let domain = self.domain.clone();
        self.open(&domain).await;
        self.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
            .await;
        let result = self.read_until(&["</iq>"]).await;
        let jid = result.split_once("<jid>").and_then(|(_, rest)| rest.split_once("</jid>"));
        jid.unwrap_or_else(|| panic!("no JID in {result}")).0.to_owned()
    }
}

/// The message of SASL PLAIN (RFC 4616 §2).
pub(crate) fn plain(authzid: &str, username: &str, password: &str) -> Vec<u8> {
    format!("{authzid}\0{username}\0{password}").into_bytes()
}

/// Not signed in, for this condition.
pub(crate) fn failure(condition: &str) -> Answer {
    Answer::Failure(condition.to_owned())
}

fn auth(mechanism: &str, message: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(message);
    format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{text}</auth>")
}

fn header(domain: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

/// Signed in, and nothing more to say.
pub(crate) const SUCCESS: Answer = Answer::Success(Vec::new());

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

/// Far more than it ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

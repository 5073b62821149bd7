//! A scripted XMPP server: it plays its part as a real one does, up to the moment at which it does what a real one does not
//! do on demand.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// What a server says next in a sign-in, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    /// Nothing yet: it has accepted the connection.
    Accepted,
    /// The header of its stream.
    Header,
    /// The features with the mechanisms.
    Features,
    /// `<success/>`.
    Success,
    /// The header behind it.
    SecondHeader,
    /// The features behind it.
    SecondFeatures,
    /// The JID that it has bound.
    Bound,
    /// What it says to the first stanza behind the bind.
    Established,
}

/// What it does at its moment instead of its part.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    /// Nothing, for ever.
    Hangs,
    /// Closes the connection.
    BreaksOff,
    /// Says this, and nothing more, for ever.
    Says(&'static str),
    /// Says one text that never ends, as fast as it is read.
    Floods,
}

/// What it does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Script {
    /// Its part.
    Good,
    /// Its part, a byte at a time.
    Trickles,
    /// Its part, until this moment.
    Until(Moment, Trouble),
}

/// The server; it ends with the test's runtime.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    script: watch::Sender<Script>,
    seen: watch::Sender<Seen>,
    auths: watch::Sender<Vec<String>>,
    headers: watch::Sender<Vec<String>>,
}

/// What it has seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Connections.
    pub(crate) connections: usize,
    /// Sign-ins that it has granted.
    pub(crate) signed_in: usize,
    /// Connections that are over.
    pub(crate) gone: usize,
}

impl Server {
    /// Starts one on a free port.
    pub(crate) async fn start(script: Script) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), script).await
    }

    /// Starts one at this address.
    pub(crate) async fn start_at(address: SocketAddr, script: Script) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let server = Self {
            address,
            script: watch::Sender::new(script),
            seen: watch::Sender::default(),
            auths: watch::Sender::default(),
            headers: watch::Sender::default(),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let script = *serving.script.borrow();
                serving.seen.send_modify(|seen| seen.connections += 1);
                let server = serving.clone();
                tokio::spawn(async move {
                    Play { socket, script, read: String::new(), server: &server }.run().await;
                    server.seen.send_modify(|seen| seen.gone += 1);
                });
            }
        });
        server
    }

    /// Where it takes clients.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does on connections from now on.
    pub(crate) fn now(&self, script: Script) {
        self.script.send_replace(script);
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> Seen {
        *self.seen.borrow()
    }

    /// What it was shown to sign in with, each `<auth/>` whole.
    pub(crate) fn auths(&self) -> Vec<String> {
        self.auths.borrow().clone()
    }

    /// The headers of the streams to it, behind SASL too.
    pub(crate) fn headers(&self) -> Vec<String> {
        self.headers.borrow().clone()
    }

    /// Waits until what it has seen is this.
    pub(crate) async fn has_seen(&self, what: impl Fn(Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let waited = timeout(PATIENCE, seen.wait_for(|seen| what(*seen))).await;
        *waited.expect("it comes in time").expect("the server is there")
    }
}

/// One connection.
struct Play<'a> {
    socket: TcpStream,
    script: Script,
    read: String,
    server: &'a Server,
}

impl Play<'_> {
    /// Ends with the connection; whatever breaks is the end of it.
    async fn run(mut self) {
        let _ = self.socket.set_nodelay(true);
        let _ = self.sign_in().await;
    }

    async fn sign_in(&mut self) -> Option<()> {
        self.say(Moment::Accepted, "").await?;
        let header = self.next_header().await?;
        let domain = attribute(&header, "to");
        self.say(Moment::Header, &header_of(&domain)).await?;
        self.say(Moment::Features, MECHANISMS).await?;
        let auth = self.next("<auth", &["</auth>", "/>"]).await?;
        let user = user_of(&auth);
        self.server.auths.send_modify(|auths| auths.push(auth));
        self.say(Moment::Success, SUCCESS).await?;
        self.server.seen.send_modify(|seen| seen.signed_in += 1);
        self.next_header().await?;
        self.say(Moment::SecondHeader, &header_of(&domain)).await?;
        self.say(Moment::SecondFeatures, BEHIND_SASL).await?;
        let bind = self.next("<iq", &["</iq>"]).await?;
        let resource = bind.split_once("<resource>").and_then(|(_, rest)| rest.split('<').next());
        let jid = format!("{user}@{domain}/{}", resource.unwrap_or("scripted"));
        self.say(
            Moment::Bound,
            &format!(
                "<iq type='result' id='{}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{jid}</jid></bind></iq>",
                attribute(&bind, "id")
            ),
        )
        .await?;
        loop {
            let stanza = self.next("<", &["/>", "</iq>", "</message>", "</stream:stream>"]).await?;
            if stanza.contains("</stream:stream>") {
                return self.socket.write_all(b"</stream:stream>").await.ok();
            }
            let answer = if stanza.contains("type='get'") || stanza.contains("type=\"get\"") {
                format!("<iq type='result' id='{}'/>", attribute(&stanza, "id"))
            } else {
                String::new()
            };
            self.say(Moment::Established, &answer).await?;
        }
    }

    async fn next_header(&mut self) -> Option<String> {
        let header = self.next("<stream:stream", &[">"]).await?;
        self.server.headers.send_modify(|headers| headers.push(header.clone()));
        Some(header)
    }

    /// Says its part, or does what it does in place of it; nothing when the connection is over.
    async fn say(&mut self, moment: Moment, part: &str) -> Option<()> {
        match self.script {
            Script::Until(when, trouble) if when == moment => self.make(trouble).await,
            Script::Good | Script::Until(..) => self.socket.write_all(part.as_bytes()).await.ok(),
            Script::Trickles => {
                for byte in part.bytes() {
                    self.socket.write_all(&[byte]).await.ok()?;
                    tokio::task::yield_now().await;
                }
                Some(())
            }
        }
    }

    async fn make(&mut self, trouble: Trouble) -> Option<()> {
        match trouble {
            Trouble::Hangs => {}
            Trouble::BreaksOff => return None,
            Trouble::Says(words) => self.socket.write_all(words.as_bytes()).await.ok()?,
            Trouble::Floods => {
                self.socket.write_all(b"<message><body>").await.ok()?;
                let much = vec![b'x'; 65_536];
                while self.socket.write_all(&much).await.is_ok() {}
                return None;
            }
        }
        // Silent, and it still learns when the other side goes.
        while self.socket.read(&mut [0; 4096]).await.ok()? > 0 {}
        None
    }

    /// What comes next, from `begin` to the first of `ends`; nothing when the connection is over before.
    async fn next(&mut self, begin: &str, ends: &[&str]) -> Option<String> {
        loop {
            if let Some(begin) = self.read.find(begin) {
                let rest = &self.read[begin..];
                let end = ends.iter().filter_map(|end| Some(rest.find(end)? + end.len())).min();
                if let Some(end) = end {
                    let found = rest[..end].to_owned();
                    self.read.drain(..begin + end);
                    return Some(found);
                }
            }
            let mut bytes = [0; 4096];
            let length = self.socket.read(&mut bytes).await.ok().filter(|&length| length > 0)?;
            self.read.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    }
}

/// What a scripted website does when it is asked who a visitor is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answers {
    /// Nothing, for ever.
    Hangs,
    /// Says this as it is, and closes.
    Raw(&'static str),
    /// Says this as JSON.
    Json(&'static str),
    /// Says as JSON what this makes of the question.
    Says(fn(&str) -> &'static str),
    /// Says this as JSON, a byte at a time.
    Trickles(&'static str),
    /// Begins an answer that never ends.
    Floods,
}

/// Where a scripted website is asked; it ends with the test's runtime.
#[derive(Clone, Debug)]
pub(crate) struct Whois {
    address: SocketAddr,
    answers: watch::Sender<Answers>,
    asked: watch::Sender<usize>,
}

impl Whois {
    /// Starts one on a free port.
    pub(crate) async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let whois =
            Self { address, answers: watch::Sender::new(answers), asked: watch::Sender::new(0) };
        let serving = whois.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serving.clone().answer(socket));
            }
        });
        whois
    }

    /// Where it is asked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answers from now on.
    pub(crate) fn now(&self, answers: Answers) {
        self.answers.send_replace(answers);
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn was_asked(&self, times: usize) {
        let mut asked = self.asked.subscribe();
        let waited = timeout(PATIENCE, asked.wait_for(|asked| *asked >= times)).await;
        waited.expect("it comes in time").expect("the site is there");
    }

    async fn answer(self, mut socket: TcpStream) -> Option<()> {
        let mut request = String::new();
        while !request.contains("\r\n\r\n") {
            let mut bytes = [0; 4096];
            let length = socket.read(&mut bytes).await.ok().filter(|&length| length > 0)?;
            request.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        self.asked.send_modify(|asked| *asked += 1);
        let answers = *self.answers.borrow();
        match answers {
            Answers::Hangs => while socket.read(&mut [0; 4096]).await.ok()? > 0 {},
            Answers::Raw(words) => socket.write_all(words.as_bytes()).await.ok()?,
            Answers::Json(json) => socket.write_all(ok(json).as_bytes()).await.ok()?,
            Answers::Says(to) => socket.write_all(ok(to(&request)).as_bytes()).await.ok()?,
            Answers::Trickles(json) => {
                let _ = socket.set_nodelay(true);
                for byte in ok(json).bytes() {
                    socket.write_all(&[byte]).await.ok()?;
                    tokio::task::yield_now().await;
                }
            }
            Answers::Floods => {
                socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"groups\":[\"").await.ok()?;
                let much = vec![b'x'; 65_536];
                while socket.write_all(&much).await.is_ok() {}
            }
        }
        Some(())
    }
}

fn ok(json: &str) -> String {
    let length = json.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{json}"
    )
}

fn header_of(domain: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
         id='scripted' from='{domain}' version='1.0'>"
    )
}

fn user_of(auth: &str) -> String {
    let content = auth.split('>').nth(1).and_then(|rest| rest.split('<').next());
    let message = BASE64_STANDARD.decode(content.unwrap_or_default()).unwrap_or_default();
    let user = message.split(|&byte| byte == 0).nth(1).unwrap_or(b"anonymous");
    String::from_utf8_lossy(user).into_owned()
}

fn attribute(element: &str, name: &str) -> String {
    let value = ['\'', '"'].into_iter().find_map(|quote| {
        let (_, rest) = element.split_once(&format!(" {name}={quote}"))?;
        rest.split(quote).next()
    });
    value.unwrap_or_default().to_owned()
}

const MECHANISMS: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
    <mechanism>PLAIN</mechanism><mechanism>ANONYMOUS</mechanism></mechanisms></stream:features>";

const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";

const BEHIND_SASL: &str =
    "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

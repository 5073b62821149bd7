//! What stands behind the program: XMPP servers and websites, each with a fault of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::support::authority::Authority;
use crate::support::gateway::JWT_SECRET;
use crate::support::script::Answers;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::script::Whois;

/// All of it.
pub(crate) struct Behind {
    /// Has no fault.
    good: Server,
    /// Neither, and whoever is there stays.
    lasting: Server,
    refusing: Server,
    /// Says nothing.
    pub(crate) silent: Server,
    /// Breaks off at the first stanza of a session.
    losing: Server,
    /// Says nothing either.
    pub(crate) whois: Whois,
    /// Breaks off while TLS is begun, here or there.
    insecure: SocketAddr,
    /// Breaks off in its answers, or never ends them, or takes whatever comes.
    backend: SocketAddr,
    authority: Authority,
}

impl Behind {
    pub(crate) async fn start() -> Self {
        Self {
            good: Server::start(Script::Good).await,
            lasting: Server::start(Script::Good).await,
            refusing: Server::start(REFUSES).await,
            silent: Server::start(Script::Until(Moment::Accepted, Trouble::Hangs)).await,
            losing: Server::start(Script::Until(Moment::Established, Trouble::BreaksOff)).await,
            whois: Whois::start(Answers::Hangs).await,
            insecure: serve(breaks_off_tls).await,
            backend: serve(breaks_off_an_answer).await,
            authority: Authority::new(),
        }
    }

    /// The sites that need it, as proxy.toml has them.
    pub(crate) fn sites(&self) -> String {
        let backend = format!("backend = 'http://{}'\n", self.backend);
        let asked = format!(
            "[site.session.whois]\nurl = 'http://{}/'\nsecret = 'a secret of the tests'\ncookies = ['PHPSESSID']\n",
            self.whois.address()
        );
        let authority: PathBuf = self.authority.file();
        let starttls = format!(
            "{}'\nsecurity = 'starttls'\nauthority = '{}",
            self.insecure,
            authority.display()
        );
        let good = self.good.address().to_string();
        let plain = |host, server: &Server| site(host, "", &server.address().to_string(), JWT);
        [
            site("localhost", &backend, &good, JWT),
            plain("lasting.test", &self.lasting),
            plain("refused.test", &self.refusing),
            plain("silent.test", &self.silent),
            plain("losing.test", &self.losing),
            site("closed.test", "without_session = 'refuse'\n", &good, JWT),
            site("asked.test", "", &good, &asked),
            site("insecure.test", "", &starttls, JWT),
        ]
        .concat()
        .replace("JWT_SECRET", JWT_SECRET)
    }

    /// Waits until each connection to the scripted servers is over that is not to last.
    pub(crate) async fn is_left(&self) {
        for server in [&self.good, &self.refusing, &self.silent, &self.losing] {
            server.has_seen(|seen| seen.gone == seen.connections).await;
        }
    }
}

fn site(host: &str, keys: &str, server: &str, session: &str) -> String {
    let pass = format!("upstream = '{server}'\nsecret = 'a secret of the tests'\n");
    format!(
        "[[site]]\nhosts = ['{host}']\n{keys}[site.registered]\ndomain = 'xmpp.localhost'\n{pass}\
         [site.guests]\ndomain = 'guest.localhost'\n{pass}{session}"
    )
}

/// Serves each connection so, with its number, for as long as the test's runtime lives.
async fn serve<F>(answer: impl Fn(TcpStream, usize) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (peer, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(peer, number));
        }
    });
    address
}

/// A server with STARTTLS that is gone before TLS is there.
async fn breaks_off_tls(mut peer: TcpStream, number: usize) -> Option<()> {
    let mut read = String::new();
    until(&mut peer, &mut read, "<stream:stream").await?;
    peer.write_all(
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='scripted' from='xmpp.localhost' \
          xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><stream:features>\
          <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>",
    )
    .await
    .ok()?;
    until(&mut peer, &mut read, "<starttls").await?;
    let how = number % 3;
    if how > 0 {
        peer.write_all(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await.ok()?;
    }
    if how > 1 {
        // The ClientHello, and the beginning of an answer to it.
        peer.read_u8().await.ok()?;
        peer.write_all(b"\x16\x03\x03\x00\x7a\x02\x00").await.ok()?;
    }
    Some(())
}

/// A web server that breaks off in the middle of an answer, or in the middle of a request; one that is asked for `/endless`
/// goes on for ever.
async fn breaks_off_an_answer(mut peer: TcpStream, _: usize) -> Option<()> {
    let mut read = String::new();
    until(&mut peer, &mut read, "\r\n\r\n").await?;
    if read.starts_with("POST /taken") {
        while peer.read(&mut [0; 4096]).await.ok()? > 0 {}
    } else if read.starts_with("GET /endless") {
        peer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
        while peer.write_all(&[b'a'; 4096]).await.is_ok() {}
    } else {
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").await.ok()?;
    }
    Some(())
}

async fn until(peer: &mut TcpStream, read: &mut String, words: &str) -> Option<()> {
    while !read.contains(words) {
        let mut bytes = [0; 4096];
        let length = peer.read(&mut bytes).await.ok().filter(|&length| length > 0)?;
        read.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    Some(())
}

const JWT: &str = "[site.session.jwt]\ncookie = 'session'\nsecret = 'JWT_SECRET'\n";

const REFUSES: Script = Script::Until(
    Moment::Success,
    Trouble::Says("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"),
);

//! A server that counts wrongly, or resumes something else.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::counted;
use crate::is_reached;
use crate::is_terminate;
use crate::last;
use crate::member;
use crate::message;
use crate::support::bosh::Session;
use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::Proxy;

/// A server that says what the test makes it say.
struct Liar {
    listener: TcpListener,
}

/// One connection with it, behind SASL.
struct Connection {
    socket: TcpStream,
    read: String,
}

impl Liar {
    async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self { listener }, address)
    }

    /// Lets the next one in, up to the features behind SASL.
    async fn let_in(&self) -> Connection {
        let (socket, _) = self.listener.accept().await.unwrap();
        let mut connection = Connection { socket, read: String::new() };
        connection.reads("</auth>").await;
        let mechanisms = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>";
        connection.says(&format!("{HEADER}<stream:features>{mechanisms}</stream:features>")).await;
        connection.says("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
        connection.reads("<stream:stream").await;
        let features =
            "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>";
        connection.says(&format!("{HEADER}<stream:features>{features}</stream:features>")).await;
        connection
    }

    /// Lets Bob in, and manages his stream.
    async fn managed(&self, proxy: &Proxy) -> (Session, Connection) {
        let (bob, connection) = tokio::join!(member(proxy, "bob"), async {
            let mut connection = self.let_in().await;
            connection.reads("</iq>").await;
            let jid = "<jid>bob@xmpp.localhost/one</jid>";
            let bind = format!("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{jid}</bind>");
            connection.says(&format!("<iq type='result' id='bind'>{bind}</iq>")).await;
            connection.reads("<enable").await;
            connection.says("<enabled xmlns='urn:xmpp:sm:3' resume='true' id='ID'/>").await;
            connection
        });
        (bob, connection)
    }
}

impl Connection {
    async fn says(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads up to and with this.
    async fn reads(&mut self, what: &str) -> String {
        loop {
            if let Some(at) = self.read.find(what) {
                let rest = self.read.split_off(at + what.len());
                return std::mem::replace(&mut self.read, rest);
            }
            let mut bytes = [0; 4096];
            let length = self.socket.read(&mut bytes).await.unwrap();
            assert_ne!(length, 0, "closed before {what}, behind {}", self.read);
            self.read.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
    }
}

async fn before(address: SocketAddr) -> Proxy {
    bounded(address, "").await
}

async fn bounded(address: SocketAddr, settings: &str) -> Proxy {
    Proxy::with(&format!(
        "{settings}\n[[site]]\nhosts = ['localhost']\n[site.registered]\ndomain = 'xmpp.localhost'\n\
         upstream = '{address}'\nsecret = 'a secret of sixteen bytes'\n\
         [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n"
    ))
    .await
}

#[tokio::test]
async fn server_that_has_got_more_than_was_sent_is_told_so_and_the_session_ends() {
    let (liar, address) = Liar::start().await;
    let proxy = before(address).await;
    let (mut bob, mut connection) = liar.managed(&proxy).await;

    connection.says("<a xmlns='urn:xmpp:sm:3' h='99'/>").await;

    let told = connection.reads("</stream:error>").await;
    assert!(told.contains("<handled-count-too-high") && told.contains("h='99'"), "{told}");
    let answer = last(&mut bob).await;
    assert!(is_terminate(&answer, "system-shutdown"), "{answer:?}");
}

#[tokio::test]
async fn browser_waits_while_the_server_does_not_acknowledge_what_it_has_said() {
    for bound in ["unacknowledged_stanzas = 1", "unacknowledged = '1 KiB'"] {
        let (liar, address) = Liar::start().await;
        let proxy = bounded(address, &format!("[stream_management]\n{bound}")).await;
        let (mut bob, mut connection) = liar.managed(&proxy).await;
        let browser = bob.browser.clone();

        let first = message("bob@xmpp.localhost", &"x".repeat(2_000));
        let (first, second) =
            (bob.body(bob.rid, "", &first), bob.body(bob.rid + 1, "", &message("bob", "second")));
        bob.rid += 2;
        let first = tokio::spawn({
            let browser = browser.clone();
            async move { browser.post(first).await }
        });
        connection.reads("</message>").await;
        is_reached(&proxy, "unacknowledged", 1).await;
        let second = tokio::spawn({
            let browser = browser.clone();
            async move { browser.post(second).await }
        });
        tokio::task::yield_now().await;
        // It goes over the same connection, so that the second is there when this is answered.
        assert_eq!(browser.ask("GET", "/").await.status, 404);
        connection.says("<message><body>hello</body></message>").await;

        let first = first.await.unwrap();
        assert!(first.body.contains("hello"), "the second released it: {first:?}");
        connection.says("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
        connection.reads("second").await;
        second.abort();
    }
}

#[tokio::test]
async fn server_that_resumes_another_stream_resumes_none() {
    refused_by("<resumed xmlns='urn:xmpp:sm:3' h='0' previd='ANOTHER'/>").await;
}

#[tokio::test]
async fn server_that_resumes_with_more_than_was_sent_resumes_nothing() {
    refused_by("<resumed xmlns='urn:xmpp:sm:3' h='7' previd='ID'/>").await;
}

#[tokio::test]
async fn server_that_closes_without_a_word_where_it_should_resume_is_not_asked_again() {
    refused_by("").await;
}

/// A server that says this to `<resume/>`, and closes.
async fn refused_by(answer: &str) {
    let (liar, address) = Liar::start().await;
    let proxy = before(address).await;
    let (mut bob, connection) = liar.managed(&proxy).await;

    drop(connection);
    let mut again = liar.let_in().await;
    again.reads("<resume").await;
    again.reads("/>").await;
    again.says(answer).await;
    drop(again);

    let answer = last(&mut bob).await;
    assert!(is_terminate(&answer, "system-shutdown"), "{answer:?}");
    counted(&proxy, "refused", 1).await;
}

const HEADER: &str = "<stream:stream from='xmpp.localhost' id='1' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";

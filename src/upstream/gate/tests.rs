//! Servers that hang, refuse or break off, and what the gate does about them.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;
use crate::metrics::label::Kind;
use crate::pass::Pass;
use crate::protocol::jid::Domain;
use crate::site::upstream::Upstream;

fn target(address: SocketAddr, kind: Kind) -> Target {
    Target {
        upstream: Arc::new(Upstream::local(&address.to_string())),
        domain: Domain::parse("xmpp.test").unwrap(),
        language: None,
        pass: Pass::Anonymous,
        expected: None,
        kind,
        visitor: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

fn gate(settings: Settings) -> Arc<Gate> {
    Arc::new(Gate::new(settings, Arc::default()))
}

/// A server that takes connections and says nothing.
async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server that says these one after another, each to one connection once something has come; what came is handed on.
async fn saying(words: Vec<String>) -> (SocketAddr, mpsc::Receiver<String>) {
    let (listener, address) = silent().await;
    let (heard, received) = mpsc::channel(100);
    tokio::spawn(async move {
        for words in words {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut read = [0; 4096];
            let length = peer.read(&mut read).await.unwrap();
            heard.send(String::from_utf8_lossy(&read[..length]).into_owned()).await.unwrap();
            peer.write_all(words.as_bytes()).await.unwrap();
        }
    });
    (address, received)
}

/// Begins a sign-in that is held for an hour.
fn begin(gate: &Arc<Gate>, target: Target) -> tokio::task::JoinHandle<Result<Stream, Error>> {
    let gate = gate.clone();
    tokio::spawn(async move { gate.sign_in(&target, &Goal::Features, HOUR).await })
}

async fn accepted(listener: &TcpListener) -> TcpStream {
    timeout(PATIENCE, listener.accept()).await.expect("a sign-in under way").unwrap().0
}

const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(30);
const HEADER: &str =
    "<stream:stream id='1' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const REFUSED: &str = "<stream:features/><failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";

#[tokio::test]
async fn at_the_bound_on_waiting_browsers_another_is_refused_at_once() {
    let (silent, address) = silent().await;
    let gate = gate(Settings { waiting: NonZeroUsize::MIN, ..Settings::default() });
    let first = begin(&gate, target(address, Kind::Guest));
    let _under_way = accepted(&silent).await;

    let second = target(address, Kind::Guest);
    let second = timeout(PATIENCE, gate.sign_in(&second, &Goal::Features, HOUR));
    let second = second.await.expect("it is not held");

    assert!(matches!(second, Err(Error::Crowded(1))), "{second:?}");
    let counted = gate.metrics.text();
    assert!(counted.contains(r#"bounds_reached_total{bound="sign_ins_waiting"} 1"#), "{counted}");
    first.abort();
}

#[tokio::test]
async fn server_that_hangs_starves_no_other() {
    let (hangs, hanging) = silent().await;
    let (answers, answering) = silent().await;
    let one = NonZeroUsize::MIN;
    let gate = gate(Settings { sign_ins: one, waiting: one, ..Settings::default() });
    let first = begin(&gate, target(hanging, Kind::Member));
    let _under_way = accepted(&hangs).await;

    let second = begin(&gate, target(answering, Kind::Member));

    accepted(&answers).await;
    first.abort();
    second.abort();
}

#[tokio::test]
async fn member_is_signed_in_while_guests_wait_for_their_turn() {
    let (listener, address) = silent().await;
    let four = NonZeroUsize::MIN.saturating_add(3);
    let gate = gate(Settings { sign_ins: four, ..Settings::default() });
    let guests: Vec<_> = (0..10).map(|_| begin(&gate, target(address, Kind::Guest))).collect();
    let mut under_way = Vec::new();
    for _ in 0..3 {
        under_way.push(accepted(&listener).await);
    }

    let member = begin(&gate, target(address, Kind::Member));

    under_way.push(accepted(&listener).await);
    let counted = gate.metrics.text();
    assert!(counted.contains(r#"bounds_reached_total{bound="sign_ins"} 7"#), "{counted}");
    member.abort();
    guests.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn refused_pass_is_shown_once_more_at_once_and_then_with_growing_pauses() {
    let refused = || Error::Login(login::Error::Refused { condition: "not-authorized".into() });
    let mut pauses = Pauses::default();

    let waits: Vec<u128> = (0..8).map(|_| pauses.behind(&refused()).as_millis()).collect();

    assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1000, 1000]);
    let mut pauses = Pauses::default();
    assert_eq!(pauses.behind(&Error::Late(HOUR)), FIRST_PAUSE);
}

#[tokio::test]
async fn server_that_breaks_off_is_signed_in_to_step_by_step_the_next_time() {
    let broken = vec![HEADER.to_owned(), HEADER.to_owned()];
    let (address, mut heard) = saying(broken).await;
    let gate = gate(Settings::default());
    let signing_in = begin(&gate, target(address, Kind::Guest));

    let first = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    let second = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();

    assert!(first.contains("<auth "), "{first}");
    assert!(second.contains("<stream:stream ") && !second.contains("<auth "), "{second}");
    signing_in.abort();
}

#[tokio::test]
async fn server_that_never_comes_to_an_end_is_no_longer_heard_at_the_bound() {
    let (listener, address) = silent().await;
    let stanza = bytesize::ByteSize::kib(64);
    let gate = gate(Settings { stanza, ..Settings::default() });
    let signing_in = begin(&gate, target(address, Kind::Guest));
    let mut server = accepted(&listener).await;

    server.write_all(format!("{HEADER}<stream:features>").as_bytes()).await.unwrap();
    let flood = async { while server.write_all(&[b'x'; 4096]).await.is_ok() {} };
    timeout(PATIENCE, flood).await.unwrap();
    accepted(&listener).await;

    let counted = gate.metrics.text();
    assert!(counted.contains(r#"bounds_reached_total{bound="upstream_stanza"} 1"#), "{counted}");
    signing_in.abort();
}

#[tokio::test]
async fn whatever_a_server_says_or_not_before_it_lets_us_in_is_a_surprise() {
    for nonsense in [
        "HTTP/1.1 400 Bad Request\r\n\r\n\0\u{1}<<>&".to_owned(),
        "<stream:stream xmlns='jabber:server'".to_owned(),
        format!("{HEADER}<!-- none -->"),
        format!("{HEADER}</stream:stream>"),
        format!(
            "{HEADER}<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        ),
        format!("{HEADER}<message/>"),
        format!("{HEADER}<stream:features/><success xmlns='urn:example:other'/>"),
        format!(
            "{HEADER}<stream:features/><challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>bm8=</challenge>"
        ),
        String::new(),
    ] {
        let settings = Settings { sign_in: Duration::from_millis(200), ..Settings::default() };
        let (listener, address) = silent().await;
        let signing_in = begin(&gate(settings), target(address, Kind::Guest));

        let mut server = accepted(&listener).await;
        let first = heard(&mut server).await;
        // It stays open: it is not the end of it that surprises.
        server.write_all(nonsense.as_bytes()).await.unwrap();
        let second = heard(&mut accepted(&listener).await).await;

        assert!(first.contains("<auth "), "{first}");
        let is_careful = second.contains("<stream:stream ") && !second.contains("<auth ");
        assert!(is_careful, "{nonsense:?}: {second}");
        signing_in.abort();
    }
}

/// What comes first on a connection.
async fn heard(server: &mut TcpStream) -> String {
    let mut read = [0; 4096];
    let length = timeout(PATIENCE, server.read(&mut read)).await.unwrap().unwrap();
    String::from_utf8_lossy(&read[..length]).into_owned()
}

#[tokio::test]
async fn server_that_refuses_a_pass_is_no_surprise() {
    let refuses = HEADER.to_owned() + REFUSED;
    let (address, mut heard) = saying(vec![refuses.clone(), refuses]).await;
    let gate = gate(Settings::default());
    let signing_in = begin(&gate, target(address, Kind::Guest));

    for _ in 0..2 {
        let flight = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
        assert!(flight.contains("<auth "), "{flight}");
    }
    signing_in.abort();
}

#[tokio::test]
async fn visitors_address_comes_before_everything_else_where_the_server_is_told() {
    let (listener, address) = silent().await;
    let upstream = Upstream { proxy_protocol: true, ..Upstream::local(&address.to_string()) };
    let target = Target {
        upstream: Arc::new(upstream),
        visitor: [192, 0, 2, 7].into(),
        ..target(address, Kind::Guest)
    };
    let signing_in = begin(&gate(Settings::default()), target);
    let mut server = accepted(&listener).await;
    let mut read = vec![0; 28];

    timeout(PATIENCE, server.read_exact(&mut read)).await.unwrap().unwrap();

    assert_eq!(read.get(..12), Some(&b"\r\n\r\n\0\r\nQUIT\n"[..]));
    assert_eq!(read.get(16..20), Some(&[192, 0, 2, 7][..]));
    let mut next = [0; 14];
    timeout(PATIENCE, server.read_exact(&mut next)).await.unwrap().unwrap();
    assert_eq!(&next, b"<stream:stream");
    signing_in.abort();
}

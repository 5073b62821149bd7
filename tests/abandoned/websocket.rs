//! Visits by WebSocket, over TLS and without.

use futures_util::SinkExt;
use futures_util::StreamExt;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::CROWD;
use crate::Visit;
use crate::support::gateway::session_cookie;

/// How many kinds there are: left before, between and behind the steps, and those of [`visit`].
pub(crate) const KINDS: usize = STEPS.len() + 9;

/// Anything that bytes go over.
pub(crate) trait Line: AsyncRead + AsyncWrite + Send + Unpin {}

impl<L: AsyncRead + AsyncWrite + Send + Unpin> Line for L {}

/// One session.
pub(crate) type Socket = WebSocketStream<Box<dyn Line>>;

/// Whose session it is to be.
#[derive(Clone, Copy)]
struct Visitor<'a> {
    host: &'a str,
    member: Option<&'a str>,
    address: &'a str,
}

/// Comes, and is refused, breaks, or goes without a word; one of three visitors is a guest, and some come by TLS.
pub(crate) async fn visit(visit: &Visit<'_>, kind: usize) {
    let member = (!visit.round.is_multiple_of(3)).then_some(visit.member.as_str());
    let here = Visitor { host: "localhost", member, address: &visit.address };
    match kind {
        0 => is_one_too_many(visit).await,
        1 => {
            let lost = Visitor { host: "losing.test", ..here };
            let Some(mut socket) = goes_as_far_as(visit, 5, lost).await else { return };
            is_told(&mut socket, "system-shutdown").await;
        }
        2 => {
            let visit = &visit.alone();
            let signed_out = Visitor { member: Some(&visit.member), ..here };
            let Some(mut socket) = goes_as_far_as(visit, 4, signed_out).await else { return };
            visit.edge.signs_out(&visit.member).await;
            is_told(&mut socket, "policy-violation").await;
        }
        3 => fails_to_sign_in(visit, here).await,
        4 => {
            let nobody = Visitor { host: "closed.test", member: None, ..here };
            let Some(mut socket) = goes_as_far_as(visit, 1, nobody).await else { return };
            socket.send(Message::text(STEPS[1].0)).await.unwrap();
            is_told(&mut socket, "not-authorized").await;
        }
        5 => {
            let refused = Visitor { host: "refused.test", ..here };
            assert!(goes_as_far_as(visit, 1, refused).await.is_none(), "it is let in");
        }
        6 => leaves_in_a_frame(visit, here).await,
        7 => leaves_while_the_server_is_waited_for(visit, here).await,
        step => drop(goes_as_far_as(visit, step - 8, here).await),
    }
}

/// A guest from [`CROWD`], behind all steps, who stays.
pub(crate) async fn stays(visit: &Visit<'_>) -> Socket {
    let settled = Visitor { host: "lasting.test", member: None, address: CROWD };
    goes_as_far_as(visit, 5, settled).await.expect("it is let in")
}

/// A guest from an address whose guests have as many sessions as they may.
async fn is_one_too_many(visit: &Visit<'_>) {
    let crowd = Visitor { host: "localhost", member: None, address: CROWD };
    let refused = opens(visit, crowd).await.err();
    let Some(Error::Http(response)) = refused else { panic!("{refused:?}") };
    assert_eq!(response.status(), 429);
}

/// As another than who it is, and by what is not taken here, until it may not try any more.
async fn fails_to_sign_in(visit: &Visit<'_>, visitor: Visitor<'_>) {
    let Some(mut socket) = goes_as_far_as(visit, 1, visitor).await else { return };
    let tries = visit.round % 7;
    for time in 1..=tries {
        // "alice@xmpp.localhost".
        let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>YWxpY2VAeG1wcC5sb2NhbGhvc3Q=</auth>";
        socket.send(Message::text(auth)).await.unwrap();
        // It may fail five times.
        is_told(&mut socket, if time == 6 { "policy-violation" } else { "<failure" }).await;
    }
}

/// Goes in the head of a frame, or in what it bears; in the hall, or in the session.
async fn leaves_in_a_frame(visit: &Visit<'_>, visitor: Visitor<'_>) {
    let steps = if visit.round.is_multiple_of(2) { 1 } else { 5 };
    let Some(mut socket) = goes_as_far_as(visit, steps, visitor).await else { return };
    // Text, masked, of 65,535 bytes.
    let frame = b"\x81\xfe\xff\xff\x01\x02\x03\x04\x3dand so on, with a mask";
    let end = 1 + visit.round % frame.len();
    let line = socket.get_mut();
    line.write_all(&frame[..end]).await.unwrap();
    line.flush().await.unwrap();
}

/// Before or behind what it says first.
async fn leaves_while_the_server_is_waited_for(visit: &Visit<'_>, visitor: Visitor<'_>) {
    let silent = &visit.edge.behind.silent;
    let asked = silent.seen().connections;
    let mut socket =
        opens(visit, Visitor { host: "silent.test", member: None, ..visitor }).await.unwrap();
    if visit.round.is_multiple_of(2) {
        socket.send(Message::text(STEPS[0].0)).await.unwrap();
        is_told(&mut socket, "<open ").await;
    }
    silent.has_seen(|seen| seen.connections > asked).await;
}

/// The session behind so many steps; none where the server was late: that, too, is a session that broke.
async fn goes_as_far_as(visit: &Visit<'_>, steps: usize, visitor: Visitor<'_>) -> Option<Socket> {
    let mut socket = opens(visit, visitor).await.unwrap();
    for (said, answers) in STEPS.iter().take(steps) {
        socket.send(Message::text(*said)).await.unwrap();
        for _ in 0..*answers {
            let text = next(&mut socket).await;
            if text.contains("system-shutdown") {
                return None;
            }
        }
    }
    Some(socket)
}

async fn opens(visit: &Visit<'_>, visitor: Visitor<'_>) -> Result<Socket, Error> {
    let Visitor { host, member, address } = visitor;
    let mut request = format!("ws://{host}/xmpp-websocket").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("origin", format!("https://{host}").parse().unwrap());
    headers.insert("sec-websocket-protocol", "xmpp".parse().unwrap());
    headers.insert("x-forwarded-proto", "https".parse().unwrap());
    headers.insert("x-forwarded-for", address.parse().unwrap());
    if let Some(member) = member {
        headers.insert("cookie", session_cookie(member).parse().unwrap());
    }
    let line: Box<dyn Line> = if visit.round.is_multiple_of(5) {
        Box::new(visit.edge.tls("http/1.1").await)
    } else {
        Box::new(TcpStream::connect(visit.edge.http).await.unwrap())
    };
    client_async(request, line).await.map(|(socket, _)| socket)
}

async fn is_told(socket: &mut Socket, words: &str) {
    let text = next(socket).await;
    assert!(text.contains(words), "no {words} in {text}");
}

async fn next(socket: &mut Socket) -> String {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => text.to_string(),
        other => panic!("no text, but {other:?}"),
    }
}

/// What a browser sends in a session, and how many messages come back to each.
const STEPS: [(&str, usize); 6] = [
    ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>", 2),
    ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>", 1),
    ("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>", 2),
    (
        "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        1,
    ),
    ("<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>", 1),
    ("<message xmlns='jabber:client'><!-- forbidden --></message>", 1),
];

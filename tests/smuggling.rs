//! Requests that two readers could take for different things: where a browser sends one, the site's web server sees one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::gateway::Proxy;
use crate::support::wire::HEADERS;
use crate::support::wire::Wire;
use crate::support::wire::http_2;

/// A request as the site's web server has read it, strictly by RFC 9112 and with nothing of ours.
#[derive(Debug, Clone)]
struct Asked {
    /// The line and the fields.
    head: Vec<String>,
    /// Nothing where it broke off.
    body: Option<Vec<u8>>,
}

/// The proxy before a web server that writes down what it is asked.
struct Recorded {
    proxy: Proxy,
    asked: mpsc::Receiver<Asked>,
}

impl Recorded {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::with(&format!(
            "[[site]]
             hosts = ['localhost']
             backend = 'http://{}'
             [site.guests]
             domain = 'guest.localhost'
             upstream = '127.0.0.1:5222'
             secret = 'a secret we share'",
            listener.local_addr().unwrap()
        ))
        .await;
        let (sender, asked) = mpsc::channel(100);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(record(stream, sender.clone()));
            }
        });
        Self { proxy, asked }
    }

    /// What has come to the web server when it is asked for `path` next, on the connection that was kept, if any.
    async fn asked_until(&mut self, path: &str) -> Vec<Asked> {
        let mut wire = Wire::open(&self.proxy, "http/1.1").await;
        wire.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            .await;
        let answer = String::from_utf8(wire.read_to_end().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{path}")), "somebody else's answer: {answer}");
        let mut before = Vec::new();
        loop {
            let asked = timeout(PATIENCE, self.asked.recv()).await.unwrap().unwrap();
            if asked.head[0] == format!("GET {path} HTTP/1.1") {
                return before;
            }
            before.push(asked);
        }
    }
}

/// Answers each request with its path.
async fn record(stream: TcpStream, asked: mpsc::Sender<Asked>) {
    let mut stream = BufReader::new(stream);
    while let Some(head) = head(&mut stream).await {
        let body = body(&mut stream, &head).await;
        let is_whole = body.is_some();
        let path = head[0].split(' ').nth(1).unwrap().to_owned();
        asked.send(Asked { head, body }).await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
        if !is_whole || stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The lines up to the empty one; nothing at the end of the connection.
async fn head(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    Some(text.trim_end().split("\r\n").map(ToOwned::to_owned).collect())
}

/// The body by what its head says; nothing where the connection ends before it.
async fn body(stream: &mut BufReader<TcpStream>, head: &[String]) -> Option<Vec<u8>> {
    let field = |name: &str| {
        let fields = head[1..].iter().filter_map(|line| line.split_once(": "));
        let values: Vec<&str> =
            fields.filter(|(n, _)| *n == name).map(|(_, value)| value).collect();
        assert!(values.len() < 2, "two fields: {head:?}");
        values.first().map(|value| (*value).to_owned())
    };
    match (field("content-length"), field("transfer-encoding")) {
        (None, None) => Some(Vec::new()),
        (Some(length), None) => {
            assert!(length.bytes().all(|digit| digit.is_ascii_digit()), "{head:?}");
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).await.ok()?;
            Some(body)
        }
        (None, Some(coding)) => {
            assert_eq!(coding, "chunked");
            chunks(stream).await
        }
        (Some(_), Some(_)) => panic!("a length and a coding: {head:?}"),
    }
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.ok()?);
        }
        let length =
            usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim_end(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).await.ok()?;
        assert!(chunk.ends_with(b"\r\n"));
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

/// What stands in a body, a value or a line, and must nowhere become a request or a field.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\nX-Smuggled: 1\r\n\r\n";

fn assert_nothing_smuggled(asked: &[Asked], case: &str) {
    for request in asked {
        for line in &request.head {
            assert!(!line.to_ascii_lowercase().contains("smuggled"), "{case}: {request:?}");
        }
    }
    assert!(asked.len() <= 1, "{case}: {asked:?}");
}

/// The head of a request to upload something, with these fields, and what follows it.
fn upload(fields: &str, rest: &str) -> String {
    format!("POST /upload HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{rest}")
}

#[tokio::test]
async fn one_request_of_http_1_is_one_request_or_none() {
    let mut recorded = Recorded::start().await;
    let all = SMUGGLED.len();
    let chunked = format!("0\r\n\r\n{SMUGGLED}");
    let long = chunked.len();
    let cases = [
        // A length and a coding, of which each reader may believe another.
        upload(&format!("Content-Length: {long}\r\nTransfer-Encoding: chunked"), &chunked),
        upload(&format!("Transfer-Encoding: chunked\r\nContent-Length: {long}"), &chunked),
        upload(
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            &format!("{all:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        ),
        // Two lengths.
        upload(&format!("Content-Length: 0\r\nContent-Length: {all}"), SMUGGLED),
        upload(&format!("Content-Length: {all}\r\nContent-Length: 0"), SMUGGLED),
        upload(&format!("Content-Length: {all}, 0"), SMUGGLED),
        upload(&format!("Content-Length: 0, {all}"), SMUGGLED),
        // Lengths that are none.
        upload(&format!("Content-Length: +{all}"), SMUGGLED),
        upload("Content-Length: -1", SMUGGLED),
        upload("Content-Length: 0x4", SMUGGLED),
        upload("Content-Length: 4 4", SMUGGLED),
        upload("Content-Length: ", SMUGGLED),
        upload("Content-Length: 99999999999999999999", SMUGGLED),
        upload(&format!("Content-Length : {all}"), SMUGGLED),
        // Codings that only some know.
        upload(&format!("Content-Length: {long}\r\nTransfer-Encoding: xchunked"), &chunked),
        upload("Transfer-Encoding: identity", &chunked),
        upload("Transfer-Encoding: chunked, identity", &chunked),
        upload("Transfer-Encoding: gzip\r\nTransfer-Encoding: identity", &chunked),
        upload(&format!("Content-Length: {long}\r\nTransfer-Encoding : chunked"), &chunked),
        upload(&format!("Content-Length: {long}\r\nTransfer-Encoding\t: chunked"), &chunked),
        upload(&format!("Content-Length: {long}\r\nTransfer-Encoding: \x0bchunked"), &chunked),
        upload(&format!("Content-Length: {long}\r\nX: y\r\n Transfer-Encoding: chunked"), &chunked),
        upload(&format!("Content-Length: {long}\r\nTransfer-Encoding:\r\n chunked"), &chunked),
        upload(&format!("Content-Length: {long}\r\nX: y\rTransfer-Encoding: chunked"), &chunked),
        upload(&format!("Content-Length: {long}\r\nX: \0\r\nTransfer-Encoding: chunked"), &chunked),
        format!(
            "POST /upload HTTP/1.0\r\nHost: localhost\r\nContent-Length: {long}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
        ),
        // Chunks that are none.
        upload("Transfer-Encoding: chunked", &format!("0x0\r\n\r\n{SMUGGLED}")),
        upload("Transfer-Encoding: chunked", &format!("+0\r\n\r\n{SMUGGLED}")),
        upload("Transfer-Encoding: chunked", &format!("-1\r\n\r\n{SMUGGLED}")),
        upload("Transfer-Encoding: chunked", &format!("10000000000000000\r\n\r\n{SMUGGLED}")),
        upload("Transfer-Encoding: chunked", &format!("1\r\nab\r\n0\r\n\r\n{SMUGGLED}")),
        upload("Transfer-Encoding: chunked", &format!("2;x\nab\r\n0\r\n\r\n{SMUGGLED}")),
        upload("Transfer-Encoding: chunked", &format!("\r\n\r\n{SMUGGLED}")),
        // Lines that only some see the end of.
        format!("GET /x HTTP/1.1\r\nHost: localhost\r\nX: y\r{SMUGGLED}"),
        format!("GET /x\rHTTP/1.1\r\nHost: localhost\r\n\r\n{SMUGGLED}"),
        "GET /x HTTP/1.1 /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\n X-Smuggled: 1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /x HTTP/1.1\r\nHost: localhost\r\nX-Smug gled: 1\r\n\r\n".to_owned(),
        // Fields that the connection would be told to drop.
        upload(&format!("Content-Length: {all}\r\nConnection: close, Content-Length"), SMUGGLED),
        upload(
            "Transfer-Encoding: chunked\r\nConnection: close, Transfer-Encoding, Host",
            &format!("{all:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"),
        ),
    ];
    for (number, case) in cases.iter().enumerate() {
        let mut wire = Wire::open(&recorded.proxy, "http/1.1").await;
        wire.write(case).await;
        drop(wire.stream.shutdown().await);
        let answer = String::from_utf8_lossy(&wire.read_to_end().await).into_owned();

        let asked = recorded.asked_until(&format!("/after/{number}")).await;

        assert_nothing_smuggled(&asked, case);
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{case}\n{answer}");
    }
}

#[tokio::test]
async fn what_a_body_holds_comes_as_a_body_however_it_is_framed() {
    let mut recorded = Recorded::start().await;
    let all = SMUGGLED.len();
    let close = "Connection: close";
    for (number, case) in [
        upload(&format!("{close}\r\nContent-Length: {all}"), SMUGGLED),
        upload(&format!("{close}\r\nContent-Length: {all}\r\nContent-Length: {all}"), SMUGGLED),
        upload(&format!("{close}\r\nTransfer-Encoding: Chunked"), &format!("{all:X};a=\"b\"\r\n{SMUGGLED}\r\n0\r\n\r\n")),
        upload(&format!("{close}\r\nTransfer-Encoding: chunked"), &format!("000{all:x}\r\n{SMUGGLED}\r\n0\r\nX-Smuggled: 1\r\nContent-Length: 5\r\n\r\n")),
        format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{close}\r\nContent-Length: {all}\r\n\r\n{SMUGGLED}"),
    ]
    .iter()
    .enumerate()
    {
        let mut wire = Wire::open(&recorded.proxy, "http/1.1").await;
        wire.write(case).await;
        let answer = String::from_utf8(wire.read_to_end().await).unwrap();

        let asked = recorded.asked_until(&format!("/after/{number}")).await;

        assert!(answer.starts_with("HTTP/1.1 200"), "{case}: {answer}");
        assert_nothing_smuggled(&asked, case);
        assert_eq!(asked[0].body.as_deref(), Some(SMUGGLED.as_bytes()), "{case}");
    }
}

#[tokio::test]
async fn upload_that_breaks_off_is_whole_to_nobody() {
    let mut recorded = Recorded::start().await;

    for (number, case) in [
        upload("Content-Length: 100", "half"),
        upload("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
        upload("Transfer-Encoding: chunked", "8\r\nhalf"),
    ]
    .iter()
    .enumerate()
    {
        let mut wire = Wire::open(&recorded.proxy, "http/1.1").await;
        wire.write(case).await;
        drop(wire);
        let broken = timeout(PATIENCE, recorded.asked.recv()).await.unwrap().unwrap();

        assert_eq!(broken.body, None, "{case}");
        assert_nothing_smuggled(&recorded.asked_until(&format!("/after/{number}")).await, case);
    }
}

const PLAIN: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/upload")];

#[tokio::test]
async fn request_of_http_2_becomes_one_of_http_1() {
    let mut recorded = Recorded::start().await;
    let mut wire = Wire::open(&recorded.proxy, "h2").await;

    wire.write(http_2(&PLAIN, Some(SMUGGLED))).await;

    assert_eq!(wire.outcome().await.first(), Some(&HEADERS));
    let asked = recorded.asked_until("/after").await;
    assert_eq!(asked[0].body.as_deref(), Some(SMUGGLED.as_bytes()));
    assert_nothing_smuggled(&asked, "a plain one");
}

#[tokio::test]
async fn field_of_http_2_that_http_1_would_read_otherwise_goes_nowhere() {
    let mut recorded = Recorded::start().await;
    let line = format!("/x HTTP/1.1\r\nHost: localhost\r\n\r\n{SMUGGLED}");
    let method = format!("GET {line}");
    let instead = |name: &'static str, value| {
        let mut fields = PLAIN.to_vec();
        fields.retain(|(found, _)| *found != name);
        fields.insert(0, (name, value));
        fields
    };
    let beside = |name, value| [&PLAIN[..], &[(name, value)]].concat();
    let cases = [
        (beside("transfer-encoding", "chunked"), "0\r\n\r\n"),
        (beside("connection", "transfer-encoding"), ""),
        (beside("connection", "keep-alive, x"), ""),
        (beside("upgrade", "websocket"), ""),
        (beside("content-length", "3"), "abc"),
        (beside("content-length", "0"), SMUGGLED),
        (beside("content-length", "3"), SMUGGLED),
        (beside("content-length", "900"), SMUGGLED),
        (beside("content-length", "+3"), "abc"),
        (beside("x", "y\r\nX-Smuggled: 1"), ""),
        (beside("x", "y\nX-Smuggled: 1"), ""),
        (beside("x", "y\rX-Smuggled: 1"), ""),
        (beside("x", "y\0X-Smuggled: 1"), ""),
        (beside("cookie", "a=1\r\nX-Smuggled: 1"), ""),
        (beside("x-smuggled: 1\r\nx", "y"), ""),
        (beside("x-smuggled: 1", "y"), ""),
        (beside("x-smuggled ", "y"), ""),
        (beside("X-Smuggled", "y"), ""),
        (beside(":path", "/smuggled"), ""),
        (beside("x", ""), ""),
        (instead(":path", line.as_str()), ""),
        (instead(":path", "/x HTTP/1.1 /smuggled"), ""),
        (instead(":path", "smuggled"), ""),
        (instead(":path", ""), ""),
        (instead(":path", "*"), ""),
        (instead(":method", method.as_str()), ""),
        (instead(":method", "GET /smuggled"), ""),
        (instead(":scheme", "https://localhost/smuggled?"), ""),
        (instead(":authority", "localhost\r\nX-Smuggled: 1"), ""),
        (instead(":authority", "localhost/smuggled"), ""),
        (instead(":authority", "smuggled@localhost"), ""),
    ];
    let mut passed = Vec::new();
    for (number, (fields, body)) in cases.iter().enumerate() {
        let shown = format!("{fields:?} with {body:?}");
        let mut wire = Wire::open(&recorded.proxy, "h2").await;
        wire.write(http_2(fields, (!body.is_empty()).then_some(body))).await;
        wire.outcome().await;
        drop(wire);

        let asked = recorded.asked_until(&format!("/after/{number}")).await;

        assert_nothing_smuggled(&asked, &shown);
        passed.extend(asked.iter().filter(|asked| asked.body.is_some()).map(|_| number));
    }
    // The two that are as they should be; all others are refused.
    assert_eq!(passed, [4, 19]);
}

#[tokio::test]
async fn host_of_a_request_is_one_whatever_a_browser_says_beside_it() {
    let mut recorded = Recorded::start().await;
    let mut wire = Wire::open(&recorded.proxy, "h2").await;

    let fields = [&PLAIN[..], &[("host", "smuggled.example")]].concat();
    wire.write(http_2(&fields, None)).await;
    wire.outcome().await;

    let asked = recorded.asked_until("/after").await;
    assert_nothing_smuggled(&asked, "two hosts");
}

/// What a connection is answered, to its end, but for dates and farewells. One that is `known` has asked for something else before:
/// it is the library's, and no longer in the lane of BOSH.
async fn answers(proxy: &Proxy, is_known: bool, asked: &str) -> String {
    let mut wire = Wire::open(proxy, "http/1.1").await;
    if is_known {
        wire.write("GET /.well-known/host-meta HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        wire.read_to("</XRD>").await;
    }
    wire.write(asked).await;
    let read = String::from_utf8(wire.read_to_end().await).unwrap();
    // The library does not always say that it closes.
    let differ = ["date: ", "connection: close"];
    let lines =
        read.split("\r\n").filter(|line| !differ.iter().any(|start| line.starts_with(start)));
    lines.collect::<Vec<_>>().join("\r\n")
}

#[tokio::test]
async fn request_to_bosh_is_framed_as_the_library_frames_it() {
    let proxy = Proxy::with(
        "[http]\nheader = '2s'\n[bosh]\nbody_time = '1s'\n[[site]]\nhosts = ['localhost']\n\
         [site.guests]\ndomain = 'guest.localhost'\nupstream = '127.0.0.1:1'\nsecret = 'a secret we share'",
    )
    .await;
    let post = |fields: &str, rest: &str| {
        format!("POST /http-bind HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n{rest}")
    };
    let last = post("Content-Length: 1\r\nConnection: close", "x");
    let all = last.len();
    let chunked = format!("0\r\n\r\n{last}");
    let long = chunked.len();
    let cases = [
        // What the lane takes.
        post("Content-Length: 0", &last),
        post("Content-Length: 4", &format!("body{last}")),
        post("content-length:4", &format!("body{}{last}", post("Content-Length: 2", "ab"))),
        post(&format!("Content-Length: {all}"), &format!("{last}{last}")),
        post("Content-Length: 4\r\nConnection: close", &format!("body{last}")),
        post("Content-Length: 100\r\nX: y", "half"),
        format!("OPTIONS /http-bind HTTP/1.1\r\nHost: localhost\r\n\r\n{last}"),
        post("Content-Length: 4\r\nOrigin: https://evil.example", &format!("body{last}")),
        // And what it does not, whatever came before.
        post("Content-Length: 4", &format!("bodyGET /x HTTP/1.1\r\nHost: localhost\r\n\r\n{last}")),
        post("Content-Length: 4", "body\r\nGET / HTTP/1.0\r\nHost: localhost\r\n\r\n"),
        post("Content-Length: 4", "bodyhello\r\n\r\n"),
        post(&format!("Content-Length: {long}\r\nTransfer-Encoding: chunked"), &chunked),
        post("Transfer-Encoding: chunked", &chunked),
        post(&format!("Transfer-Encoding: chunked\r\nContent-Length: {long}"), &chunked),
        post("Transfer-Encoding: identity", &chunked),
        post(&format!("Content-Length: 0\r\nContent-Length: {all}"), &last),
        post(&format!("Content-Length: {all}\r\nContent-Length: {all}"), &format!("{last}{last}")),
        post(&format!("Content-Length: {all}, 0"), &last),
        post(&format!("Content-Length: +{all}"), &last),
        post("Content-Length: 04", &format!("body{last}")),
        post("Content-Length: -1", &last),
        post("Content-Length: 99999999999999999999", &last),
        post("Content-Length: ", &last),
        post(&format!("Content-Length : {all}"), &last),
        post("", &last),
        post("Content-Length: 4\r\nExpect: 100-continue", &format!("body{last}")),
        post("Content-Length: 4\r\nX: y\r\n z", &format!("body{last}")),
        post("Content-Length: 4\r\nX: y\rz", &format!("body{last}")),
        post("Content-Length: 4\r\nX: y\nTransfer-Encoding: chunked", &chunked),
        post("Content-Length: 4\r\nX: \0", &format!("body{last}")),
        post("Content-Length: 4\r\nHost: other", &format!("body{last}")),
        post("Content-Length: 4\r\nConnection: keep-alive, close", &format!("body{last}")),
        format!("POST /http-bind HTTP/1.1\nHost: localhost\nContent-Length: 4\n\nbody{last}"),
        format!(
            "POST /http-bind HTTP/1.0\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody{last}"
        ),
        format!(
            "POST /http-bind?x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody{last}"
        ),
        format!("POST /http-bind HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody{last}"),
        format!("\r\n{last}"),
    ];
    for case in &cases {
        let (lane, library) =
            tokio::join!(answers(&proxy, false, case), answers(&proxy, true, case));

        assert_eq!(lane, library, "{case}");
    }
}

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

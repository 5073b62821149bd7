use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;

use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::server::lane::head::said::Said;

const MOST: Most = Most { fields: 20, head: 1024, body: 100 };

fn judged(bytes: &[u8]) -> Verdict {
    read(bytes, 0, MOST)
}

fn posted(fields: &str) -> Vec<u8> {
    format!("POST /http-bind HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\nbody").into_bytes()
}

#[test]
fn post_of_a_browser_is_plain_and_says_where_it_ends() {
    let bytes = posted(
        "Content-Length: 4\r\nCookie: a=b\r\ncookie: c=d\r\nX-Empty:\r\nConnection: keep-alive",
    );

    let Verdict::Plain(plain) = judged(&bytes) else { panic!("{:?}", judged(&bytes)) };

    assert_eq!((plain.head, plain.body, plain.is_last), (bytes.len() - 4, 4, false));
    let request = plain.request(&bytes[..plain.head]).unwrap();
    let headers = request.headers();
    assert_eq!(headers.get_all(header::COOKIE).iter().collect::<Vec<_>>(), ["a=b", "c=d"]);
    assert_eq!(
        (&headers["host"], &headers["x-empty"]),
        (&"localhost".parse().unwrap(), &"".parse().unwrap())
    );
    assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/http-bind"));
}

#[test]
fn preflight_has_no_body_and_a_slash_may_end_the_path() {
    let bytes = b"OPTIONS /http-bind/ HTTP/1.1\r\nhost: a\r\nconnection: Close\r\n\r\nPOST";

    let Verdict::Plain(plain) = judged(bytes) else { panic!("{:?}", judged(bytes)) };

    assert_eq!((plain.head, plain.body, plain.is_last), (bytes.len() - 4, 0, true));
    let request = plain.request(&bytes[..plain.head]).unwrap();
    assert_eq!(request.method(), Method::OPTIONS);
    assert_eq!(request.uri().path(), "/http-bind/");
}

#[test]
fn head_may_come_byte_by_byte() {
    let bytes = posted("Content-Length: 4");
    let head = bytes.len() - 4;

    for length in 0..head {
        for seen in [0, length.saturating_sub(1)] {
            let verdict = read(&bytes[..length], seen, MOST);
            assert!(matches!(verdict, Verdict::Partial), "{length} of {head}: {verdict:?}");
        }
    }
    assert!(matches!(read(&bytes[..head], head - 1, MOST), Verdict::Plain(_)));
}

#[test]
fn head_is_known_again_whatever_the_length_of_the_body_and_by_nothing_else() {
    let fields = "Cookie: a=b\r\nContent-Length: 4\r\nX: y";
    let Verdict::Plain(plain) = judged(&posted(fields)) else { panic!("it is plain") };
    let said = Said::of(&posted(fields), &plain).unwrap();

    for length in ["4", "0", "9", "99", "100"] {
        let bytes = posted(&fields.replace('4', length));
        let Verdict::Plain(plain) = judged(&bytes) else { panic!("{length}") };
        assert_eq!(said.again(&bytes, MOST), Some(plain), "{length}");
    }
    for other in [
        "Cookie: a=c\r\nContent-Length: 4\r\nX: y",
        "Cookie: a=b\r\nContent-Length: 4\r\nX: y\r\nX: y",
        "Cookie: a=b\r\nContent-Length: 4\r\nXy:",
        "Content-Length: 4\r\nCookie: a=b\r\nX: y",
        "Cookie: a=b\r\nContent-Length: 4\r\nX: y\r\nOrigin: https://a.example",
        "Cookie: a=b\r\nContent-Length: 4,4\r\nX: y",
        "Cookie: a=b\r\nContent-Length: 4\r\nX: y\n",
    ] {
        assert_eq!(said.again(&posted(other), MOST), None, "{other}");
    }
    for wrong in ["", "04", "+4", "4 ", "101", "18446744073709551620", "\u{664}"] {
        assert_eq!(said.again(&posted(&fields.replace('4', wrong)), MOST), None, "{wrong}");
    }
    let bytes = posted(fields);
    assert_eq!(said.again(&bytes[..plain.head - 1], MOST), None);
    assert_eq!(said.again(&bytes, Most { head: plain.head - 1, ..MOST }), None);
}

/// Whatever two readers could take for different things, or that takes more than a length to frame.
fn not_plain() -> Vec<Vec<u8>> {
    let mut cases: Vec<Vec<u8>> = [
        "",
        "X: y",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4, 4",
        "Content-Length: +4",
        "Content-Length: -4",
        "Content-Length: 0x4",
        "Content-Length: 04",
        "Content-Length: 4 4",
        "Content-Length: ",
        "Content-Length: 101",
        "Content-Length: 18446744073709551620",
        "Content-Length : 4",
        "Content-Length\t: 4",
        " Content-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nTRANSFER-ENCODING: identity",
        "Content-Length: 4\r\nTransfer-Encoding:",
        "Content-Length: 4\r\nExpect: 100-continue",
        "Content-Length: 4\r\nUpgrade: websocket\r\nConnection: upgrade",
        "Content-Length: 4\r\nUpgrade: h2c",
        "Content-Length: 4\r\nConnection: close, keep-alive",
        "Content-Length: 4\r\nConnection: Content-Length",
        "Content-Length: 4\r\nConnection: close\r\nConnection: keep-alive",
        "Content-Length: 4\r\nConnection:",
        "Content-Length: 4\r\nHost: localhost",
        "Content-Length: 4\r\nX: y\r\n Transfer-Encoding: chunked",
        "Content-Length: 4\r\nX: y\r\n\tz",
        "Content-Length: 4\r\nX: y\rTransfer-Encoding: chunked",
        "Content-Length: 4\r\nX: y\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nX: \0",
        "Content-Length: 4\r\nX: \x7f",
        "Content-Length: 4\r\n: y",
        "Content-Length: 4\r\nX y: z",
        "Content-Length: 4\r\nX",
        "Content-Length: 4\r\nX\u{e4}: y",
    ]
    .iter()
    .map(|fields| posted(fields))
    .collect();
    let many = "X: y\r\n".repeat(20);
    let long = "y".repeat(1024);
    cases.push(posted(&format!("{many}Content-Length: 4")));
    cases.push(posted(&format!("X: {long}\r\nContent-Length: 4")));
    cases.extend(
        [
            "GET /http-bind HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST /http-bind HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST /http-bind?x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST /http-bind// HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST  /http-bind HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST /http-bind HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
            "POST /http-bind HTTP/1.1\r\nHost: a\nContent-Length: 0\r\n\r\n",
            "POST /http-bind HTTP/1.1\r\nHost: a\r\nContent-Length: 0\n\r\n",
            "POST http://a/http-bind HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "post /http-bind HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "\r\nPOST /http-bind HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST /http-bind HTTP/1.1\r\n\r\n",
            "POST /http-bind HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "POST /http-bind HTTP/1.1\r\n Host: a\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "OPTIONS /http-bind HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\x16\x03\x01\x02",
            "P\0ST",
        ]
        .iter()
        .map(|text| text.as_bytes().to_vec()),
    );
    cases
}

#[test]
fn whatever_is_not_of_the_plain_form_is_not_for_the_lane() {
    for bytes in not_plain() {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert!(matches!(judged(&bytes), Verdict::Other), "{shown:?}");
        // Nor where it comes byte by byte.
        let (mut seen, mut is_other) = (0, false);
        for length in 0..=bytes.len() {
            match read(&bytes[..length], seen, MOST) {
                Verdict::Partial => seen = length,
                Verdict::Other => is_other = true,
                Verdict::Plain(_) => panic!("{shown:?}"),
            }
        }
        assert!(is_other, "{shown:?}");
    }
}

/// A request as the library has read it.
#[derive(Debug, PartialEq)]
struct Asked {
    head: (Method, String, Vec<(String, Vec<u8>)>),
    body: Vec<u8>,
}

/// Every request that the library reads from these bytes.
async fn by_the_library(bytes: &[u8]) -> Vec<Asked> {
    let (mut browser, door) = tokio::io::duplex(1 << 16);
    browser.write_all(bytes).await.unwrap();
    browser.shutdown().await.unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let noted = noted.clone();
        async move {
            let head = shown(request.method(), request.uri(), request.headers());
            if let Ok(body) = request.into_body().collect().await {
                noted.lock().unwrap().push(Asked { head, body: body.to_bytes().to_vec() });
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let served =
        http1::Builder::new().half_close(true).serve_connection(TokioIo::new(door), service);
    let mut answers = Vec::new();
    let _ = tokio::join!(served, browser.read_to_end(&mut answers));
    std::mem::take(&mut asked.lock().unwrap())
}

fn shown(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> (Method, String, Vec<(String, Vec<u8>)>) {
    let fields = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    (method.clone(), uri.to_string(), fields.collect())
}

#[tokio::test]
async fn what_the_lane_takes_the_library_frames_in_the_same_way() {
    let follows = b"POST /http-bind HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n";
    let plain = [
        "Content-Length: 4",
        "content-length:4",
        "CONTENT-LENGTH:  4 \t",
        "Content-Length: 4\r\nConnection: Keep-Alive",
    ];
    let cases = plain.iter().map(|fields| posted(fields)).chain(not_plain());
    let mut taken = 0;
    for bytes in cases {
        let bytes = [&bytes[..], follows].concat();
        let Verdict::Plain(plain) = judged(&bytes) else { continue };
        taken += 1;
        let end = plain.head + plain.body;
        let request = plain.request(&bytes[..plain.head]).unwrap();
        let first = Asked {
            head: shown(request.method(), request.uri(), request.headers()),
            body: bytes[plain.head..end].to_vec(),
        };

        let asked = by_the_library(&bytes).await;

        assert_eq!(asked.first(), Some(&first), "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(asked.len(), 2);
        assert_eq!(bytes[end..], follows[..]);
    }
    assert_eq!(taken, plain.len());
}

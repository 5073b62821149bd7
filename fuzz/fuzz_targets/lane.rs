//! Heads of HTTP/1.1: what the lane takes, the library reads as the same request, and ends where the lane ends it; and what
//! it takes byte by byte is what it takes at once.
#![no_main]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::Mutex;

use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::Uri;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use vestibule::server::lane::head::Most;
use vestibule::server::lane::head::Plain;
use vestibule::server::lane::head::Verdict;
use vestibule::server::lane::head::read;
use vestibule::server::lane::head::said::Said;

const MOST: Most = Most { fields: 100, head: 32 * 1024, body: 64 * 1024 };

type Head = (Method, Uri, HeaderMap);
type Asked = Arc<Mutex<Vec<(Head, Bytes)>>>;

/// Every request that the library reads from these bytes, whose bodies are whole.
async fn by_the_library(bytes: &[u8]) -> Vec<(Head, Bytes)> {
    let (mut browser, door) = tokio::io::duplex(1 << 20);
    browser.write_all(bytes).await.expect("there is room");
    browser.shutdown().await.expect("there is room");
    let asked = Asked::default();
    let noted = asked.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let noted = noted.clone();
        async move {
            let (head, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let head = (head.method, head.uri, head.headers);
                noted.lock().expect("no panic").push((head, body.to_bytes()));
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = http1::Builder::new();
    let served = builder.half_close(true).serve_connection(TokioIo::new(door), service);
    let mut answers = Vec::new();
    let _ = tokio::join!(served, browser.read_to_end(&mut answers));
    std::mem::take(&mut asked.lock().expect("no panic"))
}

/// What the lane makes of the same bytes when they come one by one.
fn byte_by_byte(bytes: &[u8]) -> Option<Plain> {
    let mut seen = 0;
    for length in 0..=bytes.len() {
        match read(&bytes[..length], seen, MOST) {
            Verdict::Plain(plain) => return Some(plain),
            Verdict::Partial => seen = length,
            Verdict::Other => return None,
        }
    }
    None
}

/// The same bytes with another number in each place where the length of the body stands, or may stand.
fn with_length(bytes: &[u8], body: usize, length: &str) -> Vec<Vec<u8>> {
    let body = body.to_string();
    let places =
        bytes.windows(body.len()).enumerate().filter(|(_, there)| *there == body.as_bytes());
    let with = |at: usize| [&bytes[..at], length.as_bytes(), &bytes[at + body.len()..]].concat();
    places.map(|(at, _)| with(at)).collect()
}

fuzz_target!(|input: &[u8]| {
    let input = &input[..input.len().min(4096)];
    let slowly = byte_by_byte(input);
    let Verdict::Plain(plain) = read(input, 0, MOST) else {
        assert!(slowly.is_none(), "it is taken only where it comes slowly");
        return;
    };
    let slowly = slowly.expect("it is taken also where it comes slowly");
    assert_eq!(slowly, plain);
    let request = plain.request(&input[..plain.head]).expect("it can be told");

    // The same head with other lengths of the body, and what comes behind it, are known again as they would be judged.
    if let Some(said) = Said::of(input, &plain) {
        assert_eq!(said.again(input, MOST).as_ref(), Some(&plain));
        for length in ["", "0", "7", "08", "1234", "65537"] {
            for other in with_length(input, plain.body, length) {
                if let Some(again) = said.again(&other, MOST) {
                    let judged = read(&other, 0, MOST);
                    assert!(matches!(judged, Verdict::Plain(plain) if plain == again), "{length}");
                }
            }
        }
    }

    // A body that is whole, and another request behind it.
    let follows = b"POST /http-bind HTTP/1.1\r\nHost: behind\r\nContent-Length: 0\r\n\r\n";
    let mut bytes = input[..plain.head].to_vec();
    bytes.extend(std::iter::repeat_n(b'x', plain.body));
    bytes.extend_from_slice(follows);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let asked = runtime.block_on(by_the_library(&bytes));

    let ((method, uri, headers), body) = asked.first().expect("the library takes it too");
    assert_eq!(method, request.method());
    assert_eq!(uri.path_and_query(), request.uri().path_and_query());
    assert_eq!(headers, request.headers());
    assert_eq!(body.len(), plain.body);
    assert_eq!(asked.len(), if plain.is_last { 1 } else { 2 }, "nothing else was asked");
});

//! The site's own web server behind the program: bodies of any size, servers that are gone, and an edge that goes down.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::string_slice,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::gateway::Proxy;
use crate::support::gateway::trusting;
use crate::support::http::counted;
use crate::support::log::Log;
use crate::support::wire::Wire;

fn site(backend: SocketAddr) -> String {
    format!(
        "[[site]]
         hosts = ['localhost']
         backend = 'http://{backend}'
         [site.guests]
         domain = 'guest.localhost'
         upstream = '127.0.0.1:5222'
         secret = 'a secret we share'"
    )
}

/// The proxy before a web server whose every word the test says.
async fn before_a_server() -> (Proxy, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (Proxy::with(&site(listener.local_addr().unwrap())).await, listener)
}

async fn accepted(listener: &TcpListener) -> TcpStream {
    timeout(PATIENCE, listener.accept()).await.expect("nothing was asked").unwrap().0
}

/// Reads until what was read ends with this; what was read.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut read = String::new();
    while !read.ends_with(end) {
        let byte = timeout(PATIENCE, stream.read_u8()).await.expect("it comes in time");
        read.push(char::from(byte.unwrap_or_else(|error| panic!("{error} behind {read:?}"))));
    }
    read
}

/// The program in a process of its own, so that its memory can be seen.
struct Program {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

impl Program {
    async fn start(backend: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!("[listen]\nhttps = ['127.0.0.1:0']\n{}", site(backend));
        fs::write(folder.path().join("proxy.toml"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .current_dir(folder.path())
            .arg("run")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = timeout(PATIENCE, log.next_line()).await.unwrap().unwrap().unwrap();
            if let Some((_, address)) = line.split_once("https://") {
                let end = address.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
                break address[..end.unwrap_or(address.len())].parse().unwrap();
            }
        };
        // Else it would wait for somebody to read what it says.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { folder, address, child }
    }

    async fn browser(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let tls = trusting(&self.folder.path().join("certs/development.pem"), "http/1.1");
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(tls).connect(name, tcp).await.unwrap()
    }

    /// The most memory that it has had, in bytes.
    fn peak(&self) -> usize {
        let status = Path::new("/proc").join(self.child.id().unwrap().to_string()).join("status");
        let status = fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }
}

/// Writes until the other side takes no more; how many bytes it took.
async fn stuck(to: &mut (impl AsyncWrite + Unpin), all: usize) -> usize {
    let block = vec![b'x'; BLOCK];
    let mut written = 0;
    while written < all {
        // Where nothing is read, nothing more is taken; where this is too short, fewer bytes are compared, and no more.
        match timeout(STUCK, to.write(&block)).await {
            Ok(taken) => written += taken.unwrap(),
            Err(_) => return written,
        }
    }
    written
}

async fn write_rest(to: &mut (impl AsyncWrite + Unpin), mut left: usize) {
    let block = vec![b'x'; BLOCK];
    while left > 0 {
        left -= timeout(PATIENCE, to.write(&block[..left.min(BLOCK)])).await.unwrap().unwrap();
    }
    to.flush().await.unwrap();
}

async fn skip(from: &mut (impl AsyncReadExt + Unpin), mut left: usize) {
    let mut block = vec![0; BLOCK];
    while left > 0 {
        let read = timeout(PATIENCE, from.read(&mut block[..left.min(BLOCK)])).await.unwrap();
        left -= read.unwrap();
    }
}

#[tokio::test]
async fn bodies_of_any_size_stream_both_ways_and_wait_for_who_reads_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = Program::start(listener.local_addr().unwrap()).await;
    let mut browser = program.browser().await;
    let before = program.peak();

    let head = format!("POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {HUGE}\r\n\r\n");
    browser.write_all(head.as_bytes()).await.unwrap();
    let mut server = accepted(&listener).await;
    read_to(&mut server, "\r\n\r\n").await;
    let up = stuck(&mut browser, HUGE).await;
    assert!(up < HUGE / 2, "nobody reads it, and yet {up} bytes were taken");
    tokio::join!(write_rest(&mut browser, HUGE - up), skip(&mut server, HUGE));

    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n");
    server.write_all(head.as_bytes()).await.unwrap();
    let down = stuck(&mut server, HUGE).await;
    assert!(down < HUGE / 2, "nobody reads it, and yet {down} bytes were taken");
    let reading = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(browser.read_u8().await.unwrap());
        }
        skip(&mut browser, HUGE).await;
    };
    tokio::join!(write_rest(&mut server, HUGE - down), reading);

    let grown = program.peak() - before;
    assert!(grown < MOST, "{grown} bytes more for {HUGE}");
}

#[tokio::test]
async fn upload_that_is_open_when_the_edge_goes_down_comes_to_its_end() {
    let (mut proxy, listener) = before_a_server().await;
    let mut browser = Wire::open(&proxy, "http/1.1").await;
    browser.write("POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nfirst").await;
    let mut server = accepted(&listener).await;
    read_to(&mut server, "first").await;

    proxy.begin_stop();
    // It has begun where nobody new is let in.
    while TcpStream::connect(proxy.address()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    browser.write("other").await;
    read_to(&mut server, "other").await;
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();

    let answer = String::from_utf8(browser.read_to_end().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
    timeout(PATIENCE, proxy.stop()).await.unwrap();
}

#[tokio::test]
async fn browser_that_waits_for_a_continue_gets_it_when_there_is_a_server() {
    let (proxy, listener) = before_a_server().await;
    let head = "POST /up HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n";
    let mut browser = Wire::open(&proxy, "http/1.1").await;
    browser.write(head).await;
    let mut server = accepted(&listener).await;
    assert!(!read_to(&mut server, "\r\n\r\n").await.contains("expect"));
    assert_eq!(browser.read_to("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    browser.write("hi").await;
    read_to(&mut server, "hi").await;
    server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert!(browser.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 204"));

    drop((listener, server));
    let mut browser = Wire::open(&proxy, "http/1.1").await;
    browser.write(head).await;
    assert!(browser.read_to("\r\n").await.starts_with("HTTP/1.1 502"));
}

#[tokio::test]
async fn answer_without_a_body_has_none_whatever_its_head_says() {
    let (proxy, listener) = before_a_server().await;
    let lying = "Content-Length: 4\r\nConnection: close\r\n\r\nevil";
    for (method, status, length) in [
        ("HEAD", "200 OK", Some("content-length: 4")),
        ("GET", "304 Not Modified", Some("content-length: 4")),
        ("GET", "204 No Content", None),
    ] {
        let mut browser = Wire::open(&proxy, "http/1.1").await;
        browser
            .write(format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            .await;
        let mut server = accepted(&listener).await;
        read_to(&mut server, "\r\n\r\n").await;
        server.write_all(format!("HTTP/1.1 {status}\r\n{lying}").as_bytes()).await.unwrap();

        let answer = String::from_utf8(browser.read_to_end().await).unwrap();

        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        let said = answer.lines().find(|line| line.starts_with("content-length"));
        if let Some(length) = length {
            assert!(said.is_none_or(|said| said == length), "{answer}");
        } else {
            assert_eq!(said, None, "{answer}");
        }
    }
}

#[tokio::test]
async fn answer_to_the_end_of_the_connection_and_one_with_trailers_arrive_whole() {
    let (proxy, listener) = before_a_server().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole",
        "HTTP/1.0 200 OK\r\n\r\nwhole",
        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n",
    ] {
        for alpn in ["http/1.1", "h2"] {
            let browser = reqwest::Client::builder()
                .no_proxy()
                .tls_certs_only(certificates(&proxy))
                .resolve("localhost", proxy.address());
            let browser = if alpn == "h2" { browser } else { browser.http1_only() };
            let url = format!("https://localhost:{}/", proxy.address().port());
            let asking = tokio::spawn(browser.build().unwrap().get(url).send());
            let mut server = accepted(&listener).await;
            read_to(&mut server, "\r\n\r\n").await;
            server.write_all(answer.as_bytes()).await.unwrap();
            drop(server);

            let answered = asking.await.unwrap().unwrap();

            assert!(!answered.headers().contains_key("trailer"), "{alpn}: {answer}");
            assert_eq!(answered.text().await.unwrap(), "whole", "{alpn}: {answer}");
        }
    }
}

#[tokio::test]
async fn person_whose_site_is_down_gets_a_page_and_a_program_a_line() {
    let (proxy, listener) = before_a_server().await;
    let port = listener.local_addr().unwrap().port().to_string();
    drop(listener);
    for (accept, kind) in [
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("application/json", "text/plain; charset=utf-8"),
    ] {
        let mut browser = Wire::open(&proxy, "http/1.1").await;
        browser
            .write(format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
            ))
            .await;

        let answer = String::from_utf8(browser.read_to_end().await).unwrap();

        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
        assert!(answer.contains(&format!("content-type: {kind}\r\n")), "{answer}");
        assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
        assert!(!answer.contains(&port) && !answer.contains("refused"), "{answer}");
    }
    counted(&proxy, "vestibule_refusals_total{reason=\"bad_gateway\"}", 3).await;
}

#[tokio::test]
async fn outage_of_the_site_is_told_to_the_log_once_in_a_while_with_a_piece_of_the_path() {
    let log = Log::capture();
    let (proxy, listener) = before_a_server().await;
    drop(listener);

    let endless = format!("/{}?token=OF-THE-VISITOR", "way/".repeat(1000));
    for path in [endless.as_str(), "/a?token=OF-THE-VISITOR", "/b", "/c", "/d"] {
        let mut browser = Wire::open(&proxy, "http/1.1").await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        browser.write(head).await;
        assert!(browser.read_to_end().await.starts_with(b"HTTP/1.1 502"));
    }

    let text = log.text();
    let of_the_site = text.lines().filter(|line| line.contains("web server cannot be reached"));
    let (told, untold): (Vec<&str>, Vec<&str>) =
        of_the_site.partition(|line| line.contains("WARN"));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("/way/way/") && told[0].contains("untold=0"), "{told:?}");
    assert!(told[0].len() < 500, "{told:?}");
    assert!(!text.contains("OF-THE-VISITOR"), "{text}");
    assert!(untold.len() == 4 && untold.iter().all(|line| line.contains("DEBUG")), "{untold:?}");
}

fn certificates(proxy: &Proxy) -> Vec<reqwest::Certificate> {
    reqwest::Certificate::from_pem_bundle(&fs::read(proxy.certificate()).unwrap()).unwrap()
}

/// Far above what all sockets on the way hold, and any memory that would be right for one upload.
const HUGE: usize = 300 << 20;
/// What the program may need for it: buffers of TLS and HTTP.
const MOST: usize = 32 << 20;
const BLOCK: usize = 256 << 10;
/// How long a write may take before it counts as one that is not taken.
const STUCK: Duration = Duration::from_secs(1);

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(120);

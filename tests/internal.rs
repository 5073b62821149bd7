//! The internal listener: what monitoring is told, and that browsers never reach it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use crate::support::gateway::Proxy;
use crate::support::http::ask_internal;
use crate::support::http::counted;
use crate::support::http::door;
use crate::support::http::open;
use crate::support::http::until_closed;

#[tokio::test]
async fn metrics_are_told_in_the_text_of_prometheus() {
    let proxy = before(&[], "listen = '127.0.0.1:0'").await;

    let _browser = open(&proxy, "http/1.1").await;
    counted(&proxy, "vestibule_connections", 1).await;
    let answer = ask_internal(&proxy, "GET /metrics HTTP/1.1").await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer}");
    assert!(
        answer.contains("\nvestibule_bounds_reached_total{bound=\"handshakes\"} 0\n"),
        "{answer}"
    );
    assert!(!answer.to_ascii_lowercase().contains("access-control"), "{answer}");
}

#[tokio::test]
async fn every_metric_is_documented() {
    let proxy = before(&[], "listen = '127.0.0.1:0'").await;
    let page = std::fs::read_to_string("docs/metrics.md").unwrap();

    let answer = ask_internal(&proxy, "GET /metrics HTTP/1.1").await;

    let names = answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let missing: Vec<&str> =
        names.clone().filter(|name| !page.contains(&format!("`{name}"))).collect();
    assert!(names.count() > 5);
    assert!(missing.is_empty(), "{missing:?}");
    let bounds =
        answer.lines().filter_map(|line| line.split("{bound=\"").nth(1)?.split('"').next());
    let missing: Vec<&str> = bounds.filter(|bound| !page.contains(&format!("`{bound}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test]
async fn every_bound_has_the_setting_that_is_documented_beside_it() {
    let proxy = before(&[], "listen = '127.0.0.1:0'").await;
    let page = std::fs::read_to_string("docs/metrics.md").unwrap();
    let settings = std::fs::read_to_string("proxy.toml").unwrap();
    let is_set = |setting: &str| {
        let (table, key) = setting.split_once("] ").unwrap();
        let (_, rest) = settings.split_once(&format!("\n[{table}]\n")).unwrap();
        let keys = rest.split("\n[").next().unwrap().lines();
        keys.into_iter().any(|line| line.starts_with(&format!("{key} = ")))
    };

    let answer = ask_internal(&proxy, "GET /metrics HTTP/1.1").await;

    let bounds =
        answer.lines().filter_map(|line| line.split("{bound=\"").nth(1)?.split('"').next());
    let rows: Vec<&str> = bounds
        .map(|bound| {
            let begin = format!("| `{bound}` | ");
            page.lines()
                .find_map(|line| line.strip_prefix(&begin))
                .unwrap_or_else(|| panic!("{bound}"))
        })
        .collect();
    assert!(rows.len() > 20);
    for row in rows {
        let setting = row.strip_prefix("`[").and_then(|row| row.split('`').next()).unwrap();
        assert!(is_set(setting), "{row}");
    }
}

#[tokio::test]
async fn it_is_healthy_as_long_as_it_serves_and_ready_while_every_server_can_be_reached() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let up = server.local_addr().unwrap();
    let down = nobody().await;
    let ready = before(&[up], "listen = '127.0.0.1:0'").await;
    let not_ready = before(&[up, down], "listen = '127.0.0.1:0'").await;

    let health = ask_internal(&not_ready, "GET /health HTTP/1.1").await;
    let is_ready = ask_internal(&ready, "GET /ready HTTP/1.1").await;
    let is_not = ask_internal(&not_ready, "GET /ready HTTP/1.1").await;

    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("\r\n\r\nok\n"), "{health}");
    assert!(is_ready.starts_with("HTTP/1.1 200"), "{is_ready}");
    assert!(is_not.starts_with("HTTP/1.1 503"), "{is_not}");
    assert!(is_not.ends_with(&format!("\r\n\r\n{down} cannot be reached\n")), "{is_not}");
}

#[tokio::test]
async fn while_it_goes_down_it_is_not_ready_and_says_so() {
    let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (asks, mut asked) = mpsc::channel(1);
    let at = site.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut peer, _) = site.accept().await.unwrap();
        peer.read_u8().await.unwrap();
        asks.send(peer).await.unwrap();
    });
    let mut proxy = door("", "", Some(at)).await;
    let mut browser = open(&proxy, "http/1.1").await;
    browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    // It will not leave before it is answered.
    let mut held = asked.recv().await.unwrap();

    proxy.begin_stop();
    let told = loop {
        let told = ask_internal(&proxy, "GET /ready HTTP/1.1").await;
        if told.ends_with("going down\n") {
            break told;
        }
    };
    held.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    until_closed(browser).await;
    proxy.stop().await;

    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
}

#[tokio::test]
async fn it_answers_when_the_places_of_browsers_are_taken() {
    let proxy = door("", "connections = 1", None).await;
    let _browser = open(&proxy, "http/1.1").await;
    let _waits = TcpStream::connect(proxy.address()).await.unwrap();

    let answer = ask_internal(&proxy, "GET /health HTTP/1.1").await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn other_methods_and_paths_are_refused_and_pages_of_browsers_too() {
    let proxy = before(&[], "listen = '127.0.0.1:0'").await;

    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0", "405"),
        ("DELETE /health HTTP/1.1", "405"),
        ("GET / HTTP/1.1", "404"),
        ("GET /http-bind HTTP/1.1", "404"),
        ("GET /metrics/ HTTP/1.1", "404"),
        ("GET /metrics HTTP/1.1\r\nOrigin: http://127.0.0.1:9464", "403"),
        ("HEAD /metrics HTTP/1.1", "200"),
    ] {
        let answer = ask_internal(&proxy, request).await;

        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
}

#[tokio::test]
async fn secret_must_be_shown_where_there_is_one() {
    let proxy = before(&[], "listen = '127.0.0.1:0'\nsecret = 'hunter2'").await;

    for (shown, status) in [
        ("", "401"),
        ("\r\nAuthorization: Bearer hunter3", "401"),
        ("\r\nAuthorization: Bearer ", "401"),
        ("\r\nAuthorization: Basic hunter2", "401"),
        ("\r\nAuthorization: Bearer hunter2", "200"),
        ("\r\nauthorization: bearer hunter2", "200"),
    ] {
        let answer = ask_internal(&proxy, &format!("GET /metrics HTTP/1.1{shown}")).await;

        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}: {answer}");
        assert_eq!(answer.contains("vestibule_"), status == "200");
    }
}

#[tokio::test]
async fn without_a_secret_it_has_no_name_but_localhost() {
    let open = before(&[], "listen = '127.0.0.1:0'").await;
    let closed = before(&[], "listen = '127.0.0.1:0'\nsecret = 'hunter2'").await;

    for (host, status) in [
        ("127.0.0.1:9464", "200"),
        ("[::1]:9464", "200"),
        ("LocalHost:9464", "200"),
        ("rebound.example:9464", "421"),
        ("127.0.0.1.example", "421"),
        ("localhost.example", "421"),
        ("", "421"),
        ("localhost\r\nHost: rebound.example", "421"),
    ] {
        let answer = ask_internal(&open, &format!("GET /metrics HTTP/1.1\r\nHost: {host}")).await;

        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
        assert_eq!(answer.contains("vestibule_"), status == "200");
    }
    let named = "GET /metrics HTTP/1.1\r\nHost: edge.example\r\nAuthorization: Bearer hunter2";
    let answer = ask_internal(&closed, named).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn who_asks_nothing_keeps_nobody_from_asking() {
    let proxy = door("", "header = '200ms'", None).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(proxy.internal()).await.unwrap());
    }

    let answer = ask_internal(&proxy, "GET /health HTTP/1.1").await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn off_loopback_it_speaks_tls_alone() {
    let proxy = before(&[], "listen = '0.0.0.0:0'\nsecret = 'hunter2'").await;
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hunter2\r\nConnection: close\r\n\r\n";

    let in_the_clear =
        ask_internal(&proxy, "GET /health HTTP/1.1\r\nAuthorization: Bearer hunter2").await;
    let tcp = TcpStream::connect(proxy.internal()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut tls = TlsConnector::from(proxy.tls("http/1.1")).connect(name, tcp).await.unwrap();
    tls.write_all(request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(until_closed(tls).await).unwrap();

    assert!(!in_the_clear.contains("ok"), "{in_the_clear}");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
}

#[tokio::test]
async fn browsers_do_not_reach_it() {
    let proxy = before(&[], "listen = '127.0.0.1:0'").await;

    for path in ["/metrics", "/health", "/ready", "/sessions/revoke"] {
        let mut browser = open(&proxy, "http/1.1").await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        browser.write_all(request.as_bytes()).await.unwrap();
        let answer = String::from_utf8(until_closed(browser).await).unwrap();

        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

/// Sites whose guests are at these servers, and an internal listener as it says.
async fn before(servers: &[SocketAddr], internal: &str) -> Proxy {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let first = ("localhost".to_owned(), servers.first().unwrap_or(&nowhere));
    let more = servers.iter().enumerate().skip(1).map(|(nth, at)| (format!("site-{nth}.test"), at));
    let sites = [first].into_iter().chain(more).map(|(host, server)| {
        format!(
            "[[site]]\nhosts = ['{host}']\n\
             [site.guests]\ndomain = 'guest.{host}'\nupstream = '{server}'\nsecret = 'a secret of the tests'\n"
        )
    });
    Proxy::with(&format!("[internal]\n{internal}\n{}", sites.collect::<String>())).await
}

/// An address at which nobody answers.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

//! Browsers that want to speak something else than HTTP.

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use socket2::SockRef;
use tokio::net::UnixStream;
use tokio::time::advance;
use tokio::time::pause;

use super::*;
use crate::browser::Browser;
use crate::browser::Line;
use crate::browser::Patience;
use crate::metrics::Metrics;

fn asking_for(protocols: &[&'static str]) -> Request<Full<Bytes>> {
    let mut request = request(Method::GET, "a=1");
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade, HTTP2-Settings"));
    headers.insert("http2-settings", HeaderValue::from_static("AAMAAABkAAQCAAAAAAIAAAAA"));
    for protocol in protocols {
        headers.append(header::UPGRADE, HeaderValue::from_static(protocol));
    }
    request
}

#[tokio::test]
async fn websocket_is_asked_for_in_any_case() {
    let server = Server::start().await;
    let request = asking_for(&["WebSocket"]);
    let answering = answer(&backend(&visitors()), &server.site(true), request);

    let mut asked = server.asked("\r\n\r\n").await;

    let headers = asked.headers();
    assert!(headers.contains(&"connection: upgrade".to_owned()), "{headers:?}");
    assert!(headers.contains(&"upgrade: websocket".to_owned()), "{headers:?}");
    assert!(!asked.text.contains("http2-settings"), "{}", asked.text);
    asked.say(OK).await;
    assert_eq!(answering.await.unwrap().unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn request_for_anything_but_websocket_goes_on_without_its_upgrade() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));

    for protocols in
        [&["h2c"][..], &["websocket, h2c"], &["websocket", "h2c"], &["websocket/13"], &[""], &[]]
    {
        let answering = answer(&backend, &site, asking_for(protocols));
        let mut asked = server.asked("\r\n\r\n").await;

        for gone in ["upgrade", "connection", "http2-settings"] {
            assert!(!asked.text.contains(gone), "{protocols:?}: {}", asked.text);
        }
        asked.say(OK).await;
        assert_eq!(text(answering.await.unwrap().unwrap()).await, "ok");
    }
}

#[tokio::test]
async fn server_that_switches_to_what_nobody_asked_for_is_a_bad_gateway() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));

    for (request, protocol) in [(asking_for(&["websocket"]), "h2c"), (asking_for(&[]), "websocket")]
    {
        let answering = answer(&backend, &site, request);
        let mut asked = server.asked("\r\n\r\n").await;
        asked.say(&switching(protocol)).await;

        assert_eq!(answering.await.unwrap().unwrap_err(), Refusal::BadGateway, "{protocol}");
    }
}

#[tokio::test]
async fn upgrade_that_the_browser_does_not_complete_is_given_up() {
    let server = Server::start().await;
    let tasks = TaskTracker::new();
    let backend = Backend { tasks: tasks.clone(), ..backend(&visitors()) };
    let (request, _browser) = never_answered().await;
    let answering = answer(&backend, &server.site(true), request);
    server.asked("\r\n\r\n").await.say(&switching("websocket")).await;
    let response = answering.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()[header::UPGRADE], "websocket");
    tasks.close();

    tokio::time::pause();

    assert!(tokio::time::timeout(PATIENCE, tasks.wait()).await.is_ok());
}

#[tokio::test]
async fn websocket_of_the_site_stays_though_its_browser_is_slower_than_an_answer_may_be_read() {
    let (server, metrics) = (Server::start().await, Arc::new(Metrics::new()));
    let mut browser = slow_browser(&server, &metrics);
    let head = "GET /socket HTTP/1.1\r\nHost: www.example.org\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    // What it says at once behind its request is not lost.
    browser.write_all(format!("{head}hello").as_bytes()).await.unwrap();
    let mut asked = server.asked("\r\n\r\n").await;
    asked.say(&switching("websocket")).await;
    asked.read_to("hello").await;
    asked.say(&"x".repeat(512 * 1024)).await;

    // A quiet phone with a bad line: all that there is, every 25 s, which is less than 512 bytes a second.
    let (mut some, mut all) = ([0; 16 * 1024], 0);
    all += browser.read(&mut some).await.unwrap();
    pause();
    for _ in 0..40 {
        seconds(25).await;
        all += browser.read(&mut some).await.unwrap();
    }
    let too_slow = 512 * 25 * 40;

    assert!(all < too_slow, "{all} bytes");
    assert!(metrics.text().contains("{bound=\"write_time\"} 0"), "{all} bytes");
    // Whoever takes nothing at all is gone all the same.
    seconds(60).await;
    assert!(metrics.text().contains("{bound=\"write_time\"} 1"));
}

/// Lets time pass bit by bit, so that whoever waits for a moment sees it.
async fn seconds(count: u32) {
    for _ in 0..count {
        advance(Duration::from_secs(1)).await;
    }
}

/// A browser on a line that holds a few kilobytes, before an edge that brings its requests to `server`.
fn slow_browser(server: &Server, metrics: &Arc<Metrics>) -> UnixStream {
    let (browser, edge) = UnixStream::pair().unwrap();
    SockRef::from(&edge).set_send_buffer_size(1).unwrap();
    let patience = Patience::new(Duration::from_secs(30), metrics.clone());
    let edge = Browser::new(Line::Unix(edge), Arc::new(patience));
    let (backend, site) = (backend(&visitors()), server.site(true));
    tokio::spawn(async move {
        let service = service_fn(move |request| {
            let answering = answer(&backend, &site, request);
            async move { answering.await.unwrap() }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(edge), service);
        drop(connection.with_upgrades().await);
    });
    browser
}

fn switching(protocol: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    )
}

/// A browser's request whose 101 it never gets, and the connection that it waits on.
async fn never_answered() -> (Request<body::Incoming>, (JoinHandle<()>, tokio::io::DuplexStream)) {
    let (mut browser, edge) = tokio::io::duplex(1024);
    let (sender, mut requests) = mpsc::channel(1);
    let serving = tokio::spawn(async move {
        let service = service_fn(move |request| {
            let sender = sender.clone();
            async move {
                sender.send(request).await.unwrap();
                std::future::pending::<Result<Response<Body>, Refusal>>().await
            }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(edge), service);
        drop(connection.with_upgrades().await);
    });
    let head = "GET /socket HTTP/1.1\r\nHost: www.example.org\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    browser.write_all(head.as_bytes()).await.unwrap();
    (requests.recv().await.unwrap(), (serving, browser))
}

//! Who is waited for, and for how long; in virtual time once the connections are there.

use std::future::poll_fn;

use tokio::io::DuplexStream;
use tokio::time::Instant;
use tokio::time::advance;
use tokio::time::pause;

use super::*;
use crate::endpoint::backend::upgrade::relay;

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";

/// A body that is never ready before the test has written to it.
fn written_by_the_test() -> (mpsc::Sender<Bytes>, Body) {
    let (writer, pieces) = mpsc::channel(1);
    (writer, Pieces(pieces).map_err(|never| match never {}).boxed_unsync())
}

/// How long a body that brings so many bytes whenever so much time has passed is listened to; no longer than an hour.
async fn endures(
    mut body: Paced,
    writer: mpsc::Sender<Bytes>,
    bytes: usize,
    every: Duration,
) -> Duration {
    pause();
    let began = Instant::now();
    let writing = tokio::spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            if writer.send(vec![b'x'; bytes].into()).await.is_err() {
                return;
            }
        }
    });
    while began.elapsed() < Duration::from_secs(3600)
        && let Some(Ok(_)) = body.frame().await
    {}
    writing.abort();
    began.elapsed()
}

#[tokio::test]
async fn upload_may_pause_and_be_slow_but_not_both_for_long() {
    let limit = Duration::from_secs(30);
    for (bytes, every, lives) in [
        (16 * 1024, 29, true),
        (513, 1, true),
        (1, 1, false),
        (100, 10, false),
        (1 << 20, 31, false),
    ] {
        let (writer, body) = written_by_the_test();

        let lived =
            endures(Paced::upload(body, limit), writer, bytes, Duration::from_secs(every)).await;

        assert_eq!(lived >= Duration::from_secs(3600), lives, "{bytes} in {every} s: {lived:?}");
        assert!(lives || lived <= 2 * limit, "{bytes} in {every} s: {lived:?}");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn answer_may_trickle_as_long_as_it_likes() {
    let (writer, body) = written_by_the_test();

    let body = Paced::answer(body, Duration::from_secs(30));

    assert!(endures(body, writer, 1, Duration::from_secs(29)).await >= Duration::from_secs(3600));
}

#[tokio::test]
async fn time_in_which_nobody_asks_for_a_body_does_not_count() {
    let (writer, body) = written_by_the_test();
    let mut body = Paced::upload(body, Duration::from_secs(30));
    pause();

    writer.send(Bytes::from_static(b"x")).await.unwrap();
    body.frame().await.unwrap().unwrap();
    advance(Duration::from_secs(600)).await;

    // Asked for again, the browser has its time from now on.
    let mut frame = body.frame();
    poll_fn(|context| {
        assert!(Pin::new(&mut frame).poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    writer.send(Bytes::from_static(b"y")).await.unwrap();
    assert!(frame.await.unwrap().is_ok());
}

#[tokio::test]
async fn browser_that_stops_in_its_upload_is_told_so_and_the_server_sees_no_end() {
    let server = Server::start().await;
    let (upload, pieces) = mpsc::channel(1);
    let request = request(Method::POST, "a=1").map(|_| Pieces(pieces));
    let answering = answer(&backend(&visitors()), &server.site(true), request);
    upload.send(Bytes::from_static(b"first")).await.unwrap();
    let mut asked = server.asked("5\r\nfirst\r\n").await;

    pause();

    let refusal = Refusal::BadRequest("the upload did not come to its end");
    assert_eq!(answering.await.unwrap().unwrap_err(), refusal);
    let mut rest = String::new();
    asked.stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "", "chunks end with an empty one");
}

#[tokio::test]
async fn answer_is_waited_for_from_the_end_of_a_long_upload() {
    let server = Server::start().await;
    let (upload, pieces) = mpsc::channel(1);
    let request = request(Method::POST, "a=1").map(|_| Pieces(pieces));
    let answering = answer(&backend(&visitors()), &server.site(true), request);
    upload.send(Bytes::from_static(b"first")).await.unwrap();
    let mut asked = server.asked("5\r\nfirst\r\n").await;

    // Longer than the wait for an answer, by pieces that each come in time.
    pause();
    for _ in 0..20 {
        advance(Duration::from_secs(20)).await;
        upload.send(vec![b'x'; 16 * 1024].into()).await.unwrap();
        asked.read_to("xxxx\r\n").await;
    }
    drop(upload);
    asked.read_to("0\r\n\r\n").await;
    advance(Duration::from_secs(290)).await;
    asked.say(OK).await;

    assert_eq!(text(answering.await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn stream_of_events_lives_through_long_pauses_and_breaks_after_the_longest() {
    let server = Server::start().await;
    let answering = answer(&backend(&visitors()), &server.site(true), request(Method::GET, "a=1"));
    let mut asked = server.asked("\r\n\r\n").await;
    asked.say(EVENTS).await;
    let mut body = answering.await.unwrap().unwrap().into_body();
    body.frame().await.unwrap().unwrap();

    pause();
    advance(Duration::from_secs(50 * 60)).await;
    asked.say("3\r\ntwo\r\n").await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");

    // Nothing else is due, so time runs on to the end of the wait.
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn websocket_of_the_site_ends_when_both_sides_are_silent() {
    let idle = Duration::from_secs(60);
    let (mut browser, of_the_browser) = tokio::io::duplex(64);
    let (mut server, of_the_server): (DuplexStream, DuplexStream) = tokio::io::duplex(64);
    pause();
    let began = Instant::now();
    let relaying = tokio::spawn(relay(of_the_browser, of_the_server, idle));

    for _ in 0..5 {
        advance(Duration::from_secs(50)).await;
        server.write_all(b"ping").await.unwrap();
        let mut ping = [0; 4];
        browser.read_exact(&mut ping).await.unwrap();
    }
    relaying.await.unwrap();

    assert_eq!(began.elapsed().as_secs(), 5 * 50 + 60);
}

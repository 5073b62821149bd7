//! Who is waited for, and for how long; in virtual time once the connections are there.

use tokio::time::Instant;
use tokio::time::advance;
use tokio::time::pause;

use super::*;
use crate::endpoint::backend::upgrade::relay;

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";

#[tokio::test]
async fn upload_that_fails_is_told_so_and_the_server_sees_no_end() {
    let server = Server::start().await;
    let (upload, pieces) = mpsc::channel(1);
    let failing = Fails(Pieces(pieces).map_err(|never| match never {}).boxed_unsync());
    let request = request(Method::POST, "a=1").map(|_| failing);
    let answering = answer(&backend(&visitors()), &server.site(true), request);
    upload.send(Bytes::from_static(b"first")).await.unwrap();
    let mut asked = server.asked("5\r\nfirst\r\n").await;

    drop(upload);

    let refusal = Refusal::BadRequest("the upload did not come to its end");
    assert_eq!(answering.await.unwrap().unwrap_err(), refusal);
    let mut rest = String::new();
    asked.stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "", "chunks end with an empty one");
}

/// A body that breaks off where the other ends.
struct Fails(Body);

impl body::Body for Fails {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.0).poll_frame(context);
        frame.map(|frame| frame.or_else(|| Some(Err("it broke off".into()))))
    }
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
    let began = Instant::now();
    advance(Duration::from_secs(50 * 60)).await;
    asked.say("3\r\ntwo\r\n").await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");

    // Nothing else is due, so time runs on to the end of the wait.
    assert!(body.frame().await.unwrap().is_err());
    assert_eq!(began.elapsed().as_secs(), (50 + 60) * 60);
}

#[tokio::test]
async fn websocket_of_the_site_ends_when_both_sides_are_silent() {
    let idle = Duration::from_secs(60);
    let (mut browser, of_the_browser) = tokio::io::duplex(64);
    let (mut server, of_the_server) = tokio::io::duplex(64);
    pause();
    let began = Instant::now();
    let relaying = tokio::spawn(relay((of_the_browser, Bytes::new()), of_the_server, idle));

    for _ in 0..5 {
        advance(Duration::from_secs(50)).await;
        server.write_all(b"ping").await.unwrap();
        let mut ping = [0; 4];
        browser.read_exact(&mut ping).await.unwrap();
    }
    relaying.await.unwrap();

    assert_eq!(began.elapsed().as_secs(), 5 * 50 + 60);
}

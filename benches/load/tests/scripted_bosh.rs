//! The scripted server's BOSH, as a gateway that passes bytes meets it.

#![allow(missing_docs, reason = "a test")]

use std::net::SocketAddr;
use std::time::Duration;

use load::sink;
use load::sink::Door;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::timeout;

const MESSAGE: &str =
    "<message xmlns='jabber:client' to='a@localhost/web'><body>hello</body></message>";

/// Far more than it ever takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(sink::serve(listener, Door::Bosh));
    address
}

/// Sends a request on a connection of its own, as a gateway may.
async fn ask(server: SocketAddr, body: &str) -> TcpStream {
    let mut connection = TcpStream::connect(server).await.unwrap();
    let length = body.len();
    let request =
        format!("POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    connection.write_all(format!("{request}{body}").as_bytes()).await.unwrap();
    connection
}

/// The answer, which is whole with its body's end.
async fn answer(mut connection: TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"</body>") {
        let read = timeout(PATIENCE, connection.read_buf(&mut text)).await.expect("an answer");
        assert_ne!(read.unwrap(), 0, "it was closed");
    }
    String::from_utf8(text).unwrap()
}

async fn begun(server: SocketAddr) -> String {
    let text = answer(ask(server, "<body rid='1' to='localhost' wait='60' hold='1'/>").await).await;
    let (_, rest) = text.split_once(" sid='").expect("a session has a name");
    rest.split_once('\'').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_request_is_held_until_the_next_one_has_an_echo_for_it() {
    let server = server().await;
    let sid = begun(server).await;

    let held = ask(server, &format!("<body rid='2' sid='{sid}'></body>")).await;
    let next = ask(server, &format!("<body rid='3' sid='{sid}'>{MESSAGE}</body>")).await;

    assert!(answer(held).await.contains(MESSAGE));
    let last = ask(server, &format!("<body rid='4' sid='{sid}'></body>")).await;
    let empty = answer(next).await;
    assert!(empty.ends_with("></body>"), "{empty}");
    drop(last);
}

#[tokio::test]
async fn a_request_that_comes_before_an_earlier_one_waits_for_it() {
    let server = server().await;
    let sid = begun(server).await;

    let later = ask(server, &format!("<body rid='3' sid='{sid}'>{MESSAGE}</body>")).await;
    // Whichever of the two is read first.
    let earlier = ask(server, &format!("<body rid='2' sid='{sid}'></body>")).await;

    assert!(answer(earlier).await.contains(MESSAGE));
    drop(later);
}

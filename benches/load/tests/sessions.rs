//! The load generator before a gateway in this process, with the scripted server behind it.

#![allow(missing_docs, reason = "a test")]

mod support;

use std::fs;
use std::time::Duration;
use std::time::Instant;

use load::phase::Phase;
use load::session::Transport;
use load::sink;
use load::sink::Door;
use load::visitors::Visitors;
use tempfile::TempDir;
use tokio::net::TcpListener;
use vestibule::config::Config;
use vestibule::gateway::Gateway;

use crate::support::crowd;
use crate::support::members;
use crate::support::site;

/// A gateway that runs as long as the test does; with its folder and its port.
async fn gateway() -> (TempDir, u16) {
    let (folder, port) = site().await;
    let config = Config::load(&folder.path().join("proxy.toml")).unwrap();
    let gateway = Gateway::bind(config).await.unwrap();
    tokio::spawn(gateway.run(std::future::pending()));
    (folder, port)
}

/// What every load does, in small.
async fn works(visitors: Visitors, transport: Transport) {
    let (folder, port) = gateway().await;
    let mut crowd = crowd(folder.path(), port, visitors, transport).await;

    let come = crowd.connect(8, 4).await.unwrap();

    assert_eq!(come.lost, None);
    assert_eq!(come.latencies.unwrap().count, 8);
    let lasts = Duration::from_millis(200);
    for phase in [
        Phase::Idle(lasts),
        Phase::Messages { lasts, size: 200, window: 1 },
        Phase::Messages { lasts, size: 2048, window: 16 },
        Phase::Paced { lasts, size: 200, rate: 100.0 },
    ] {
        let done = crowd.run(&phase).await.unwrap();
        assert_eq!(done.lost, None, "{phase}");
        let back = done.latencies.map_or(0, |latencies| latencies.count);
        assert_eq!(done.sent.unwrap_or_default(), back, "{phase}");
        match phase {
            Phase::Idle(_) => assert_eq!(back, 0),
            Phase::Paced { .. } => assert_eq!(back, 20, "each message comes back once"),
            _ => assert!(back >= 8, "{phase}: {back}"),
        }
    }
    let stormed = crowd.run(&Phase::Storm).await.unwrap();
    assert_eq!((stormed.lost, crowd.sessions.len()), (None, 8));
}

#[tokio::test]
async fn members_come_talk_and_come_back_by_websocket() {
    works(members(), Transport::Websocket).await;
}

#[tokio::test]
async fn members_come_talk_and_come_back_by_websocket_over_http_2() {
    works(members(), Transport::WebsocketHttp2).await;
}

#[tokio::test]
async fn five_come_talk_and_come_back_on_one_connection_of_http_2() {
    let (folder, port) = gateway().await;
    let transport = Transport::WebsocketHttp2;
    let mut crowd = crowd(folder.path(), port, members(), transport).await;
    crowd.target = crowd.target.with_sockets(5);

    let come = crowd.connect(10, 4).await.unwrap();
    let talk = Phase::Messages { lasts: Duration::from_millis(200), size: 200, window: 4 };
    let talked = crowd.run(&talk).await.unwrap();

    assert_eq!((come.lost, talked.lost), (None, None));
    assert_eq!(talked.sent.unwrap(), talked.latencies.unwrap().count);
}

#[tokio::test]
async fn members_come_talk_and_come_back_by_bosh() {
    works(members(), Transport::Bosh).await;
}

#[tokio::test]
async fn members_come_talk_and_come_back_by_prebind() {
    works(members(), Transport::Prebind).await;
}

#[tokio::test]
async fn guests_come_talk_and_come_back_by_websocket() {
    works(Visitors::Guests, Transport::Websocket).await;
}

#[tokio::test]
async fn guests_come_talk_and_come_back_by_bosh() {
    works(Visitors::Guests, Transport::Bosh).await;
}

#[tokio::test]
async fn who_is_in_stays_in_however_long_the_others_take() {
    let (folder, port) = site().await;
    let file = folder.path().join("proxy.toml");
    let config = fs::read_to_string(&file).unwrap() + "\n[websocket]\nping = '200ms'\n";
    fs::write(&file, config).unwrap();
    let gateway = Gateway::bind(Config::load(&file).unwrap()).await.unwrap();
    tokio::spawn(gateway.run(std::future::pending()));
    let mut crowd = crowd(folder.path(), port, members(), Transport::Websocket).await;

    // One by one that takes longer than a browser may be silent.
    assert_eq!(crowd.connect(400, 1).await.unwrap().lost, None);

    let said = Phase::Messages { lasts: Duration::ZERO, size: 200, window: 1 };
    assert_eq!(crowd.run(&said).await.unwrap().lost, None);
}

#[tokio::test]
async fn who_says_nothing_for_a_whole_phase_is_there_to_its_end() {
    let (folder, port) = gateway().await;
    let mut crowd = crowd(folder.path(), port, members(), Transport::Websocket).await;
    crowd.connect(8, 4).await.unwrap();
    let begun = Instant::now();
    let lasts = Duration::from_millis(500);

    // The second of them would begin a second later.
    let said = crowd.run(&Phase::Paced { lasts, size: 200, rate: 1.0 }).await.unwrap();

    assert_eq!((said.sent, said.lost), (Some(1), None));
    assert!(begun.elapsed() >= lasts);
}

#[tokio::test]
async fn sessions_come_from_the_address_that_is_said() {
    let (folder, port) = gateway().await;
    let mut crowd = crowd(folder.path(), port, members(), Transport::Websocket).await;
    let gateway = crowd.target.address;

    crowd.target = crowd.target.coming_from([127, 0, 0, 9].into()).await.unwrap();
    let socket = crowd.target.connect().await.unwrap();

    assert_eq!(crowd.target.address, gateway);
    assert_eq!(socket.get_ref().0.local_addr().unwrap().ip().to_string(), "127.0.0.9");
}

#[tokio::test]
async fn visitors_with_tickets_talk_to_the_server_itself() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(sink::serve(server, Door::Client));
    let (folder, port) = site().await;
    let visitors = Visitors::ticketed(b"a secret that nobody looks at");
    let mut crowd = crowd(folder.path(), port, visitors, Transport::Client).await;
    crowd.target.address = address;

    let come = crowd.connect(8, 4).await.unwrap();

    assert_eq!(come.lost, None);
    assert!(crowd.sessions.iter().any(|session| session.jid == "load-7@localhost/web"));
    let phase = Phase::Messages { lasts: Duration::from_millis(200), size: 200, window: 4 };
    let done = crowd.run(&phase).await.unwrap();
    assert_eq!(done.lost, None);
    assert!(done.latencies.unwrap().count >= 32);
}

#[tokio::test]
async fn whoever_is_not_let_in_is_counted_and_the_reason_told() {
    let (folder, port) = gateway().await;
    let mut crowd = crowd(folder.path(), port, members(), Transport::Websocket).await;
    crowd.target.origin = "https://elsewhere.example".to_owned();

    let come = crowd.connect(3, 3).await.unwrap();

    let (lost, why) = come.lost.unwrap();
    assert_eq!(lost, 3);
    assert!(why.contains("403") || why.contains("421"), "{why}");
}

#[test]
fn phases_are_read_as_the_help_has_them() {
    let lasts = Duration::from_secs(10);
    let read = |text: &str| text.parse::<Phase>();

    assert_eq!(read("idle=10s").unwrap(), Phase::Idle(lasts));
    assert_eq!(read("messages=10s").unwrap(), Phase::Messages { lasts, size: 200, window: 1 });
    assert_eq!(
        read("messages=10s,2048B,x16").unwrap(),
        Phase::Messages { lasts, size: 2048, window: 16 }
    );
    assert_eq!(
        read("paced=10s,200B,2000/s").unwrap(),
        Phase::Paced { lasts, size: 200, rate: 2000.0 }
    );
    assert_eq!(read("storm").unwrap(), Phase::Storm);
    for wrong in ["", "nap=10s", "idle", "idle=ten", "messages=10s,many", "room=10s,200B,5/s"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

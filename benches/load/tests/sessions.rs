//! The load generator before a gateway in this process, with the scripted server behind it.

#![allow(missing_docs, reason = "a test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use load::phase::Crowd;
use load::phase::Phase;
use load::session::Transport;
use load::sink;
use load::sink::Door;
use load::target::Target;
use load::target::Tickets;
use load::visitors::Visitors;
use tempfile::TempDir;
use tokio::net::TcpListener;
use vestibule::config::Config;
use vestibule::gateway::Gateway;

const SECRET: &str = "a secret of these tests alone, 0123456789";

/// A gateway that runs as long as the folder is there; with its port.
async fn gateway() -> (TempDir, u16) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = upstream.local_addr().unwrap().port();
    tokio::spawn(sink::serve(upstream, Door::Client));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path.join("certificate.pem"), made.cert.pem()).unwrap();
    fs::write(path.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    for secret in ["ticket.secret", "jwt.secret"] {
        fs::write(path.join(secret), SECRET).unwrap();
    }
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let config = include_str!("../peers/proxy.toml")
        .replace("@PORT@", &port.to_string())
        .replace("@CLIENT@", &client.to_string())
        .replace("@FOLDER@", &path.display().to_string());
    fs::write(path.join("proxy.toml"), config).unwrap();
    let config = Config::load(&path.join("proxy.toml")).unwrap();
    let gateway = Gateway::bind(config).await.unwrap();
    tokio::spawn(gateway.run(std::future::pending()));
    (folder, port)
}

async fn crowd(folder: &Path, port: u16, visitors: Visitors, transport: Transport) -> Crowd {
    let url = format!("https://localhost:{port}");
    let authority = folder.join("certificate.pem");
    let mut target =
        Target::find(&url, "localhost", Some(&authority), Tickets::Kept).await.unwrap();
    target.address = ([127, 0, 0, 1], port).into();
    let progress = Arc::new(AtomicU64::new(0));
    Crowd { target, visitors, transport, at_once: 4, sessions: Vec::new(), progress }
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
    works(Visitors::signed("session", SECRET.as_bytes()), Transport::Websocket).await;
}

#[tokio::test]
async fn members_come_talk_and_come_back_by_bosh() {
    works(Visitors::signed("session", SECRET.as_bytes()), Transport::Bosh).await;
}

#[tokio::test]
async fn members_come_talk_and_come_back_by_prebind() {
    works(Visitors::signed("session", SECRET.as_bytes()), Transport::Prebind).await;
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
async fn whoever_is_not_let_in_is_counted_and_the_reason_told() {
    let (folder, port) = gateway().await;
    let visitors = Visitors::signed("session", SECRET.as_bytes());
    let mut crowd = crowd(folder.path(), port, visitors, Transport::Websocket).await;
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

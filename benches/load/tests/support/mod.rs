//! A site whose XMPP server is the scripted one, and its visitors.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use load::phase::Crowd;
use load::session::Transport;
use load::sink;
use load::sink::Door;
use load::target::Target;
use load::target::Tickets;
use load::visitors::Visitors;
use tempfile::TempDir;
use tokio::net::TcpListener;

const SECRET: &str = "a secret of these tests alone, 0123456789";

/// The folder of a gateway's configuration, `proxy.toml`, and the port that it is to listen on.
pub(crate) async fn site() -> (TempDir, u16) {
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
    let config = include_str!("../../peers/proxy.toml")
        .replace("@PORT@", &port.to_string())
        .replace("@CLIENT@", &client.to_string())
        .replace("@FOLDER@", &path.display().to_string());
    fs::write(path.join("proxy.toml"), config).unwrap();
    (folder, port)
}

/// Members of the site.
pub(crate) fn members() -> Visitors {
    Visitors::signed("session", SECRET.as_bytes())
}

/// Visitors of the gateway at this port, none of whom is in yet.
pub(crate) async fn crowd(
    folder: &Path,
    port: u16,
    visitors: Visitors,
    transport: Transport,
) -> Crowd {
    let url = format!("https://localhost:{port}");
    let authority = folder.join("certificate.pem");
    let mut target =
        Target::find(&url, "localhost", Some(&authority), Tickets::Kept).await.unwrap();
    target.address = ([127, 0, 0, 1], port).into();
    let progress = Arc::new(AtomicU64::new(0));
    Crowd { target, visitors, transport, at_once: 4, sessions: Vec::new(), progress }
}

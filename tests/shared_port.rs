//! Several processes on one port, as an administrator runs them: where that is wanted, and where it is a mistake.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::session_cookie;
use crate::support::gateway::trusting;
use crate::support::program::Program;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::websocket::Socket;

#[tokio::test]
async fn processes_that_share_a_port_all_serve_and_when_one_ends_the_other_serves_on() {
    let certificate = Certificate::new();
    let upstreams = [Server::start(Script::Good).await, Server::start(Script::Good).await];
    let port = "127.0.0.1:0".parse().unwrap();
    let first = certificate.run(&config(port, SHARED, upstreams[0].address())).await;
    let at = first.address();
    let second = certificate.run(&config(at, SHARED, upstreams[1].address())).await;
    let tls = trusting(&first.path("a.pem"), "http/1.1");

    // By then each has had its turn, or the kernel deals all of them to one.
    let mut browsers = Vec::new();
    for _ in 0..40 {
        browsers.push(browser(at, tls.clone()).await);
    }
    let served = upstreams.each_ref().map(|upstream| upstream.seen().signed_in);
    second.kill().await;
    for _ in 0..10 {
        browser(at, tls.clone()).await;
    }

    assert!(served.iter().all(|served| *served > 0), "{served:?}");
    assert_eq!(served.iter().sum::<usize>(), 40);
    assert_eq!(upstreams[0].seen().signed_in, served[0] + 10);
}

#[tokio::test]
async fn a_second_process_on_a_port_fails_unless_both_say_that_it_is_shared() {
    let certificate = Certificate::new();
    let upstream = Server::start(Script::Good).await.address();
    for (first, second) in [(OWN, OWN), (OWN, SHARED), (SHARED, OWN)] {
        let port = "127.0.0.1:0".parse().unwrap();
        let running = certificate.run(&config(port, first, upstream)).await;
        let at = running.address();

        let told = certificate.fails(&config(at, second, upstream)).await;

        let expected = format!("cannot listen on {at}, of [listen] https: Address already in use");
        assert!(told.contains(&expected), "{first:?} and {second:?}: {told}");
    }
}

#[tokio::test]
async fn monitoring_asks_one_process_also_where_the_others_share_its_port_for_browsers() {
    let certificate = Certificate::new();
    let upstream = Server::start(Script::Good).await.address();
    let config = |at: SocketAddr, internal: &str| {
        config(at, SHARED, upstream) + &format!("[internal]\nlisten = '{internal}'\n")
    };
    let mut first = certificate.run(&config("127.0.0.1:0".parse().unwrap(), "127.0.0.1:0")).await;
    let monitored = first.says("listening for monitoring").await;
    let (_, internal) = monitored["address"].as_str().unwrap().split_once("://").unwrap();

    let told = certificate.fails(&config(first.address(), internal)).await;

    assert!(told.contains(&format!("cannot listen on {internal}, of [internal] listen")), "{told}");
}

/// The one certificate of all processes, with its key.
struct Certificate {
    chain: String,
    key: String,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn write_to(&self, folder: &Path) {
        fs::write(folder.join("a.pem"), &self.chain).unwrap();
        fs::write(folder.join("a.key"), &self.key).unwrap();
    }

    async fn run(&self, config: &str) -> Program {
        Program::run(config, |folder| self.write_to(folder.path())).await
    }

    /// What is said by a process that cannot run.
    async fn fails(&self, config: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        self.write_to(folder.path());
        fs::write(folder.path().join("proxy.toml"), config).unwrap();
        let ending = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .current_dir(folder.path())
            .arg("run")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ended = timeout(PATIENCE, ending).await.unwrap().unwrap();
        assert_eq!(ended.status.code(), Some(78));
        String::from_utf8(ended.stderr).unwrap()
    }
}

fn config(at: SocketAddr, shared: &str, upstream: SocketAddr) -> String {
    format!(
        "[listen]\nhttps = ['{at}']\n{shared}\n[log]\nformat = 'json'\n\
         [tls]\ncertificate = 'a.pem'\nkey = 'a.key'\n\
         [[site]]\nhosts = ['localhost']\nwithout_session = 'refuse'\n\
         [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{upstream}'\nsecret = 'a secret of the tests'\n\
         [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n"
    )
}

/// A member who is in.
async fn browser(at: SocketAddr, tls: Arc<ClientConfig>) -> Socket {
    let cookie = session_cookie("bob");
    let headers = [("origin", ORIGIN), ("cookie", &cookie)];
    let mut socket = Socket::dial(at, tls, "/xmpp-websocket", &headers).await.unwrap();
    socket.sign_in("bob@xmpp.localhost").await;
    socket
}

const OWN: &str = "";
const SHARED: &str = "shared = true";

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);

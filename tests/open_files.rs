//! At the limit of open files: who is in stays in, the others wait, and the log says which figure to raise.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::session_cookie;
use crate::support::gateway::trusting;
use crate::support::program::Program;
use crate::support::program::text;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::websocket::Socket;

#[tokio::test]
async fn no_more_come_in_than_have_files_and_the_next_does_when_one_leaves() {
    let upstream = Server::start(Script::Good).await;
    let mut program = Program::run_within(FILES, &config(upstream.address(), NO_SITE)).await;
    let told = program.said_first().iter().find(|event| event["open_files"] == FILES).cloned();
    let told = told.expect("a warning");
    assert_eq!((&told["connections"], &told["needed"]), (&9000.into(), &18_512.into()));
    let accepted = told["accepted"].as_u64().unwrap();
    assert!(text(&told, "message").contains(HOW_TO_RAISE), "{told}");

    let mut crowd = Vec::new();
    for _ in 0..accepted {
        crowd.push(Browsers::at(&program).come().await.unwrap());
    }
    let next = Browsers::at(&program).come();
    let waits = program.says_with("browsers wait to be accepted").await;
    talk(&mut crowd).await;
    let waited = !next.is_finished();
    crowd.pop().unwrap().vanish();
    crowd.push(next.await.unwrap());

    assert!(waits.contains("may have 100 files open") && waits.contains(HOW_TO_RAISE), "{waits}");
    assert!(waited, "the next one waits");
    talk(&mut crowd).await;
    assert_eq!(upstream.seen().signed_in, crowd.len() + 1);
}

#[tokio::test]
async fn a_browser_whose_server_cannot_be_reached_for_want_of_a_file_is_held_until_there_is_one() {
    let upstream = Server::start(Script::Good).await;
    let mut program = Program::run(&config(upstream.address(), NO_SITE), |_| {}).await;
    let browsers = Browsers::at(&program);
    let mut crowd = vec![browsers.come().await.unwrap(), browsers.come().await.unwrap()];
    // For the browser, and none for the server.
    program.leave_files(1).await;

    let next = browsers.come();
    let told = program.says_with("sign-ins at the XMPP server fail").await;
    talk(&mut crowd).await;
    crowd.pop().unwrap().vanish();
    crowd.push(next.await.unwrap());

    assert!(told.contains("Too many open files") && told.contains(HOW_TO_RAISE), "{told}");
    talk(&mut crowd).await;
}

#[tokio::test]
async fn a_browser_that_finds_no_file_waits_and_the_log_says_what_to_raise() {
    let upstream = Server::start(Script::Good).await;
    let mut program = Program::run(&config(upstream.address(), NO_SITE), |_| {}).await;
    let browsers = Browsers::at(&program);
    let mut crowd = vec![browsers.come().await.unwrap(), browsers.come().await.unwrap()];
    program.leave_files(0).await;

    let next = browsers.come();
    let told = program.says_with("a browser could not be accepted").await;
    talk(&mut crowd).await;
    crowd.pop().unwrap().vanish();
    crowd.push(next.await.unwrap());

    assert!(told.contains("Too many open files") && told.contains(HOW_TO_RAISE), "{told}");
    talk(&mut crowd).await;
}

#[tokio::test]
async fn a_page_that_cannot_be_fetched_for_want_of_a_file_says_so_in_the_log() {
    let upstream = Server::start(Script::Good).await;
    let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let backend = format!("backend = 'http://{}'", site.local_addr().unwrap());
    let mut program = Program::run(&config(upstream.address(), &backend), |_| {}).await;
    // For the browser, and none for the site.
    program.leave_files(1).await;

    let address = program.address();
    let tls = Browsers::at(&program).tls;
    let headers = [("origin", ORIGIN)];
    let refused = Socket::dial(address, tls, "/a-page-of-the-site", &headers).await;
    let told = program.says_with("the site's own web server cannot be reached").await;

    assert_eq!(refused.err(), Some(502));
    assert!(told.contains("Too many open files") && told.contains(HOW_TO_RAISE), "{told}");
}

/// Where browsers go, and whom they trust.
struct Browsers {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Browsers {
    fn at(program: &Program) -> Self {
        let certificate = program.path("certs/development.pem");
        Self { address: program.address(), tls: trusting(&certificate, "http/1.1") }
    }

    /// One more, who is in when this is over.
    fn come(&self) -> JoinHandle<Socket> {
        let (address, tls) = (self.address, self.tls.clone());
        tokio::spawn(async move {
            let cookie = session_cookie("bob");
            let headers = [("origin", ORIGIN), ("cookie", &cookie)];
            let opening = Socket::dial(address, tls, "/xmpp-websocket", &headers);
            let mut socket = timeout(PATIENCE, opening).await.unwrap().unwrap();
            socket.sign_in("bob@xmpp.localhost").await;
            socket
        })
    }
}

/// Everybody says something, and is heard.
async fn talk(crowd: &mut [Socket]) {
    for (place, browser) in crowd.iter_mut().enumerate() {
        let id = format!("talk-{place}");
        browser.send(&format!("<iq xmlns='jabber:client' type='get' id='{id}'><q/></iq>")).await;
        browser.receive_with(&id).await;
    }
}

fn config(upstream: SocketAddr, site: &str) -> String {
    format!(
        "[listen]\nhttps = ['127.0.0.1:0']\nthreads = 1\n[log]\nformat = 'json'\n[tls]\nwatch = '1h'\n\
         [[site]]\nhosts = ['localhost']\nwithout_session = 'refuse'\n{site}\n\
         [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{upstream}'\nsecret = 'a secret of the tests'\n\
         [site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n"
    )
}

const NO_SITE: &str = "";
const FILES: u64 = 100;
const HOW_TO_RAISE: &str = "raise LimitNOFILE= of the service, or ulimit -n";

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(60);

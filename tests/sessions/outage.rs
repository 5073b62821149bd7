//! A site that cannot say who its visitors are, for longer than anything it has said is believed.

use std::net::SocketAddr;
use std::time::Duration;
use std::time::Instant;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::goes_on;
use crate::is_terminate;
use crate::ping;
use crate::support::bosh::Browser;
use crate::support::forwarder::Forwarder;
use crate::support::forwarder::Way;
use crate::support::gateway::Proxy;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;

/// A site that says this of everybody.
async fn saying(what: watch::Receiver<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let mut line = String::from("-");
            while !line.trim().is_empty() {
                line.clear();
                if stream.read_line(&mut line).await.is_err() {
                    break;
                }
            }
            let body = *what.borrow();
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}", body.len());
            // The other side may have had enough already.
            drop(stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await);
        }
    });
    address
}

#[tokio::test]
async fn session_outlives_an_outage_of_the_site_but_not_its_answer() {
    let prosody = Prosody::start().await;
    let (say, said) = watch::channel(BOB);
    let whois = Forwarder::to(saying(said).await).await;
    let site = Proxy::site(&prosody, GUESTS, "");
    let (site, _) = site.split_once("[site.session.jwt]").unwrap();
    let proxy = Proxy::with(&format!(
        "[whois]\ntimeout = '300ms'\nkeep = '200ms'\nfresh = '200ms'\n[bosh]\ninactivity = '1s'\n{site}\
         [site.session.whois]\nurl = 'http://{}/whois'\nsecret = 'between us'\ncookies = ['PHPSESSID']\n",
        whois.address()
    ))
    .await;
    let mut session = Browser::new(&proxy, Some("PHPSESSID=1".to_owned())).prebind().await;
    assert!(session.jid.starts_with("bob@"), "{}", session.jid);

    whois.now(Way::Hangs);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let answer = session.send(&ping("mine")).await;
        assert!(goes_on(&answer), "{answer:?}");
    }
    let other = session.browser.clone().with_cookie(Some("PHPSESSID=2".to_owned()));
    assert_eq!(other.post(session.body(session.rid, "", "")).await.status, 503);
    assert!(goes_on(&session.send(&ping("mine")).await));

    say.send_replace(NOBODY);
    whois.now(Way::Open);
    let told = async {
        loop {
            let answer = session.send(&ping("mine")).await;
            if is_terminate(&answer, "item-not-found") {
                break;
            }
            assert!(goes_on(&answer) || answer.status == 503, "{answer:?}");
        }
    };
    timeout(Duration::from_secs(30), told).await.unwrap();
}

const BOB: &str = r#"{"authenticated":true,"username":"bob"}"#;
const NOBODY: &str = r#"{"authenticated":false}"#;

//! A server that reads late, behind TLS that has taken more than its socket has.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::TlsConnector;
use tokio_rustls::server::TlsStream;

use super::tests::pair;
use super::*;
use crate::browser::Line;
use crate::browser::Patience;

/// Our end of a connection to a server in TLS, and the server's, with little room in the kernel.
async fn in_tls() -> (Socket, TlsStream<TcpStream>) {
    let made = rcgen::generate_simple_self_signed(vec!["xmpp.test".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (ours, theirs) = pair().await;
    let name = ServerName::try_from("xmpp.test").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let (ours, theirs) = tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
    (Socket::Tls(Box::new(ours.unwrap())), theirs.unwrap())
}

#[tokio::test]
async fn what_tls_has_taken_goes_out_when_the_server_reads_at_last() {
    let (mut browser, ours) = pair().await;
    let (upstream, mut server) = in_tls().await;
    let patience = Arc::new(Patience::new(Duration::from_secs(3600), Arc::default()));
    let browser_side = (Browser::new(Line::Tcp(ours), patience), Reader::new(100_000));
    let ahead = Ahead::default();
    let upstream = (upstream, Splitter::new(1000));
    let mut relay = Relay::new(browser_side, upstream, Limits::default(), ahead);
    tokio::spawn(async move { poll_fn(|cx| relay.poll_carry(cx)).await });
    // Less than TLS takes, far more than the sockets do.
    let stanza = format!("<message><body>{}</body></message>", "x".repeat(40_000));
    let length = u16::try_from(stanza.len()).unwrap();
    let frame = [&[0x81, 0xFE], &length.to_be_bytes()[..], &[0; 4], stanza.as_bytes()].concat();

    browser.write_all(&frame).await.unwrap();
    // The relay has its turn until it waits.
    for _ in 0..10_000 {
        yield_now().await;
    }
    let mut read = vec![0; stanza.len()];
    let reading = timeout(Duration::from_secs(30), server.read_exact(&mut read)).await;

    reading.expect("everything comes").unwrap();
    assert_eq!(read, stanza.as_bytes());
}

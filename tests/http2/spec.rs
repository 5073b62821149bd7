//! h2spec, some 150 questions to a server, asked of the whole proxy over TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::sleep;

use crate::support::gateway::Proxy;

/// Where scripts/install puts it, or wherever it is.
fn h2spec() -> Option<PathBuf> {
    let own = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(own).chain(std::env::split_paths(&path).collect::<Vec<_>>());
    folders.map(|folder| folder.join("h2spec")).find(|program| program.is_file())
}

/// A web server that reads what it is asked to its end, and takes a moment for its answer, as one with a database does: behind an
/// answer that is faster than the next frame of the question there is no stream any more on which anything could be wrong.
async fn patient() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async {
                let _ = request.into_body().collect().await;
                sleep(MOMENT).await;
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"a few bytes"))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn h2spec_finds_nothing() {
    let Some(h2spec) = h2spec() else {
        eprintln!("skipped: h2spec is not here, which scripts/install installs where there is Go");
        return;
    };
    let proxy = Proxy::with(&format!(
        "[[site]]\nhosts = ['127.0.0.1']\nbackend = 'http://{}'\n[site.guests]\ndomain = 'guest.localhost'\n\
         upstream = '127.0.0.1:1'\nsecret = 'a secret of the tests'\n",
        patient().await
    ))
    .await;

    let port = proxy.address().port().to_string();
    let asked = Command::new(h2spec)
        .args(["--tls", "--insecure", "--strict", "--timeout", "10", "--port", &port])
        .output()
        .await
        .unwrap();

    let said = String::from_utf8_lossy(&asked.stdout);
    assert!(asked.status.success() && said.contains(" 0 failed"), "{said}");
}

/// Far longer than two frames in a row take on a loaded machine.
const MOMENT: Duration = Duration::from_millis(100);

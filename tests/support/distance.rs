//! A network that takes its time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::sleep_until;

/// Where to connect instead of a server that is far away; it ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Distance {
    address: SocketAddr,
    carried: Arc<AtomicUsize>,
}

impl Distance {
    /// To this server it takes `one_way`, and back again; what is sent is not slower for being much.
    pub(crate) async fn to(server: SocketAddr, one_way: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let carried = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&carried);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server, one_way, Arc::clone(&counter)));
            }
        });
        Self { address, carried }
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes have gone either way.
    pub(crate) fn carried(&self) -> usize {
        self.carried.load(Ordering::Relaxed)
    }
}

async fn connect(
    mut client: TcpStream,
    server: SocketAddr,
    one_way: Duration,
    carried: Arc<AtomicUsize>,
) {
    // The client is connected at once; from so far away that takes a round trip.
    sleep(2 * one_way).await;
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    // Small segments wait for nothing here.
    client.set_nodelay(true).and(server.set_nodelay(true)).expect("TCP");
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::join!(
        carry(from_client, to_server, one_way, &carried),
        carry(from_server, to_client, one_way, &carried)
    );
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    one_way: Duration,
    carried: &AtomicUsize,
) {
    let (sender, mut under_way) = mpsc::channel(UNDER_WAY);
    let sets_out = async move {
        loop {
            let mut bytes = Vec::with_capacity(16 * 1024);
            if from.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                break;
            }
            carried.fetch_add(bytes.len(), Ordering::Relaxed);
            if sender.send((Instant::now() + one_way, bytes)).await.is_err() {
                break;
            }
        }
    };
    let arrives = async move {
        while let Some((at, bytes)) = under_way.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::join!(sets_out, arrives);
}

/// How many segments may be under way.
const UNDER_WAY: usize = 4096;

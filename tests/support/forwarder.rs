//! A connection on its way to a real server, which the test can cut or let hang.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They go through.
    Open,
    /// They are made, and nothing goes through.
    Hangs,
    /// They break off.
    Cut,
}

/// Where to connect instead of the server; it ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Forwarder {
    address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Forwarder {
    /// Starts one that leads to this server.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let way = watch::Sender::new(Way::Open);
        let watched = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut way = watched.subscribe();
                tokio::spawn(async move {
                    let is = *way.borrow_and_update();
                    // Whatever it is now, it is so until that changes.
                    tokio::select! {
                        () = forward(client, server, is) => {}
                        _ = way.changed() => {}
                    }
                });
            }
        });
        Self { address, way }
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of connections from now on; those that are there break off.
    pub(crate) fn now(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn forward(mut client: TcpStream, server: SocketAddr, way: Way) {
    match way {
        Way::Open => {
            if let Ok(mut server) = TcpStream::connect(server).await {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        }
        Way::Hangs => while client.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {},
        Way::Cut => {}
    }
}

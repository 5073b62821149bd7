//! A connection on its way to a real server, which the test can cut or let hang.

use std::net::SocketAddr;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// They go through.
    Open,
    /// They stay, and nothing goes through for now: what is sent arrives when it is open again.
    Still,
    /// They are made, and nothing goes through.
    Hangs,
    /// They break off.
    Cut,
}

/// Where to connect instead of the server; it ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Forwarder {
    address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    way: Way,
    /// How often all that was there has broken off.
    breaks: u64,
    /// How often all that was there has been left to itself.
    changes: u64,
}

impl Forwarder {
    /// Starts one that leads to this server.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let state = watch::Sender::new(State { way: Way::Open, breaks: 0, changes: 0 });
        let watched = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut watched = watched.subscribe();
                tokio::spawn(async move {
                    let is = *watched.borrow_and_update();
                    let states = watched.clone();
                    tokio::select! {
                        () = forward(client, server, is, states) => {}
                        _ = watched.wait_for(|now| now.breaks != is.breaks) => {}
                    }
                });
            }
        });
        Self { address, state }
    }

    /// Where to connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What becomes of connections from now on; those that are there break off, unless it only stands still or moves on.
    pub(crate) fn now(&self, way: Way) {
        self.state.send_modify(|state| {
            let goes_on = |way| matches!(way, Way::Open | Way::Still);
            if !(goes_on(state.way) && goes_on(way) && state.way != way) {
                state.breaks += 1;
            }
            state.way = way;
        });
    }

    /// What is there now stays, and nothing goes through it any more, not even that one end has left; what comes from now on
    /// goes through. So it is where a visitor's machine has another address.
    pub(crate) fn changes(&self) {
        self.state.send_modify(|state| state.changes += 1);
    }
}

async fn forward(
    mut client: TcpStream,
    server: SocketAddr,
    is: State,
    states: watch::Receiver<State>,
) {
    match is.way {
        Way::Open | Way::Still => {
            if let Ok(mut server) = TcpStream::connect(server).await {
                let (from_client, to_client) = client.split();
                let (from_server, to_server) = server.split();
                tokio::join!(
                    pump(from_client, to_server, is, states.clone()),
                    pump(from_server, to_client, is, states)
                );
            }
        }
        Way::Hangs => while client.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {},
        Way::Cut => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    is: State,
    mut states: watch::Receiver<State>,
) {
    let mut bytes = [0; 4096];
    while let Ok(length) = from.read(&mut bytes).await {
        let moves = |now: &State| now.way != Way::Still && now.changes == is.changes;
        let moves = states.wait_for(moves).await.is_ok();
        if !moves || length == 0 || to.write_all(&bytes[..length]).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
}

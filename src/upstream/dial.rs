//! A connection to the server's client port.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;
use socket2::TcpKeepalive;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::time::sleep;

use crate::site::upstream::UNIX;

/// A connection as it was made, on which nothing has been said yet.
#[derive(Debug)]
pub enum Line {
    /// To a port.
    Tcp(TcpStream),
    /// To a socket of this machine.
    Unix(UnixStream),
}

impl Line {
    /// Where the server is; a socket of this machine is at its loopback address, at no port.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn server(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.peer_addr(),
            Self::Unix(_) => Ok((Ipv4Addr::LOCALHOST, 0).into()),
        }
    }
}

/// Connects to `address`: `host:port`, or `unix:` and a path.
///
/// Not bounded in time while the queue of a Unix socket is full; a caller gives it a deadline.
///
/// # Errors
/// When the name is not known or nobody answers there.
pub async fn dial(address: &str) -> io::Result<Line> {
    if let Some(path) = address.strip_prefix(UNIX) {
        return dial_unix(Path::new(path)).await.map(Line::Unix);
    }
    let socket = TcpStream::connect(address).await?;
    // A stanza is written whole; it must not wait for the acknowledgement of the one before.
    socket.set_nodelay(true)?;
    notice_silence(&socket)?;
    Ok(Line::Tcp(socket))
}

/// Where a TCP connection would wait for a place in the server's queue, a Unix socket says EAGAIN at once (connect(2)).
async fn dial_unix(path: &Path) -> io::Result<UnixStream> {
    let mut pause = FIRST_PAUSE;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(pause).await,
            connected_or_not => return connected_or_not,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Makes the kernel end a connection whose other end is gone without a word, written to or not: its session would else
/// look alive for as long as its visitor says nothing, and for a quarter of an hour afterwards.
fn notice_silence(socket: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL);
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive)?;
    // Ends what keepalive asks in vain, too, so that there is no need to count the questions.
    socket.set_tcp_user_timeout(Some(UNANSWERED))
}

/// Before the first question on a silent connection.
const IDLE: Duration = Duration::from_secs(60);
/// Between two.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long the other end may acknowledge nothing, or take nothing of what it is sent: three questions more than the silence
/// before the first. Linux ends a connection that has been silent for this long once it believes that it has asked; where an
/// answer crosses a stanza on its way, it can go on believing so, and would end it at the next silence without asking.
const UNANSWERED: Duration = Duration::from_secs(90);
/// Before a full queue is tried again the first time; twice as long each further time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// And no longer than this: a server takes its whole queue at once.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn connection_asks_after_a_silent_server_and_writes_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();

        let line = dial(&listener.local_addr().unwrap().to_string()).await.unwrap();

        let Line::Tcp(socket) = line else { panic!("{line:?}") };
        let shown = SockRef::from(&socket);
        assert!(shown.keepalive().unwrap());
        assert_eq!(shown.tcp_keepalive_time().unwrap(), IDLE);
        assert_eq!(shown.tcp_user_timeout().unwrap(), Some(UNANSWERED));
        assert!(socket.nodelay().unwrap());
        // One that answers is asked twice at least before it is given up.
        assert!(UNANSWERED >= IDLE + 2 * shown.tcp_keepalive_interval().unwrap());
    }

    #[tokio::test]
    async fn full_queue_of_a_socket_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c2s");
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(1).unwrap();
        let mut queue = Vec::new();
        let refused = loop {
            match UnixStream::connect(&path).await {
                Ok(queued) => queue.push(queued),
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(refused, io::ErrorKind::WouldBlock);

        let address = format!("unix:{}", path.display());
        let dialling = tokio::spawn(async move { dial(&address).await });
        yield_now().await;
        assert!(!dialling.is_finished());
        socket.accept().unwrap();

        assert!(matches!(dialling.await.unwrap(), Ok(Line::Unix(_))));
    }
}

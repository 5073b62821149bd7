//! A connection to the server's client port.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use socket2::TcpKeepalive;
use tokio::net::TcpStream;

/// Connects to `address`, `host:port`.
///
/// # Errors
/// When the name is not known or nobody answers there.
pub async fn dial(address: &str) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    // A stanza is written whole; it must not wait for the acknowledgement of the one before.
    socket.set_nodelay(true)?;
    notice_silence(&socket)?;
    Ok(socket)
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
/// How long the other end may acknowledge nothing, or take nothing of what it is sent.
const UNANSWERED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connection_asks_after_a_silent_server_and_writes_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();

        let socket = dial(&listener.local_addr().unwrap().to_string()).await.unwrap();

        let shown = SockRef::from(&socket);
        assert!(shown.keepalive().unwrap());
        assert_eq!(shown.tcp_keepalive_time().unwrap(), IDLE);
        assert_eq!(shown.tcp_user_timeout().unwrap(), Some(UNANSWERED));
        assert!(socket.nodelay().unwrap());
    }
}

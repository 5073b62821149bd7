//! The connection to a server, plain or in TLS; whoever carries stanzas does not know which.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio_rustls::client::TlsStream;

use crate::protocol::sasl::Channel;

/// A connection to a server.
///
/// What was written may still be here until it is flushed, and what can be read may be here already: whether the socket
/// below is ready says neither.
#[derive(Debug)]
pub enum Socket {
    /// Without TLS.
    Tcp(TcpStream),
    /// A socket of this machine.
    Unix(UnixStream),
    /// In TLS, with a server that has proven whose it is; in a box, because it is twenty times as large.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Who else could read what is said on it.
    #[must_use]
    pub fn channel(&self) -> Channel {
        match self {
            Self::Tls(_) | Self::Unix(_) => Channel::Private,
            // Not what it was called but where it has arrived: a name can be made to mean another machine.
            Self::Tcp(tcp) if tcp.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) => {
                Channel::Private
            }
            Self::Tcp(_) => Channel::Open,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

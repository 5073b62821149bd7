//! The handshake: a socket becomes a TLS stream, within a deadline that is the caller's.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use crate::tls::stream::Stream;

/// Shakes hands with the browser.
///
/// # Errors
/// As [`Stream::poll_handshake`].
pub async fn accept<S>(socket: S, config: Arc<ServerConfig>) -> io::Result<Stream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = Stream::new(socket, config)?;
    poll_fn(|cx| stream.poll_handshake(cx)).await?;
    Ok(stream)
}

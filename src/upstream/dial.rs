//! A connection to the server's client port.

use std::io;

use tokio::net::TcpStream;

/// Connects to `address`, `host:port`.
///
/// # Errors
/// When the name is not known or nobody answers there.
pub async fn dial(address: &str) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    // A stanza is written whole; it must not wait for the acknowledgement of the one before.
    socket.set_nodelay(true)?;
    Ok(socket)
}

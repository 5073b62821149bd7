//! The handshake: a socket becomes a TLS stream, within a deadline and by turns that are the caller's.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

use crate::tls::stream::Stream;

/// A browser that shakes hands.
#[derive(Debug)]
pub struct Handshake<S>(Stream<S>);

/// How far it is.
#[derive(Debug)]
pub enum Progress<S> {
    /// The browser's next word is awaited.
    Waits(Handshake<S>),
    /// It is over.
    Done(Stream<S>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<S> {
    /// Over this socket; nothing has been said yet.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub fn new(socket: S, config: Arc<ServerConfig>) -> io::Result<Self> {
        Stream::new(socket, config).map(Self)
    }

    /// Waits until the browser has said something more, and computes nothing.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// As [`Stream::poll_heard`].
    pub async fn heard(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.0.poll_heard(cx)).await
    }

    /// Answers what has been heard: this is all the work that a handshake makes, and it waits for nothing.
    ///
    /// # Errors
    /// As [`Stream::go_on`].
    pub fn go_on(mut self) -> io::Result<Progress<S>> {
        let is_over = self.0.go_on()?;
        Ok(if is_over { Progress::Done(self.0) } else { Progress::Waits(self) })
    }
}

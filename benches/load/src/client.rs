//! A client of the XMPP server itself (RFC 6120), on its client port in the clear: in two flights, as Vestibule signs in.

use std::net::SocketAddr;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use vestibule::protocol::xml::splitter::Piece;
use vestibule::protocol::xml::splitter::Splitter;

use crate::websocket::BIND;

/// A stream that is signed in to and bound.
pub struct Stream {
    socket: TcpStream,
    splitter: Splitter,
    out: Vec<u8>,
}

impl Stream {
    /// Connects, signs in with this `<auth/>` and binds; with the full JID.
    pub async fn sign_in(address: SocketAddr, domain: &str, auth: &str) -> Result<(Self, String)> {
        let socket = TcpStream::connect(address).await.context("cannot connect")?;
        socket.set_nodelay(true)?;
        let mut made = Self { socket, splitter: Splitter::new(LIMIT), out: Vec::new() };
        let header = format!(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='{domain}' version='1.0'>"
        );
        made.queue(&header);
        made.queue(auth);
        made.hear("<success").await?;
        made.splitter.restart();
        made.queue(&header);
        made.queue(BIND);
        let bound = made.hear("<jid>").await?;
        let jid = bound.split_once("<jid>").and_then(|(_, rest)| rest.split_once("</jid>"));
        let jid = jid.context("a bind result without a JID")?.0.to_owned();
        Ok((made, jid))
    }

    /// Queues what is to be sent.
    pub fn queue(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Sends what is queued.
    pub async fn flush(&mut self) -> Result<()> {
        if !self.out.is_empty() {
            self.socket.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// Reads once, and shows each message that is whole by now. Cancel safe.
    pub async fn receive(&mut self, mut message: impl FnMut(&str)) -> Result<()> {
        self.read(|stanza| {
            if stanza.starts_with("<message") {
                message(stanza);
            }
        })
        .await
    }

    /// Sends what is queued, and waits for the stanza with these words: it is the last that comes before we speak again.
    async fn hear(&mut self, words: &str) -> Result<String> {
        self.flush().await?;
        let (mut found, mut refused) = (None, None);
        loop {
            self.read(|stanza| {
                if stanza.contains(words) {
                    found = Some(stanza.to_owned());
                } else if stanza.contains("<failure") || stanza.contains("<stream:error") {
                    refused = Some(stanza.to_owned());
                }
            })
            .await?;
            if let Some(found) = found {
                return Ok(found);
            }
            if let Some(refused) = refused {
                bail!("refused: {refused}");
            }
        }
    }

    async fn read(&mut self, mut each: impl FnMut(&str)) -> Result<()> {
        let mut incoming = Vec::with_capacity(READ);
        if self.socket.read_buf(&mut incoming).await? == 0 {
            bail!("the server closed the stream");
        }
        let mut rest = incoming.as_slice();
        while let Some(piece) = self.splitter.next(&mut rest)? {
            match piece {
                Piece::Header(_) => {}
                Piece::Stanza(cut) => each(std::str::from_utf8(cut.bytes)?),
                Piece::End => bail!("the server ended the stream"),
            }
        }
        Ok(())
    }
}

const LIMIT: usize = 1024 * 1024;
const READ: usize = 16 * 1024;

//! One browser's XMPP over WebSocket (RFC 7395): whatever has come is read at once, whatever is to be said is written at once.

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::target::Target;
use crate::tunnel::Tunnel;

/// A WebSocket behind its 101, or its 200 (RFC 8441).
pub struct Socket {
    stream: Stream,
    /// Read, but not a whole frame yet.
    held: Vec<u8>,
    /// Framed, but not written.
    out: Vec<u8>,
}

enum Stream {
    Tls(Box<TlsStream<TcpStream>>),
    Tunnel(Tunnel),
}

impl Stream {
    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Tls(stream) => Ok(stream.write_all(bytes).await?),
            Self::Tunnel(tunnel) => tunnel.write(bytes),
        }
    }

    async fn read(&mut self, into: &mut Vec<u8>) -> Result<usize> {
        match self {
            Self::Tls(stream) => {
                into.reserve(READ);
                Ok(stream.read_buf(into).await?)
            }
            Self::Tunnel(tunnel) => tunnel.read(into).await,
        }
    }
}

impl Socket {
    /// Opens one over HTTP/2, with this `Cookie` header.
    pub async fn tunnel(target: &Target, cookie: Option<&str>) -> Result<Self> {
        let stream = Stream::Tunnel(Tunnel::open(target, cookie).await?);
        Ok(Self { stream, held: Vec::new(), out: Vec::new() })
    }

    /// Opens one, with this `Cookie` header.
    pub async fn open(target: &Target, cookie: Option<&str>) -> Result<Self> {
        let mut stream = target.connect().await?;
        let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /xmpp-websocket HTTP/1.1\r\nHost: {}\r\nOrigin: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Protocol: xmpp\r\n{cookie}\r\n",
            target.origin.trim_start_matches("https://"),
            target.origin,
            BASE64_STANDARD.encode([7; 16]),
        );
        stream.write_all(request.as_bytes()).await?;
        let mut held = Vec::new();
        let end = loop {
            if stream.read_buf(&mut held).await? == 0 {
                bail!("the gateway closed before it answered the upgrade");
            }
            if let Some(end) = held.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        if !held.starts_with(b"HTTP/1.1 101") {
            let line = held.split(|byte| *byte == b'\r').next().unwrap_or_default();
            bail!("the upgrade was answered {:?}", String::from_utf8_lossy(line));
        }
        held.drain(..end);
        Ok(Self { stream: Stream::Tls(Box::new(stream)), held, out: Vec::new() })
    }

    /// Signs in with this `<auth/>` and binds; the full JID.
    pub async fn sign_in(&mut self, domain: &str, auth: &str) -> Result<String> {
        let open = format!(
            "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{domain}' version='1.0'/>"
        );
        self.say(&open).await?;
        self.hear("<stream:features").await?;
        self.say(auth).await?;
        self.hear("<success").await?;
        self.say(&open).await?;
        self.hear("<stream:features").await?;
        self.say(BIND).await?;
        let bound = self.hear("<jid>").await?;
        let jid = bound.split_once("<jid>").and_then(|(_, rest)| rest.split_once("</jid>"));
        Ok(jid.context("a bind result without a JID")?.0.to_owned())
    }

    /// Queues one message of text.
    pub fn queue(&mut self, text: &[u8]) {
        frame(0x81, text, &mut self.out);
    }

    /// Writes what is queued.
    pub async fn flush(&mut self) -> Result<()> {
        if !self.out.is_empty() {
            self.stream.write(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// Reads once, and shows each message of text that is whole by now; pings are answered with the next flush.
    pub async fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        if self.stream.read(&mut self.held).await? == 0 {
            bail!("the gateway closed the stream");
        }
        self.take(&mut each)
    }

    fn take(&mut self, each: &mut impl FnMut(&[u8])) -> Result<()> {
        let mut taken = 0;
        while let Some(frame) = Frame::of(&self.held[taken..]) {
            let payload = &self.held[taken + frame.header..taken + frame.header + frame.payload];
            match frame.opcode {
                0x1 => each(payload),
                0x8 => bail!("the gateway closed the stream"),
                0x9 => {
                    let payload = payload.to_vec();
                    self::frame(0x8A, &payload, &mut self.out);
                }
                _ => {}
            }
            taken += frame.header + frame.payload;
        }
        if taken == self.held.len() {
            // Idle sessions hold nothing here either: thousands of them share this machine.
            self.held = Vec::new();
        } else {
            self.held.drain(..taken);
        }
        Ok(())
    }

    async fn say(&mut self, text: &str) -> Result<()> {
        self.queue(text.as_bytes());
        self.flush().await
    }

    /// The first message with these words.
    async fn hear(&mut self, words: &str) -> Result<String> {
        let (mut found, mut refused) = (None, None);
        loop {
            self.take_or_receive(|text| {
                let text = String::from_utf8_lossy(text);
                if text.contains(words) && found.is_none() {
                    found = Some(text.into_owned());
                } else if text.contains("<failure") || text.contains("<stream:error") {
                    refused = Some(text.into_owned());
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

    async fn take_or_receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        if Frame::of(&self.held).is_some() {
            self.take(&mut each)
        } else {
            self.receive(each).await
        }
    }
}

/// Where a frame's payload is, as servers write it: unmasked and whole.
struct Frame {
    opcode: u8,
    header: usize,
    payload: usize,
}

impl Frame {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (first, length) = (*bytes.first()?, *bytes.get(1)?);
        let (header, payload) = match length {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
            127 => {
                (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?)
            }
            short => (2, usize::from(short)),
        };
        (bytes.len() - header.min(bytes.len()) >= payload && bytes.len() >= header)
            .then_some(Self { opcode: first & 0xF, header, payload })
    }
}

/// Appends a frame as browsers write it. That its mask can be foreseen is no matter here (RFC 6455 §10.3).
fn frame(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | u8::try_from(short).unwrap_or(0)),
        middle @ 126..=0xFFFF => {
            out.push(0xFE);
            out.extend_from_slice(&u16::try_from(middle).unwrap_or(0).to_be_bytes());
        }
        long => {
            out.push(0xFF);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

const MASK: [u8; 4] = [0x5A, 0xC3, 0x17, 0x88];
const READ: usize = 16 * 1024;

/// The browser's bind, without a resource of its own.
pub const BIND: &str = "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";

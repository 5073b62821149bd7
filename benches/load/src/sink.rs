//! A scripted XMPP server that lets everybody in and sends every message back: what stands behind a gateway that is measured
//! alone. By its client port, and by WebSocket and BOSH for gateways that only pass bytes.

mod bosh;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use anyhow::Result;
use anyhow::bail;
use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use vestibule::protocol::websocket::frame;
use vestibule::protocol::websocket::frame::Frame;
use vestibule::protocol::xml::splitter::Piece;
use vestibule::protocol::xml::splitter::Splitter;

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Its client port: RFC 6120, in the clear.
    Client,
    /// RFC 7395, in the clear.
    Websocket,
    /// XEP-0124 and XEP-0206, in the clear.
    Bosh,
}

/// Lets everybody in who comes to this door, for ever.
pub async fn serve(listener: TcpListener, door: Door) -> Result<()> {
    let visitors = Arc::new(AtomicU64::new(0));
    let sessions = Arc::new(bosh::Sessions::default());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let visitor = visitors.fetch_add(1, Ordering::Relaxed);
        let sessions = Arc::clone(&sessions);
        tokio::spawn(async move {
            // Whoever leaves in the middle of something has left.
            let _ = match door {
                Door::Client => client(socket, visitor).await,
                Door::Websocket => websocket(socket, visitor).await,
                Door::Bosh => bosh::serve(socket, &sessions).await,
            };
        });
    }
}

async fn client(mut socket: TcpStream, visitor: u64) -> Result<()> {
    let mut splitter = Splitter::new(LIMIT);
    let mut domain = String::new();
    let mut signed_in = None;
    let mut out = Vec::new();
    let mut incoming = Vec::new();
    loop {
        if socket.read_buf(&mut incoming).await? == 0 {
            return Ok(());
        }
        let mut rest = incoming.as_slice();
        loop {
            let Ok(piece) = splitter.next(&mut rest) else { bail!("not XMPP") };
            match piece {
                None => break,
                Some(Piece::Header(header)) => {
                    domain = attribute(&String::from_utf8_lossy(header), "to");
                    out.extend_from_slice(HEADER.as_bytes());
                    out.extend_from_slice(features(signed_in.is_some()).as_bytes());
                }
                Some(Piece::Stanza(cut)) if cut.name() == b"auth" => {
                    let localpart =
                        username(cut.bytes).unwrap_or_else(|| format!("load-{visitor}"));
                    signed_in = Some(format!("{localpart}@{domain}/web"));
                    out.extend_from_slice(SUCCESS.as_bytes());
                    splitter.restart();
                }
                Some(Piece::Stanza(cut)) => answer(cut.bytes, signed_in.as_deref(), &mut out),
                Some(Piece::End) => return Ok(()),
            }
        }
        incoming = Vec::new();
        if !out.is_empty() {
            socket.write_all(&out).await?;
            out = Vec::new();
        }
    }
}

async fn websocket(mut socket: TcpStream, visitor: u64) -> Result<()> {
    let mut incoming = Vec::new();
    let end = loop {
        if socket.read_buf(&mut incoming).await? == 0 {
            return Ok(());
        }
        if let Some(end) = incoming.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    socket.write_all(switching(&String::from_utf8_lossy(&incoming[..end])).as_bytes()).await?;
    incoming.drain(..end);
    let mut reader = frame::Reader::new(LIMIT);
    let mut signed_in = None;
    let (mut out, mut said) = (Vec::new(), Vec::new());
    loop {
        let mut rest = incoming.as_mut_slice();
        while let Some(frame) = reader.next(&mut rest)? {
            match frame {
                Frame::Text(text) if text.starts_with(b"<open") => {
                    say(OPEN.as_bytes(), &mut out);
                    say(features(signed_in.is_some()).as_bytes(), &mut out);
                }
                Frame::Text(text) if text.starts_with(b"<auth") => {
                    signed_in = Some(format!("load-{visitor}@localhost/web"));
                    say(SUCCESS.as_bytes(), &mut out);
                }
                Frame::Text(text) => {
                    said.clear();
                    answer(text, signed_in.as_deref(), &mut said);
                    if !said.is_empty() {
                        say(&said, &mut out);
                    }
                }
                Frame::Ping(payload) => frame::write_pong(payload, &mut out),
                Frame::Pong => {}
                Frame::Close(_) => return Ok(()),
            }
        }
        incoming = Vec::new();
        if !out.is_empty() {
            socket.write_all(&out).await?;
            out = Vec::new();
        }
        if socket.read_buf(&mut incoming).await? == 0 {
            return Ok(());
        }
    }
}

/// A message goes back as it came; what wants an answer gets one.
fn answer(stanza: &[u8], jid: Option<&str>, out: &mut Vec<u8>) {
    if stanza.starts_with(b"<message") {
        out.extend_from_slice(stanza);
        return;
    }
    let text = String::from_utf8_lossy(stanza);
    if !text.starts_with("<iq") || text.contains("'result'") || text.contains("\"result\"") {
        return;
    }
    let id = attribute(&text, "id");
    let payload = if text.contains("urn:ietf:params:xml:ns:xmpp-bind") {
        let jid = jid.unwrap_or_default();
        format!("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{jid}</jid></bind>")
    } else {
        String::new()
    };
    let result = format!("<iq xmlns='jabber:client' type='result' id='{id}'>{payload}</iq>");
    out.extend_from_slice(result.as_bytes());
}

/// Who signs in with PLAIN (RFC 4616 §2).
fn username(auth: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(auth);
    let (_, rest) = text.split_once('>')?;
    let credentials = BASE64_STANDARD.decode(rest.split('<').next()?).ok()?;
    let username = credentials.split(|byte| *byte == 0).nth(1)?;
    (!username.is_empty()).then(|| String::from_utf8_lossy(username).into_owned())
}

fn attribute(tag: &str, name: &str) -> String {
    let rest = tag.split_once(&format!(" {name}=")).map_or("", |(_, rest)| rest);
    rest.get(1..).and_then(|rest| rest.split(['\'', '"']).next()).unwrap_or_default().to_owned()
}

fn say(text: &[u8], out: &mut Vec<u8>) {
    frame::write_text_header(text.len(), out);
    out.extend_from_slice(text);
}

fn features(signed_in: bool) -> &'static str {
    if signed_in {
        "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>\
         <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
    } else {
        "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>\
         <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism><mechanism>EXTERNAL</mechanism>\
         <mechanism>ANONYMOUS</mechanism></mechanisms></stream:features>"
    }
}

fn switching(request: &str) -> String {
    let key = request
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map_or("", |(_, key)| key.trim());
    let digest =
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    let accept = BASE64_STANDARD.encode(digest.as_ref());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: xmpp\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// RFC 6455 §1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' id='sink' from='localhost' version='1.0'>";
const OPEN: &str =
    "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='sink' from='localhost' version='1.0'/>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const LIMIT: usize = 1024 * 1024;

//! Its BOSH (XEP-0124, XEP-0206), for gateways that only pass HTTP: one request of a session is held, the next one has it
//! answered.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use vestibule::protocol::xml::splitter::Piece;
use vestibule::protocol::xml::splitter::Splitter;

use crate::sink::LIMIT;
use crate::sink::SUCCESS;
use crate::sink::answer;
use crate::sink::attribute;
use crate::sink::features;
use crate::sink::username;

/// The sessions there are, whatever connection a gateway sends their requests on.
#[derive(Default)]
pub(super) struct Sessions {
    begun: AtomicU64,
    by_sid: Mutex<HashMap<String, Session>>,
}

/// A request that waits: its body, and where the answer goes.
type Waiting = (String, oneshot::Sender<String>);

struct Session {
    number: u64,
    jid: Option<String>,
    /// The `rid` that is next.
    next: u64,
    /// Requests that came before an earlier one: two connections are two ways.
    early: BTreeMap<u64, Waiting>,
    held: Option<oneshot::Sender<String>>,
}

/// Answers the requests of one connection, for ever.
pub(super) async fn serve(mut socket: TcpStream, sessions: &Sessions) -> Result<()> {
    let mut incoming = Vec::new();
    loop {
        let Some(body) = request(&mut socket, &mut incoming).await? else { return Ok(()) };
        let mut answer = sessions.asked(body)?;
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer.context("the session is gone")?,
                // A gateway that ends leaves nothing behind here.
                read = socket.read_buf(&mut incoming) => if read? == 0 { return Ok(()) },
            }
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        socket.write_all(format!("{head}{answer}").as_bytes()).await?;
    }
}

/// The body of the next request; none where there is no other.
async fn request(socket: &mut TcpStream, incoming: &mut Vec<u8>) -> Result<Option<String>> {
    loop {
        if let Some(end) = incoming.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = std::str::from_utf8(&incoming[..end])?.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let whole = end + 4 + length.map_or(Ok(0), |length| length.trim().parse::<usize>())?;
            if let Some(body) = incoming.get(end + 4..whole) {
                let body = String::from_utf8(body.to_vec())?;
                *incoming = incoming.split_off(whole);
                return Ok(Some(body));
            }
        }
        if socket.read_buf(incoming).await? == 0 {
            return Ok(None);
        }
    }
}

impl Sessions {
    /// Takes a request; its answer comes when there is one.
    fn asked(&self, body: String) -> Result<oneshot::Receiver<String>> {
        let (sender, receiver) = oneshot::channel();
        let rid: u64 = attribute(&body, "rid").parse().context("a request has a rid")?;
        let sid = attribute(&body, "sid");
        let mut by_sid = self.by_sid.lock().unwrap_or_else(PoisonError::into_inner);
        if sid.is_empty() {
            let number = self.begun.fetch_add(1, Ordering::Relaxed);
            let sid = format!("sink-{number}");
            let begun = format!(
                "<body xmlns='{HTTP_BIND}' xmlns:stream='http://etherx.jabber.org/streams' sid='{sid}' from='localhost' \
                 wait='60' hold='1' requests='2' inactivity='60' polling='2' ver='1.11'>{}</body>",
                features(false)
            );
            let (early, held) = (BTreeMap::new(), None);
            by_sid.insert(sid, Session { number, jid: None, next: rid + 1, early, held });
            let _ = sender.send(begun);
            return Ok(receiver);
        }
        let Some(session) = by_sid.get_mut(&sid) else { bail!("no session {sid:?}") };
        session.early.insert(rid, (body, sender));
        while let Some((body, sender)) = session.early.remove(&session.next) {
            session.next += 1;
            session.take(&body, sender)?;
        }
        Ok(receiver)
    }
}

impl Session {
    /// Has what was held answered with what there is to say, and holds this request; or answers it at once where nothing was
    /// held.
    fn take(&mut self, body: &str, sender: oneshot::Sender<String>) -> Result<()> {
        let mut out = Vec::new();
        if attribute(body, "xmpp:restart") == "true" {
            out.extend_from_slice(features(self.jid.is_some()).as_bytes());
        }
        let mut splitter = Splitter::new(LIMIT);
        let mut rest = body.as_bytes();
        // To the splitter a body is a stream of its own.
        while let Ok(Some(piece)) = splitter.next(&mut rest) {
            match piece {
                Piece::Header(_) => {}
                Piece::Stanza(cut) if cut.name() == b"auth" => {
                    let localpart =
                        username(cut.bytes).unwrap_or_else(|| format!("load-{}", self.number));
                    self.jid = Some(format!("{localpart}@localhost/web"));
                    out.extend_from_slice(SUCCESS.as_bytes());
                }
                Piece::Stanza(cut) => answer(cut.bytes, self.jid.as_deref(), &mut out),
                Piece::End => break,
            }
        }
        let answered = match self.held.take() {
            None if out.is_empty() => {
                self.held = Some(sender);
                return Ok(());
            }
            None => sender,
            Some(held) => {
                self.held = Some(sender);
                held
            }
        };
        let said = String::from_utf8(out)?;
        // Whoever has left is told nothing.
        let _ = answered.send(format!(
            "<body xmlns='{HTTP_BIND}' xmlns:stream='http://etherx.jabber.org/streams'>{said}</body>"
        ));
        Ok(())
    }
}

const HTTP_BIND: &str = "http://jabber.org/protocol/httpbind";

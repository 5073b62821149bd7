//! The first word of a browser that has seen the features behind its login: it binds, or an old stream is to go on.

use std::future::Future;
use std::future::pending;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::protocol::namespace;
use crate::protocol::passage::Managing;
use crate::protocol::stream_management::server;
use crate::protocol::websocket::framing;
use crate::protocol::websocket::framing::Message;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Cut;
use crate::protocol::xml::splitter::Piece;
use crate::scratch::read_more;
use crate::session::end::End;
use crate::session::relay::managed::Managed;
use crate::session::roll::Stay;
use crate::session::roll::bell::Keeper;
use crate::session::roll::bell::Presence;
use crate::session::websocket::FAREWELL;
use crate::session::websocket::hall::Hall;
use crate::session::websocket::hall::READ;
use crate::session::websocket::hall::in_time;
use crate::upstream::login::Error;
use crate::upstream::login::Stream;

/// What the server makes of `<resume/>`.
enum Verdict {
    /// The stream goes on, and the server has so many stanzas of the browser; it has been told so.
    Resumed(u32),
    /// It does not, and the browser has been told so.
    Refused,
    /// The server ended the stream, without a word to the browser.
    Ended,
}

impl Hall {
    /// Takes the browser's first word to the server, and sees a stream that is to go on (XEP-0198 §5) as far as the server's
    /// answer; `sign_in` makes a new stream where the server ended this one over it, and `wait` bounds the answer.
    ///
    /// A stream whose browser is still there is not taken from it: a tab was duplicated, with all that it had stored.
    ///
    /// Prosody 0.12 ends the stream without a word where more than 500 stanzas were never acknowledged: a laptop that slept
    /// beside a busy room. The browser is told what it would be told of a stream that is forgotten, and binds.
    pub(in crate::session::websocket) async fn cross(
        &mut self,
        stream: &mut Stream,
        sign_in: impl Future<Output = Result<Stream, Error>>,
        (stay, wait): (&Stay, Duration),
    ) -> Result<(), End> {
        let text = self.first_word(stream).await?;
        match framing::established(&text, &self.limits).map_err(End::BadStream)? {
            Message::Close => Err(End::BrowserClosed),
            Message::Stanza(before, rest) => {
                self.said.extend_from_slice(before);
                self.said.extend_from_slice(rest);
                Ok(())
            }
            Message::Managing(Managing::Ask | Managing::Answer, _) => Ok(()),
            Message::Managing(Managing::Enable | Managing::Other, element)
            | Message::Beside(element) => {
                self.said.extend_from_slice(element);
                Ok(())
            }
            Message::Managing(Managing::Resume, element) => {
                let previous = previous(element);
                match self.claim(&previous, stay).await? {
                    Presence::Here { taken } => {
                        let failed = server::not_resumed(Some(taken));
                        framing::write_text(failed.as_bytes(), &mut self.out);
                        return self.flush().await;
                    }
                    // Kept here while the server did not manage streams; it cannot go on with this browser.
                    Presence::Waits(waiting) => {
                        timeout(FAREWELL, waiting.give_up()).await.ok();
                    }
                    Presence::Gone => {}
                }
                let verdict = timeout(wait, self.resume(stream, element)).await;
                match verdict.map_err(|_| End::UpstreamLost)?? {
                    Verdict::Resumed(taken) => {
                        self.managed = Managed::Yes { taken };
                        stay.has_stream(&previous, Keeper::Server);
                    }
                    Verdict::Refused => {}
                    Verdict::Ended => {
                        *stream = self.meanwhile(sign_in).await?.map_err(|_| End::Unavailable)?;
                        framing::write_text(server::not_resumed(None).as_bytes(), &mut self.out);
                    }
                }
                self.flush().await
            }
        }
    }

    /// The first message, while the server is still there.
    pub(super) async fn first_word(&mut self, stream: &mut Stream) -> Result<Vec<u8>, End> {
        let patience = self.patience;
        let Stream { socket, rest, .. } = stream;
        let lost = async {
            // What it says before it is spoken to is the relay's to take.
            while rest.len() < READ {
                if read_more(socket, rest).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            pending::<()>().await;
        };
        tokio::select! {
            biased;
            text = in_time(patience, self.next_message()) => text,
            () = lost => Err(End::UpstreamLost),
        }
    }

    /// Asks the server to let an old stream go on; its answer goes to the browser.
    async fn resume(&mut self, stream: &mut Stream, element: &[u8]) -> Result<Verdict, End> {
        let asked = async {
            stream.socket.write_all(element).await?;
            stream.socket.flush().await
        };
        if asked.await.is_err() {
            return Ok(Verdict::Ended);
        }
        loop {
            let mut unread = stream.rest.as_slice();
            let verdict = match stream.splitter.next(&mut unread).map_err(End::BadUpstream)? {
                Some(Piece::Stanza(cut)) if cut.name() == b"stream:error" => Some(Verdict::Ended),
                Some(Piece::Stanza(cut)) => {
                    framing::write_stanza(&cut, &mut self.out);
                    Some(resumed(&cut).map_or(Verdict::Refused, Verdict::Resumed))
                }
                Some(Piece::Header(_) | Piece::End) => Some(Verdict::Ended),
                None => None,
            };
            stream.rest = unread.to_vec();
            if let Some(verdict) = verdict {
                return Ok(verdict);
            }
            let Stream { socket, rest, .. } = stream;
            let read = self.meanwhile(read_more(socket, rest)).await?;
            if read.unwrap_or(0) == 0 {
                return Ok(Verdict::Ended);
            }
        }
    }

    /// Asks who has the stream that is to go on, unless the browser goes; what is handed over then is not lost.
    pub(super) async fn claim(&mut self, id: &str, stay: &Stay) -> Result<Presence, End> {
        tokio::select! {
            biased;
            presence = stay.ask_for(id) => Ok(presence),
            () = self.gone() => Err(End::BrowserGone),
        }
    }

    /// Awaits something else, unless the browser goes.
    pub(super) async fn meanwhile<T>(
        &mut self,
        awaited: impl Future<Output = T>,
    ) -> Result<T, End> {
        tokio::select! {
            biased;
            () = self.gone() => Err(End::BrowserGone),
            done = awaited => Ok(done),
        }
    }
}

/// How many stanzas of the browser the server has, where this is its `<resumed/>`.
fn resumed(cut: &Cut<'_>) -> Option<u32> {
    let element = Element::parse(cut.bytes).ok()?;
    let is_resumed =
        element.name() == "resumed" && element.namespace() == Some(namespace::STREAM_MANAGEMENT);
    is_resumed.then(|| element.attribute("h")?.parse().ok()).flatten()
}

/// Which stream `<resume/>` is for.
pub(super) fn previous(resume: &[u8]) -> String {
    let element = Element::parse(resume).ok();
    element.and_then(|element| element.attribute("previd").map(str::to_owned)).unwrap_or_default()
}

//! The first word of a browser whose streams the edge keeps, because the server does not: one of them goes on, or a new one begins.

use std::future::Future;

use tokio::time::timeout;

use crate::protocol::passage::Managing;
use crate::protocol::stream_management;
use crate::protocol::stream_management::server;
use crate::protocol::websocket::framing;
use crate::protocol::websocket::framing::Message;
use crate::protocol::xml::element::Element;
use crate::session::end::End;
use crate::session::relay::managed::Keep;
use crate::session::relay::managed::Managed;
use crate::session::relay::managed::refused;
use crate::session::roll::Stay;
use crate::session::roll::bell::Keeper;
use crate::session::roll::bell::Presence;
use crate::session::waiting::Waiting;
use crate::session::websocket::FAREWELL;
use crate::session::websocket::hall::Hall;
use crate::session::websocket::hall::in_time;
use crate::session::websocket::hall::threshold::previous;
use crate::upstream::login::Error;
use crate::upstream::login::Stream;

/// With what a browser goes on.
pub(in crate::session::websocket) enum Entered {
    /// A stream that it has to bind.
    Anew(Box<Stream>),
    /// The one that it had.
    Again(Box<Waiting>),
}

impl Hall {
    /// Lets a stream go on that `<resume/>` names (XEP-0198 §5), or begins a new one: with `stream`, where the visitor has been
    /// signed in already, else by `sign_in`.
    ///
    /// A stream whose browser is still there is not taken from it: a tab was duplicated, with all that it had stored.
    pub(in crate::session::websocket) async fn enter(
        &mut self,
        mut stream: Option<Box<Stream>>,
        sign_in: impl Future<Output = Result<Stream, Error>>,
        (stay, keep): (&Stay, Keep),
    ) -> Result<Entered, End> {
        self.managed = Managed::Offered(Box::new(keep));
        let text = match &mut stream {
            Some(stream) => self.first_word(stream).await?,
            None => in_time(self.patience, self.next_message()).await?,
        };
        match framing::established(&text, &self.limits).map_err(End::BadStream)? {
            Message::Close => return Err(End::BrowserClosed),
            Message::Stanza(before, rest) => {
                self.said.extend_from_slice(before);
                self.said.extend_from_slice(rest);
            }
            Message::Beside(element) => self.said.extend_from_slice(element),
            Message::Managing(Managing::Resume, element) => {
                if let Some(waiting) = self.go_on(element, stay).await? {
                    return Ok(Entered::Again(waiting));
                }
            }
            Message::Managing(Managing::Enable, _) => {
                framing::write_text(server::unexpected().as_bytes(), &mut self.out);
            }
            Message::Managing(_, _) => {}
        }
        let stream = match stream {
            Some(stream) => stream,
            None => Box::new(self.meanwhile(sign_in).await?.map_err(|_| End::Unavailable)?),
        };
        self.flush().await?;
        Ok(Entered::Anew(stream))
    }

    /// The stream that is to go on, where it can; the browser is told either way.
    async fn go_on(&mut self, resume: &[u8], stay: &Stay) -> Result<Option<Box<Waiting>>, End> {
        let id = previous(resume);
        let taken = match self.claim(&id, stay).await? {
            Presence::Waits(mut waiting) => {
                let got = Element::parse(resume).ok();
                let got: Option<u32> = got.and_then(|resume| resume.attribute("h")?.parse().ok());
                let resumed = got.map(|h| waiting.resume(h, &mut self.out));
                if let Some(Ok(())) = resumed {
                    stay.has_stream(&id, Keeper::Edge);
                    return Ok(Some(waiting));
                }
                timeout(FAREWELL, waiting.give_up()).await.ok();
                match resumed {
                    // More than was sent is the browser's fault (§6); with less than it has said it has lost its place.
                    Some(Err(error)) if !is_behind(&error) => {
                        return Err(End::BadStream(refused(&error)));
                    }
                    _ => None,
                }
            }
            Presence::Here { taken } => Some(taken),
            Presence::Gone => None,
        };
        framing::write_text(server::not_resumed(taken).as_bytes(), &mut self.out);
        Ok(None)
    }
}

/// Whether a browser says that less has arrived than it has said before.
fn is_behind(error: &stream_management::Error) -> bool {
    match *error {
        stream_management::Error::Count { h, acknowledged, .. } => {
            acknowledged.wrapping_sub(h) <= u32::MAX / 2
        }
        stream_management::Error::NoCount { .. }
        | stream_management::Error::Other
        | stream_management::Error::Unexpected { .. } => false,
    }
}

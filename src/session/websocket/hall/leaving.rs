//! Out of the hall: into the relay, or away with a last word.

use tokio::time::timeout;

use crate::protocol::jid::Domain;
use crate::protocol::stream_error::StreamError;
use crate::protocol::websocket::frame;
use crate::protocol::websocket::framing;
use crate::session::end::End;
use crate::session::relay::Ahead;
use crate::session::relay::Relay;
use crate::session::relay::farewell::farewell;
use crate::session::waiting::Waiting;
use crate::session::websocket::FAREWELL;
use crate::session::websocket::hall::Hall;
use crate::session::websocket::hall::Opened;
use crate::session::websocket::hall::again::Entered;
use crate::session::websocket::hall::stream_id;
use crate::upstream;

impl Hall {
    /// Joins the browser with its stream.
    pub(in crate::session::websocket) fn into_relay(self, entered: Entered) -> Relay {
        match entered {
            Entered::Anew(stream) => self.beside(*stream),
            Entered::Again(waiting) => self.beside_again(*waiting),
        }
    }

    fn beside(self, stream: upstream::login::Stream) -> Relay {
        let upstream::login::Stream { socket, splitter, rest, .. } = stream;
        let Self { incoming: browser, said, managed, .. } = self;
        let ahead = Ahead { browser, upstream: rest, said, managed, framed: self.out };
        Relay::new((self.browser, self.reader), (socket, splitter), self.limits, ahead)
    }

    fn beside_again(self, waiting: Waiting) -> Relay {
        let (upstream, said, managed) = waiting.into_parts();
        let Self { incoming: browser, .. } = self;
        let ahead = Ahead { browser, upstream: Vec::new(), said, managed, framed: self.out };
        Relay::new((self.browser, self.reader), upstream, self.limits, ahead)
    }

    /// Ends a connection that did not get as far as the relay.
    pub(in crate::session::websocket) async fn end(mut self, end: &End, domain: &Domain) {
        match end {
            End::BadStream(error) => self.end_stream(*error, domain),
            End::Revoked | End::Denied => self.end_stream(StreamError::PolicyViolation, domain),
            End::Unavailable
            | End::ShutDown
            | End::UpstreamLost
            | End::UpstreamClosed
            | End::UpstreamError(..)
            | End::BadUpstream(_) => {
                self.end_stream(StreamError::SystemShutdown, domain);
            }
            End::BrowserClosed => framing::write_close(&mut self.out),
            End::BadFrame(error) => {
                if matches!(error, frame::Error::TooBig { .. }) {
                    self.open_for_error(domain);
                }
                framing::write_frame_error(*error, &mut self.out);
            }
            End::BrowserGone => return,
            End::BrowserLeft | End::BrowserSilent | End::Replaced => {
                frame::write_close(frame::NORMAL, &mut self.out);
            }
        }
        timeout(FAREWELL, farewell(&mut self.browser, &self.out)).await.ok();
    }

    /// A stream error is told on an open stream (RFC 7395 §3.4).
    fn open_for_error(&mut self, domain: &Domain) {
        if self.opened == Opened::Not {
            framing::write_open(domain.as_str(), &stream_id(), &mut self.out);
        }
    }

    fn end_stream(&mut self, error: StreamError, domain: &Domain) {
        self.open_for_error(domain);
        framing::write_stream_error(error, &mut self.out);
    }
}

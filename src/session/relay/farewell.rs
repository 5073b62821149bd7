//! The last words of a session, to both ends.

use std::io;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;

use crate::protocol::stream_error::Meaning;
use crate::protocol::stream_error::StreamError;
use crate::protocol::websocket::frame;
use crate::protocol::websocket::framing;
use crate::session::end::End;
use crate::session::relay::Relay;
use crate::session::relay::managed::Managed;

impl Relay {
    /// Tells both ends how the session ended, as far as they take it.
    ///
    /// Not cancel safe, and not bounded in time, as are those for one end: a caller gives it a deadline and drops the relay.
    pub async fn finish(&mut self, end: &End) {
        self.write_farewells(end);
        self.write_end(end);
        let Self { browser, upstream, to_browser, to_upstream, .. } = self;
        let told = async {
            if !matches!(end, End::BrowserGone) {
                farewell(browser, to_browser).await;
            }
        };
        tokio::join!(told, farewell(upstream, to_upstream));
    }

    /// Tells the browser alone.
    pub async fn finish_browser(&mut self, end: &End) {
        self.write_farewells(end);
        farewell(&mut self.browser, &self.to_browser).await;
    }

    /// Closes the stream upstream: nobody will come back to it.
    pub async fn finish_upstream(&mut self) {
        self.to_upstream.extend_from_slice(END_TAG);
        farewell(&mut self.upstream, &self.to_upstream).await;
    }

    /// Writes the last words to the browser, and sends none of them.
    pub(in crate::session) fn write_farewells(&mut self, end: &End) {
        match end {
            // The browser has been told the error already.
            End::BrowserClosed | End::UpstreamError(_, Meaning::OfBrowser) => {
                framing::write_close(&mut self.to_browser);
            }
            End::BadStream(error) => framing::write_stream_error(*error, &mut self.to_browser),
            End::Revoked | End::Denied => {
                framing::write_stream_error(StreamError::PolicyViolation, &mut self.to_browser);
            }
            End::BadFrame(error) => framing::write_frame_error(*error, &mut self.to_browser),
            End::BrowserGone => {}
            End::BrowserLeft | End::BrowserSilent | End::Replaced => {
                frame::write_close(frame::NORMAL, &mut self.to_browser);
            }
            // On `<close/>` alone, between the features and the bind, Converse.js signs its visitor out for good.
            End::UpstreamClosed
            | End::UpstreamError(_, Meaning::Outage)
            | End::UpstreamLost
            | End::BadUpstream(_)
            | End::Unavailable
            | End::ShutDown => {
                framing::write_stream_error(StreamError::SystemShutdown, &mut self.to_browser);
            }
        }
    }

    /// Writes the last words to the server: what the browser has not acknowledged goes back to its senders, where the edge has
    /// to see to that (XEP-0198 §4).
    fn write_end(&mut self, end: &End) {
        let is_here = matches!(self.managed, Managed::Here(_));
        if let Managed::Here(here) = &self.managed {
            here.server.write_bounces(&mut self.to_upstream);
        }
        // Without its end tag the stream can still be resumed (XEP-0198 §5), by a browser that comes back; what was too large,
        // or not to be read, would only come again then.
        let is_over = matches!(
            end,
            End::BrowserClosed
                | End::BadStream(_)
                | End::BadFrame(_)
                | End::BadUpstream(_)
                | End::Revoked
        );
        if is_here || is_over {
            self.to_upstream.extend_from_slice(END_TAG);
        }
    }
}

/// Writes the last words and awaits the other's end: closing with bytes unread makes the kernel take back what it has not sent.
///
/// Whoever is gone already is not told.
pub(in crate::session) async fn farewell(
    to: &mut (impl AsyncRead + AsyncWrite + Unpin),
    words: &[u8],
) {
    let told = async {
        to.write_all(words).await?;
        to.shutdown().await?;
        let mut unread = vec![0; 1024];
        while to.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    };
    told.await.ok();
}

const END_TAG: &[u8] = b"</stream:stream>";

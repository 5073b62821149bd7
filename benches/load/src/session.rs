//! A visitor who is signed in, by whichever transport.

use std::ops::ControlFlow;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::bosh;
use crate::client::Stream;
use crate::target::Target;
use crate::visitors::Visitors;
use crate::websocket::Socket;

/// How browsers carry XMPP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// RFC 7395.
    Websocket,
    /// The same, over HTTP/2 (RFC 8441).
    WebsocketHttp2,
    /// XEP-0124 and XEP-0206, signed in to by the browser.
    Bosh,
    /// The same, over one connection of HTTP/2.
    BoshHttp2,
    /// By BOSH, signed in to by the gateway: `/prebind`.
    Prebind,
    /// RFC 6120 to the XMPP server itself, without a gateway and without TLS: what a gateway's cost is held against.
    #[value(skip)]
    Client,
}

/// One session.
pub struct Session {
    /// The visitor's full JID.
    pub jid: String,
    carrier: Carrier,
}

enum Carrier {
    Websocket(Box<Socket>),
    Bosh(Box<bosh::Session>),
    Client(Box<Stream>),
}

impl Session {
    /// Signs the visitor of this number in.
    pub async fn begin(
        target: &Target,
        visitors: &Visitors,
        number: usize,
        transport: Transport,
    ) -> Result<Self> {
        let cookie = visitors.cookie(number)?;
        let cookie = cookie.as_deref();
        let auth = visitors.auth(number, &target.domain)?;
        let (carrier, jid) = match transport {
            Transport::Websocket => {
                let mut socket = Socket::open(target, cookie).await?;
                let jid = socket.sign_in(&target.domain, &auth).await?;
                (Carrier::Websocket(Box::new(socket)), jid)
            }
            Transport::WebsocketHttp2 => {
                let mut socket = Socket::tunnel(target, cookie).await?;
                let jid = socket.sign_in(&target.domain, &auth).await?;
                (Carrier::Websocket(Box::new(socket)), jid)
            }
            Transport::Bosh => {
                let (session, jid) = bosh::Session::sign_in(target, cookie, &auth).await?;
                (Carrier::Bosh(Box::new(session)), jid)
            }
            Transport::BoshHttp2 => {
                let target = target.by_http2();
                let (session, jid) = bosh::Session::sign_in(&target, cookie, &auth).await?;
                (Carrier::Bosh(Box::new(session)), jid)
            }
            Transport::Prebind => {
                let (session, jid) = bosh::Session::prebind(target, cookie).await?;
                (Carrier::Bosh(Box::new(session)), jid)
            }
            Transport::Client => {
                let (stream, jid) = Stream::sign_in(target.address, &target.domain, &auth).await?;
                (Carrier::Client(Box::new(stream)), jid)
            }
        };
        let mut made = Self { jid, carrier };
        made.flush().await?;
        Ok(made)
    }

    /// Queues one stanza.
    pub fn queue(&mut self, stanza: &str) {
        match &mut self.carrier {
            Carrier::Websocket(socket) => socket.queue(stanza.as_bytes()),
            Carrier::Bosh(session) => session.queue(stanza),
            Carrier::Client(stream) => stream.queue(stanza),
        }
    }

    /// Sends what is queued, and by BOSH lets an answer be held.
    pub async fn flush(&mut self) -> Result<()> {
        match &mut self.carrier {
            Carrier::Websocket(socket) => socket.flush().await,
            Carrier::Bosh(session) => session.flush().await,
            Carrier::Client(stream) => stream.flush().await,
        }
    }

    /// How many requests it has made, over BOSH; see [`bosh::Session::requests`].
    #[must_use]
    pub fn requests(&self) -> u64 {
        match &self.carrier {
            Carrier::Bosh(session) => session.requests(),
            Carrier::Websocket(_) | Carrier::Client(_) => 0,
        }
    }

    /// Waits until something has come, and shows each message in it. Cancel safe.
    pub async fn receive(&mut self, mut message: impl FnMut(&str)) -> Result<()> {
        match &mut self.carrier {
            Carrier::Websocket(socket) => {
                socket
                    .receive(|text| {
                        if let Ok(text) = std::str::from_utf8(text)
                            && text.starts_with("<message")
                        {
                            message(text);
                        }
                    })
                    .await
            }
            Carrier::Bosh(session) => {
                let body = session.receive().await?;
                let mut rest = body.as_str();
                while let ControlFlow::Continue(after) = one_message(rest, &mut message) {
                    rest = after;
                }
                Ok(())
            }
            Carrier::Client(stream) => stream.receive(message).await,
        }
    }
}

/// The first message of a BOSH body, and what is behind it. Messages of a load are not nested.
fn one_message<'a>(body: &'a str, message: &mut impl FnMut(&str)) -> ControlFlow<(), &'a str> {
    let Some(begin) = body.find("<message") else { return ControlFlow::Break(()) };
    let Some(end) = body[begin..].find("</message>") else { return ControlFlow::Break(()) };
    let end = begin + end + "</message>".len();
    message(&body[begin..end]);
    ControlFlow::Continue(&body[end..])
}

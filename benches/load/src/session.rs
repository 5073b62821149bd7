//! A visitor who is signed in, by whichever transport.

use std::ops::ControlFlow;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::bosh;
use crate::target::Target;
use crate::visitors::Visitors;
use crate::websocket::Socket;

/// How browsers carry XMPP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// RFC 7395.
    Websocket,
    /// XEP-0124 and XEP-0206, signed in to by the browser.
    Bosh,
    /// The same, signed in to by the gateway: `/prebind`.
    Prebind,
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
        let (cookie, mechanism) = (cookie.as_deref(), visitors.mechanism());
        let (carrier, jid) = match transport {
            Transport::Websocket => {
                let mut socket = Socket::open(target, cookie).await?;
                let jid = socket.sign_in(&target.domain, mechanism).await?;
                (Carrier::Websocket(Box::new(socket)), jid)
            }
            Transport::Bosh => {
                let (session, jid) = bosh::Session::sign_in(target, cookie, mechanism).await?;
                (Carrier::Bosh(Box::new(session)), jid)
            }
            Transport::Prebind => {
                let (session, jid) = bosh::Session::prebind(target, cookie).await?;
                (Carrier::Bosh(Box::new(session)), jid)
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
        }
    }

    /// Sends what is queued, and by BOSH lets an answer be held.
    pub async fn flush(&mut self) -> Result<()> {
        match &mut self.carrier {
            Carrier::Websocket(socket) => socket.flush().await,
            Carrier::Bosh(session) => session.flush().await,
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

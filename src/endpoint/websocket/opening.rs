//! The opening handshake of a WebSocket: an upgrade of HTTP/1.1 (RFC 6455 §4.2), or a CONNECT of HTTP/2 (RFC 8441 §5).

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;
use tracing::debug;

use crate::browser::Browser;
use crate::browser::incoming::Incoming;
use crate::browser::tunnel;
use crate::endpoint::Body;
use crate::endpoint::Refusal;
use crate::endpoint::whole;
use crate::protocol::websocket::acceptance::acceptance;
use crate::protocol::websocket::deflate;

/// A browser that wants a WebSocket, and may have one.
pub(super) enum Opening {
    /// What `Sec-WebSocket-Accept` says, and the connection behind the 101.
    Upgrade(HeaderValue, OnUpgrade),
    Tunnel(Box<Browser>),
}

/// What carries the WebSocket.
pub(super) enum Line {
    Upgrade(OnUpgrade),
    Tunnel(Box<Browser>),
}

impl Opening {
    /// Checks what is asked (RFC 7395 §3.1).
    ///
    /// # Errors
    /// What it is not.
    pub(super) fn of(request: &mut Request<Incoming>) -> Result<Self, Refusal> {
        if request.method() == Method::CONNECT {
            speaks_xmpp(request.headers())?;
            let opening = request.extensions_mut().remove::<tunnel::Opening>();
            let browser = opening.and_then(tunnel::Opening::take);
            let nothing_comes = Refusal::BadRequest("the tunnel ends where it begins");
            return browser.map(Self::Tunnel).ok_or(nothing_comes);
        }
        if request.method() != Method::GET {
            return Err(Refusal::Method("GET"));
        }
        let headers = request.headers();
        if !lists(headers, &header::UPGRADE, "websocket")
            || !lists(headers, &header::CONNECTION, "upgrade")
        {
            return Err(Refusal::UpgradeRequired);
        }
        speaks_xmpp(headers)?;
        let accept = accept_key(headers)?;
        Ok(Self::Upgrade(accept, hyper::upgrade::on(request)))
    }

    /// The answer that opens it.
    pub(super) fn answer(&self, deflates: bool) -> Response<Body> {
        let mut response = Response::new(whole(Bytes::new()));
        if let Self::Upgrade(accept, _) = self {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept.clone());
        }
        let headers = response.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("xmpp"));
        if deflates {
            let agreed = HeaderValue::from_static(deflate::AGREED);
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
        }
        response
    }

    /// What carries it behind the answer.
    pub(super) fn into_line(self) -> Line {
        match self {
            Self::Upgrade(_, upgraded) => Line::Upgrade(upgraded),
            Self::Tunnel(browser) => Line::Tunnel(browser),
        }
    }
}

impl Line {
    /// The browser, once HTTP is out of the way, and what was read of it by then; none if that takes longer than `most`.
    pub(super) async fn browser(self, most: Duration) -> Option<(Browser, Bytes)> {
        let upgraded = match self {
            Self::Upgrade(upgraded) => upgraded,
            Self::Tunnel(browser) => return Some((*browser, Bytes::new())),
        };
        // hyper may still be writing answers that came before.
        match timeout(most, upgraded).await {
            Ok(Ok(upgraded)) => Browser::taken_from_http(upgraded),
            Ok(Err(error)) => {
                debug!(%error, "the browser left before its upgrade was done");
                None
            }
            Err(_) => {
                debug!("an upgrade was not done in time");
                None
            }
        }
    }
}

/// Checks what holds over either version of HTTP.
fn speaks_xmpp(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::BadRequest("Sec-WebSocket-Version: 13 is spoken here"));
    }
    if !lists(headers, &header::SEC_WEBSOCKET_PROTOCOL, "xmpp") {
        return Err(Refusal::BadRequest("Sec-WebSocket-Protocol: xmpp is spoken here (RFC 7395)"));
    }
    Ok(())
}

/// The value of `Sec-WebSocket-Accept` (RFC 6455 §4.2.1).
fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if BASE64_STANDARD.decode(key).map_or(0, |key| key.len()) != 16 {
        return Err(Refusal::BadRequest("Sec-WebSocket-Key is missing or malformed"));
    }
    HeaderValue::from_str(&acceptance(key)).map_err(|_| Refusal::BadRequest("Sec-WebSocket-Key"))
}

/// Whether a header, a comma-separated list in one or more fields, names `wanted`.
fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let fields = headers.get_all(name).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|item| item.trim().eq_ignore_ascii_case(wanted))
}

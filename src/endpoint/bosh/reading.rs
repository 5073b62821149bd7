//! The body of a request is read, within its bounds in time and bytes.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::endpoint::Edge;
use crate::endpoint::Refusal;
use crate::metrics::bound::Bound;
use crate::share::budget::Held;

/// A request that was read, and what it holds of all that may be arriving.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// None where it is larger than it may be.
    pub(super) text: Option<Bytes>,
    pub(super) room: Held<'a>,
}

/// Reads the body of a request, within its bounds in time and bytes.
///
/// # Errors
/// A [`Refusal`] where it is late or breaks off, or too much is arriving already.
pub async fn read<B>(edge: &Edge, body: B, address: IpAddr) -> Result<Arrived<'_>, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let bounds = edge.bosh.settings();
    let mut room = edge.bosh.bodies().hold(address);
    let limit = usize::try_from(bounds.body.as_u64()).unwrap_or(usize::MAX);
    let reading = timeout(bounds.body_time, arriving(body, limit, &mut room)).await;
    let read = reading.unwrap_or_else(|_| {
        edge.metrics.reached(Bound::BodyTime);
        Err(Refusal::Late)
    });
    arrived(edge, read, room)
}

/// Takes a body that is here already, within the same bounds.
///
/// # Errors
/// [`Refusal::Unavailable`] where too much is arriving.
pub fn at_once(edge: &Edge, text: Bytes, address: IpAddr) -> Result<Arrived<'_>, Refusal> {
    let limit = usize::try_from(edge.bosh.settings().body.as_u64()).unwrap_or(usize::MAX);
    let mut room = edge.bosh.bodies().hold(address);
    let read = if text.len() > limit {
        Err(Refusal::TooLarge)
    } else if room.grow_to(text.len()) {
        Ok(text)
    } else {
        Err(Refusal::Unavailable)
    };
    arrived(edge, read, room)
}

fn arrived<'a>(
    edge: &Edge,
    read: Result<Bytes, Refusal>,
    room: Held<'a>,
) -> Result<Arrived<'a>, Refusal> {
    match read {
        Err(Refusal::TooLarge) => {
            edge.metrics.reached(Bound::Body);
            Ok(Arrived { text: None, room })
        }
        Err(Refusal::Unavailable) => {
            edge.metrics.reached(Bound::Body);
            Err(Refusal::Unavailable)
        }
        Err(refusal) => Err(refusal),
        Ok(text) => Ok(Arrived { text: Some(text), room }),
    }
}

/// What arrives, up to `limit` bytes; `held` grows with what is here, not with what is promised.
async fn arriving<B>(mut body: B, limit: usize, held: &mut Held<'_>) -> Result<Bytes, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::BadRequest("the request broke off"))?;
        let Ok(bytes) = frame.into_data() else { continue };
        let length = text.len().saturating_add(bytes.len());
        if length > limit {
            return Err(Refusal::TooLarge);
        }
        if !held.grow_to(length) {
            return Err(Refusal::Unavailable);
        }
        // Most come in one piece.
        if text.is_empty() && body.is_end_stream() {
            return Ok(bytes);
        }
        text.extend_from_slice(&bytes);
    }
    Ok(text.into())
}

//! The streams of a connection (RFC 9113 §5.1): those on which something is under way, and those that we have reset.

use std::collections::VecDeque;

use crate::protocol::http2::window::Receiving;
use crate::protocol::http2::window::Sending;

/// The streams.
#[derive(Debug)]
pub(super) struct Streams {
    /// By their numbers, which only grow.
    open: Vec<Stream>,
    /// The last that the browser has begun; 0 before.
    last: u32,
    /// Those that we have ended before the browser did: what it had sent by then is no fault (§5.4.2).
    reset: VecDeque<u32>,
    most_reset: usize,
}

/// A request that is not answered to its end.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) number: u32,
    pub(super) state: State,
    /// Whether it carries something of its own, not an answer (RFC 8441 §5).
    pub(super) is_tunnel: bool,
    /// Whether anybody has looked at the request.
    pub(super) is_begun: bool,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    /// What is still to come of the body, where the request says how long it is.
    pub(super) left: Option<u64>,
}

/// What may still be sent; but for a tunnel we end a stream together with our half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// More of the browser's body.
    Open,
    /// The same, and nothing of ours: a tunnel that we have ended (half-closed, local).
    Ended,
    /// Nothing of the browser's (half-closed, remote).
    HalfClosed,
}

impl State {
    /// Whether the browser may send more.
    pub(super) fn hears(self) -> bool {
        match self {
            Self::Open | Self::Ended => true,
            Self::HalfClosed => false,
        }
    }
}

/// Where a number stands.
#[derive(Debug)]
pub(super) enum Standing<'a> {
    /// Nothing has been said on it yet.
    Idle,
    /// Something is under way.
    Open(&'a mut Stream),
    /// We have ended it.
    Reset,
    /// The browser has ended it, or never used it.
    Closed,
}

impl Streams {
    /// None yet; so many of ours that were reset are remembered.
    pub(super) fn new(most_reset: usize) -> Self {
        Self { open: Vec::new(), last: 0, reset: VecDeque::new(), most_reset }
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The last that the browser has begun.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// All that are under way.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.open.iter_mut()
    }

    /// Where a number stands.
    pub(super) fn standing(&mut self, number: u32) -> Standing<'_> {
        if number > self.last {
            return Standing::Idle;
        }
        match self.open.binary_search_by_key(&number, |stream| stream.number) {
            Ok(place) => self.open.get_mut(place).map_or(Standing::Closed, Standing::Open),
            Err(_) if self.reset.contains(&number) => Standing::Reset,
            Err(_) => Standing::Closed,
        }
    }

    /// The stream of a number, where something is under way.
    pub(super) fn get(&self, number: u32) -> Option<&Stream> {
        let place = self.open.binary_search_by_key(&number, |stream| stream.number).ok()?;
        self.open.get(place)
    }

    /// The same.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Stream> {
        let place = self.open.binary_search_by_key(&number, |stream| stream.number).ok()?;
        self.open.get_mut(place)
    }

    /// The browser begins one, whose number is greater than any before.
    pub(super) fn comes(&mut self, number: u32) {
        self.last = number;
    }

    /// The one that came last is under way.
    pub(super) fn open(&mut self, stream: Stream) {
        self.open.push(stream);
    }

    /// Forgets one that is over; what it was.
    pub(super) fn close(&mut self, number: u32) -> Option<Stream> {
        let place = self.open.binary_search_by_key(&number, |stream| stream.number).ok()?;
        let stream = self.open.remove(place);
        if self.open.is_empty() {
            // A new one, which holds no memory: a session has one or two.
            self.open = Vec::new();
        }
        Some(stream)
    }

    /// The browser has ended it as well, and says nothing more on it.
    pub(super) fn forget_reset(&mut self, number: u32) {
        self.reset.retain(|reset| *reset != number);
    }

    /// Remembers one that we have ended.
    pub(super) fn remember_reset(&mut self, number: u32) {
        if self.reset.len() >= self.most_reset {
            self.reset.pop_front();
        }
        self.reset.push_back(number);
    }
}

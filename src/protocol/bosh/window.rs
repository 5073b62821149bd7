//! The rid window: which requests are next, early, past or beyond it (XEP-0124 §14).

use std::fmt;
use std::time::Instant;

/// The number of a request; the browser counts up by one (XEP-0124 §14.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rid(u64);

impl Rid {
    /// The highest there may be: 2^53 - 1, for browsers count in doubles.
    pub const MAX: u64 = (1 << 53) - 1;

    /// A rid, if the number is one.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        (number <= Self::MAX).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The one before this.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        // One past MAX is possible and harmless: no request carries it.
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Rid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Where a rid stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The one that is expected.
    Next,
    /// Inside the window, but others come before it.
    Early,
    /// Had its turn already: a repetition, or a late one.
    Past,
    /// Further ahead than a browser may be.
    Beyond,
}

/// The rids a browser may use now, and those that wait for their turn with what they bring.
#[derive(Debug)]
pub struct Window<T> {
    next: Rid,
    /// In the order of rids; no longer than the window.
    early: Vec<(Rid, T)>,
    gap_since: Option<Instant>,
}

/// How far the window reaches.
///
/// We say `requests='2'`, but a browser that attached to a prebound session was told nothing, and
/// Strophe then goes by its default of 5.
pub const REACH: u64 = 5;

impl<T> Window<T> {
    /// A window whose first request bears this rid.
    #[must_use]
    pub fn new(first: Rid) -> Self {
        Self { next: first, early: Vec::new(), gap_since: None }
    }

    /// The rid that is expected.
    #[must_use]
    pub fn next(&self) -> Rid {
        self.next
    }

    /// Since when something waits for a rid that is not here.
    #[must_use]
    pub fn gap_since(&self) -> Option<Instant> {
        self.gap_since
    }

    /// Sorts a request by its rid.
    #[must_use]
    pub fn place(&self, rid: Rid) -> Place {
        if rid < self.next {
            Place::Past
        } else if rid == self.next {
            Place::Next
        } else if rid.0.saturating_sub(self.next.0) < REACH {
            Place::Early
        } else {
            Place::Beyond
        }
    }

    /// The next request is here: the window moves on by one.
    pub fn advance(&mut self) {
        self.next = self.next.next();
    }

    /// Keeps an early request until its turn, where none with the same rid waits already.
    pub fn keep(&mut self, rid: Rid, request: T, now: Instant) {
        self.gap_since.get_or_insert(now);
        if let Err(at) = self.early.binary_search_by_key(&rid, |(rid, _)| *rid) {
            self.early.insert(at, (rid, request));
        }
    }

    /// What is missing is waited for from now on.
    pub fn wait_anew(&mut self, now: Instant) {
        self.gap_since = Some(now);
    }

    /// The early request with this rid, to be changed.
    pub fn waiting_mut(&mut self, rid: Rid) -> Option<&mut T> {
        self.early.iter_mut().find(|(known, _)| *known == rid).map(|(_, request)| request)
    }

    /// The early request whose turn has come; the window moves on with it.
    pub fn take_due(&mut self, now: Instant) -> Option<(Rid, T)> {
        if self.early.first().is_none_or(|(rid, _)| *rid != self.next) {
            // The wait for the rid that is missing now begins now, not when the last gap did.
            self.gap_since = (!self.early.is_empty()).then_some(now);
            return None;
        }
        let due = self.early.remove(0);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        self.advance();
        Some(due)
    }

    /// Gives up waiting for the rids before the first early one; they are handed back, to be expected late.
    pub fn skip_gap(&mut self) -> impl Iterator<Item = Rid> + use<T> {
        let skipped = self.next.0;
        self.next = self.early.first().map_or(self.next, |(rid, _)| *rid);
        (skipped..self.next.0).map(Rid)
    }

    /// Those that wait, in order.
    pub fn early(&self) -> impl Iterator<Item = &T> {
        self.early.iter().map(|(_, request)| request)
    }

    /// Those that wait, in order, to be changed.
    pub fn early_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.early.iter_mut().map(|(_, request)| request)
    }

    /// Empties the window: no turn will come.
    pub fn clear(&mut self) -> Vec<(Rid, T)> {
        self.gap_since = None;
        std::mem::take(&mut self.early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rid(number: u64) -> Rid {
        Rid::new(number).unwrap()
    }

    #[test]
    fn window_reaches_five_rids_from_the_expected_one() {
        let window = Window::<()>::new(rid(10));

        assert_eq!(window.place(rid(9)), Place::Past);
        assert_eq!(window.place(rid(10)), Place::Next);
        assert_eq!(window.place(rid(11)), Place::Early);
        assert_eq!(window.place(rid(14)), Place::Early);
        assert_eq!(window.place(rid(15)), Place::Beyond);
    }

    #[test]
    fn early_requests_are_due_in_the_order_of_their_rids() {
        let now = Instant::now();
        let mut window = Window::new(rid(1));
        window.keep(rid(3), "three", now);
        window.keep(rid(2), "two", now);
        assert_eq!(window.take_due(now), None);

        window.advance();

        assert_eq!(window.take_due(now), Some((rid(2), "two")));
        assert_eq!(window.take_due(now), Some((rid(3), "three")));
        assert_eq!(window.take_due(now), None);
        assert_eq!(window.next(), rid(4));
        assert_eq!(window.gap_since(), None);
    }

    #[test]
    fn early_request_is_found_by_its_rid_and_not_replaced() {
        let now = Instant::now();
        let mut window = Window::new(rid(1));
        window.keep(rid(3), "first", now);

        window.keep(rid(3), "again", now);

        assert_eq!(window.waiting_mut(rid(3)), Some(&mut "first"));
        assert_eq!(window.waiting_mut(rid(2)), None);
        assert_eq!(window.early().collect::<Vec<_>>(), [&"first"]);
    }

    #[test]
    fn skipped_rids_are_named() {
        let now = Instant::now();
        let mut window = Window::new(rid(1));
        window.keep(rid(4), "four", now);

        assert_eq!(window.skip_gap().map(Rid::get).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(window.take_due(now), Some((rid(4), "four")));
    }

    #[test]
    fn rid_beyond_two_to_the_53_is_none() {
        assert!(Rid::new((1 << 53) - 1).is_some());
        assert_eq!(Rid::new(1 << 53), None);
    }
}

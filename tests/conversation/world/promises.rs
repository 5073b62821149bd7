//! What a world holds a session to.

use std::collections::BTreeSet;
use std::time::Instant;

use vestibule::protocol::bosh::window::REACH;

use crate::world::Attempt;
use crate::world::FIRST;
use crate::world::State;
use crate::world::World;

impl World {
    /// The rid whose turn it is, since when, and whether all before it have come.
    pub(super) fn turn(&self) -> (u64, Instant, bool) {
        let (mut turn, mut since, mut is_gapless) = (FIRST, self.born, true);
        loop {
            if let Some(arrived) = self.arrived.get(&turn) {
                since = since.max(*arrived);
            } else if self.abandoned.contains(&turn)
                && let Some(waits) = self.arrived.range(turn..).map(|(_, since)| *since).min()
                && waits + self.settings.retries * 5 <= self.now
            {
                is_gapless = false;
            } else {
                return (turn, since, is_gapless);
            }
            turn += 1;
        }
    }

    /// Whether a browser has to begin anew that comes with this rid while another one is expected: so many before it have gone with
    /// their pages (XEP-0124 §14.2). What a page misses that is there, it repeats.
    pub(super) fn is_out_of_reach(&self, rid: u64, expected: u64) -> bool {
        let (turn, ..) = self.turn();
        turn == expected && self.abandoned.contains(&expected) && rid >= expected + REACH
    }

    /// What holds whenever there is nothing to do.
    pub(super) fn check(&self) {
        let (missing, since, is_gapless) = self.turn();
        let mut held = 0;
        for Attempt { rid, at, .. } in
            self.attempts.iter().filter(|one| one.state == State::Arrived)
        {
            // Its turn came with the last that was missing, or after a wait for each that is.
            let is_sure = is_gapless && *rid < missing;
            let turn = if is_sure { since.max(*at) } else { *at + self.settings.retries * 5 };
            held += usize::from(*rid < missing);
            assert!(self.now <= turn + self.settings.wait, "{rid} is held for ever");
        }
        assert!(held <= 1, "{held} requests are held");
        if held == 1 {
            assert_eq!(self.handed_out, self.heard, "a stanza waits beside a request");
        }
    }

    /// What holds at the end.
    pub(super) fn judge(&self) {
        let mut read = self.browser.read.clone();
        assert!(read.is_sorted_by(|one, next| one < next), "out of order or doubled: {read:?}");
        read.extend(&self.perhaps_lost);
        read.sort_unstable();
        read.dedup();
        let is_whole = self.is_over || read.into_iter().eq(1..=self.heard);
        assert!(is_whole, "lost: {:?}", self.browser.read);

        let punctual = self.sent_upstream.iter().filter(|number| !self.late.contains(number));
        let sent = &self.sent_upstream;
        assert!(punctual.is_sorted_by(|one, next| one < next), "out of order upstream: {sent:?}");
        let sent: BTreeSet<u64> = sent.iter().copied().collect();
        assert_eq!(sent.len(), self.sent_upstream.len(), "doubled: {:?}", self.sent_upstream);
        let missing = (1..=self.said)
            .filter(|number| !sent.contains(number) && !self.given_up.contains(number));
        let missing: Vec<u64> = missing.collect();
        assert!(self.is_over || missing.is_empty(), "{missing:?} lost: {:?}", self.sent_upstream);
    }
}

//! How many requests a browser makes, and how often: too many end its session (XEP-0124 §11, §12).

use std::time::Instant;

use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::body::Kind;
use crate::protocol::bosh::end::End;
use crate::protocol::bosh::recent::Recent;
use crate::protocol::bosh::terms::Terms;
use crate::protocol::bosh::window::Rid;

/// The last new request of a browser; repetitions are none.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Last>,
    /// How many in a row were polls while another request was held, and came too soon.
    hasty: u8,
    /// Whether there was ever a poll behind the login.
    has_polled: bool,
}

#[derive(Debug)]
struct Last {
    rid: Rid,
    at: Instant,
    is_poll: bool,
}

impl Pace {
    /// Takes note of a new request with which so many are `unanswered`, itself among them, and their connections open.
    ///
    /// # Errors
    /// Why the session ends for it. A request that pauses or ends the session may always come.
    pub(super) fn note(
        &mut self,
        body: &Body,
        unanswered: usize,
        now: Instant,
        (terms, recent): (&Terms, &Recent),
    ) -> Result<(), End> {
        let last = Last { rid: body.rid, at: now, is_poll: body.is_poll() };
        let before = self.last.replace(last);
        if body.pause.is_some() || body.kind == Kind::Terminate {
            return Ok(());
        }
        // What a page left behind that was reloaded counts, too, where nobody told us that its connections broke.
        if unanswered > terms.requests.saturating_mul(2) {
            return Err(End::TooManyRequests);
        }
        let (Some(before), Some(polling)) = (before, terms.polling) else { return Ok(()) };
        let is_soon = body.is_poll() && now.saturating_duration_since(before.at) < polling;
        let is_in_vain = if terms.hold == 0 {
            is_soon && before.is_poll && recent.has_answered_with_nothing(before.rid)
        } else {
            self.count_haste(is_soon && unanswered == terms.requests)
        };
        if is_in_vain { Err(End::PolledTooOften) } else { Ok(()) }
    }

    /// Takes note of a poll behind the login: whether the browser asks for more when it has nothing to say. Strophe and stanza do
    /// not before they are signed in.
    pub(super) fn has_polled(&mut self, polls: bool) -> bool {
        self.has_polled |= polls;
        self.has_polled
    }

    /// Whether a browser whose requests are held has polled too soon too often in a row.
    fn count_haste(&mut self, is_hasty: bool) -> bool {
        self.hasty = if is_hasty { self.hasty.saturating_add(1) } else { 0 };
        self.hasty > TOLERATED
    }
}

/// A page that is reloaded behind a proxy which keeps its old request open, and a tab that was copied, look for a moment like
/// a browser that does not wait: each load is one such poll, and nothing in it says which of the two it is. A load of Converse.js
/// takes half a second at least, so that 20 in a row are ten seconds of nothing else; one word, one pause of `polling` between
/// two, or one request whose connection is seen to break, and it is counted from the start. Who does not wait polls with each
/// round trip, or each tenth of a second (Strophe's timer), and is ended within two seconds or two more. Until then it has
/// cost 21 requests with nothing in them; the session that it begins instead costs five, and a login upstream.
const TOLERATED: u8 = 20;

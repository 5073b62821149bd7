//! Whether the browser is still there: how long it may have no request here (XEP-0124 §10).
//!
//! A tab that nobody looks at is slow, not gone: Chromium runs its timers once a minute, and the next request is often sent
//! by one. How long a browser has been away is therefore remembered, and the next time it may be away for twice as long.

use std::time::Duration;
use std::time::Instant;

use crate::protocol::bosh::end::End;
use crate::protocol::bosh::overtaking::STILL;
use crate::protocol::bosh::settings::Settings;

/// When the browser was last seen, and until when it may stay away.
#[derive(Debug)]
pub(super) struct Presence {
    /// When it last had a request here.
    last: Instant,
    /// How long it may have none.
    limit: Duration,
    /// What is waited for.
    awaited: Awaited,
    /// How long it has been away lately; what was long ago counts for less.
    cadence: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Its first request.
    First,
    /// Its next one.
    Next,
    /// The one that ends the pause it asked for.
    AfterPause,
}

impl Presence {
    /// Of a browser that has yet to come.
    pub(super) fn expected(settings: &Settings, now: Instant) -> Self {
        Self { last: now, limit: settings.attach, awaited: Awaited::First, cadence: Duration::ZERO }
    }

    /// A request is here; a pause that was asked for before is over.
    ///
    /// From now on the browser may be away for `inactivity`, as it was told, and if it is slow for longer, up to `longest`.
    pub(super) fn seen(&mut self, inactivity: Duration, longest: Duration, now: Instant) {
        let away = match self.awaited {
            Awaited::Next => now.saturating_duration_since(self.last),
            Awaited::First | Awaited::AfterPause => Duration::ZERO,
        };
        self.cadence = away.max(self.cadence / 8 * 7);
        self.limit = self.cadence.saturating_mul(2).min(longest).max(inactivity);
        self.last = now;
        self.awaited = Awaited::Next;
    }

    /// Whether it has been away lately for longer than one that somebody looks at.
    pub(super) fn is_slow(&self) -> bool {
        self.cadence > STILL
    }

    /// It is still here.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.last = now;
    }

    /// It asks to stay away for so long, once.
    pub(super) fn pause(&mut self, pause: Duration) {
        self.limit = pause;
        self.awaited = Awaited::AfterPause;
    }

    /// When it will have been away for too long.
    pub(super) fn end(&self) -> Instant {
        self.last + self.limit
    }

    /// Why the session ends then.
    pub(super) fn absence(&self) -> End {
        match self.awaited {
            Awaited::First => End::NeverAttached,
            Awaited::Next | Awaited::AfterPause => End::Inactive,
        }
    }
}

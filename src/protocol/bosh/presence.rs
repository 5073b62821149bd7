//! Whether the browser is still there: how long it may have no request here (XEP-0124 §10).

use std::time::Duration;
use std::time::Instant;

use crate::protocol::bosh::end::End;
use crate::protocol::bosh::settings::Settings;

/// When the browser was last seen, and until when it may stay away.
#[derive(Debug)]
pub(super) struct Presence {
    /// When it last had a request here.
    last: Instant,
    /// How long it may have none.
    limit: Duration,
    /// What it is if it has none for longer.
    absence: End,
}

impl Presence {
    /// Of a browser that has yet to come.
    pub(super) fn expected(settings: &Settings, now: Instant) -> Self {
        Self { last: now, limit: settings.attach, absence: End::NeverAttached }
    }

    /// Of a browser that is here now; a pause that it asked for before is over.
    pub(super) fn seen(settings: &Settings, now: Instant) -> Self {
        Self { last: now, limit: settings.inactivity, absence: End::Inactive }
    }

    /// It is still here.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.last = now;
    }

    /// It asks to stay away for so long, once.
    pub(super) fn pause(&mut self, pause: Duration) {
        self.limit = pause;
    }

    /// When it will have been away for too long.
    pub(super) fn end(&self) -> Instant {
        self.last + self.limit
    }

    /// Why the session ends then.
    pub(super) fn absence(&self) -> End {
        self.absence.clone()
    }
}

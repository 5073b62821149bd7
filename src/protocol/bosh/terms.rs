//! What browser and session agree on when a session begins (XEP-0124 §7, §12).

use std::time::Duration;

use crate::protocol::bosh::settings::Settings;
use crate::protocol::bosh::window::REACH;
use crate::protocol::bosh::wishes::Wishes;

/// The terms of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    /// Longest time a request is held.
    pub(super) wait: Duration,
    /// How many requests are held at once: one, or none for a browser that polls.
    pub(super) hold: usize,
    /// How many requests the browser may have unanswered.
    pub(super) requests: usize,
    /// The least time between two empty requests, for a browser that was told one.
    pub(super) polling: Option<Duration>,
    /// Longest time the browser may have no request here.
    pub(super) inactivity: Duration,
    /// The longest pause that it may ask for.
    pub(super) pause: Duration,
    /// Whether it is told of the end of the session by a status of HTTP where there is one for it (§17.1).
    pub(super) is_legacy: bool,
}

impl Terms {
    /// The terms of a session whose browser has not been asked and is told nothing.
    pub(super) fn prebound(settings: &Settings) -> Self {
        Self {
            wait: settings.wait,
            hold: HOLD,
            // What Strophe goes by when nobody tells it.
            requests: usize::try_from(REACH).unwrap_or(usize::MAX),
            polling: None,
            inactivity: settings.inactivity,
            pause: settings.pause,
            is_legacy: false,
        }
    }

    /// What becomes of the wishes in a browser's first request.
    pub(super) fn agree(settings: &Settings, wishes: &Wishes) -> Self {
        let wait = wishes.wait.map_or(settings.wait, |wait| wait.min(settings.wait));
        let asked = wishes.hold.map_or(HOLD, usize::from);
        let polls = wait.is_zero() || asked == 0;
        // A session that polls has no request here most of the time: it may be away for longer (XEP-0124 §12).
        let inactivity = settings.inactivity * if polls { 2 } else { 1 };
        let polling = Duration::from_secs(settings.polling.as_secs());
        // More than the browser wants to be held (§7.2), as far as the window reaches.
        let prebound = Self::prebound(settings);
        Self {
            wait,
            hold: if polls { 0 } else { asked.min(HOLD) },
            requests: (asked + 1).min(prebound.requests),
            polling: (!polling.is_zero()).then_some(polling),
            inactivity,
            is_legacy: wishes.version.is_none(),
            ..prebound
        }
    }
}

// One held request is enough, and every further one is a connection more (XEP-0124 §7.1 recommends one).
const HOLD: usize = 1;

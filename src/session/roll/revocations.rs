//! Whom a site has signed out a moment ago: an answer that it was asked for before says nothing any more.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::session::roll::Whom;

/// The last revocations, each by the site and by whom it names.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    at: HashMap<(String, Whom), Instant>,
    /// Those that are not remembered one by one are none later than this: whoever was asked about before is asked about anew.
    forgotten: Option<Instant>,
}

impl Revocations {
    /// Remembers one of `now`.
    pub(super) fn add(&mut self, site: &str, whom: &Whom, now: Instant) {
        let (is_old, mut forgotten) = (|at: Instant| now.duration_since(at) > KEPT, self.forgotten);
        self.at.retain(|_, &mut at| {
            if is_old(at) {
                forgotten = forgotten.max(Some(at));
            }
            !is_old(at)
        });
        self.forgotten = forgotten;
        if self.at.len() >= MOST {
            self.at.clear();
            self.forgotten = Some(now);
        }
        self.at.insert((site.to_owned(), whom.clone()), now);
    }

    /// Whether any of these may have been revoked since the site was asked, which was no earlier than `asked`.
    pub(super) fn any_since(
        &self,
        asked: Instant,
        site: &str,
        whom: impl IntoIterator<Item = Whom>,
    ) -> bool {
        let is_since = |at: &Instant| *at >= asked;
        self.forgotten.as_ref().is_some_and(is_since)
            || whom
                .into_iter()
                .any(|whom| self.at.get(&(site.to_owned(), whom)).is_some_and(is_since))
    }
}

/// Longer than a question to a site and a sign-in take.
const KEPT: Duration = Duration::from_secs(60);
/// More within a minute cost every visitor a question.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: usize) -> [Whom; 1] {
        [Whom::Session(id.to_string())]
    }

    #[test]
    fn who_was_asked_about_before_the_revocation_is_out_of_date() {
        let (mut revocations, now) = (Revocations::default(), Instant::now());
        let second = Duration::from_secs(1);
        revocations.add("a.example", &session(1)[0], now);

        assert!(revocations.any_since(now, "a.example", session(1)));
        assert!(!revocations.any_since(now + second, "a.example", session(1)));
        assert!(!revocations.any_since(now, "a.example", session(2)));
        assert!(!revocations.any_since(now, "b.example", session(1)));
    }

    #[test]
    fn what_is_no_longer_remembered_one_by_one_makes_everybody_of_before_out_of_date() {
        let (mut revocations, now) = (Revocations::default(), Instant::now());
        let later = now + KEPT * 2;
        revocations.add("a.example", &session(1)[0], now);
        revocations.add("a.example", &session(2)[0], later);
        assert_eq!(revocations.at.len(), 1);
        assert!(revocations.any_since(now, "b.example", session(3)));
        assert!(!revocations.any_since(later, "a.example", session(1)));

        for id in 0..=MOST {
            revocations.add("a.example", &session(id)[0], later);
        }

        assert!(revocations.at.len() <= MOST);
        assert!(revocations.any_since(later, "b.example", session(MOST + 1)));
    }
}

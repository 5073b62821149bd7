//! What the log is told of that strangers can cause at will: once in a while, and of how many it was not told.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

/// When the log was last told of one thing, and how often that has happened since.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Told>);

/// The same of one thing at each of several sites.
#[derive(Debug, Default)]
pub struct Throttles(Mutex<HashMap<String, Told>>);

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    untold: u64,
}

impl Throttle {
    /// Whether the log is to be told, and then how often it was not told since it last was.
    pub fn tell(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tell()
    }
}

impl Throttles {
    /// The same of what happened at this site.
    pub fn tell(&self, site: &str) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(site) {
            // A site that the configuration has no more leaves nothing behind.
            all.retain(|_, told| told.is_quiet());
        }
        all.entry(site.to_owned()).or_default().tell()
    }
}

impl Told {
    fn tell(&mut self) -> Option<u64> {
        if self.is_quiet() {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.at = Some(Instant::now());
        Some(std::mem::take(&mut self.untold))
    }

    fn is_quiet(&self) -> bool {
        self.at.is_some_and(|at| at.elapsed() < QUIET)
    }
}

/// How long the log is left alone after it was told.
const QUIET: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn log_is_told_now_and_then_and_of_how_many_it_was_not() {
        let throttle = Throttle::default();

        let told: Vec<_> = (0..5).map(|_| throttle.tell()).collect();
        advance(QUIET).await;

        assert_eq!(told, [Some(0), None, None, None, None]);
        assert_eq!(throttle.tell(), Some(4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_at_one_site_keeps_nothing_of_another_from_the_log() {
        let throttles = Throttles::default();

        let told: Vec<_> =
            ["a", "a", "b", "a", "b"].iter().map(|site| throttles.tell(site)).collect();
        advance(QUIET).await;

        assert_eq!(told, [Some(0), None, Some(0), None, None]);
        assert_eq!((throttles.tell("a"), throttles.tell("b")), (Some(2), Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn sites_that_are_no_more_leave_nothing_behind() {
        let throttles = Throttles::default();
        for number in 0..100 {
            throttles.tell(&format!("{number}"));
        }
        advance(QUIET).await;

        throttles.tell("another");

        assert_eq!(throttles.0.lock().unwrap().len(), 1);
    }
}

//! Floods: frames that cost us something and help nobody are bounded by what else the browser does, and by time.

use std::time::Duration;
use std::time::Instant;

use crate::protocol::http2::code::Code;

/// How much more of no use a browser may ask for.
///
/// What is useful may earn: an answer that is read. So does time, so that a connection may last for days with a PING now and
/// then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calm {
    left: u32,
    /// How long it takes to earn one.
    earning: Duration,
    /// Since when time has earned nothing.
    since: Option<Instant>,
}

impl Calm {
    /// Nothing is asked for yet; one is earned in each `earning`.
    pub(super) fn new(earning: Duration) -> Self {
        Self { left: MOST, earning, since: None }
    }

    /// The browser asks for something that costs so much.
    ///
    /// # Errors
    /// [`Code::EnhanceYourCalm`] where that is too much.
    pub(super) fn spend(&mut self, cost: u32, now: Instant) -> Result<(), Code> {
        let since = *self.since.get_or_insert(now);
        let earned =
            now.saturating_duration_since(since).as_nanos() / self.earning.as_nanos().max(1);
        if earned > 0 {
            self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
            self.since = Some(now);
        }
        self.left = self.left.checked_sub(cost).ok_or(Code::EnhanceYourCalm)?;
        Ok(())
    }

    /// Something useful is done.
    pub(super) fn earn(&mut self, worth: u32) {
        self.left = self.left.saturating_add(worth).min(MOST);
    }
}

/// What may be asked for at once.
const MOST: u32 = 1000;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_at_once_is_refused_and_time_and_use_earn_it_back() {
        const EARNING: Duration = Duration::from_millis(20);
        let (mut calm, now) = (Calm::new(EARNING), Instant::now());

        for _ in 0..MOST {
            calm.spend(1, now).unwrap();
        }
        assert_eq!(calm.spend(1, now), Err(Code::EnhanceYourCalm));
        calm.earn(1);
        assert_eq!(calm.spend(1, now), Ok(()));
        let later = now + 3 * EARNING;
        assert_eq!(calm.spend(3, later), Ok(()));
        assert_eq!(calm.spend(1, later), Err(Code::EnhanceYourCalm));
    }
}

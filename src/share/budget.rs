//! Bytes that are held of what is still arriving: in all, and of one address.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use crate::share::Share;
use crate::share::Shares;
use crate::share::network;

/// So many bytes at once, of which one address has an eighth.
#[derive(Debug)]
pub struct Budget {
    blocks: Semaphore,
    by_address: Arc<Shares<IpAddr>>,
}

/// What one holds; it is given back when this is dropped.
#[derive(Debug)]
#[must_use = "it is given back when this is dropped"]
pub struct Held<'a> {
    budget: &'a Budget,
    of: Option<IpAddr>,
    blocks: Vec<(SemaphorePermit<'a>, Option<Share<IpAddr>>)>,
}

impl Budget {
    /// `bytes` in all.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let blocks = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(BLOCK);
        let of_one = NonZeroUsize::new(blocks / SHARE).unwrap_or(NonZeroUsize::MIN);
        Self {
            blocks: Semaphore::new(blocks.min(Semaphore::MAX_PERMITS)),
            by_address: Arc::new(Shares::new(of_one.get())),
        }
    }

    /// Nothing yet, for somebody at `address`.
    pub fn hold(&self, address: IpAddr) -> Held<'_> {
        Held { budget: self, of: network(address), blocks: Vec::new() }
    }
}

impl Held<'_> {
    /// Holds `bytes` in all from now on; whether there was room for them.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        while self.blocks.len() < bytes.div_ceil(BLOCK) {
            let Ok(permit) = self.budget.blocks.try_acquire() else { return false };
            let share = match self.of {
                Some(of) => {
                    let Some(share) = self.budget.by_address.take(of) else { return false };
                    Some(share)
                }
                None => None,
            };
            self.blocks.push((permit, share));
        }
        true
    }
}

/// What is counted as one.
const BLOCK: usize = 16 * 1024;
/// How many addresses it takes to hold all.
const SHARE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_an_eighth_and_all_have_no_more_than_there_is() {
        let budget = Budget::new(16 * BLOCK as u64);
        let hold = |last: u8| budget.hold(IpAddr::from([192, 0, 2, last]));
        let mut first = hold(1);

        assert!(first.grow_to(1) && first.grow_to(2 * BLOCK));
        assert!(!hold(1).grow_to(1));
        let others: Vec<_> = (2..=8).map(hold).collect();
        let mut others = others.into_iter().map(|mut held| (held.grow_to(2 * BLOCK), held));
        let others: Vec<_> = others.by_ref().collect();
        assert!(others.iter().all(|(fits, _)| *fits));
        assert!(!hold(9).grow_to(1));
        drop(first);
        assert!(hold(9).grow_to(1));
    }
}

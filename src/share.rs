//! What one address may take: places held at once, and events a minute. The bounds before anybody is signed in.

pub mod budget;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// What counts as one address: that of IPv4, or the 64 bits that a household has of IPv6.
///
/// None for our own machine: there a reverse proxy stands for everybody, as long as its word is not believed.
#[must_use]
pub fn network(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        own if own.is_loopback() => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))))
        }
    }
}

/// How many places each of many has at once; `K` is mostly a [`network`].
#[derive(Debug)]
pub struct Shares<K: Hash + Eq> {
    /// Never 0.
    taken: Mutex<HashMap<K, usize>>,
    most: usize,
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct Share<K: Hash + Eq> {
    of: K,
    shares: Arc<Shares<K>>,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// Each may have `most` places at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { taken: Mutex::new(HashMap::new()), most }
    }

    /// Takes a place for `of`; none where it has as many as it may.
    pub fn take(self: &Arc<Self>, of: K) -> Option<Share<K>> {
        let mut taken = self.lock();
        let places = taken.get(&of).copied().unwrap_or_default();
        if places >= self.most {
            return None;
        }
        taken.insert(of.clone(), places + 1);
        drop(taken);
        Some(Share { of, shares: Arc::clone(self) })
    }

    /// Whether [`take`](Self::take) would find a place just now.
    #[must_use]
    pub fn has_room(&self, of: &K) -> bool {
        self.lock().get(of).copied().unwrap_or_default() < self.most
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        // Nothing that can panic is done under the lock, so the map is whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = taken.get_mut(&self.of) {
            *places -= 1;
            if *places == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

/// How often each network may do something: so many times at once, and as often again each minute.
///
/// Each has a bucket that is full at first and fills evenly; one that is full again is forgotten. There are never more
/// than [`NETWORKS`] of them: beyond that a new one shares a common bucket with every other new one.
#[derive(Debug)]
pub struct Rates {
    buckets: Mutex<Buckets>,
    a_minute: NonZeroU32,
}

#[derive(Debug, Default)]
struct Buckets {
    of: HashMap<IpAddr, Bucket>,
    /// When those that were full were last forgotten.
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    /// `a_minute` times each.
    #[must_use]
    pub fn new(a_minute: NonZeroU32) -> Self {
        Self { buckets: Mutex::default(), a_minute }
    }

    /// Whether `address` may do it once more, `now`; it has then done so. Our own machine always may.
    #[must_use]
    pub fn allow(&self, address: IpAddr, now: Instant) -> bool {
        let Some(network) = network(address) else { return true };
        let full = f64::from(self.a_minute.get());
        let filled = |bucket: Bucket| {
            let since = now.saturating_duration_since(bucket.at);
            (bucket.left + full * since.as_secs_f64() / MINUTE.as_secs_f64()).min(full)
        };
        // Nothing that can panic is done under the lock, so the map is whole.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = buckets.of.contains_key(&network);
        // A sweep looks at all of them, so it is not for everybody to begin one.
        let is_swept = |at: Instant| now.saturating_duration_since(at) < SWEEP;
        if !known && buckets.of.len() >= NETWORKS && !buckets.swept.is_some_and(is_swept) {
            buckets.of.retain(|_, bucket| filled(*bucket) < full);
            buckets.swept = Some(now);
        }
        let key = if known || buckets.of.len() < NETWORKS { network } else { COMMON };
        let bucket = buckets.of.entry(key).or_insert(Bucket { left: full, at: now });
        let left = filled(*bucket);
        let allowed = left >= 1.0;
        *bucket = Bucket { left: if allowed { left - 1.0 } else { left }, at: now };
        allowed
    }
}

/// How many networks are told apart, about 6 MiB of them.
pub const NETWORKS: usize = 65_536;
/// How long the table stays full before it is swept again.
const SWEEP: Duration = Duration::from_secs(1);
/// Stands for all that are not told apart.
const COMMON: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn place_is_free_again_when_it_is_let_go() {
        let shares = Arc::new(Shares::new(1));

        let first = shares.take("bob").unwrap();
        assert!(shares.take("bob").is_none());
        assert!(!shares.has_room(&"bob"));
        assert!(shares.take("alice").is_some());
        drop(first);

        assert!(shares.has_room(&"bob"));
        assert!(shares.lock().is_empty());
    }

    #[test]
    fn one_network_is_an_address_of_ipv4_or_64_bits_of_ipv6() {
        assert_eq!(network(address("192.0.2.7")), network(address("::ffff:192.0.2.7")));
        assert_ne!(network(address("192.0.2.7")), network(address("192.0.2.8")));
        assert_eq!(network(address("2001:db8:0:1::7")), network(address("2001:db8:0:1:f::8")));
        assert_ne!(network(address("2001:db8:0:1::7")), network(address("2001:db8:0:2::7")));
        assert_eq!(network(address("127.0.0.1")), None);
        assert_eq!(network(address("::1")), None);
    }

    #[test]
    fn who_has_had_a_minute_s_worth_waits_for_the_next() {
        let rates = Rates::new(NonZeroU32::new(2).unwrap());
        let (one, other, start) = (address("192.0.2.7"), address("192.0.2.8"), Instant::now());

        assert!(rates.allow(one, start) && rates.allow(one, start));
        assert!(!rates.allow(one, start));
        assert!(rates.allow(other, start));
        assert!(!rates.allow(one, start + Duration::from_secs(29)));
        assert!(rates.allow(one, start + Duration::from_secs(31)));
        assert!(!rates.allow(one, start + Duration::from_secs(31)));
        assert!(rates.allow(address("::1"), start) && rates.allow(address("::1"), start));
    }

    #[test]
    fn table_of_networks_is_bounded() {
        let rates = Rates::new(NonZeroU32::MIN);
        let start = Instant::now();
        let nth = |n: usize| IpAddr::V6(Ipv6Addr::from_bits((1 + n as u128) << 64));
        for n in 0..NETWORKS {
            assert!(rates.allow(nth(n), start));
        }

        assert!(rates.allow(nth(NETWORKS), start), "a bucket for all others");
        assert!(!rates.allow(nth(NETWORKS + 1), start));
        assert!(rates.buckets.lock().unwrap().of.len() <= NETWORKS + 1);

        let later = start + Duration::from_secs(61);
        assert!(rates.allow(nth(NETWORKS + 1), later), "those that are full again are forgotten");
        assert!(rates.buckets.lock().unwrap().of.len() < 4);
    }
}

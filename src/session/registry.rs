//! The BOSH sessions by their sid, and who may use them.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::share::network;
use crate::visitor::Visitor;

/// The name of a session: 144 random bits, for in a session without a cookie it is all that a browser shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sid(String);

impl Sid {
    fn random() -> Result<Self, Error> {
        let mut bytes = [0; 18];
        rand::fill(&mut bytes).map_err(|_| Error::Random)?;
        Ok(Self(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// As it stands in a body.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose a session or a request is.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The name of the site.
    pub site: String,
    /// Who; none for somebody who may not enter and is to be told so.
    pub visitor: Option<Visitor>,
    /// Whether a cookie says so. Where neither the session nor the request has one, the sid alone decides.
    pub proven: bool,
}

impl Owner {
    /// Whether a request of `other` may use a session that is this one's.
    fn admits(&self, other: &Self) -> bool {
        let bare = !self.proven && !other.proven;
        self.site == other.site && (self.visitor == other.visitor || bare)
    }
}

/// Why there is no room for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// There are as many as there may be.
    #[error("there are {0} sessions, which is the most")]
    Full(usize),
    /// The guests of this address have as many as they may.
    #[error("guests of this address have {0} sessions, which is the most")]
    TooManyGuests(usize),
    /// This machine has no random bytes.
    #[error("no random bytes")]
    Random,
}

/// All BOSH sessions; `M` is what their mailboxes take.
#[derive(Debug)]
pub struct Registry<M> {
    sessions: Mutex<Sessions<M>>,
    most: Most,
}

/// How many sessions there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// In all.
    pub sessions: usize,
    /// Of guests from one IPv4 address, or one /64 of IPv6.
    pub guests: usize,
}

#[derive(Debug)]
struct Sessions<M> {
    by_sid: HashMap<Sid, Entry<M>>,
    /// How many are of guests, by the network that they are in; never 0.
    guests: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Entry<M> {
    owner: Owner,
    mailbox: mpsc::Sender<M>,
    /// Where the guest is that it was made for.
    network: Option<IpAddr>,
}

/// A session's place in the registry; it is free again when this is dropped, however the session ended.
#[derive(Debug)]
pub struct Place<M> {
    sid: Sid,
    registry: Arc<Registry<M>>,
}

impl<M> Registry<M> {
    /// A registry with room for so many.
    #[must_use]
    pub fn new(most: Most) -> Self {
        let sessions = Sessions { by_sid: HashMap::new(), guests: HashMap::new() };
        Self { sessions: Mutex::new(sessions), most }
    }

    /// Whether there is room for one more; `guest` is the address of somebody who is surely no member.
    ///
    /// # Errors
    /// When there is none.
    pub fn check_room(&self, guest: Option<IpAddr>) -> Result<(), Error> {
        self.lock().check_room(guest.and_then(network), self.most)
    }

    /// Takes a place for a session of `owner`, who is at `address`; what is posted to it arrives at the receiver.
    ///
    /// # Errors
    /// When there is no room.
    pub fn enter(
        self: &Arc<Self>,
        owner: Owner,
        address: IpAddr,
    ) -> Result<(Place<M>, mpsc::Receiver<M>), Error> {
        let sid = Sid::random()?;
        let (mailbox, posts) = mpsc::channel(MAILBOX);
        // Proven or not: a guest's cookie is to be had for the asking.
        let network = match owner.visitor {
            Some(Visitor::Member(_)) => None,
            Some(Visitor::Guest(_)) | None => network(address),
        };
        let mut sessions = self.lock();
        sessions.check_room(network, self.most)?;
        if let Some(network) = network {
            *sessions.guests.entry(network).or_default() += 1;
        }
        sessions.by_sid.insert(sid.clone(), Entry { owner, mailbox, network });
        drop(sessions);
        Ok((Place { sid, registry: Arc::clone(self) }, posts))
    }

    /// The mailbox of a session, for its owner alone: another one gets what an unknown sid gets.
    #[must_use]
    pub fn find(&self, sid: &str, who: &Owner) -> Option<mpsc::Sender<M>> {
        let mut sessions = self.lock();
        let entry = sessions.by_sid.get_mut(&Sid(sid.to_owned()));
        let entry = entry.filter(|entry| entry.owner.admits(who))?;
        // Whoever has once shown the cookie has to show it from then on.
        entry.owner.proven |= who.proven && entry.owner.visitor == who.visitor;
        Some(entry.mailbox.clone())
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().by_sid.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Sessions<M>> {
        // Nothing that can panic is done under the lock, so the map is whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M> Sessions<M> {
    fn check_room(&self, guest: Option<IpAddr>, most: Most) -> Result<(), Error> {
        if self.by_sid.len() >= most.sessions {
            return Err(Error::Full(most.sessions));
        }
        let guests = guest.and_then(|network| self.guests.get(&network));
        if guests.is_some_and(|guests| *guests >= most.guests) {
            return Err(Error::TooManyGuests(most.guests));
        }
        Ok(())
    }

    fn remove(&mut self, sid: &Sid) {
        let network = self.by_sid.remove(sid).and_then(|entry| entry.network);
        if let Some(network) = network
            && let Some(guests) = self.guests.get_mut(&network)
        {
            *guests -= 1;
            if *guests == 0 {
                self.guests.remove(&network);
            }
        }
    }
}

impl<M> Place<M> {
    /// The name of the session.
    #[must_use]
    pub fn sid(&self) -> &Sid {
        &self.sid
    }
}

impl<M> Drop for Place<M> {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.sid);
    }
}

/// Requests that wait to be taken in; a browser has two under way.
const MAILBOX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::jid::Localpart;
    use crate::visitor::Member;
    use crate::visitor::guest::Guest;

    fn member(name: &str) -> Owner {
        let localpart = Localpart::parse(name).unwrap();
        let member = Member { localpart, nick: None, groups: Vec::new(), session_id: None };
        Owner { site: "a.example".into(), visitor: Some(Visitor::Member(member)), proven: true }
    }

    fn new_guest() -> Owner {
        let guest = Visitor::Guest(Guest::new().unwrap());
        Owner { site: "a.example".into(), visitor: Some(guest), proven: false }
    }

    fn registry() -> Arc<Registry<()>> {
        Arc::new(Registry::new(Most { sessions: 2, guests: 1 }))
    }

    fn somewhere() -> IpAddr {
        "192.0.2.7".parse().unwrap()
    }

    #[test]
    fn session_is_found_by_its_owner_alone() {
        let registry = registry();
        let (place, _posts) = registry.enter(member("bob"), somewhere()).unwrap();
        let sid = place.sid().as_str();

        assert!(registry.find(sid, &member("bob")).is_some());
        assert!(registry.find(sid, &member("alice")).is_none());
        assert!(registry.find(sid, &new_guest()).is_none());
        assert!(registry.find(sid, &Owner { site: "b.example".into(), ..member("bob") }).is_none());
        assert!(registry.find("another", &member("bob")).is_none());
    }

    #[test]
    fn sid_is_enough_only_where_no_cookie_was_ever_shown() {
        let registry = registry();
        let guest = new_guest();
        let (place, _posts) = registry.enter(guest.clone(), somewhere()).unwrap();
        let sid = place.sid().as_str();
        assert!(registry.find(sid, &new_guest()).is_some());
        assert!(registry.find(sid, &member("bob")).is_none());

        assert!(registry.find(sid, &Owner { proven: true, ..guest }).is_some());

        assert!(registry.find(sid, &new_guest()).is_none());
    }

    #[test]
    fn place_is_free_again_when_the_session_is_gone() {
        let registry = registry();
        let (first, _posts) = registry.enter(member("bob"), somewhere()).unwrap();
        let (_second, _posts) = registry.enter(member("bob"), somewhere()).unwrap();
        assert_eq!(registry.enter(member("bob"), somewhere()).err(), Some(Error::Full(2)));

        drop(first);

        assert_eq!(registry.len(), 1);
        assert!(registry.enter(member("bob"), somewhere()).is_ok());
    }
    #[test]
    fn guests_of_one_network_do_not_take_all_places() {
        let registry = Arc::new(Registry::<()>::new(Most { sessions: 100, guests: 2 }));
        let enter = |owner, address: &str| registry.enter(owner, address.parse().unwrap());
        let many = Error::TooManyGuests(2);

        for [one, same, other] in [
            ["192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"],
            ["2001:db8:0:1::7", "2001:db8:0:1:f::8", "2001:db8:0:2::7"],
        ] {
            let first = enter(new_guest(), one).unwrap();
            // The cookie of a guest is no merit.
            let _second = enter(Owner { proven: true, ..new_guest() }, same).unwrap();

            assert_eq!(enter(new_guest(), one).err(), Some(many));
            assert_eq!(registry.check_room(Some(same.parse().unwrap())), Err(many));
            assert!(enter(new_guest(), other).is_ok());
            assert!(enter(member("bob"), one).is_ok());
            drop(first);
            assert!(enter(new_guest(), one).is_ok());
        }
        assert_eq!(registry.lock().guests, HashMap::new());
    }

    #[test]
    fn guests_behind_a_reverse_proxy_that_is_not_believed_are_not_counted() {
        let registry = Arc::new(Registry::<()>::new(Most { sessions: 100, guests: 1 }));
        let own = "127.0.0.1".parse().unwrap();

        let _first = registry.enter(new_guest(), own).unwrap();

        assert!(registry.enter(new_guest(), own).is_ok());
    }
}

//! The BOSH sessions by their sid, and who may use them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use thiserror::Error;
use tokio::sync::mpsc;

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
    /// This machine has no random bytes.
    #[error("no random bytes")]
    Random,
}

/// All BOSH sessions; `M` is what their mailboxes take.
#[derive(Debug)]
pub struct Registry<M> {
    sessions: Mutex<HashMap<Sid, Entry<M>>>,
    most: usize,
}

#[derive(Debug)]
struct Entry<M> {
    owner: Owner,
    mailbox: mpsc::Sender<M>,
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
    pub fn new(most: usize) -> Self {
        Self { sessions: Mutex::new(HashMap::new()), most }
    }

    /// Takes a place for a session of `owner`; what is posted to it arrives at the receiver.
    ///
    /// # Errors
    /// When there is no room.
    pub fn enter(self: &Arc<Self>, owner: Owner) -> Result<(Place<M>, mpsc::Receiver<M>), Error> {
        let sid = Sid::random()?;
        let (mailbox, posts) = mpsc::channel(MAILBOX);
        let mut sessions = self.lock();
        if sessions.len() >= self.most {
            return Err(Error::Full(self.most));
        }
        sessions.insert(sid.clone(), Entry { owner, mailbox });
        drop(sessions);
        Ok((Place { sid, registry: Arc::clone(self) }, posts))
    }

    /// The mailbox of a session, for its owner alone: another one gets what an unknown sid gets.
    #[must_use]
    pub fn find(&self, sid: &str, who: &Owner) -> Option<mpsc::Sender<M>> {
        let mut sessions = self.lock();
        let entry =
            sessions.get_mut(&Sid(sid.to_owned())).filter(|entry| entry.owner.admits(who))?;
        // Whoever has once shown the cookie has to show it from then on.
        entry.owner.proven |= who.proven && entry.owner.visitor == who.visitor;
        Some(entry.mailbox.clone())
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sid, Entry<M>>> {
        // Nothing that can panic is done under the lock, so the map is whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
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
        Arc::new(Registry::new(2))
    }

    #[test]
    fn session_is_found_by_its_owner_alone() {
        let registry = registry();
        let (place, _posts) = registry.enter(member("bob")).unwrap();
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
        let (place, _posts) = registry.enter(guest.clone()).unwrap();
        let sid = place.sid().as_str();
        assert!(registry.find(sid, &new_guest()).is_some());
        assert!(registry.find(sid, &member("bob")).is_none());

        assert!(registry.find(sid, &Owner { proven: true, ..guest }).is_some());

        assert!(registry.find(sid, &new_guest()).is_none());
    }

    #[test]
    fn place_is_free_again_when_the_session_is_gone() {
        let registry = registry();
        let (first, _posts) = registry.enter(member("bob")).unwrap();
        let (_second, _posts) = registry.enter(member("bob")).unwrap();
        assert_eq!(registry.enter(member("bob")).err(), Some(Error::Full(2)));

        drop(first);

        assert_eq!(registry.len(), 1);
        assert!(registry.enter(member("bob")).is_ok());
    }
}

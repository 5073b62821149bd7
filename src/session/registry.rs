//! The BOSH sessions by their sid, for their owners alone.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use aws_lc_rs::rand;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::session::mailbox::Mailbox;
use crate::session::mailbox::Posts;
use crate::session::mailbox::mailbox;
use crate::session::owner::Claim;
use crate::session::owner::Owner;
use crate::session::owner::Verdict;
use crate::session::roll::bell::Bell;

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

impl Borrow<str> for Sid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
    by_sid: Mutex<HashMap<Sid, Entry<M>>>,
    most: usize,
}

#[derive(Debug)]
struct Entry<M> {
    owner: Owner,
    mailbox: Mailbox<M>,
    bell: Arc<Bell>,
}

/// What is found under a sid.
#[derive(Debug)]
pub enum Found<M> {
    /// The mailbox of a session that the request may use.
    Mailbox(Mailbox<M>),
    /// None that it may use.
    Nothing,
    /// One whose owner is somebody else now, as far as the request tells; revoked by this, it ends.
    Outlived(Arc<Bell>),
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
        Self { by_sid: Mutex::default(), most }
    }

    /// Whether there is room for one more.
    ///
    /// # Errors
    /// When there is none.
    pub fn check_room(&self) -> Result<(), Error> {
        self.room_in(&self.lock())
    }

    /// Takes a place for a session of `owner` that `bell` calls; what is posted to it arrives at the
    /// receiver.
    ///
    /// # Errors
    /// When there is no room.
    pub fn enter(
        self: &Arc<Self>,
        owner: Owner,
        bell: Arc<Bell>,
    ) -> Result<(Place<M>, Posts<M>), Error> {
        let sid = Sid::random()?;
        let (mailbox, posts) = mailbox();
        let mut by_sid = self.lock();
        self.room_in(&by_sid)?;
        by_sid.insert(sid.clone(), Entry { owner, mailbox, bell });
        drop(by_sid);
        Ok((Place { sid, registry: Arc::clone(self) }, posts))
    }

    /// Whether there is such a session, whosoever it is.
    #[must_use]
    pub fn knows(&self, sid: &str) -> bool {
        self.lock().contains_key(sid)
    }

    /// The mailbox of a session, for its owner alone: another one gets what an unknown sid gets.
    #[must_use]
    pub fn find(&self, sid: &str, claim: &Claim, now: Instant) -> Found<M> {
        let mut by_sid = self.lock();
        let Some(entry) = by_sid.get_mut(sid) else { return Found::Nothing };
        match entry.owner.admit(claim, now) {
            Verdict::Admitted => Found::Mailbox(entry.mailbox.clone()),
            Verdict::Refused => Found::Nothing,
            Verdict::Outlived => Found::Outlived(entry.bell.clone()),
        }
    }

    /// The mailbox of a session for who shows its owner's cookies, while the site cannot say whose they are.
    #[must_use]
    pub fn find_unsaid(&self, sid: &str, claim: &Claim) -> Option<Mailbox<M>> {
        let by_sid = self.lock();
        let entry = by_sid.get(sid)?;
        entry.owner.admits_unsaid(claim).then(|| entry.mailbox.clone())
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

    fn room_in(&self, by_sid: &HashMap<Sid, Entry<M>>) -> Result<(), Error> {
        if by_sid.len() >= self.most { Err(Error::Full(self.most)) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sid, Entry<M>>> {
        // Nothing that can panic is done under the lock, so the map is whole.
        self.by_sid.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::jid::Localpart;
    use crate::session::owner::Name;
    use crate::visitor::Marks;

    fn claim(name: &str) -> Claim {
        let name = Some(Name::Member(Localpart::parse(name).unwrap()));
        let marks = Marks { cookies: Some([1; 32]), guest: None };
        Claim { site: "a.example".into(), name, proven: true, page: None, marks }
    }

    fn enter(registry: &Arc<Registry<()>>) -> Result<Place<()>, Error> {
        let owner = Owner::new(claim("bob"), Instant::now());
        registry.enter(owner, Arc::default()).map(|(place, _)| place)
    }

    #[test]
    fn session_is_found_by_its_owner_alone() {
        let registry = Arc::new(Registry::new(2));
        let place = enter(&registry).unwrap();
        let find = |sid, claim: &Claim| registry.find(sid, claim, Instant::now());
        let sid = place.sid().as_str();

        assert!(matches!(find(sid, &claim("bob")), Found::Mailbox(_)));
        let thief = Claim { marks: Marks::default(), ..claim("alice") };
        assert!(matches!(find(sid, &thief), Found::Nothing));
        assert!(matches!(find("another", &claim("bob")), Found::Nothing));
        assert!(registry.knows(sid) && !registry.knows("another"));
    }

    #[test]
    fn whose_cookie_names_another_has_the_end_of_the_session_in_hand() {
        let registry = Arc::new(Registry::<()>::new(2));
        let bell = Arc::<Bell>::default();
        let owner = Owner::new(claim("bob"), Instant::now());
        let (place, _posts) = registry.enter(owner, bell.clone()).unwrap();

        let found = registry.find(place.sid().as_str(), &claim("alice"), Instant::now());

        let Found::Outlived(token) = found else { panic!("{found:?}") };
        token.revoke();
        assert!(bell.is_revoked());
    }

    #[test]
    fn place_is_free_again_when_the_session_is_gone() {
        let registry = Arc::new(Registry::<()>::new(2));
        let first = enter(&registry).unwrap();
        let _second = enter(&registry).unwrap();
        assert_eq!(enter(&registry).err(), Some(Error::Full(2)));
        assert_eq!(registry.check_room(), Err(Error::Full(2)));

        drop(first);

        assert_eq!(registry.len(), 1);
        assert!(enter(&registry).is_ok());
    }
}

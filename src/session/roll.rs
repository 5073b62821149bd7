//! Who is here, over both transports: how many sessions a visitor and an address may have, and how a visitor's are ended.

pub mod bell;
mod resources;
mod revocations;

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use serde::Deserialize;
use thiserror::Error;

use crate::metrics::Metrics;
use crate::metrics::bound::Bound;
use crate::metrics::label::Kind;
use crate::session::owner::Name;
use crate::session::roll::bell::Bell;
use crate::session::roll::bell::Keeper;
use crate::session::roll::bell::Presence;
use crate::session::roll::bell::Question;
use crate::session::roll::revocations::Revocations;
use crate::share::Rates;
use crate::share::Share;
use crate::share::Shares;
use crate::share::network;
use crate::visitor::Marks;
use crate::visitor::Visitor;
use crate::visitor::guest;

/// `[sessions]` of proxy.toml.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Sessions that one visitor may have at once, over both transports: tabs, and pages that were left a moment ago.
    pub per_visitor: NonZeroUsize,
    /// How often a browser may fail to sign in on one stream; with the next failure it ends.
    pub failed_sign_ins: NonZeroU8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { per_visitor: PER_VISITOR, failed_sign_ins: FAILED_SIGN_INS }
    }
}

/// Everybody who has a session, or is being signed in for one.
#[derive(Debug)]
pub struct Roll {
    per_visitor: NonZeroUsize,
    failed_sign_ins: NonZeroU8,
    present: Mutex<Present>,
    guests: Arc<Shares<IpAddr>>,
    guest_sign_ins: Rates,
    metrics: Arc<Metrics>,
}

/// Who enters.
#[derive(Clone, Copy, Debug)]
pub struct Entrance<'a> {
    /// The identity of the site.
    pub site: &'a str,
    /// None for somebody who may not enter and is to be told so.
    pub visitor: Option<&'a Visitor>,
    /// By what the browser is known again.
    pub marks: &'a Marks,
    /// Since when at least the site has said so: who was revoked after that has a stay that is revoked from the first.
    pub asked: tokio::time::Instant,
    /// Where the browser is.
    pub address: IpAddr,
}

/// Why somebody may not enter just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Full {
    /// The visitor has as many sessions as one may.
    #[error("this visitor has {0} sessions, which is the most")]
    Visitor(NonZeroUsize),
    /// The guests of this address have as many as they may.
    #[error("the guests of this address have as many sessions as they may")]
    Address,
    /// Guests of this address were signed in too often within a minute.
    #[error("guests of this address come too often")]
    SignIns,
}

/// A visitor's stay, from before the sign-in to the end of the session: held by whoever works for it, last by its task.
#[derive(Debug)]
#[must_use = "the visitor has left when this is dropped"]
pub struct Stay {
    roll: Arc<Roll>,
    kind: Kind,
    /// None for somebody whom nobody could name.
    visitor: Option<Arc<Who>>,
    number: u64,
    bell: Arc<Bell>,
    /// Its place among the guests of the address.
    _share: Option<Share<IpAddr>>,
}

/// Whose sessions are to end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// Everybody's who has this name.
    Named(Name),
    /// Those of the session at the site that it calls by this.
    Session(String),
}

/// What was ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many sessions.
    pub sessions: usize,
    /// The hashes of the cookies that they began with: what is remembered of these is out of date.
    pub cookies: Vec<[u8; 32]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Who {
    site: String,
    name: Name,
}

#[derive(Debug, Default)]
struct Present {
    /// No list is empty.
    by_visitor: HashMap<Arc<Who>, Vec<Entry>>,
    /// Who has sessions that began with these cookies; no list is empty, and few have two.
    by_cookies: HashMap<[u8; 32], Vec<Arc<Who>>>,
    next: u64,
    revocations: Revocations,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// The site's own name for its session.
    session_id: Option<String>,
    cookies: Option<[u8; 32]>,
    bell: Arc<Bell>,
    /// By what its browser knows its stream, where that can go on over another socket (XEP-0198 §5), and who keeps it.
    stream: Option<(Box<str>, Keeper)>,
    /// What it is bound to, where it chose that itself.
    resource: Option<Box<str>>,
}

impl Roll {
    /// Nobody is here yet.
    #[must_use]
    pub fn new(settings: &Settings, guests: &guest::Settings, metrics: Arc<Metrics>) -> Self {
        Self {
            per_visitor: settings.per_visitor,
            failed_sign_ins: settings.failed_sign_ins,
            present: Mutex::default(),
            guests: Arc::new(Shares::new(guests.per_address.get())),
            guest_sign_ins: Rates::new(guests.sign_ins_per_minute),
            metrics,
        }
    }

    /// Takes a place, before anybody is signed in for it.
    ///
    /// # Errors
    /// [`Full`], which is counted.
    pub fn enter(self: &Arc<Self>, entrance: Entrance<'_>) -> Result<Stay, Full> {
        let entered = self.try_enter(entrance);
        entered.inspect_err(|full| {
            self.metrics.reached(match full {
                Full::Visitor(_) => Bound::SessionsPerVisitor,
                Full::Address => Bound::GuestsPerAddress,
                Full::SignIns => Bound::GuestSignIns,
            });
        })
    }

    /// A stay of somebody who could not be recognised, to be told so; it counts for nothing.
    pub fn unknown(self: &Arc<Self>) -> Stay {
        self.stay(Kind::Nobody, None)
    }

    /// Ends the sessions of whoever had these marks and is not `name`, who has them now.
    ///
    /// A guest who becomes a member leaves, too; so does a member whom the site signs out.
    pub fn recognise(&self, site: &str, name: Option<&Name>, marks: &Marks) -> Ended {
        self.lock().recognise(site, name, marks)
    }

    /// Ends these sessions of a site; they get to know at once, and leave when they have told their browsers.
    ///
    /// Who is just being recognised as one of these is asked about anew.
    pub fn revoke(&self, site: &str, whom: &Whom) -> Ended {
        let mut present = self.lock();
        present.revocations.add(site, whom, tokio::time::Instant::now());
        let is_theirs = |who: &Who, entry: &Entry| match whom {
            Whom::Named(name) => who.name == *name,
            Whom::Session(id) => entry.session_id.as_ref() == Some(id),
        };
        let of_site = present.by_visitor.iter().filter(|(who, _)| who.site == site);
        let theirs = of_site
            .flat_map(|(who, entries)| entries.iter().filter(move |entry| is_theirs(who, entry)));
        end(theirs)
    }

    /// Whether anybody of this site is here.
    #[must_use]
    pub fn has_any_of(&self, site: &str) -> bool {
        self.lock().by_visitor.keys().any(|who| who.site == site)
    }

    fn try_enter(self: &Arc<Self>, entrance: Entrance<'_>) -> Result<Stay, Full> {
        let Entrance { site, visitor, marks, address, asked } = entrance;
        // Proven or not: a guest's cookie is to be had for the asking.
        let (kind, session_id, network) = match visitor {
            Some(Visitor::Member(member)) => (Kind::Member, member.session_id.clone(), None),
            Some(Visitor::Guest(_)) => (Kind::Guest, None, network(address)),
            None => (Kind::Nobody, None, network(address)),
        };
        let share = network.map(|network| self.guests.take(network).ok_or(Full::Address));
        let mut stay = self.stay(kind, share.transpose()?);
        let mut present = self.lock();
        let name = visitor.map(Name::from);
        if let Some(name) = name {
            let session = session_id.clone().map(Whom::Session);
            let whom = [Whom::Named(name.clone())].into_iter().chain(session);
            if kind == Kind::Member && present.revocations.any_since(asked, site, whom) {
                stay.bell.revoke();
            }
            let who = Who { site: site.to_owned(), name };
            let cookies = marks.cookies;
            let bell = Arc::clone(&stay.bell);
            let (number, stream, resource) = (present.next, None, None);
            let entry = Entry { number, session_id, cookies, bell, stream, resource };
            stay.number = entry.number;
            stay.visitor = Some(present.add(who, entry, self.per_visitor)?);
        }
        drop(present);
        if kind == Kind::Guest && !self.guest_sign_ins.allow(address, Instant::now()) {
            return Err(Full::SignIns);
        }
        Ok(stay)
    }

    fn stay(self: &Arc<Self>, kind: Kind, share: Option<Share<IpAddr>>) -> Stay {
        let (roll, bell) = (Arc::clone(self), Arc::default());
        Stay { roll, kind, visitor: None, number: 0, bell, _share: share }
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        // Nothing that can panic is done under the lock, so the lists are whole.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stay {
    /// Who it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What calls it.
    #[must_use]
    pub fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Whether the session is to end because the visitor is no longer who he was.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.bell.is_revoked()
    }

    /// Waits until it is.
    pub async fn revoked(&self) {
        self.bell.revoked().await;
    }

    /// Its browser knows its stream by this, from now on.
    pub fn has_stream(&self, id: &str, keeper: Keeper) {
        let Some(who) = &self.visitor else { return };
        let mut present = self.roll.lock();
        let mut entries = present.by_visitor.get_mut(who).into_iter().flatten();
        if let Some(entry) = entries.find(|entry| entry.number == self.number) {
            entry.stream = Some((id.into(), keeper));
        }
    }

    /// Its stream is over, or another session has it: who asks for it from now on does not ask here, and who has asked is told
    /// that nobody is.
    pub fn has_no_stream(&self) {
        let Some(who) = &self.visitor else { return };
        let mut present = self.roll.lock();
        let mut entries = present.by_visitor.get_mut(who).into_iter().flatten();
        if let Some(entry) = entries.find(|entry| entry.number == self.number) {
            entry.stream = None;
        }
        self.bell.silence();
    }

    /// Whether the edge keeps, or would keep, a stream of another session of the same visitor.
    #[must_use]
    pub fn may_come_back(&self) -> bool {
        let Some(who) = &self.visitor else { return false };
        let present = self.roll.lock();
        let mut entries = present.by_visitor.get(who).into_iter().flatten();
        entries.any(|entry| {
            entry.number != self.number && matches!(entry.stream, Some((_, Keeper::Edge)))
        })
    }

    /// Asks whichever other session of the same visitor has this stream whether its browser is there.
    pub async fn ask_for(&self, stream: &str) -> Presence {
        let Some(who) = &self.visitor else { return Presence::Gone };
        let answer = {
            let present = self.roll.lock();
            let entries = present.by_visitor.get(who).into_iter().flatten();
            let others = entries.filter(|entry| {
                let is_it = entry.stream.as_ref().is_some_and(|(id, _)| **id == *stream);
                entry.number != self.number && is_it
            });
            // Of two the later one took it over.
            let other = others.max_by_key(|entry| entry.number);
            other.map(|entry| entry.bell.ask())
        };
        match answer {
            Some(answer) => answer.await.unwrap_or(Presence::Gone),
            None => Presence::Gone,
        }
    }

    /// Waits until somebody asks for its stream.
    pub async fn asked(&self) -> Vec<Question> {
        self.bell.asked().await
    }

    /// How often its browser may fail to sign in.
    #[must_use]
    pub fn failed_sign_ins(&self) -> NonZeroU8 {
        self.roll.failed_sign_ins
    }

    /// Where its session is counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.roll.metrics
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(who) = &self.visitor {
            self.roll.lock().remove(who, self.number);
        }
    }
}

impl Present {
    fn add(&mut self, who: Who, entry: Entry, most: NonZeroUsize) -> Result<Arc<Who>, Full> {
        let known = self.by_visitor.get_key_value(&who).map(|(who, _)| Arc::clone(who));
        let who = known.unwrap_or_else(|| Arc::new(who));
        let entries = self.by_visitor.entry(Arc::clone(&who)).or_default();
        if entries.len() >= most.get() {
            return Err(Full::Visitor(most));
        }
        if let Some(cookies) = entry.cookies {
            let named = self.by_cookies.entry(cookies).or_default();
            if !named.contains(&who) {
                named.reserve_exact(1);
                named.push(Arc::clone(&who));
            }
        }
        // Nearly everybody has one session, and room for four is kept for nobody.
        entries.reserve_exact(1);
        entries.push(entry);
        self.next += 1;
        Ok(who)
    }

    fn recognise(&self, site: &str, name: Option<&Name>, marks: &Marks) -> Ended {
        let mut ended = Ended::default();
        let named = marks.cookies.and_then(|cookies| self.by_cookies.get(&cookies));
        for before in named.into_iter().flatten() {
            if before.site == site && is_other_member(&before.name, name) {
                let entries = self.by_visitor.get(before).into_iter().flatten();
                ended += end(entries.filter(|entry| entry.cookies == marks.cookies));
            }
        }
        if let (Some(guest), Some(Name::Member(_))) = (marks.guest, name) {
            let before = Who { site: site.to_owned(), name: Name::Guest(guest) };
            ended += end(self.by_visitor.get(&before).into_iter().flatten());
        }
        ended
    }

    fn remove(&mut self, who: &Arc<Who>, number: u64) {
        let Some(entries) = self.by_visitor.get_mut(who) else { return };
        let Some(at) = entries.iter().position(|entry| entry.number == number) else { return };
        let cookies = entries.swap_remove(at).cookies;
        let are_gone = |cookies| entries.iter().all(|entry| entry.cookies != Some(cookies));
        if let Some(cookies) = cookies.filter(|&cookies| are_gone(cookies))
            && let Some(named) = self.by_cookies.get_mut(&cookies)
        {
            named.retain(|of| of != who);
            if named.is_empty() {
                self.by_cookies.remove(&cookies);
            }
        }
        if entries.is_empty() {
            self.by_visitor.remove(who);
        }
    }
}

impl std::ops::AddAssign for Ended {
    fn add_assign(&mut self, more: Self) {
        self.sessions += more.sessions;
        self.cookies.extend(more.cookies);
    }
}

fn end<'a>(entries: impl Iterator<Item = &'a Entry>) -> Ended {
    let mut ended = Ended::default();
    for entry in entries.filter(|entry| entry.bell.revoke()) {
        ended.sessions += 1;
        ended.cookies.extend(entry.cookies);
    }
    ended
}

/// Whether the site's cookies name somebody else now, or nobody; which guest it is, is not the site's to say.
fn is_other_member(before: &Name, now: Option<&Name>) -> bool {
    match (before, now) {
        (Name::Guest(_), Some(Name::Guest(_)) | None) => false,
        (Name::Member(_), None) => true,
        (before, Some(now)) => before != now,
    }
}

const PER_VISITOR: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);
/// RFC 6120 §6.4.5 asks for two to five.
const FAILED_SIGN_INS: NonZeroU8 = NonZeroU8::MIN.saturating_add(4);

#[cfg(test)]
mod tests;

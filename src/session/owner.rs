//! Whose a session is that its browser names by a sid: what a later request has to show.

use std::time::Duration;
use std::time::Instant;

use crate::protocol::jid::Localpart;
use crate::site::page::Origin;
use crate::visitor::Marks;
use crate::visitor::Visitor;
use crate::visitor::guest::Id;

/// Who has a session, whatever else is known of him.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// A member, by what stands before the `@`.
    Member(Localpart),
    /// A guest.
    Guest(Id),
}

impl From<&Visitor> for Name {
    fn from(visitor: &Visitor) -> Self {
        match visitor {
            Visitor::Member(member) => Self::Member(member.localpart.clone()),
            Visitor::Guest(guest) => Self::Guest(guest.id),
        }
    }
}

/// What a request shows of who sent it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The identity of the site.
    pub site: String,
    /// Who it is; none where the site knows nobody and lets no guests in.
    pub name: Option<Name>,
    /// Whether a cookie says so: a guest who showed none has just been made up.
    pub proven: bool,
    /// The origin of the page that sent it, as far as that is known.
    pub page: Option<Origin>,
    /// By what its browser is known, whoever it is now.
    pub marks: Marks,
}

/// Whose a session is.
#[derive(Debug)]
pub struct Owner {
    site: String,
    /// None for somebody who may not enter and is to be told so.
    name: Option<Name>,
    proof: Proof,
    /// The page that began it.
    page: Option<Origin>,
    /// The site's cookies, hashed, that it was last used with.
    cookies: Option<[u8; 32]>,
}

/// What a later request has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// A cookie that says who sends it; its bytes may change.
    ByCookie,
    /// The cookie that the first answer brought, which has not come back yet.
    ///
    /// Of two first requests under way at once, a browser keeps the later answer's cookie, and comes to both sessions with
    /// that one. Until then it may claim this one with another.
    Minted { until: Instant },
    /// Nothing but the sid, and the page that the first request came from: this browser keeps no cookies, or shows none.
    BySid,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may use the session.
    Admitted,
    /// It may not, and the session is untouched.
    Refused,
    /// It may not, and it shows that the owner is no longer who he was: the session is over, if the site says so anew.
    Outlived,
}

impl Owner {
    /// The owner of a session that this request begins, `now`.
    #[must_use]
    pub fn new(claim: Claim, now: Instant) -> Self {
        let Claim { site, name, proven, page, marks } = claim;
        let proof = match name {
            Some(_) if proven => Proof::ByCookie,
            Some(_) => Proof::Minted { until: now + CLAIM },
            None => Proof::BySid,
        };
        Self { site, name, proof, page, cookies: marks.cookies }
    }

    /// Whether a later request may use the session; what it shows may settle what the next has to.
    pub fn admit(&mut self, claim: &Claim, now: Instant) -> Verdict {
        if self.site != claim.site {
            return Verdict::Refused;
        }
        let is_same = claim.proven && self.name == claim.name;
        let is_same_page = self.page == claim.page;
        match self.proof {
            Proof::ByCookie | Proof::Minted { .. } if is_same => {
                self.proof = Proof::ByCookie;
                self.cookies = claim.marks.cookies;
                Verdict::Admitted
            }
            // Had the browser kept the cookie, it would have shown it: the sid came no earlier.
            Proof::Minted { .. } | Proof::BySid if !claim.proven && is_same_page => {
                self.proof = Proof::BySid;
                Verdict::Admitted
            }
            Proof::Minted { until } if is_same_page && now < until && is_guest(claim) => {
                self.name.clone_from(&claim.name);
                self.proof = Proof::ByCookie;
                self.cookies = claim.marks.cookies;
                Verdict::Admitted
            }
            Proof::ByCookie | Proof::Minted { .. } | Proof::BySid => self.refuse(claim),
        }
    }

    /// Whether a later request may use the session while the site cannot say who sent it; nothing is settled by it.
    ///
    /// It may with the very cookies that the site has last recognised the owner by: an outage of the site is no sign that it
    /// has signed anybody out. Whom the claim names is not looked at.
    #[must_use]
    pub fn admits_unsaid(&self, claim: &Claim) -> bool {
        let same_cookies = self.cookies.is_some() && self.cookies == claim.marks.cookies;
        if self.site != claim.site || !same_cookies {
            return false;
        }
        let shown = claim.marks.guest.map(Name::Guest);
        match (self.proof, &self.name) {
            (Proof::ByCookie, Some(Name::Member(_))) => true,
            // The site's cookies prove no guest, ours does.
            (Proof::ByCookie, Some(Name::Guest(_)) | None) => shown.is_some() && self.name == shown,
            (Proof::Minted { .. } | Proof::BySid, _) => {
                self.page == claim.page && (shown.is_none() || self.name == shown)
            }
        }
    }

    fn refuse(&self, claim: &Claim) -> Verdict {
        let same_cookies = self.cookies.is_some() && self.cookies == claim.marks.cookies;
        let other_member = member(self.name.as_ref()) != member(claim.name.as_ref());
        let became_member =
            claim.marks.guest.is_some_and(|guest| self.name == Some(Name::Guest(guest)));
        if other_member && (same_cookies || became_member) {
            Verdict::Outlived
        } else {
            Verdict::Refused
        }
    }
}

fn is_guest(claim: &Claim) -> bool {
    claim.proven && matches!(claim.name, Some(Name::Guest(_)))
}

/// Whom the site's own cookies name; whether the others are this guest or that is not the site's to say.
fn member(name: Option<&Name>) -> Option<&Localpart> {
    match name {
        Some(Name::Member(localpart)) => Some(localpart),
        Some(Name::Guest(_)) | None => None,
    }
}

/// How long a session may be claimed with another cookie than that which was made for it.
const CLAIM: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visitor::guest::Guest;

    fn member(name: &str, cookies: u8) -> Claim {
        let name = Some(Name::Member(Localpart::parse(name).unwrap()));
        let marks = Marks { cookies: Some([cookies; 32]), guest: None };
        Claim { name, proven: true, marks, ..nobody() }
    }

    /// A guest without any cookie: another one with each request.
    fn stranger() -> Claim {
        Claim { name: Some(Name::Guest(Guest::new().unwrap().id)), ..nobody() }
    }

    fn nobody() -> Claim {
        let page = Some("https://a.example".parse().unwrap());
        Claim { site: "a.example".into(), name: None, proven: false, page, marks: Marks::default() }
    }

    /// The same guest, by the cookie that was made for him.
    fn returning(claim: &Claim) -> Claim {
        let Some(Name::Guest(id)) = claim.name else { panic!("{claim:?} is no guest") };
        let marks = Marks { guest: Some(id), ..claim.marks };
        Claim { proven: true, marks, ..claim.clone() }
    }

    fn of_page(claim: Claim, page: &str) -> Claim {
        Claim { page: page.parse().ok(), ..claim }
    }

    const ADMITTED: Verdict = Verdict::Admitted;
    const REFUSED: Verdict = Verdict::Refused;
    const OUTLIVED: Verdict = Verdict::Outlived;

    #[test]
    fn member_owns_the_session_whatever_the_bytes_of_the_cookie_and_whatever_the_page() {
        let now = Instant::now();
        let mut owner = Owner::new(member("bob", 1), now);

        assert_eq!(owner.admit(&member("bob", 2), now), ADMITTED);
        assert_eq!(owner.admit(&of_page(member("bob", 3), "https://b.example"), now), ADMITTED);
        assert_eq!(owner.admit(&member("alice", 4), now), REFUSED);
        assert_eq!(owner.admit(&stranger(), now), REFUSED);
        assert_eq!(owner.admit(&returning(&stranger()), now), REFUSED);
        assert_eq!(owner.admit(&nobody(), now), REFUSED);
        let other_site = Claim { site: "b.example".into(), ..member("bob", 3) };
        assert_eq!(owner.admit(&other_site, now), REFUSED);
        assert_eq!(owner.admit(&member("bob", 1), now), ADMITTED);
    }

    #[test]
    fn who_shows_the_same_cookies_keeps_the_session_while_the_site_cannot_say() {
        let now = Instant::now();
        let unsaid = |cookies| Claim { marks: member("bob", cookies).marks, ..nobody() };
        let mut owner = Owner::new(member("bob", 1), now);

        assert!(owner.admits_unsaid(&unsaid(1)));
        assert!(!owner.admits_unsaid(&unsaid(2)));
        assert!(!owner.admits_unsaid(&nobody()));
        assert!(!owner.admits_unsaid(&Claim { site: "b.example".into(), ..unsaid(1) }));

        // Those it was last recognised by, and no others.
        assert_eq!(owner.admit(&member("bob", 2), now), ADMITTED);
        assert!(owner.admits_unsaid(&unsaid(2)));
        assert!(!owner.admits_unsaid(&unsaid(1)));
        assert!(
            !Owner::new(Claim { marks: Marks::default(), ..member("bob", 1) }, now)
                .admits_unsaid(&nobody())
        );
    }

    #[test]
    fn guest_needs_his_own_cookie_too_while_the_site_cannot_say() {
        let now = Instant::now();
        let (guest, other) = (returning(&stranger()), returning(&stranger()));
        let with = |guest| Marks { cookies: Some([1; 32]), guest };
        let unsaid = |guest| Claim { marks: with(guest), ..nobody() };
        let owner = Owner::new(Claim { marks: with(guest.marks.guest), ..guest.clone() }, now);

        assert!(owner.admits_unsaid(&unsaid(guest.marks.guest)));
        assert!(!owner.admits_unsaid(&unsaid(other.marks.guest)));
        assert!(!owner.admits_unsaid(&unsaid(None)));
        assert!(!owner.admits_unsaid(&guest));

        let minted = Owner::new(Claim { marks: with(None), ..stranger() }, now);
        assert!(minted.admits_unsaid(&unsaid(None)));
        assert!(!minted.admits_unsaid(&of_page(unsaid(None), "https://b.example")));
        assert!(!minted.admits_unsaid(&unsaid(other.marks.guest)));
    }

    #[test]
    fn session_is_over_when_its_cookie_names_another_member_or_nobody() {
        let now = Instant::now();
        let mut owner = Owner::new(member("bob", 1), now);
        let with_cookie = |claim: Claim, cookies| {
            let marks = Marks { cookies: Some([cookies; 32]), ..claim.marks };
            Claim { marks, ..claim }
        };

        for other in [member("alice", 1), with_cookie(nobody(), 1), with_cookie(stranger(), 1)] {
            assert_eq!(owner.admit(&other, now), OUTLIVED, "{other:?}");
        }

        // Once it has changed, the old one says nothing any more.
        assert_eq!(owner.admit(&member("bob", 2), now), ADMITTED);
        assert_eq!(owner.admit(&with_cookie(nobody(), 1), now), REFUSED);
        assert_eq!(owner.admit(&with_cookie(nobody(), 2), now), OUTLIVED);
    }

    #[test]
    fn guest_who_becomes_a_member_has_outlived_the_guest() {
        let now = Instant::now();
        let guest = returning(&stranger());
        let mut owner = Owner::new(guest.clone(), now);

        let member = Claim { marks: guest.marks, ..member("bob", 1) };

        assert_eq!(owner.admit(&member, now), OUTLIVED);
        assert_eq!(owner.admit(&super::tests::member("bob", 1), now), REFUSED);
    }

    #[test]
    fn guest_whose_cookie_came_back_needs_it_from_then_on() {
        let now = Instant::now();
        let guest = stranger();
        let mut owner = Owner::new(guest.clone(), now);

        // However late, and from whatever page of the site.
        let later = now + CLAIM * 9;
        let back = of_page(returning(&guest), "https://b.example");
        assert_eq!(owner.admit(&back, later), ADMITTED);

        assert_eq!(owner.admit(&stranger(), later), REFUSED);
        assert_eq!(owner.admit(&returning(&stranger()), now), REFUSED);
        assert_eq!(owner.admit(&returning(&guest), later), ADMITTED);
    }

    #[test]
    fn session_of_a_browser_without_cookies_belongs_to_the_sid_and_the_page_and_takes_no_cookie() {
        let now = Instant::now();
        let guest = stranger();
        let mut owner = Owner::new(guest.clone(), now);

        assert_eq!(owner.admit(&of_page(stranger(), "https://b.example"), now), REFUSED);
        assert_eq!(owner.admit(&of_page(stranger(), "none"), now), REFUSED);
        assert_eq!(owner.admit(&stranger(), now), ADMITTED);

        assert_eq!(owner.admit(&returning(&guest), now), REFUSED);
        assert_eq!(owner.admit(&returning(&stranger()), now), REFUSED);
        assert_eq!(owner.admit(&member("bob", 1), now), REFUSED);
        assert_eq!(owner.admit(&of_page(stranger(), "https://b.example"), now), REFUSED);
        assert_eq!(owner.admit(&stranger(), now + CLAIM * 9), ADMITTED);
    }

    #[test]
    fn program_that_shows_no_page_shows_none_from_then_on() {
        let now = Instant::now();
        let mut owner = Owner::new(of_page(stranger(), "none"), now);

        assert_eq!(owner.admit(&stranger(), now), REFUSED);
        assert_eq!(owner.admit(&of_page(stranger(), "none"), now), ADMITTED);
    }

    #[test]
    fn two_first_requests_at_once_lock_nobody_out() {
        let now = Instant::now();
        let (first, second) = (stranger(), stranger());
        let mut sessions = [Owner::new(first, now), Owner::new(second.clone(), now)];

        // The browser has kept the second cookie, and shows it to both.
        for session in &mut sessions {
            assert_eq!(session.admit(&returning(&second), now + CLAIM / 2), ADMITTED);
            assert_eq!(session.admit(&returning(&second), now + CLAIM * 2), ADMITTED);
        }
    }

    #[test]
    fn session_is_claimed_once_and_in_time_and_from_its_page_and_by_a_guest() {
        let now = Instant::now();
        let minted = || Owner::new(stranger(), now);
        let (guest, other) = (returning(&stranger()), returning(&stranger()));

        assert_eq!(minted().admit(&guest, now + CLAIM), REFUSED);
        let elsewhere = of_page(guest.clone(), "https://b.example");
        assert_eq!(minted().admit(&elsewhere, now), REFUSED);
        assert_eq!(minted().admit(&member("bob", 1), now), REFUSED);

        let mut claimed = minted();
        assert_eq!(claimed.admit(&guest, now), ADMITTED);
        assert_eq!(claimed.admit(&other, now), REFUSED);
        assert_eq!(claimed.admit(&stranger(), now), REFUSED);
        assert_eq!(claimed.admit(&guest, now), ADMITTED);
    }

    #[test]
    fn who_may_not_enter_keeps_the_sid_to_be_told_so() {
        let now = Instant::now();
        let mut owner = Owner::new(nobody(), now);

        assert_eq!(owner.admit(&nobody(), now), ADMITTED);
        assert_eq!(owner.admit(&member("bob", 1), now), REFUSED);
    }
}

//! Who may enter, and who has to leave.

use super::*;
use crate::protocol::jid::Localpart;
use crate::visitor::Member;
use crate::visitor::guest::Guest;

fn member(name: &str, session_id: &str) -> Visitor {
    let localpart = Localpart::parse(name).unwrap();
    let session_id = Some(session_id.to_owned());
    Visitor::Member(Member { localpart, nick: None, groups: Vec::new(), session_id })
}

fn guest() -> Visitor {
    Visitor::Guest(Guest::new().unwrap())
}

fn roll(per_visitor: usize, per_address: usize, sign_ins: u32) -> Arc<Roll> {
    let settings = Settings { per_visitor: per_visitor.try_into().unwrap(), ..Settings::default() };
    let guests = guest::Settings {
        per_address: per_address.try_into().unwrap(),
        sign_ins_per_minute: sign_ins.try_into().unwrap(),
        ..guest::Settings::default()
    };
    Arc::new(Roll::new(&settings, &guests, Arc::default()))
}

fn enter(roll: &Arc<Roll>, visitor: &Visitor, address: &str) -> Result<Stay, Full> {
    enter_with(roll, Some(visitor), Marks::default(), address)
}

fn enter_with(
    roll: &Arc<Roll>,
    visitor: Option<&Visitor>,
    marks: Marks,
    address: &str,
) -> Result<Stay, Full> {
    let address = address.parse().unwrap();
    roll.recognise("a.example", visitor.map(Name::from).as_ref(), &marks);
    let asked = tokio::time::Instant::now();
    roll.enter(Entrance { site: "a.example", visitor, marks: &marks, address, asked })
}

fn cookies(hash: u8) -> Marks {
    Marks { cookies: Some([hash; 32]), guest: None }
}

fn is_revoked(stay: &Stay) -> bool {
    stay.is_revoked()
}

fn reached(roll: &Roll, bound: Bound) -> bool {
    let counter = format!("bounds_reached_total{{bound=\"{}\"}} 1\n", bound.label());
    roll.metrics.text().contains(&counter)
}

#[test]
fn one_visitor_does_not_take_all_places() {
    let roll = roll(2, 9, 9);
    let bob = member("bob", "1");
    let first = enter(&roll, &bob, "192.0.2.7").unwrap();
    let _second = enter(&roll, &bob, "192.0.2.8").unwrap();

    let third = enter(&roll, &bob, "192.0.2.9").unwrap_err();

    assert_eq!(third, Full::Visitor(2.try_into().unwrap()));
    assert!(reached(&roll, Bound::SessionsPerVisitor));
    assert!(enter(&roll, &member("alice", "1"), "192.0.2.9").is_ok());
    drop(first);
    assert!(enter(&roll, &bob, "192.0.2.9").is_ok());
}

#[test]
fn guests_of_one_network_do_not_take_all_places() {
    let roll = roll(9, 2, 99);

    for [one, same, other] in [
        ["192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"],
        ["2001:db8:0:1::7", "2001:db8:0:1:f::8", "2001:db8:0:2::7"],
    ] {
        let first = enter(&roll, &guest(), one).unwrap();
        // Who may not enter at all has a place while told so.
        let _second = enter_with(&roll, None, Marks::default(), same).unwrap();

        assert_eq!(enter(&roll, &guest(), one).unwrap_err(), Full::Address);
        assert!(enter(&roll, &guest(), other).is_ok());
        assert!(enter(&roll, &member("bob", "1"), one).is_ok());
        drop(first);
        assert!(enter(&roll, &guest(), one).is_ok());
    }
}

#[test]
fn guests_of_one_address_come_only_so_often() {
    let roll = roll(9, 9, 1);
    drop(enter(&roll, &guest(), "192.0.2.7").unwrap());

    assert_eq!(enter(&roll, &guest(), "192.0.2.7").unwrap_err(), Full::SignIns);
    assert!(reached(&roll, Bound::GuestSignIns));
    assert!(enter(&roll, &member("bob", "1"), "192.0.2.7").is_ok());
    assert!(enter(&roll, &guest(), "192.0.2.8").is_ok());
    assert!(roll.lock().by_visitor.is_empty());
}

#[test]
fn guests_behind_a_reverse_proxy_that_is_not_believed_are_not_counted() {
    let roll = roll(9, 1, 1);

    let _first = enter(&roll, &guest(), "127.0.0.1").unwrap();

    assert!(enter(&roll, &guest(), "127.0.0.1").is_ok());
}

#[test]
fn revoked_by_name_all_sessions_of_that_member_of_that_site_end() {
    let roll = roll(9, 9, 9);
    let bob = member("bob", "1");
    let sessions =
        [1, 2].map(|hash| enter_with(&roll, Some(&bob), cookies(hash), "192.0.2.7").unwrap());
    let alice = enter(&roll, &member("alice", "1"), "192.0.2.7").unwrap();
    let whom = Whom::Named(Name::from(&bob));

    assert_eq!(roll.revoke("b.example", &whom), Ended::default());
    let ended = roll.revoke("a.example", &whom);

    assert_eq!(ended, Ended { sessions: 2, cookies: vec![[1; 32], [2; 32]] });
    assert!(sessions.iter().all(is_revoked));
    assert!(!is_revoked(&alice));
    assert_eq!(roll.revoke("a.example", &whom).sessions, 0, "they have been told");
    assert!(!is_revoked(&enter(&roll, &bob, "192.0.2.7").unwrap()), "bob may come again");
}

#[test]
fn who_was_asked_about_before_the_revocation_enters_only_to_leave() {
    let roll = roll(9, 9, 9);
    let asked = tokio::time::Instant::now();
    for whom in [Whom::Named(Name::from(&member("bob", "1"))), Whom::Session("2".into())] {
        assert_eq!(roll.revoke("a.example", &whom).sessions, 0);
    }
    let marks = Marks::default();
    let address = "192.0.2.7".parse().unwrap();
    let enter = |visitor: &Visitor| {
        let visitor = Some(visitor);
        roll.enter(Entrance { site: "a.example", visitor, marks: &marks, address, asked }).unwrap()
    };

    assert!(is_revoked(&enter(&member("bob", "3"))));
    assert!(is_revoked(&enter(&member("alice", "2"))));
    assert!(!is_revoked(&enter(&member("alice", "3"))));
    assert!(!is_revoked(&enter(&guest())));
}

#[test]
fn revoked_by_the_site_s_own_name_only_that_session_s_end() {
    let roll = roll(9, 9, 9);
    let office = enter(&roll, &member("bob", "office"), "192.0.2.7").unwrap();
    let home = enter(&roll, &member("bob", "home"), "192.0.2.8").unwrap();

    let ended = roll.revoke("a.example", &Whom::Session("office".into()));

    assert_eq!(ended.sessions, 1);
    assert!(is_revoked(&office));
    assert!(!is_revoked(&home));
}

#[test]
fn who_comes_with_another_s_cookie_ends_what_the_other_had_with_it() {
    for now in [Some(member("alice", "2")), Some(guest()), None] {
        let roll = roll(9, 9, 9);
        let bob = member("bob", "1");
        let old = enter_with(&roll, Some(&bob), cookies(1), "192.0.2.7").unwrap();
        let elsewhere = enter_with(&roll, Some(&bob), cookies(2), "192.0.2.7").unwrap();
        let same = enter_with(&roll, Some(&bob), cookies(1), "192.0.2.7").unwrap();
        assert!(!is_revoked(&old));

        let new = enter_with(&roll, now.as_ref(), cookies(1), "192.0.2.7").unwrap();

        assert!(is_revoked(&old) && is_revoked(&same), "{now:?}");
        assert!(!is_revoked(&elsewhere) && !is_revoked(&new), "{now:?}");
    }
}

#[test]
fn guest_who_becomes_a_member_leaves_as_a_guest() {
    let roll = roll(9, 9, 9);
    let guest = Guest::new().unwrap();
    let id = guest.id;
    let visitor = Visitor::Guest(guest);
    let with = |cookies| Marks { cookies: Some([cookies; 32]), guest: Some(id) };
    let by_guest_cookie = enter_with(&roll, Some(&visitor), with(1), "192.0.2.7").unwrap();
    assert!(!is_revoked(&enter_with(&roll, Some(&visitor), with(2), "192.0.2.7").unwrap()));
    let other = enter_with(&roll, Some(&self::guest()), cookies(3), "192.0.2.7");
    let by_site_cookie = other.unwrap();

    // The site's cookie is another after the login, or the same.
    let bob = member("bob", "1");
    let _bob = [with(2), cookies(3)]
        .map(|marks| enter_with(&roll, Some(&bob), marks, "192.0.2.7").unwrap());

    assert!(is_revoked(&by_guest_cookie));
    assert!(is_revoked(&by_site_cookie));
}

#[test]
fn nothing_is_kept_of_who_has_left() {
    let roll = roll(9, 9, 99);
    let (bob, alice) = (member("bob", "1"), member("alice", "1"));

    let stays = [(&bob, 1), (&bob, 1), (&bob, 2), (&alice, 1), (&bob, 1)]
        .map(|(who, hash)| enter_with(&roll, Some(who), cookies(hash), "192.0.2.7").unwrap());
    assert_eq!(roll.lock().by_cookies.len(), 2);
    drop(stays);

    let present = roll.lock();
    assert!(present.by_visitor.is_empty() && present.by_cookies.is_empty(), "{present:?}");
}

// RFC 6120 §7.7.2.2
#[test]
fn resource_that_one_session_of_a_visitor_has_is_not_for_another_while_it_lasts() {
    let roll = roll(9, 9, 9);
    let (bob, alice) = (member("bob", "1"), member("alice", "1"));
    let of = |visitor| enter(&roll, visitor, "192.0.2.7").unwrap();
    let (first, copy, other) = (of(&bob), of(&bob), of(&alice));
    first.note_resource("given");

    assert!(!copy.take_resource("given"));
    assert!(first.take_resource("given") && other.take_resource("given"));
    assert!(copy.take_resource("wished") && !first.take_resource("wished"));

    drop(first);
    assert!(copy.take_resource("given"));
}

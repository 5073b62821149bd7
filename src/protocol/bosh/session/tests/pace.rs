//! What is too often (XEP-0124 §11, §12).

use super::*;

/// A session whose browser was told `polling='2'` and has signed in, with rid 2 to come.
fn told(wishes: &str) -> Scene {
    let mut scene = Scene::begun(&format!("ver='1.6' {wishes}"), "");
    scene.session.receive(Event::SignedIn(b""), scene.now);
    scene.done();
    scene
}

fn holding() -> Scene {
    told("wait='60' hold='1'")
}

fn polling() -> Scene {
    told("wait='60' hold='0'")
}

// §11
#[test]
fn empty_requests_in_a_row_soon_after_one_that_is_held_end_the_session() {
    let mut scene = holding();
    scene.poll(2);
    for rid in 3..=22 {
        assert_eq!(scene.pass(Duration::from_millis(1_900)), []);
        scene.poll(rid);
        assert_eq!(scene.done(), [Answered(rid - 1, EMPTY.into())]);
    }
    let held = 22;
    assert_eq!(scene.pass(Duration::from_millis(1_900)), []);

    let hasty = scene.poll(23);

    assert_eq!(
        scene.done(),
        [
            Answered(hasty, terminate("policy-violation")),
            Answered(held, terminate("other-request")),
            Over(End::PolledTooOften),
        ]
    );
}

#[test]
fn empty_requests_that_keep_the_polling_interval_release_the_one_that_is_held() {
    let mut scene = holding();
    let mut held = scene.poll(2);
    for rid in 3..20 {
        assert_eq!(scene.pass(seconds(2)), []);
        let next = scene.poll(rid);
        assert_eq!(scene.done(), [Answered(held, EMPTY.into())]);
        held = next;
    }
}

#[test]
fn tab_that_was_copied_may_ask_at_once_without_ending_the_session_of_the_first() {
    let mut scene = holding();
    let first_tab = scene.poll(2);

    let copied = scene.poll(3);
    assert_eq!(scene.done(), [Answered(first_tab, EMPTY.into())]);

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(copied, stanzas(&["message"]))]);
}

#[test]
fn requests_that_carry_something_pause_restart_or_leave_may_come_at_once() {
    for (attributes, payload) in [
        ("", "<message/>"),
        ("pause='60'", ""),
        ("xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", ""),
        ("type='terminate'", ""),
    ] {
        let mut scene = holding();
        for rid in 2..=5 {
            scene.poll(rid);
            scene.done();
        }

        scene.post(6, attributes, payload);

        let done = scene.done();
        assert!(!done.contains(&Over(End::PolledTooOften)), "{attributes} {payload}: {done:?}");
    }
}

#[test]
fn reloaded_page_may_ask_at_once_because_its_old_request_is_gone() {
    let mut scene = holding();
    for rid in 2..20 {
        let page = scene.poll(rid);
        assert_eq!(scene.done(), []);
        scene.drop_connection(page);
    }
}

#[test]
fn page_that_is_reloaded_twenty_times_behind_a_proxy_that_keeps_its_requests_open_goes_on() {
    let mut scene = holding();
    scene.poll(2);
    for rid in 3..=22 {
        scene.pass(Duration::from_millis(500));
        scene.poll(rid);
        assert_eq!(scene.done(), [Answered(rid - 1, EMPTY.into())]);
    }
    scene.pass(Duration::from_millis(500));

    let says = scene.post(23, "", "<message/>");
    scene.done();
    scene.pass(Duration::from_millis(500));
    scene.poll(24);

    assert_eq!(scene.done(), [Answered(says, EMPTY.into())]);
}

#[test]
fn repeated_request_is_not_too_often() {
    let mut scene = holding();
    let first = scene.poll(2);

    for _ in 0..5 {
        scene.poll(2);
    }

    let done = scene.done();
    assert_eq!(done.first(), Some(&Answered(first, ERROR.into())));
    assert!(done.iter().all(|done| matches!(done, Answered(..))), "{done:?}");
}

// §11, for a browser that asked for `hold='1'` and was told `requests='2'`: as many are taken for those of a reloaded page.
#[test]
fn many_more_unanswered_requests_than_were_allowed_end_the_session() {
    let mut scene = crowded();
    assert_eq!(scene.done(), []);

    let fifth = scene.post(7, "", "<message/>");

    let done = scene.done();
    assert_eq!(done.first(), Some(&Answered(fifth, terminate("policy-violation"))));
    assert_eq!(done.last(), Some(&Over(End::TooManyRequests)));
}

/// A session with four requests unanswered: one is held, and three wait for rid 3.
fn crowded() -> Scene {
    let mut scene = holding();
    scene.poll(2);
    for rid in 4..=6 {
        scene.post(rid, "", "<message/>");
    }
    scene
}

// §11: "the client MAY make one additional request if it is to pause or terminate a session".
#[test]
fn one_request_more_may_end_the_session_in_order() {
    let mut scene = crowded();

    scene.post(7, "type='terminate'", "");

    assert!(!scene.done().contains(&Over(End::TooManyRequests)));
}

// §12
#[test]
fn second_poll_within_the_interval_after_an_empty_answer_ends_a_session_that_polls() {
    let mut scene = polling();
    let first = scene.poll(2);
    assert_eq!(scene.pass(Duration::from_millis(1_900)), [Answered(first, EMPTY.into())]);

    let second = scene.poll(3);

    assert_eq!(
        scene.done(),
        [Answered(second, terminate("policy-violation")), Over(End::PolledTooOften)]
    );
}

#[test]
fn poll_after_an_answer_that_carried_something_may_come_at_once() {
    let mut scene = polling();
    scene.stanza("message");
    let first = scene.poll(2);
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);

    let second = scene.poll(3);

    assert_eq!(scene.done(), [Answered(second, EMPTY.into())]);
}

#[test]
fn poll_after_a_request_that_carried_something_may_come_at_once() {
    let mut scene = polling();
    scene.post(2, "", "<message/>");
    scene.done();

    let poll = scene.poll(3);

    assert_eq!(scene.done(), [Answered(poll, EMPTY.into())]);
}

#[test]
fn polls_that_keep_the_interval_go_on() {
    let mut scene = polling();
    for rid in 2..20 {
        let poll = scene.poll(rid);
        assert_eq!(scene.pass(seconds(2)), [Answered(poll, EMPTY.into())]);
    }
}

// §11, §12: who was not told an interval may poll as it likes.
#[test]
fn browser_that_was_told_no_interval_may_poll_as_it_likes() {
    let settings = Settings { polling: Duration::ZERO, ..Settings::default() };
    let mut told_none = Scene::begun_with(settings, "ver='1.6' hold='0' wait='60'", "");
    let opened = told_none.done();
    let [Answered(1, body)] = opened.as_slice() else { panic!("{opened:?}") };
    assert!(!body.contains(" polling="), "{body}");
    let mut prebound = Scene::prebound();

    for rid in 2..20 {
        let poll = told_none.poll(rid);
        assert_eq!(told_none.done(), [Answered(poll, EMPTY.into())]);
        prebound.poll(rid - 1);
        assert!(prebound.done().iter().all(|done| matches!(done, Answered(..))));
    }
}

//! One rid from several tabs, and from one that was reloaded (XEP-0124 §14.3).

use super::*;

/// What a tab is told so that it begins a session of its own.
pub(super) fn away(request: u64) -> Done {
    Answered(request, terminate("item-not-found"))
}

#[test]
fn cloned_tab_that_says_something_else_is_told_to_begin_anew_and_the_first_tab_goes_on() {
    let mut scene = Scene::prebound();
    let first = scene.post(1, "", "<message id='first'/>");
    assert_eq!(scene.done(), [Sent("<message id='first'/>".into())]);

    let clone = scene.post(1, "", "<message id='clone'/>");
    assert_eq!(scene.done(), [away(clone)]);

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);
}

#[test]
fn cloned_tab_that_is_late_is_told_to_begin_anew_and_the_answers_stay_the_first_tabs() {
    let mut scene = Scene::prebound();
    let first = scene.post(1, "", "<message id='first'/>");
    scene.stanza("message");
    scene.done();

    let clone = scene.post(1, "", "<message id='clone'/>");
    assert_eq!(scene.done(), [away(clone)]);

    let again = scene.post(1, "", "<message id='first'/>");
    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
    assert_ne!(first, again);
}

#[test]
fn cloned_tab_is_told_while_the_connection_of_the_first_is_broken() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    scene.done();
    scene.drop_connection(first);

    let clone = scene.post(1, "", "<message id='clone'/>");
    assert_eq!(scene.done(), [away(clone)]);

    let again = scene.poll(1);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn wish_to_leave_of_a_cloned_tab_does_not_end_the_first_tabs_session() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    scene.done();

    let clone = scene.post(1, "type='terminate'", "<presence type='unavailable'/>");
    assert_eq!(scene.done(), [away(clone)]);

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);
}

#[test]
fn reloaded_page_that_repeats_the_aborted_request_without_its_content_is_the_same_tab() {
    let mut scene = Scene::prebound();
    let old_page = scene.post(1, "", "<message id='a'/>");
    assert_eq!(scene.done(), [Sent("<message id='a'/>".into())]);
    scene.drop_connection(old_page);
    scene.stanza("message");

    let new_page = scene.poll(1);

    assert_eq!(scene.done(), [Answered(new_page, stanzas(&["message"]))]);
}

#[test]
fn reloaded_page_that_repeats_an_answered_request_without_its_content_gets_its_answer_again() {
    let mut scene = Scene::prebound();
    scene.post(1, "", "<message id='a'/>");
    scene.stanza("message");
    scene.done();

    let new_page = scene.poll(1);

    assert_eq!(scene.done(), [Answered(new_page, stanzas(&["message"]))]);
}

#[test]
fn reloaded_page_is_served_also_where_nobody_saw_the_old_connection_break() {
    let mut scene = Scene::prebound();
    let old_page = scene.post(1, "", "<message id='a'/>");
    scene.done();

    let new_page = scene.poll(1);
    assert_eq!(scene.done(), [Answered(old_page, ERROR.into())]);

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(new_page, stanzas(&["message"]))]);
}

#[test]
fn request_repeated_over_and_over_by_a_bad_network_is_never_told_to_begin_anew() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    scene.poll(1);
    assert_eq!(scene.done(), [Answered(first, ERROR.into())]);
    scene.poll(1);
    assert_eq!(scene.done(), []);

    for last in 4..10 {
        assert_eq!(scene.poll(1), last);
        assert_eq!(scene.done(), [Answered(last - 2, ERROR.into())]);
    }

    scene.stanza("message");
    let same = stanzas(&["message"]);
    assert_eq!(scene.done(), [Answered(9, same.clone()), Answered(8, same)]);
}

#[test]
fn tab_that_slept_too_long_is_told_to_begin_anew_and_the_session_goes_on() {
    let mut scene = Scene::prebound();
    for rid in 1..=9 {
        scene.poll(rid);
        scene.done();
    }

    let slept = scene.poll(1);
    assert_eq!(scene.done(), [away(slept)]);

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(9, stanzas(&["message"]))]);
}

#[test]
fn early_request_that_comes_again_is_sent_on_once_and_answered_where_it_came_last() {
    let mut scene = Scene::prebound();
    let early = scene.post(2, "", "<message id='b'/>");
    let again = scene.post(2, "", "<message id='b'/>");
    assert_eq!(scene.done(), [Answered(early, ERROR.into())]);

    let first = scene.poll(1);

    assert_eq!(scene.done(), [Sent("<message id='b'/>".into()), Answered(first, EMPTY.into())]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn early_request_loses_nothing_to_an_empty_one_with_its_rid() {
    let mut scene = Scene::prebound();
    let early = scene.post(2, "", "<message id='b'/>");
    scene.poll(2);
    assert_eq!(scene.done(), [Answered(early, ERROR.into())]);

    let first = scene.poll(1);

    assert_eq!(scene.done(), [Sent("<message id='b'/>".into()), Answered(first, EMPTY.into())]);
}

#[test]
fn cloned_tab_that_is_early_with_something_else_is_told_to_begin_anew() {
    let mut scene = Scene::prebound();
    scene.post(2, "", "<message id='first'/>");

    let clone = scene.post(2, "", "<message id='clone'/>");
    assert_eq!(scene.done(), [away(clone)]);

    scene.poll(1);
    assert_eq!(scene.done().first(), Some(&Sent("<message id='first'/>".into())));
}

#[test]
fn two_silent_tabs_are_not_taken_for_one_that_polls_too_often() {
    let mut scene = Scene::begun("ver='1.6' hold='1' wait='60'", "");
    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);
    scene.done();
    scene.poll(2);

    for rid in 3..=20 {
        // The clone first, and then the first tab, which had been answered with nothing.
        scene.poll(rid);
        let done = scene.done();
        scene.poll(rid);
        let done = [done, scene.done()].concat();
        assert!(!done.iter().any(|done| matches!(done, Over(_))), "rid {rid}: {done:?}");
        scene.stanza("message");
        scene.done();
    }
}

#[test]
fn first_request_after_prebind_may_be_any_of_the_window_that_strophe_assumes() {
    for first in 1..=5 {
        let mut scene = Scene::prebound();
        let poll = scene.post(first, "", "<presence/>");

        let done = scene.pass(seconds(3));

        assert_eq!(done, [Sent("<presence/>".into())], "rid {first}");
        scene.stanza("presence");
        assert_eq!(scene.done(), [Answered(poll, stanzas(&["presence"]))]);
    }
}

#[test]
fn last_answer_is_there_again_for_the_page_that_is_reloaded_before_it_said_anything_more() {
    let mut scene = Scene::prebound();
    for rid in 1..=10 {
        scene.poll(rid);
        scene.stanza("message");
        scene.done();

        let reloaded = scene.poll(rid);
        assert_eq!(scene.done(), [Answered(reloaded, stanzas(&["message"]))], "rid {rid}");
    }
}

#[test]
fn answers_of_the_last_five_requests_are_kept_and_no_more() {
    let mut scene = Scene::prebound();
    for rid in 1..=9 {
        scene.poll(rid);
        scene.stanza("message");
        scene.done();
    }

    for rid in 1..=9 {
        let again = scene.poll(rid);
        let kept = Answered(again, stanzas(&["message"]));
        let expected = if rid <= 4 { away(again) } else { kept };
        assert_eq!(scene.done(), [expected], "rid {rid}");
    }
}

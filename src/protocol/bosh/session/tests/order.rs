//! Which request is answered when, and with what.

use super::*;

#[test]
fn request_is_held_until_a_stanza_comes() {
    let mut scene = Scene::prebound();
    let poll = scene.poll(1);
    assert_eq!(scene.done(), []);

    scene.stanza("message");

    assert_eq!(scene.done(), [Answered(poll, stanzas(&["message"]))]);
}

#[test]
fn stanzas_that_are_there_at_once_go_into_one_body() {
    let mut scene = Scene::prebound();
    let poll = scene.poll(1);
    assert_eq!(scene.done(), []);

    scene.stanza("message");
    scene.stanza("presence");
    scene.stanza("iq");

    assert_eq!(scene.done(), [Answered(poll, stanzas(&["message", "presence", "iq"]))]);
}

#[test]
fn stanzas_wait_for_the_next_request() {
    let mut scene = Scene::prebound();
    scene.stanza("message");
    assert_eq!(scene.done(), []);

    let poll = scene.poll(1);

    assert_eq!(scene.done(), [Answered(poll, stanzas(&["message"]))]);
}

#[test]
fn second_request_releases_the_first() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    let second = scene.post(2, "", "<presence/>");

    assert_eq!(scene.done(), [Sent("<presence/>".into()), Answered(first, EMPTY.into())]);

    scene.stanza("iq");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["iq"]))]);
}

#[test]
fn held_request_is_answered_with_nothing_when_the_wait_is_over() {
    let mut scene = Scene::prebound();
    let poll = scene.poll(1);

    assert_eq!(scene.pass(seconds(59)), []);
    assert_eq!(scene.pass(seconds(1)), [Answered(poll, EMPTY.into())]);
}

#[test]
fn requests_sent_as_3_2_1_are_answered_and_sent_on_in_order() {
    let mut scene = Scene::prebound();
    let third = scene.post(3, "", "<message id='c'/>");
    let second = scene.post(2, "", "<message id='b'/>");
    assert_eq!(scene.done(), []);

    let first = scene.post(1, "", "<message id='a'/>");

    assert_eq!(
        scene.done(),
        [
            Sent("<message id='a'/>".into()),
            Sent("<message id='b'/>".into()),
            Sent("<message id='c'/>".into()),
            Answered(first, EMPTY.into()),
            Answered(second, EMPTY.into()),
        ]
    );
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(third, stanzas(&["message"]))]);
}

#[test]
fn repeated_rid_gets_the_same_answer_and_is_not_sent_on_again() {
    let mut scene = Scene::prebound();
    let first = scene.post(1, "", "<message id='a'/>");
    scene.stanza("message");
    assert_eq!(
        scene.done(),
        [Sent("<message id='a'/>".into()), Answered(first, stanzas(&["message"]))]
    );
    scene.poll(2);

    let again = scene.post(1, "", "<message id='a'/>");

    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn repeated_rid_of_a_held_request_takes_its_place() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    let again = scene.poll(1);
    assert_eq!(scene.done(), [Answered(first, ERROR.into())]);

    scene.stanza("message");

    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn request_whose_connection_broke_is_held_again_when_repeated() {
    let mut scene = Scene::prebound();
    let first = scene.post(1, "", "<message id='a'/>");
    scene.done();
    scene.drop_connection(first);
    scene.stanza("message");
    assert_eq!(scene.done(), []);

    let again = scene.post(1, "", "<message id='a'/>");

    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn reloaded_page_goes_on_with_the_next_rid_and_loses_nothing() {
    let mut scene = Scene::prebound();
    let old_page = scene.poll(1);
    scene.done();
    scene.drop_connection(old_page);
    scene.stanza("message");

    let new_page = scene.poll(2);

    assert_eq!(scene.done(), [Answered(new_page, stanzas(&["message"]))]);
}

#[test]
fn answer_that_nobody_took_is_given_to_the_next_request() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);

    scene.drop_connection(first);
    scene.stanza("presence");
    let second = scene.poll(2);

    assert_eq!(scene.done(), [Answered(second, stanzas(&["message", "presence"]))]);
}

#[test]
fn answer_that_nobody_took_is_kept_for_its_rid_when_a_later_one_was_answered() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    scene.stanza("message");
    scene.done();
    let second = scene.poll(2);
    scene.stanza("presence");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["presence"]))]);

    scene.drop_connection(first);
    let again = scene.poll(1);

    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn repeated_rid_does_not_overtake_what_a_later_one_brought() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    scene.done();
    scene.drop_connection(first);
    let second = scene.poll(2);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["message"]))]);

    let again = scene.poll(1);

    assert_eq!(scene.done(), [Answered(again, EMPTY.into())]);
}

#[test]
fn missing_rid_is_waited_for_as_long_as_it_may_be_repeated() {
    let mut scene = begun();
    let second = scene.post(3, "", "<message id='b'/>");
    assert_eq!(scene.pass(seconds(36)), []);

    let first = scene.post(2, "", "<message id='a'/>");

    let sent = ["a", "b"].map(|id| Sent(format!("<message id='{id}'/>")));
    assert_eq!(scene.done(), [&sent[..], &[Answered(first, EMPTY.into())]].concat());
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["message"]))]);
}

#[test]
fn missing_rid_that_is_never_repeated_is_done_without() {
    let mut scene = begun();
    let second = scene.post(3, "", "<message id='b'/>");
    assert_eq!(scene.pass(seconds(39)), []);

    assert_eq!(scene.pass(seconds(1)), [Sent("<message id='b'/>".into())]);

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["message"]))]);
}

#[test]
fn missing_rid_is_done_without_soon_where_a_page_was_reloaded() {
    let mut scene = begun();
    let old_page = scene.post(3, "", "<message id='b'/>");
    assert_eq!(scene.pass(seconds(10)), []);
    scene.drop_connection(old_page);
    let page = scene.poll(4);
    assert_eq!(scene.pass(Duration::from_millis(2_900)), []);

    assert_eq!(scene.pass(Duration::from_millis(100)), [Sent("<message id='b'/>".into())]);

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(page, stanzas(&["message"]))]);
}

#[test]
fn missing_rid_is_done_without_soon_where_two_others_are_under_way() {
    let mut scene = begun();
    let second = scene.post(3, "", "<message id='b'/>");
    scene.post(4, "", "<message id='c'/>");

    let sent = ["b", "c"].map(|id| Sent(format!("<message id='{id}'/>")));
    assert_eq!(scene.pass(seconds(3)), [&sent[..], &[Answered(second, EMPTY.into())]].concat());
}

#[test]
fn missing_rid_that_comes_late_is_still_sent_on() {
    let mut scene = begun();
    let second = scene.post(3, "", "<message id='b'/>");
    scene.pass(seconds(40));

    let first = scene.post(2, "", "<message id='a'/>");

    assert_eq!(scene.done(), [Sent("<message id='a'/>".into()), Answered(first, EMPTY.into())]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(second, stanzas(&["message"]))]);
}

#[test]
fn first_request_of_a_prebound_session_waits_only_a_moment_for_the_one_that_was_expected() {
    let mut scene = Scene::prebound();
    scene.post(2, "", "<message id='b'/>");

    assert_eq!(scene.pass(seconds(3)), [Sent("<message id='b'/>".into())]);
}

/// A session whose first request was answered.
fn begun() -> Scene {
    let mut scene = Scene::prebound();
    scene.poll(1);
    scene.stanza("message");
    scene.done();
    scene
}

#[test]
fn early_request_whose_connection_broke_is_sent_on_all_the_same() {
    let mut scene = Scene::prebound();
    let second = scene.post(2, "", "<message id='b'/>");
    scene.drop_connection(second);

    let first = scene.post(1, "", "<message id='a'/>");

    assert_eq!(scene.done(), [Sent("<message id='a'/>".into()), Sent("<message id='b'/>".into())]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);
}

#[test]
fn large_answers_are_forgotten_but_for_the_last_two() {
    let mut scene =
        Scene::with(Settings { answers: bytesize::ByteSize::b(100), ..Settings::default() });
    for rid in 1..=4 {
        scene.poll(rid);
        scene.stanza("message");
        scene.done();
    }

    let kept = scene.poll(3);
    assert_eq!(scene.done(), [Answered(kept, stanzas(&["message"]))]);

    let forgotten = scene.poll(1);
    assert_eq!(scene.done().first(), Some(&Answered(forgotten, terminate("item-not-found"))));
}

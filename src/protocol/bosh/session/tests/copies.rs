//! A duplicated tab: which of the two was there first, and what becomes of both where nobody can tell (XEP-0124 §14.3).

use super::tabs::away;
use super::*;

#[test]
fn cloned_tab_that_asks_in_the_place_of_the_first_is_told_as_soon_as_that_asks_itself() {
    for words in ["", "<message id='first'/>"] {
        let over = Connection::shared(1);
        let mut scene = Scene::prebound();
        let held = scene.post_over(over, 1, "");
        let clone = scene.post_over(over, 2, "");
        assert_eq!(scene.done(), [Answered(held, EMPTY.into())]);

        let first = scene.post_over(over, 2, words);

        let sent = (!words.is_empty()).then(|| Sent(words.into()));
        assert_eq!(scene.done(), [away(clone)].into_iter().chain(sent).collect::<Vec<_>>());
        scene.stanza("message");
        assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);
    }
}

#[test]
fn request_that_comes_again_long_after_is_not_taken_for_that_of_the_first_tab() {
    let over = Connection::shared(2);
    let mut scene = Scene::prebound();
    scene.post_over(over, 1, "");
    let first = scene.post_over(over, 2, "");
    scene.done();
    scene.pass(seconds(2));

    let clone = scene.post_over(over, 2, "<message id='clone'/>");

    assert_eq!(scene.done(), [away(clone)]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);
}

#[test]
fn page_that_was_reloaded_and_changes_its_network_is_not_taken_for_two() {
    let over = Connection::shared(3);
    let mut scene = Scene::prebound();
    scene.post_over(over, 1, "");
    let before = scene.post_over(over, 2, "");
    scene.done();

    let again = scene.post_over(Connection::shared(4), 2, "");

    assert_eq!(scene.done(), [Answered(before, ERROR.into())]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn cloned_tab_that_comes_just_when_the_first_has_spoken_does_not_throw_it_out() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    let first = scene.post(2, "", "<message id='first'/>");
    let said = Sent("<message id='first'/>".into());
    assert_eq!(scene.done(), [said, Answered(held, EMPTY.into())]);

    let clone = scene.poll(2);

    assert_eq!(scene.done(), [Answered(first, ERROR.into())]);
    let again = scene.post(2, "", "<message id='first'/>");
    assert_eq!(scene.done(), []);
    scene.stanza("message");
    let same = stanzas(&["message"]);
    assert_eq!(scene.done(), [Answered(again, same.clone()), Answered(clone, same)]);
}

#[test]
fn of_two_tabs_that_share_the_one_that_only_listens_takes_no_words_from_the_other() {
    let mut scene = Scene::prebound();
    let (first, clone) = shared_by_two_tabs(&mut scene);
    scene.stanza("message");
    let same = stanzas(&["message"]);
    assert_eq!(scene.done(), [Answered(first, same.clone()), Answered(clone, same)]);

    let listens = scene.poll(4);
    let says = scene.post(4, "", "<message id='first'/>");

    assert_eq!(scene.done(), [Sent("<message id='first'/>".into())]);
    scene.stanza("message");
    let same = stanzas(&["message"]);
    assert_eq!(scene.done(), [Answered(says, same.clone()), Answered(listens, same)]);
}

#[test]
fn of_two_tabs_that_share_neither_ends_the_session_of_both() {
    let mut scene = Scene::prebound();
    shared_by_two_tabs(&mut scene);
    scene.stanza("message");
    scene.done();
    let listens = scene.poll(4);

    for leaves in ["type='terminate'", "pause='60'"] {
        let leaving = scene.post(4, leaves, "");
        assert_eq!(scene.done(), [away(leaving)], "{leaves}");
    }

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(listens, stanzas(&["message"]))]);
}

#[test]
fn third_connection_of_a_rid_sends_the_oldest_away_with_nothing() {
    let mut scene = Scene::prebound();
    let (first, clone) = shared_by_two_tabs(&mut scene);

    let third = scene.poll(3);
    assert_eq!(scene.done(), [Answered(clone, ERROR.into())]);

    scene.stanza("message");
    let same = stanzas(&["message"]);
    assert_eq!(scene.done(), [Answered(third, same.clone()), Answered(first, same)]);
}

/// The first tab and its clone, whose requests wait both under rid 3.
fn shared_by_two_tabs(scene: &mut Scene) -> (u64, u64) {
    scene.poll(1);
    scene.stanza("message");
    scene.done();
    // Both go on with the same rid, while nothing is held; from now on each of them asks again as soon as it is answered.
    let clone = scene.poll(2);
    let first = scene.poll(2);
    assert_eq!(scene.done(), [Answered(clone, ERROR.into())]);
    let clone = scene.poll(3);
    assert_eq!(scene.done(), [Answered(first, EMPTY.into())]);
    (scene.poll(3), clone)
}

#[test]
fn two_tabs_that_repeat_what_they_were_told_to_repeat_do_not_take_turns_for_ever() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    let clone = scene.poll(1);
    assert_eq!(scene.done(), [Answered(first, ERROR.into())]);

    let first = scene.poll(1);

    assert_eq!(scene.done(), []);
    scene.stanza("message");
    let same = stanzas(&["message"]);
    assert_eq!(scene.done(), [Answered(first, same.clone()), Answered(clone, same)]);
}

#[test]
fn two_tabs_that_have_nothing_to_say_hear_the_same_and_do_not_take_turns_for_ever() {
    let mut scene = Scene::prebound();
    let (first, clone) = shared_by_two_tabs(&mut scene);
    assert_eq!(scene.done(), []);

    scene.stanza("message");
    let same = stanzas(&["message"]);
    assert_eq!(scene.done(), [Answered(first, same.clone()), Answered(clone, same)]);

    let (clone, first) = (scene.poll(4), scene.poll(4));
    assert_eq!(scene.done(), []);
    let nothing = scene.pass(seconds(60));
    assert_eq!(nothing, [Answered(first, EMPTY.into()), Answered(clone, EMPTY.into())]);
}

#[test]
fn tab_that_says_what_the_other_does_not_ends_what_two_tabs_share() {
    let mut scene = Scene::prebound();
    let (first, clone) = shared_by_two_tabs(&mut scene);
    let says = scene.post(4, "", "<message id='first'/>");
    assert_eq!(
        scene.done(),
        [
            Sent("<message id='first'/>".into()),
            Answered(first, EMPTY.into()),
            Answered(clone, EMPTY.into())
        ]
    );

    let clone = scene.post(4, "", "<message id='clone'/>");
    assert_eq!(scene.done(), [away(clone)]);

    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(says, stanzas(&["message"]))]);
}

#[test]
fn tab_that_is_closed_leaves_the_other_one_what_both_had() {
    for first_is_closed in [true, false] {
        let mut scene = Scene::prebound();
        let (first, clone) = shared_by_two_tabs(&mut scene);
        let (closed, open) = if first_is_closed { (first, clone) } else { (clone, first) };

        scene.drop_connection(closed);
        scene.stanza("message");

        assert_eq!(scene.done(), [Answered(open, stanzas(&["message"]))]);
        scene.drop_connection(open);
        let next = scene.poll(4);
        assert_eq!(scene.done(), [Answered(next, stanzas(&["message"]))]);
    }
}

#[test]
fn answer_that_one_of_two_connections_took_is_not_given_again() {
    let mut scene = Scene::prebound();
    let (first, _) = shared_by_two_tabs(&mut scene);
    scene.stanza("message");
    assert_eq!(scene.done().len(), 2);

    scene.drop_connection(first);
    scene.poll(4);

    assert_eq!(scene.done(), []);
}

#[test]
fn cloned_tab_over_the_connection_on_which_the_first_waits_is_told_at_once() {
    let connection = Connection::shared(5);
    let mut scene = Scene::prebound();
    let first = scene.post_over(connection, 1, "");

    let clone = scene.post_over(connection, 1, "");

    assert_eq!(scene.done(), [away(clone)]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);
}

#[test]
fn request_repeated_over_another_connection_than_the_one_that_waits_takes_its_place() {
    let mut scene = Scene::prebound();
    let first = scene.post_over(Connection::shared(6), 1, "");

    let again = scene.post_over(Connection::shared(7), 1, "");

    assert_eq!(scene.done(), [Answered(first, ERROR.into())]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn request_repeated_over_the_connection_on_which_it_was_taken_back_waits_on() {
    let connection = Connection::shared(8);
    let mut scene = Scene::prebound();
    let first = scene.post_over(connection, 1, "");
    scene.drop_connection(first);

    let again = scene.post_over(connection, 1, "");

    assert_eq!(scene.done(), []);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn cloned_tab_that_goes_on_before_the_first_has_asked_again_is_told_when_it_has() {
    let over = Connection::shared(9);
    let mut scene = Scene::prebound();
    let held = scene.post_over(over, 1, "");
    let early = scene.post_over(over, 2, "");
    assert_eq!(scene.done(), [Answered(held, EMPTY.into())]);
    let clone = scene.post(3, "", "<iq id='clone'/>");
    assert_eq!(scene.done(), [Sent("<iq id='clone'/>".into()), Answered(early, EMPTY.into())]);

    let first = scene.post_over(over, 2, "");
    assert_eq!(scene.done(), [away(clone), Answered(first, EMPTY.into())]);

    let first = scene.post(3, "", "<message id='first'/>");
    assert_eq!(scene.done(), [Sent("<message id='first'/>".into())]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);
}

#[test]
fn what_a_cloned_tab_has_fetched_comes_to_the_first_too_and_the_first_is_heard() {
    let over = Connection::shared(10);
    let mut scene = Scene::prebound();
    scene.post_over(over, 1, "");
    scene.post_over(over, 2, "");
    scene.done();
    scene.post(3, "", "<iq id='clone'/>");
    scene.stanza("iq");
    scene.done();
    let clone = scene.post(4, "", "<iq id='more'/>");
    scene.done();

    let asked = scene.post_over(over, 2, "");
    assert_eq!(scene.done(), [away(clone), Answered(asked, stanzas(&["iq"]))]);
    let said = scene.post(3, "", "<message id='first'/>");

    let sent = Sent("<message id='first'/>".into());
    assert_eq!(scene.done(), [Answered(said, EMPTY.into()), sent]);
}

#[test]
fn page_that_was_reloaded_and_misses_an_answer_loses_nothing_of_what_it_asked_next() {
    let mut scene = Scene::prebound();
    scene.poll(1);
    scene.poll(2);
    let next = scene.post(3, "", "<message/>");
    scene.done();

    let missed = scene.poll(2);

    assert_eq!(scene.done(), [Answered(missed, EMPTY.into())]);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(next, stanzas(&["message"]))]);
}

//! Answers that a browser which reads them as they arrive could read in another order (XEP-0124 §14.2).

use super::*;

/// A session whose browser is seen to ask again a tenth of a second after it is answered, as Strophe does.
fn paced() -> Scene {
    let mut scene = Scene::prebound();
    scene.poll(1);
    scene.stanza("message");
    scene.done();
    scene.pass(TENTH);
    scene.poll(2);
    scene.done();
    scene
}

#[test]
fn what_is_said_while_an_answer_is_under_way_is_answered_with_nothing_beside_it() {
    let mut scene = paced();
    scene.stanza("one");
    assert_eq!(scene.done(), [Answered(2, stanzas(&["one"]))]);
    scene.pass(TENTH / 2);
    let said = scene.post(3, "", "<message/>");
    assert_eq!(scene.done(), [Sent("<message/>".into())]);

    scene.stanza("two");

    assert_eq!(scene.done(), [Answered(said, EMPTY.into())]);
    let next = scene.poll(4);
    assert_eq!(scene.done(), [Answered(next, stanzas(&["two"]))]);
}

#[test]
fn over_one_connection_for_all_requests_no_answer_overtakes_another() {
    let mut scene = paced();
    scene.stanza("one");
    scene.done();
    scene.pass(TENTH / 2);
    let said = scene.post_over(Connection::shared(1), 3, "<message/>");
    scene.done();

    scene.stanza("two");

    assert_eq!(scene.done(), [Answered(said, stanzas(&["two"]))]);
}

#[test]
fn what_is_said_over_the_connection_of_the_answer_before_is_answered_in_full() {
    let mut scene = paced();
    let over = Connection::single(1);
    scene.post_over(over, 3, "");
    scene.done();
    scene.stanza("one");
    scene.done();

    let said = scene.post_over(over, 4, "<message/>");
    scene.stanza("two");

    let sent = Sent("<message/>".into());
    assert_eq!(scene.done(), [sent, Answered(said, stanzas(&["two"]))]);
}

#[test]
fn what_is_said_over_another_connection_is_answered_with_nothing_whatever_the_clock_says() {
    let mut scene = said_over_another();

    let said = scene.post_over(Connection::single(1), 5, "<message/>");

    assert_eq!(scene.done(), [Sent("<message/>".into()), Answered(said, stanzas(&["two"]))]);
}

#[test]
fn who_asks_for_more_over_whatever_connection_gets_what_was_held_back() {
    let mut scene = said_over_another();

    let next = scene.post_over(Connection::single(3), 5, "");

    assert_eq!(scene.done(), [Answered(next, stanzas(&["two"]))]);
}

#[test]
fn browser_that_signs_in_step_by_step_gets_the_answer_to_each_over_whatever_connection() {
    let mut scene = Scene::begun("ver='1.11' hold='1' wait='60'", "");
    scene.done();
    scene.post_over(Connection::single(1), 2, "<auth/>");
    scene.done();
    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);
    scene.done();
    for (rid, over) in [(3, 2), (4, 1), (5, 2)] {
        scene.pass(seconds(3));

        let asked = scene.post_over(Connection::single(over), rid, "<iq/>");
        scene.stanza("iq");

        assert_eq!(scene.done(), [Sent("<iq/>".into()), Answered(asked, stanzas(&["iq"]))]);
    }
}

#[test]
fn connection_that_is_lost_holds_nothing_back_for_longer_than_two_seconds() {
    let mut scene = said_over_another();
    scene.pass(seconds(2));

    let said = scene.post_over(Connection::single(2), 5, "<message/>");

    assert_eq!(scene.done(), [Sent("<message/>".into()), Answered(said, stanzas(&["two"]))]);
}

#[test]
fn request_that_was_repeated_is_answered_over_its_second_connection() {
    let mut scene = paced();
    scene.post_over(Connection::single(1), 3, "");
    scene.post_over(Connection::single(2), 3, "");
    scene.done();
    scene.stanza("one");
    scene.done();

    let said = scene.post_over(Connection::single(2), 4, "<message/>");
    scene.stanza("two");

    let sent = Sent("<message/>".into());
    assert_eq!(scene.done(), [sent, Answered(said, stanzas(&["two"]))]);
}

/// A session whose browser has said something over its second connection behind an answer over the first, at its usual pace.
fn said_over_another() -> Scene {
    let mut scene = paced();
    scene.post_over(Connection::single(1), 3, "");
    scene.done();
    scene.stanza("one");
    scene.done();
    scene.pass(TENTH * 2);
    let said = scene.post_over(Connection::single(2), 4, "<message/>");
    scene.stanza("two");
    let sent = Sent("<message/>".into());
    assert_eq!(scene.done(), [sent, Answered(said, EMPTY.into())]);
    scene
}

#[test]
fn what_is_said_behind_an_answer_that_was_read_brings_the_next_stanza_at_once() {
    let mut scene = paced();
    scene.stanza("one");
    scene.done();
    scene.pass(TENTH);
    let said = scene.post(3, "", "<message/>");
    scene.done();

    scene.stanza("two");

    assert_eq!(scene.done(), [Answered(said, stanzas(&["two"]))]);
}

#[test]
fn what_is_said_while_a_request_waits_brings_the_next_stanza_at_once() {
    let mut scene = paced();
    let said = scene.post(3, "", "<message/>");
    assert_eq!(scene.done(), [Sent("<message/>".into()), Answered(2, EMPTY.into())]);

    scene.stanza("one");

    assert_eq!(scene.done(), [Answered(said, stanzas(&["one"]))]);
}

#[test]
fn who_talks_on_hears_the_next_stanza_as_soon_as_the_answer_must_have_arrived() {
    let mut scene = paced();
    scene.stanza("one");
    scene.done();
    let said = scene.post(3, "", "<message id='1'/>");
    scene.stanza("two");
    let sent = Sent("<message id='1'/>".into());
    assert_eq!(scene.done(), [sent, Answered(said, EMPTY.into())]);
    scene.pass(TENTH);

    let said = scene.post(4, "", "<message id='2'/>");

    let sent = Sent("<message id='2'/>".into());
    assert_eq!(scene.done(), [sent, Answered(said, stanzas(&["two"]))]);
}

#[test]
fn what_comes_when_the_network_moves_on_is_answered_with_nothing_beside_what_stood_still() {
    let mut scene = paced();
    scene.stanza("one");
    scene.done();
    scene.pass(seconds(20));
    scene.stanza("two");

    let said = scene.post(3, "", "<message/>");

    assert_eq!(scene.done(), [Sent("<message/>".into()), Answered(said, EMPTY.into())]);
    let next = scene.poll(4);
    assert_eq!(scene.done(), [Answered(next, stanzas(&["two"]))]);
}

#[test]
fn answer_is_not_thought_to_be_under_way_for_ever() {
    let mut scene = paced();
    scene.stanza("one");
    scene.done();
    let said = scene.post(3, "", "<message/>");
    scene.done();
    scene.pass(seconds(2));

    scene.stanza("two");

    assert_eq!(scene.done(), [Answered(said, stanzas(&["two"]))]);
}

#[test]
fn tab_that_nobody_looks_at_is_not_taken_for_a_network_that_stood_still() {
    let mut scene = paced();
    for rid in [3, 4] {
        scene.stanza("message");
        scene.done();
        scene.pass(seconds(60));
        scene.poll(rid);
        scene.done();
    }
    scene.stanza("one");
    scene.done();
    scene.pass(seconds(60));
    scene.stanza("two");

    let said = scene.post(5, "", "<message/>");

    let sent = Sent("<message/>".into());
    assert_eq!(scene.done(), [sent, Answered(said, stanzas(&["two"]))]);
}

#[test]
fn browser_that_says_what_it_has_read_is_believed() {
    let mut scene = Scene::begun("ack='1' ver='1.11'", "");
    scene.done();
    scene.session.receive(Event::SignedIn(b"<success/>"), scene.now);
    scene.poll(2);
    scene.stanza("one");
    scene.done();

    let said = scene.post(3, "ack='1'", "<message/>");
    scene.stanza("two");
    let done = scene.done();
    assert!(
        done.iter()
            .any(|done| matches!(done, Answered(id, body) if *id == said && !body.contains("two"))),
        "{done:?}"
    );

    scene.stanza("three");
    let said = scene.post(4, "ack='3'", "<message/>");
    let done = scene.done();
    assert!(
        done.iter().any(
            |done| matches!(done, Answered(id, body) if *id == said && body.contains("three"))
        ),
        "{done:?}"
    );
}

const TENTH: Duration = Duration::from_millis(100);

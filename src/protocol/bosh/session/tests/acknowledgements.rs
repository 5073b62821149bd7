//! Who has got what (XEP-0124 §9).

use super::*;

/// A session with acknowledgements, whose browser has signed in; rid 2 is to come.
fn acknowledging() -> Scene {
    let mut scene = Scene::begun("ver='1.11' wait='60' hold='1' ack='1'", "");
    scene.session.receive(Event::SignedIn(b""), scene.now);
    scene.done();
    scene
}

fn empty_with(attributes: &str) -> String {
    EMPTY.replace("<body ", &format!("<body {attributes} "))
}

fn stanzas_with(attributes: &str, names: &[&str]) -> String {
    stanzas(names).replace("<body ", &format!("<body {attributes} "))
}

// §7.2, §9.1: "set to the value of the 'rid' attribute of the session creation request".
#[test]
fn first_answer_acknowledges_the_first_request_of_a_browser_that_acknowledges() {
    let opened = Scene::begun("ver='1.11' ack='1'", "").done();

    let [Answered(1, body)] = opened.as_slice() else { panic!("{opened:?}") };
    assert!(body.contains(" ack='1'"), "{body}");
}

#[test]
fn browser_that_does_not_acknowledge_is_not_acknowledged() {
    let mut scene = Scene::begun("ver='1.11'", "");
    let opened = scene.done();
    let [Answered(1, body)] = opened.as_slice() else { panic!("{opened:?}") };
    assert!(!body.contains(" ack="), "{body}");
    scene.session.receive(Event::SignedIn(b""), scene.now);
    let held = scene.poll(2);

    scene.post(3, "ack='1'", "<message/>");

    assert_eq!(scene.done(), [Sent("<message/>".into()), Answered(held, EMPTY.into())]);
}

// §9.1
#[test]
fn answer_acknowledges_a_later_request_that_is_here_and_not_the_one_it_answers() {
    let mut scene = acknowledging();
    let held = scene.poll(2);
    let later = scene.post(3, "", "<message/>");

    assert_eq!(scene.done(), [Sent("<message/>".into()), Answered(held, empty_with("ack='3'"))]);
    scene.stanza("iq");
    assert_eq!(scene.done(), [Answered(later, stanzas(&["iq"]))]);
}

// §9.1: "in the case where it has also received all requests with lower 'rid' values".
#[test]
fn request_behind_a_gap_is_not_acknowledged_before_the_gap_is_closed() {
    let mut scene = acknowledging();
    let held = scene.poll(2);
    scene.post(4, "", "<message/>");
    scene.stanza("iq");
    assert_eq!(scene.done(), [Answered(held, stanzas(&["iq"]))]);
    // Rid 3 is done without, which is no reason to say that it came.
    assert_eq!(scene.pass(seconds(40)), [Sent("<message/>".into())]);
    scene.stanza("iq");
    assert_eq!(scene.done(), [Answered(3, stanzas_with("ack='2'", &["iq"]))]);

    let late = scene.poll(3);

    assert_eq!(scene.done(), [Answered(late, empty_with("ack='4'"))]);
}

// §9.2
#[test]
fn browser_that_misses_an_answer_is_told_at_once_which_and_since_when() {
    let mut scene = acknowledging();
    let lost = scene.poll(2);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(lost, stanzas(&["message"]))]);
    assert_eq!(scene.pass(Duration::from_millis(1_852)), []);

    let next = scene.post(3, "ack='1'", "");

    assert_eq!(scene.done(), [Answered(next, empty_with("report='2' time='1852'"))]);
    let again = scene.poll(2);
    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn answer_that_may_still_be_under_way_is_not_reported() {
    let mut scene = acknowledging();
    scene.poll(2);
    scene.stanza("message");
    scene.done();
    scene.pass(Duration::from_millis(200));

    scene.post(3, "ack='1'", "");

    assert_eq!(scene.done(), []);
}

#[test]
fn acknowledgement_of_what_was_never_given_is_nothing() {
    let mut scene = acknowledging();
    scene.pass(seconds(5));

    scene.post(2, "ack='77'", "");
    scene.done();
    scene.post(3, "ack='9007199254740993'", "<message/>");

    assert_eq!(scene.done(), [Sent("<message/>".into()), Answered(2, empty_with("ack='3'"))]);
}

// §14.3: "an exact copy", with what it acknowledged then.
#[test]
fn repeated_rid_gets_the_same_acknowledgement_again() {
    let mut scene = acknowledging();
    scene.poll(2);
    scene.post(3, "", "<message/>");
    scene.done();

    let again = scene.poll(2);

    assert_eq!(scene.done(), [Answered(again, empty_with("ack='3'"))]);
}

#[test]
fn acknowledging_answer_that_nobody_took_is_given_to_the_next_request() {
    let mut scene = acknowledging();
    scene.stanza("message");
    let taken = scene.poll(2);
    let lost = scene.poll(3);
    scene.stanza("presence");
    assert_eq!(scene.done(), [Answered(taken, stanzas_with("ack='3'", &["message", "presence"]))]);
    scene.stanza("iq");
    assert_eq!(scene.done(), [Answered(lost, stanzas(&["iq"]))]);

    scene.drop_connection(lost);
    let next = scene.poll(4);

    assert_eq!(scene.done(), [Answered(next, stanzas(&["iq"]))]);
}

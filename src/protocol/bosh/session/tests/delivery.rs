//! Which stanzas the browser has surely got: those that nobody else need see to any more.

use super::*;

/// A session whose browser has a request here; the next rid is 2.
fn polled() -> Scene {
    let mut scene = Scene::prebound();
    scene.poll(1);
    scene.done();
    scene
}

fn undelivered(scene: &mut Scene) -> u32 {
    scene.done();
    scene.session.undelivered()
}

#[test]
fn stanza_is_delivered_when_the_browser_asks_for_more() {
    let mut scene = polled();
    scene.stanza("message");
    assert_eq!(undelivered(&mut scene), 1);

    scene.poll(2);

    assert_eq!(undelivered(&mut scene), 0);
}

#[test]
fn request_with_something_to_say_may_have_crossed_the_answer_before_it() {
    let mut scene = polled();
    scene.stanza("message");
    assert_eq!(undelivered(&mut scene), 1);

    scene.post(2, "", "<iq id='1'/>");
    assert_eq!(undelivered(&mut scene), 1);

    scene.post(3, "", "<iq id='2'/>");
    assert_eq!(undelivered(&mut scene), 0);
}

#[test]
fn what_waits_or_was_put_back_is_not_delivered() {
    let mut scene = polled();
    scene.stanza("message");
    scene.done();
    scene.stanza("message");
    scene.stanza("x");
    assert_eq!(undelivered(&mut scene), 2);

    scene.drop_connection(1);

    assert_eq!(undelivered(&mut scene), 2);
    let elements = String::from_utf8(scene.session.undelivered_elements()).unwrap();
    assert_eq!(
        elements,
        "<message xmlns='jabber:client'/><message xmlns='jabber:client'/><x xmlns='jabber:client'/>"
    );
    scene.poll(2);
    assert_eq!(undelivered(&mut scene), 2);
    scene.poll(3);
    assert_eq!(undelivered(&mut scene), 0);
}

#[test]
fn browser_that_vanishes_leaves_behind_what_it_was_sent_last_and_what_waits() {
    let mut scene = polled();
    scene.stanza("message");
    scene.done();
    scene.stanza("iq");

    let done = scene.pass(seconds(120));

    assert!(done.contains(&Over(End::Inactive)), "{done:?}");
    assert_eq!(scene.session.undelivered(), 2);
    let elements = String::from_utf8(scene.session.undelivered_elements()).unwrap();
    assert_eq!(elements, "<message xmlns='jabber:client'/><iq xmlns='jabber:client'/>");
}

#[test]
fn what_the_last_answer_of_a_session_carries_is_not_delivered() {
    let mut scene = Scene::prebound();
    scene.stanza("message");

    scene.post(1, "type='terminate'", "");

    assert_eq!(undelivered(&mut scene), 1);
    let elements = String::from_utf8(scene.session.undelivered_elements()).unwrap();
    assert_eq!(elements, "<message xmlns='jabber:client'/>");
}

#[test]
fn browser_that_says_which_answers_it_has_is_believed() {
    let mut scene = polled();
    scene.stanza("message");
    assert_eq!(undelivered(&mut scene), 1);

    scene.post(2, "ack='0'", "");
    assert_eq!(undelivered(&mut scene), 1);

    scene.post(3, "ack='1'", "<iq id='1'/>");
    assert_eq!(undelivered(&mut scene), 0);
}

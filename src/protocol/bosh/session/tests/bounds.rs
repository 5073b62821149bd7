//! The bounds of a session: what is reached, and what is said then.

use bytesize::ByteSize;

use super::*;

#[test]
fn backlog_goes_out_in_answers_of_bounded_size_and_nothing_of_it_is_lost() {
    let mut scene = Scene::with(Settings { answer: ByteSize::b(150), ..Settings::default() });
    for name in ["a", "b", "c", "d", "e", "f"] {
        scene.stanza(name);
    }
    assert!(scene.session.has_backlog());

    let mut heard = Vec::new();
    for rid in 1..=3 {
        scene.poll(rid);
        heard.extend(scene.done());
    }

    let two = |first, second| stanzas(&[first, second]);
    assert_eq!(
        heard,
        [Answered(1, two("a", "b")), Answered(2, two("c", "d")), Answered(3, two("e", "f"))]
    );
    assert!(!scene.session.has_backlog());
}

#[test]
fn what_is_behind_a_full_answer_waits_for_no_timer() {
    let mut scene = Scene::with(Settings { answer: ByteSize::b(130), ..Settings::default() });
    scene.poll(1);
    assert_eq!(scene.done(), []);
    scene.stanza("a");
    scene.stanza("b");
    assert_eq!(scene.done(), [Answered(1, stanzas(&["a"]))]);

    scene.poll(2);

    assert_eq!(scene.done(), [Answered(2, stanzas(&["b"]))]);
}

#[test]
fn lone_stanza_is_answered_at_once_while_a_request_waits() {
    let mut scene = Scene::prebound();
    scene.poll(1);
    assert_eq!(scene.done(), []);

    for rid in 2..=20 {
        scene.stanza("message");
        assert_eq!(scene.done(), [Answered(rid - 1, stanzas(&["message"]))]);
        scene.poll(rid);
        assert_eq!(scene.done(), []);
    }
}

#[test]
fn request_of_too_many_elements_ends_the_session_and_nothing_of_it_goes_to_the_server() {
    let mut scene = Scene::with(Settings { elements: 2, ..Settings::default() });
    scene.post(1, "", "<iq/><iq/>");
    assert_eq!(scene.done(), [Sent("<iq/><iq/>".into())]);

    let more = scene.post(2, "", "<iq/><iq/><iq/>");

    assert_eq!(
        scene.done(),
        [
            Answered(1, terminate("other-request")),
            Answered(more, terminate("policy-violation")),
            Over(End::TooManyElements),
        ]
    );
}

#[test]
fn too_much_before_its_turn_ends_the_session() {
    let mut scene = Scene::with(Settings { ahead: ByteSize::b(30), ..Settings::default() });
    let third = scene.post(3, "", "<message id='c'/>");
    assert_eq!(scene.done(), []);

    let second = scene.post(2, "", "<message id='b'/>");

    assert_eq!(
        scene.done(),
        [
            Answered(second, terminate("policy-violation")),
            Answered(third, terminate("other-request")),
            Over(End::TooFarAhead),
        ]
    );
}

#[test]
fn requests_before_their_turn_are_no_more_than_the_window_has_room_for() {
    let mut scene = Scene::prebound();
    for rid in 2..=5 {
        scene.post(rid, "", "<message/>");
    }
    assert_eq!(scene.done(), []);

    let beyond = scene.post(6, "", "<message/>");

    let done = scene.done();
    assert_eq!(done.len(), 6, "{done:?}");
    assert_eq!(done.first(), Some(&Answered(beyond, terminate("item-not-found"))));
    assert!(matches!(done.last(), Some(Over(End::OutsideWindow { .. }))), "{done:?}");
}

#[test]
fn backlog_is_told_before_the_end_in_answers_of_bounded_size() {
    let mut scene = Scene::with(Settings { answer: ByteSize::b(150), ..Settings::default() });
    for name in ["a", "b", "c", "d", "e"] {
        scene.stanza(name);
    }
    scene.end(End::UpstreamLost);
    assert_eq!(scene.done(), []);

    let mut heard = Vec::new();
    for rid in 1..=4 {
        assert_eq!(scene.pass(seconds(70)), []);
        scene.poll(rid);
        heard.extend(scene.done());
    }

    assert_eq!(
        heard,
        [
            Answered(1, stanzas(&["a", "b"])),
            Answered(2, stanzas(&["c", "d"])),
            Answered(3, stanzas(&["e"])),
            Answered(4, terminate("system-shutdown")),
            Over(End::UpstreamLost),
        ]
    );
}

#[test]
fn backlog_that_is_there_when_upstream_is_lost_is_fetched_also_by_who_has_a_request_here() {
    let mut scene = Scene::with(Settings { answer: ByteSize::b(150), ..Settings::default() });
    scene.poll(1);
    assert_eq!(scene.done(), []);
    for name in ["a", "b", "c"] {
        scene.stanza(name);
    }
    scene.end(End::UpstreamLost);
    assert_eq!(scene.done(), [Answered(1, stanzas(&["a", "b"]))]);

    scene.poll(2);
    assert_eq!(scene.done(), [Answered(2, stanzas(&["c"]))]);
    scene.poll(3);

    assert_eq!(scene.done(), [Answered(3, terminate("system-shutdown")), Over(End::UpstreamLost)]);
}

#[test]
fn backlog_that_nobody_fetches_is_kept_no_longer_than_the_inactivity() {
    let mut scene = Scene::with(Settings { answer: ByteSize::b(150), ..Settings::default() });
    for name in ["a", "b", "c", "d", "e"] {
        scene.stanza(name);
    }
    scene.end(End::UpstreamLost);
    scene.poll(1);
    assert_eq!(scene.done(), [Answered(1, stanzas(&["a", "b"]))]);

    assert_eq!(scene.pass(seconds(74)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::UpstreamLost)]);
}

//! How a session ends, and who is told.

use super::*;

#[test]
fn rid_beyond_the_window_ends_the_session_for_all() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.done();

    let beyond = scene.poll(7);

    let why = End::OutsideWindow { rid: Rid::new(7).unwrap(), expected: Rid::new(2).unwrap() };
    assert_eq!(
        scene.done(),
        [
            Answered(beyond, terminate("item-not-found")),
            Answered(held, terminate("item-not-found")),
            Over(why),
        ]
    );
}

#[test]
fn rid_whose_answer_is_forgotten_ends_the_session() {
    let mut scene = Scene::prebound();
    for rid in 1..=9 {
        scene.poll(rid);
        scene.done();
    }

    let again = scene.poll(1);

    assert_eq!(scene.done().first(), Some(&Answered(again, terminate("item-not-found"))));
}

#[test]
fn browser_that_leaves_says_its_last_word_and_gets_a_farewell() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.done();

    let last = scene.post(2, "type='terminate'", "<presence type='unavailable'/>");

    assert_eq!(
        scene.done(),
        [
            Sent("<presence type='unavailable'/>".into()),
            Answered(held, EMPTY.into()),
            Answered(last, terminate("")),
            Over(End::Terminated),
        ]
    );
}

#[test]
fn broken_payload_ends_the_session_with_bad_request() {
    let mut scene = Scene::prebound();

    let broken = scene.post(1, "", "<message><!-- comment --></message>");

    assert_eq!(scene.done(), [Answered(broken, terminate("bad-request")), Over(End::BadRequest)]);
}

#[test]
fn silent_browser_is_given_up() {
    let mut scene = Scene::prebound();
    let poll = scene.poll(1);
    scene.stanza("message");
    assert_eq!(scene.done(), [Answered(poll, stanzas(&["message"]))]);

    assert_eq!(scene.pass(seconds(59)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
}

#[test]
fn browser_whose_request_is_held_is_not_silent() {
    let mut scene = Scene::prebound();
    let first = scene.poll(1);
    assert_eq!(scene.pass(seconds(60)), [Answered(first, EMPTY.into())]);

    // The inactivity counts from the answer.
    assert_eq!(scene.pass(seconds(59)), []);
    scene.poll(2);
    assert_eq!(scene.pass(seconds(59)), []);
}

#[test]
fn prebound_session_that_nobody_picks_up_is_given_up() {
    let mut scene = Scene::with(Settings { attach: seconds(20), ..Settings::default() });

    assert_eq!(scene.pass(seconds(19)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::NeverAttached)]);
}

#[test]
fn pause_releases_all_requests_and_stretches_the_inactivity_once() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.done();

    let pause = scene.post(2, "pause='600'", "");

    assert_eq!(scene.done(), [Answered(held, EMPTY.into()), Answered(pause, EMPTY.into())]);
    assert_eq!(scene.pass(seconds(119)), []);
    let back = scene.poll(3);
    scene.drop_connection(back);
    assert_eq!(scene.pass(seconds(60)), [Over(End::Inactive)]);
}

#[test]
fn lost_upstream_is_told_to_the_held_request() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.done();

    scene.end(End::UpstreamLost);

    assert_eq!(
        scene.done(),
        [Answered(held, terminate("system-shutdown")), Over(End::UpstreamLost)]
    );
}

#[test]
fn lost_upstream_is_told_to_the_next_request_with_what_came_before() {
    let mut scene = Scene::prebound();
    scene.stanza("message");
    scene.end(End::StreamError(b"<stream:error><conflict/></stream:error>".to_vec()));
    assert_eq!(scene.done(), []);

    let poll = scene.poll(1);

    let done = scene.done();
    let Some(Answered(answered, body)) = done.first() else { panic!("{done:?}") };
    assert_eq!(*answered, poll);
    assert!(body.contains("type='terminate' condition='remote-stream-error'>"), "{body}");
    assert!(
        body.ends_with(
            "<message xmlns='jabber:client'/><stream:error><conflict/></stream:error></body>"
        ),
        "{body}"
    );
    assert!(matches!(done.last(), Some(Over(End::StreamError(_)))), "{done:?}");
}

#[test]
fn lost_upstream_waits_for_the_browser_no_longer_than_the_inactivity() {
    let mut scene = Scene::prebound();
    scene.end(End::UpstreamLost);

    assert_eq!(scene.pass(seconds(59)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::UpstreamLost)]);
}

#[test]
fn shutdown_waits_for_no_browser_that_has_yet_to_learn_of_lost_upstream() {
    let mut scene = Scene::prebound();
    scene.end(End::UpstreamLost);
    assert_eq!(scene.done(), []);

    scene.end(End::ShutDown);

    assert_eq!(scene.done(), [Over(End::UpstreamLost)]);
}

#[test]
fn request_that_meets_an_ended_session_is_answered() {
    let mut scene = Scene::prebound();
    scene.end(End::ShutDown);
    assert_eq!(scene.done(), [Over(End::ShutDown)]);

    let late = scene.poll(1);

    assert_eq!(scene.done(), [Answered(late, terminate("item-not-found"))]);
}

#[test]
fn early_requests_are_told_of_the_end_too() {
    let mut scene = Scene::prebound();
    let early = scene.poll(3);

    scene.end(End::Revoked);

    assert_eq!(scene.done(), [Answered(early, terminate("item-not-found")), Over(End::Revoked)]);
}

#[test]
fn queue_for_the_browser_is_bounded_and_says_so_before() {
    let mut scene = Scene::with(Settings {
        queue: bytesize::ByteSize::b(200),
        queue_limit: bytesize::ByteSize::b(400),
        ..Settings::default()
    });
    assert!(!scene.session.is_full());
    while !scene.session.is_full() {
        scene.stanza("message");
    }
    assert_eq!(scene.done(), []);

    for _ in 0..20 {
        scene.stanza("message");
    }

    assert_eq!(scene.done(), [Over(End::QueueFull)]);
}

#[test]
fn full_queue_is_told_to_who_is_there() {
    let mut scene =
        Scene::with(Settings { queue_limit: bytesize::ByteSize::b(200), ..Settings::default() });
    let held = scene.poll(1);
    assert_eq!(scene.done(), []);

    for _ in 0..20 {
        scene.stanza("message");
    }

    let done = scene.done();
    let [Answered(answered, body), Over(End::QueueFull)] = done.as_slice() else {
        panic!("{done:?}")
    };
    assert_eq!(*answered, held);
    assert!(body.contains("condition='policy-violation'><message "), "{body}");
}

#[test]
fn browser_that_only_breaks_connections_is_not_remembered_for_ever() {
    let mut scene = Scene::prebound();
    for rid in 1..1_000 {
        let poll = scene.poll(rid);
        scene.done();
        scene.drop_connection(poll);
    }

    assert!(scene.session.recent.len() <= 6, "{}", scene.session.recent.len());
}

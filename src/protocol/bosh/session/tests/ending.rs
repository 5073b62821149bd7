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
            Answered(held, terminate("other-request")),
            Over(why),
        ]
    );
}

#[test]
fn browser_that_leaves_says_its_last_word_and_gets_a_farewell_on_its_oldest_connection() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.done();

    let last = scene.post(2, "type='terminate'", "<presence type='unavailable'/>");

    assert_eq!(
        scene.done(),
        [
            Sent("<presence type='unavailable'/>".into()),
            Answered(held, terminate("")),
            Answered(last, EMPTY.into()),
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

    assert_eq!(scene.pass(seconds(74)), []);
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

// XEP-0124 §10
#[test]
fn pause_that_is_longer_than_the_longest_is_as_long_as_that() {
    let mut scene = Scene::prebound();
    let pause = scene.post(1, "pause='600'", "");
    assert_eq!(scene.done(), [Answered(pause, EMPTY.into())]);

    assert_eq!(scene.pass(seconds(119)), []);
    assert_eq!(scene.pass(seconds(1)), [Over(End::Inactive)]);
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
    assert_eq!(scene.pass(seconds(75)), [Over(End::Inactive)]);
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
fn lost_upstream_is_remote_connection_failed_where_the_administrator_wants_it() {
    let mut scene = Scene::with(Settings { remote_connection_failed: true, ..Settings::default() });
    let held = scene.poll(1);

    scene.end(End::UpstreamLost);

    assert_eq!(
        scene.done(),
        [Answered(held, terminate("remote-connection-failed")), Over(End::UpstreamLost)]
    );
}

// XEP-0206 §6: zero or more stanzas go before the error; Strophe and stanza read none of them in the body that says so.
#[test]
fn what_came_before_the_end_goes_out_before_the_body_that_tells_of_it() {
    let mut scene = Scene::prebound();
    scene.stanza("message");
    scene.end(End::StreamError(b"<stream:error><conflict/></stream:error>".to_vec()));
    assert_eq!(scene.done(), []);

    let poll = scene.poll(1);
    assert_eq!(scene.done(), [Answered(poll, stanzas(&["message"]))]);
    let last = scene.poll(2);

    let done = scene.done();
    let Some(Answered(answered, body)) = done.first() else { panic!("{done:?}") };
    assert_eq!(*answered, last);
    assert!(body.contains("type='terminate' condition='remote-stream-error'>"), "{body}");
    assert!(body.ends_with("><stream:error><conflict/></stream:error></body>"), "{body}");
    assert!(matches!(done.last(), Some(Over(End::StreamError(_)))), "{done:?}");
    assert_eq!(scene.session.undelivered(), 0);
}

#[test]
fn what_came_before_the_end_goes_to_the_oldest_of_two_requests_and_the_end_to_the_other() {
    let mut scene = Scene::begun("hold='1' wait='60'", "");
    scene.done();
    scene.session.receive(Event::SignedIn(b""), scene.now);
    scene.poll(2);
    scene.stanza("message");
    scene.end(End::UpstreamLost);
    scene.poll(3);

    assert_eq!(
        scene.done(),
        [
            Answered(2, stanzas(&["message"])),
            Answered(3, terminate("system-shutdown")),
            Over(End::UpstreamLost)
        ]
    );
}

// RFC 6120 §8.3: a stanza is delivered, or its sender gets an error.
#[test]
fn browser_learns_before_the_end_what_of_its_own_may_be_lost() {
    let mut scene = Scene::prebound();
    let held = scene.poll(1);
    scene.stanza("presence");

    let said = b"<message to='a@b' id='7'><body/></message><presence/><iq type='get' id='8'/>";
    scene.session.receive(Event::Lost(said), scene.now);
    scene.end(End::UpstreamLost);

    let done = scene.done();
    let [Answered(answered, body)] = done.as_slice() else { panic!("{done:?}") };
    assert_eq!(*answered, held);
    let body = body.replace('"', "'");
    assert!(body.contains("<presence xmlns='jabber:client'/><message "), "{body}");
    assert!(body.contains("type='error' from='a@b' id='7'>"), "{body}");
    assert!(body.contains("<iq xmlns='jabber:client' type='error' id='8'>"), "{body}");
    let last = scene.poll(2);
    assert_eq!(
        scene.done(),
        [Answered(last, terminate("system-shutdown")), Over(End::UpstreamLost)]
    );
}

#[test]
fn what_a_browser_says_behind_the_end_comes_back_once_and_then_it_is_told() {
    let mut scene = Scene::prebound();
    scene.end(End::UpstreamLost);

    scene.post(1, "", "<message to='a@b' id='7'><body/></message>");
    let done = scene.done();
    assert!(
        matches!(done.as_slice(), [Answered(1, body)] if body.contains("remote-server-timeout")),
        "{done:?}"
    );
    scene.post(2, "", "<message to='a@b' id='8'><body/></message>");

    assert_eq!(scene.done(), [Answered(2, terminate("system-shutdown")), Over(End::UpstreamLost)]);
}

#[test]
fn lost_upstream_waits_for_the_browser_no_longer_than_the_inactivity() {
    let mut scene = Scene::prebound();
    scene.end(End::UpstreamLost);

    assert_eq!(scene.pass(seconds(74)), []);
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

#[test]
fn request_out_of_order_that_comes_again_while_the_session_ends_gets_the_same_answer_again() {
    let mut scene = Scene::begun("hold='1'", "");
    scene.done();
    scene.stanza("message");
    scene.session.receive(Event::End(End::UpstreamLost), scene.now);
    scene.done();

    let first = scene.post(4, "", "<message/>");
    assert_eq!(scene.done(), [Answered(first, stanzas(&["message"]))]);
    let again = scene.post(4, "", "<message/>");

    assert_eq!(scene.done(), [Answered(again, stanzas(&["message"]))]);
}

#[test]
fn what_is_said_again_while_the_session_ends_goes_nowhere_either() {
    let mut scene = Scene::begun("hold='1'", "");
    let opened = scene.done();
    scene.stanza("message");
    scene.session.receive(Event::End(End::UpstreamLost), scene.now);
    scene.post(1, "hold='1'", "");
    assert_eq!(scene.done().len(), opened.len());

    let said = scene.post(2, "", "<message/>");
    let told = scene.done();
    assert!(matches!(&told[..], [Answered(id, _)] if *id == said), "{told:?}");
    let again = scene.post(2, "", "<message/>");

    let told = scene.done();
    assert!(matches!(&told[..], [Answered(id, _)] if *id == again), "{told:?}");
}

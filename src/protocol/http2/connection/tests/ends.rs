//! What ends a connection, and how (RFC 9113 §5.1, §5.4, §6.8).

use super::*;

#[test]
fn connection_begins_with_the_preface_and_settings() {
    // §3.4
    assert_eq!(Scene::silent(TERMS).hear(b"GET / HTTP/1.1\r\n").unwrap_err(), Code::Protocol);
    for (kind, payload) in [((Kind::Ping, 0), &[0; 8][..]), ((Kind::Settings, flag::ACK), &[])] {
        let mut scene = Scene::silent(TERMS);
        scene.hear(PREFACE).unwrap();
        assert_eq!(scene.frame(kind, 0, payload).unwrap_err(), Code::Protocol);
    }
}

#[test]
fn end_says_why_and_which_requests_were_seen() {
    // §5.4.1
    let mut scene = Scene::new(TERMS);
    scene.get(1);
    scene.get(3);

    scene.frame((Kind::PushPromise, 0), 1, &[0; 4]).unwrap_err();

    let said = scene.said();
    assert_eq!(said, [(Kind::GoAway, 0, 0, [0, 0, 0, 3, 0, 0, 0, 1].to_vec())]);
}

#[test]
fn frame_on_a_stream_that_was_never_begun_ends_the_connection() {
    // §5.1
    for (kind, payload) in [
        ((Kind::Data, 0), &b"x"[..]),
        ((Kind::ResetStream, 0), &[0; 4]),
        ((Kind::WindowUpdate, 0), &[0, 0, 0, 1]),
        ((Kind::Continuation, flag::END_HEADERS), &[0x82]),
    ] {
        assert_eq!(Scene::new(TERMS).frame(kind, 1, payload).unwrap_err(), Code::Protocol);
    }
}

#[test]
fn frame_behind_the_end_of_a_request_ends_the_connection() {
    // §5.1: half-closed (remote), and closed.
    for is_answered in [false, true] {
        for kind in [Kind::Data, Kind::Headers] {
            let mut scene = Scene::new(TERMS);
            scene.get(1);
            if is_answered {
                scene.answer(1, true);
            }
            let ended = scene.frame((kind, flag::END_HEADERS), 1, &[0x82]);
            assert_eq!(ended.unwrap_err(), Code::StreamClosed, "{kind:?} {is_answered}");
        }
    }
}

#[test]
fn frame_behind_a_reset_of_the_browser_ends_the_connection_also_where_we_were_first() {
    // §5.1: closed
    for is_answered in [false, true] {
        for kind in [Kind::Data, Kind::Headers] {
            let mut scene = Scene::new(TERMS);
            scene.post(1);
            if is_answered {
                scene.answer(1, true);
                // What was under way by then is no fault.
                scene.frame((Kind::Data, 0), 1, b"x").unwrap();
            }
            scene.frame((Kind::ResetStream, 0), 1, &[0, 0, 0, 8]).unwrap();
            let ended = scene.frame((kind, flag::END_HEADERS), 1, &[0x82]);
            assert_eq!(ended.unwrap_err(), Code::StreamClosed, "{kind:?} {is_answered}");
        }
    }
}

#[test]
fn windows_may_open_behind_the_end_of_a_request() {
    // §6.9
    let mut scene = Scene::new(TERMS);
    scene.get(1);
    scene.answer(1, true);

    scene.frame((Kind::WindowUpdate, 0), 1, &[0, 0, 0, 1]).unwrap();
    scene.frame((Kind::ResetStream, 0), 1, &[0; 4]).unwrap();
}

#[test]
fn numbers_of_requests_are_odd_and_grow() {
    // §5.1.1
    assert_eq!(Scene::new(TERMS).ask(2, 0, &GET).unwrap_err(), Code::Protocol);
    let mut scene = Scene::new(TERMS);
    scene.get(5);
    assert_eq!(scene.ask(3, 0, &GET).unwrap_err(), Code::Protocol);
}

#[test]
fn nothing_comes_between_the_parts_of_a_header_block() {
    // §6.10
    for (kind, stream) in
        [(Kind::Ping, 0), (Kind::Headers, 3), (Kind::Continuation, 3), (Kind::Other, 0)]
    {
        let mut scene = Scene::new(TERMS);
        scene.frame((Kind::Headers, 0), 1, &block(&GET)).unwrap();
        let ended = scene.frame((kind, flag::END_HEADERS), stream, &[0; 8]);
        assert_eq!(ended.unwrap_err(), Code::Protocol, "{kind:?}");
    }
}

#[test]
fn header_block_that_cannot_be_read_ends_the_connection() {
    // §4.3
    let mut scene = Scene::new(TERMS);

    let ended = scene.frame((Kind::Headers, flag::END_HEADERS), 1, &[0xff, 0xff, 0xff, 0xff, 0xff]);

    assert_eq!(ended.unwrap_err(), Code::Compression);
}

#[test]
fn padding_that_is_longer_than_its_frame_ends_the_connection() {
    // §6.1, §6.2
    for kind in [Kind::Data, Kind::Headers] {
        let mut scene = Scene::new(TERMS);
        scene.post(1);
        let ended = scene.frame((kind, flag::PADDED | flag::END_HEADERS), 1, &[3, 0, 0]);
        assert_eq!(ended.unwrap_err(), Code::Protocol, "{kind:?}");
    }
}

#[test]
fn browser_that_is_to_leave_is_answered_what_it_asks_until_it_knows() {
    // §6.8
    let mut scene = Scene::new(TERMS);
    scene.get(1);

    scene.machine.leave();
    let told = scene.said();
    scene.get(3);
    scene.answer(1, true);
    scene.said();
    let question = &told[1].3;
    let pong = scene.frame((Kind::Ping, flag::ACK), 0, question).unwrap();
    let final_word = scene.said();
    let refused = scene.ask(5, flag::END_STREAM, &GET).unwrap();
    let is_over = scene.machine.is_over();
    scene.answer(3, true);

    assert_eq!(told[0], (Kind::GoAway, 0, 0, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0].to_vec()));
    assert!(matches!(pong[..], [Happened::Pong]));
    assert_eq!(final_word, [(Kind::GoAway, 0, 0, [0, 0, 0, 3, 0, 0, 0, 0].to_vec())]);
    assert!(refused.is_empty() && !is_over && scene.machine.is_over());
}

#[test]
fn ping_is_answered_before_anything_else() {
    // §6.7
    let mut scene = Scene::new(TERMS);

    scene.frame((Kind::Ping, 0), 0, b"whatever").unwrap();

    assert_eq!(scene.said(), [(Kind::Ping, flag::ACK, 0, b"whatever".to_vec())]);
}

#[test]
fn header_block_that_goes_on_is_no_sign_of_life() {
    let mut scene = Scene::new(TERMS);
    scene.machine.has_heard();

    scene.frame((Kind::Headers, 0), 1, &block(&GET)[..10]).unwrap();
    let within = scene.machine.has_heard();
    scene.frame((Kind::Continuation, flag::END_HEADERS), 1, &block(&GET)[10..]).unwrap();

    assert!(!within && scene.machine.has_heard());
}

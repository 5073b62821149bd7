//! Bodies both ways, and how much of them may be under way (RFC 9113 §5.2, §6.9).

use super::*;

#[test]
fn body_is_as_long_as_it_says() {
    // §8.1.1
    for (pieces, is_right) in [
        (&["abc"][..], true),
        (&["a", "", "bc"], true),
        (&["ab"], false),
        (&["abcd"], false),
        (&["abc", "d"], false),
    ] {
        let mut scene = Scene::new(TERMS);
        let fields = [&POST[..], &[("content-length", "3")]].concat();
        scene.ask(1, 0, &fields).unwrap();
        let mut events = Vec::new();
        for (number, piece) in (1..).zip(pieces) {
            let flags = if number == pieces.len() { flag::END_STREAM } else { 0 };
            events.extend(scene.frame((Kind::Data, flags), 1, piece.as_bytes()).unwrap());
        }

        let ended = matches!(events.last(), Some(Happened::Data(1, _, true)));
        assert_eq!(ended, is_right, "{pieces:?}");
        assert_eq!(scene.resets().is_empty(), is_right, "{pieces:?}");
    }
}

#[test]
fn trailers_end_a_body_and_are_not_kept() {
    // §8.1
    let mut scene = Scene::new(TERMS);
    scene.post(1);
    scene.post(3);
    scene.post(5);

    let ended = scene.ask(1, flag::END_STREAM, &[("checksum", "x")]).unwrap();
    let goes_on = scene.ask(3, 0, &[("checksum", "x")]).unwrap();
    let pseudo = scene.ask(5, flag::END_STREAM, &[(":path", "/x")]).unwrap();

    assert!(matches!(&ended[..], [Happened::Data(1, data, true)] if data.is_empty()));
    assert!(matches!(goes_on[..], [Happened::Reset(3)]));
    assert!(matches!(pseudo[..], [Happened::Reset(5)]));
    assert_eq!(scene.resets(), [(3, Code::Protocol.number()), (5, Code::Protocol.number())]);
}

#[test]
fn trailers_of_which_none_may_be_carried_end_an_answer_all_the_same() {
    // §8.2.2
    let mut scene = Scene::new(TERMS);
    scene.get(1);
    scene.answer(1, false);
    scene.send(1, b"body", false);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("connection", http::HeaderValue::from_static("close"));

    scene.machine.write_trailers(1, &trailers, &mut scene.out);

    assert_eq!(scene.said().pop().unwrap(), (Kind::Data, flag::END_STREAM, 1, Vec::new()));
    assert_eq!(scene.machine.under_way(), 0);
}

#[test]
fn upload_has_room_beside_others_that_nobody_takes() {
    let mut scene = Scene::new(Terms { streams: 4, stream_window: 30_000, ..TERMS });
    for stream in [1, 3, 5] {
        scene.post(stream);
        scene.frame((Kind::Data, 0), stream, &[b'x'; 15_000]).unwrap();
        scene.frame((Kind::Data, 0), stream, &[b'x'; 15_000]).unwrap();
    }
    scene.post(7);

    for _ in 0..10 {
        scene.frame((Kind::Data, 0), 7, &[b'x'; 10_000]).unwrap();
        scene.machine.take(7, 10_000);
    }

    assert!(scene.resets().is_empty());
}

#[test]
fn trailers_in_two_frames_behind_an_answer_are_no_fault() {
    // §5.1: they were on their way when the stream was reset.
    let mut scene = Scene::new(TERMS);
    scene.post(1);
    let (first, second) = ([0x10, 8], *b"checksum\x01x");
    scene.frame((Kind::Headers, flag::END_STREAM), 1, &first).unwrap();
    scene.answer(1, true);

    let late = scene.frame((Kind::Continuation, flag::END_HEADERS), 1, &second).unwrap();

    assert!(late.is_empty());
    scene.get(3);
}

#[test]
fn upload_has_room_as_it_is_taken() {
    // §6.9.1: the padding counts.
    let mut scene = Scene::new(TERMS);
    scene.post(1);

    scene.frame((Kind::Data, 0), 1, &[b'x'; 600]).unwrap();
    let silent = scene.said();
    scene.machine.take(1, 600);
    let opened = scene.said();
    scene.frame((Kind::Data, flag::PADDED), 1, &[255; 600]).unwrap();
    scene.machine.take(1, 600 - 256);
    let again = scene.said();

    assert!(silent.is_empty());
    let update = |stream, bytes: u32| (Kind::WindowUpdate, 0, stream, bytes.to_be_bytes().to_vec());
    assert_eq!(opened, [update(1, 600)]);
    assert_eq!(again, [update(1, 600)]);
}

#[test]
fn upload_beyond_its_room_ends() {
    let mut scene = Scene::new(TERMS);
    scene.post(1);
    scene.frame((Kind::Data, 0), 1, &[b'x'; 1000]).unwrap();

    let events = scene.frame((Kind::Data, 0), 1, b"x").unwrap();
    let late = scene.frame((Kind::Data, 0), 1, b"x").unwrap();

    assert!(matches!(events[..], [Happened::Reset(1)]) && late.is_empty());
    assert_eq!(scene.resets(), [(1, Code::FlowControl.number())]);
}

#[test]
fn uploads_beyond_the_room_of_all_end_the_connection() {
    let mut scene = Scene::new(Terms { stream_window: 200_000, ..TERMS });
    scene.post(1);

    for _ in 0..6 {
        scene.frame((Kind::Data, 0), 1, &[b'x'; 16_000]).unwrap();
    }

    let ended = scene.frame((Kind::Data, 0), 1, &[b'x'; 16_000]);
    assert_eq!(ended.unwrap_err(), Code::FlowControl);
}

#[test]
fn what_nobody_takes_any_more_gives_its_room_back() {
    let mut scene = Scene::new(Terms { stream_window: 200_000, ..TERMS });
    scene.post(1);
    scene.answer(1, true);
    let reset = scene.resets();

    // Far more than the window of the connection, on a stream that is over.
    for _ in 0..100 {
        assert!(scene.frame((Kind::Data, 0), 1, &[b'x'; 16_000]).unwrap().is_empty());
    }

    assert_eq!(reset, [(1, Code::NoError.number())], "§8.1");
}

#[test]
fn answer_goes_no_further_than_there_is_room() {
    let mut scene = Scene::new(TERMS);
    scene.get(1);
    scene.answer(1, false);

    let first = scene.send(1, &vec![b'x'; 100_000], true);
    scene.frame((Kind::WindowUpdate, 0), 1, &1000_u32.to_be_bytes()).unwrap();
    let without_the_other = scene.send(1, &vec![b'x'; 100_000], true);
    scene.frame((Kind::WindowUpdate, 0), 0, &400_u32.to_be_bytes()).unwrap();
    let with_both = scene.send(1, &vec![b'x'; 100_000], true);

    assert_eq!((first, without_the_other, with_both), (65_535, 0, 400));
    assert!(scene.said().iter().all(|(_, _, _, payload)| payload.len() <= 16_384));
}

#[test]
fn setting_of_the_first_window_holds_for_streams_that_are_open() {
    // §6.9.2
    let mut scene = Scene::new(TERMS);
    scene.get(1);
    scene.answer(1, false);
    scene.send(1, &[b'x'; 1000], false);

    let to = |bytes: u32| [&[0, 4][..], &bytes.to_be_bytes()].concat();
    scene.frame((Kind::Settings, 0), 0, &to(400)).unwrap();
    let shut = scene.machine.room(1);
    scene.frame((Kind::Settings, 0), 0, &to(1500)).unwrap();
    let open = scene.machine.room(1);
    scene.frame((Kind::WindowUpdate, 0), 1, &0x7fff_0000_u32.to_be_bytes()).unwrap();
    let beyond = scene.frame((Kind::Settings, 0), 0, &to(u32::MAX >> 1));

    assert_eq!((shut, open), (0, 500));
    assert_eq!(beyond.unwrap_err(), Code::FlowControl);
}

#[test]
fn window_that_opens_by_nothing_ends_its_stream_and_behind_the_answer_the_connection() {
    // §6.9; §5.4.2
    for is_answered in [false, true] {
        let mut scene = Scene::new(TERMS);
        scene.get(1);
        if is_answered {
            scene.answer(1, true);
        }

        scene.frame((Kind::WindowUpdate, 0), 1, &5_u32.to_be_bytes()).unwrap();
        let by_nothing = scene.frame((Kind::WindowUpdate, 0), 1, &[0; 4]);

        match by_nothing {
            Ok(events) => assert!(!is_answered && matches!(events[..], [Happened::Reset(1)])),
            Err(code) => assert_eq!((is_answered, code), (true, Code::Protocol)),
        }
    }
}

#[test]
fn window_that_overflows_ends_its_stream_or_the_connection() {
    // §6.9.1
    let mut scene = Scene::new(TERMS);
    scene.get(1);

    let most = (u32::MAX >> 1).to_be_bytes();
    let of_stream = scene.frame((Kind::WindowUpdate, 0), 1, &most).unwrap();
    let of_all = scene.frame((Kind::WindowUpdate, 0), 0, &most);

    assert!(matches!(of_stream[..], [Happened::Reset(1)]));
    assert_eq!(of_all.unwrap_err(), Code::FlowControl);
}

#[test]
fn long_head_of_an_answer_goes_on_in_further_frames() {
    // §6.10
    let mut scene = Scene::new(TERMS);
    scene.get(1);
    let mut headers = http::HeaderMap::new();
    headers.insert("x", http::HeaderValue::try_from("y".repeat(40_000)).unwrap());

    scene.machine.write_head(1, (http::StatusCode::OK, &headers), true, &mut scene.out);

    let said = scene.said();
    let kinds: Vec<_> = said.iter().map(|(kind, flags, ..)| (*kind, *flags)).collect();
    let expected = [
        (Kind::Headers, flag::END_STREAM),
        (Kind::Continuation, 0),
        (Kind::Continuation, flag::END_HEADERS),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn nothing_is_written_of_a_request_that_was_taken_back() {
    let mut scene = Scene::new(TERMS);
    scene.get(1);
    scene.frame((Kind::ResetStream, 0), 1, &8_u32.to_be_bytes()).unwrap();

    scene.answer(1, false);
    scene.send(1, b"x", true);

    assert!(scene.said().is_empty());
}

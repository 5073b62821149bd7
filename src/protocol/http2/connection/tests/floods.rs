//! What costs us something and helps nobody is bounded (RFC 9113 §10.5).

use super::*;

/// How often this can be done until the connection ends for it.
fn ends_after(
    scene: &mut Scene,
    mut flood: impl FnMut(&mut Scene, u32) -> Result<(), Code>,
) -> u32 {
    for times in 0..100_000 {
        if let Err(code) = flood(scene, times) {
            assert_eq!(code, Code::EnhanceYourCalm);
            return times;
        }
        scene.out.clear();
        scene.machine.write_queued(&mut Vec::new());
    }
    panic!("it goes on for ever");
}

#[test]
fn frames_that_ask_for_nothing_end_the_connection() {
    // CVE-2019-9511 … 9518: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, and what nobody knows.
    for (kind, flags, stream, payload) in [
        (Kind::Ping, 0, 0, &[0; 8][..]),
        (Kind::Settings, 0, 0, &[]),
        (Kind::Settings, flag::ACK, 0, &[]),
        (Kind::Priority, 0, 7, &[0; 5]),
        (Kind::WindowUpdate, 0, 0, &[0, 0, 0, 1]),
        (Kind::WindowUpdate, 0, 1, &[0, 0, 0, 1]),
        (Kind::Data, 0, 1, &[]),
        // The same with nothing but padding, and an answer to a PING that nobody has sent.
        (Kind::Data, flag::PADDED, 1, &[3, 0, 0, 0]),
        (Kind::Ping, flag::ACK, 0, &[0; 8]),
        (Kind::GoAway, 0, 0, &[0; 8]),
        (Kind::Other, 0, 0, &[]),
    ] {
        let mut scene = Scene::new(TERMS);
        scene.post(1);

        let times = ends_after(&mut scene, |scene, _| {
            scene.frame((kind, flags), stream, payload).map(drop)
        });

        assert!((100..=1000).contains(&times), "{kind:?}: {times}");
    }
}

#[test]
fn browser_that_pings_now_and_then_stays_for_days() {
    let mut scene = Scene::new(TERMS);

    for _ in 0..100_000 {
        scene.pass(Duration::from_secs(1));
        scene.frame((Kind::Ping, 0), 0, &[0; 8]).unwrap();
    }
}

#[test]
fn browser_that_makes_room_for_what_it_reads_may_do_so_for_ever() {
    let mut scene = Scene::new(TERMS);
    scene.get(1);
    scene.answer(1, false);

    for _ in 0..100_000 {
        assert_eq!(scene.send(1, &[b'x'; 100], false), 100);
        for stream in [0, 1] {
            scene.frame((Kind::WindowUpdate, 0), stream, &100_u32.to_be_bytes()).unwrap();
        }
        scene.out.clear();
    }
}

#[test]
fn requests_that_are_taken_back_in_one_breath_end_the_connection() {
    // CVE-2023-44487
    let mut scene = Scene::new(TERMS);

    let times = ends_after(&mut scene, |scene, times| {
        let stream = times * 2 + 1;
        scene.ask(stream, flag::END_STREAM, &GET)?;
        scene.frame((Kind::ResetStream, 0), stream, &[0; 4]).map(drop)
    });

    assert_eq!(times, TERMS.resets);
}

#[test]
fn requests_that_are_taken_back_a_breath_later_end_it_as_well() {
    let mut scene = Scene::new(TERMS);

    let times = ends_after(&mut scene, |scene, times| {
        let stream = times * 2 + 1;
        scene.ask(stream, flag::END_STREAM, &GET)?;
        scene.machine.begin(stream);
        scene.frame((Kind::ResetStream, 0), stream, &[0; 4]).map(drop)
    });

    assert!((100..=300).contains(&times), "whoever leaves a page may take back a hundred: {times}");
}

#[test]
fn small_answers_do_not_make_up_for_requests_that_are_taken_back() {
    for is_our_reset in [false, true] {
        let mut scene = Scene::new(TERMS);

        let times = ends_after(&mut scene, |scene, times| {
            let stream = times * 4 + 1;
            scene.get(stream);
            if is_our_reset {
                scene.frame((Kind::WindowUpdate, 0), stream, &[0; 4])?;
            } else {
                scene.frame((Kind::ResetStream, 0), stream, &[0; 4])?;
            }
            scene.get(stream + 2);
            scene.answer(stream + 2, false);
            scene.send(stream + 2, b"small", true);
            Ok(())
        });

        assert!((100..=300).contains(&times), "{is_our_reset}: {times}");
    }
}

#[test]
fn requests_that_are_taken_back_now_and_then_are_no_flood() {
    // A map that is moved takes back what it no longer shows.
    let mut scene = Scene::new(TERMS);

    for round in 0..10_000 {
        scene.pass(Duration::from_millis(25));
        scene.get(round * 2 + 1);
        scene.frame((Kind::ResetStream, 0), round * 2 + 1, &[0; 4]).unwrap();
    }
}

#[test]
fn answer_that_is_read_byte_by_byte_ends_the_connection() {
    // CVE-2019-9511
    let mut scene = Scene::new(TERMS);
    scene.frame((Kind::Settings, 0), 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    scene.get(1);
    scene.answer(1, false);

    let times = ends_after(&mut scene, |scene, _| {
        scene.frame((Kind::WindowUpdate, 0), 1, &1_u32.to_be_bytes())?;
        assert_eq!(scene.send(1, &[b'x'; 100], false), 1);
        Ok(())
    });

    assert!((100..=1000).contains(&times), "{times}");
}

#[test]
fn requests_that_make_us_reset_them_end_the_connection() {
    // CVE-2025-8671
    let mut scene = Scene::new(TERMS);
    let mut malformed = GET.to_vec();
    malformed.push(("connection", "close"));
    let times = ends_after(&mut scene, |scene, times| {
        scene.ask(times * 2 + 1, flag::END_STREAM, &malformed).map(drop)
    });
    assert_eq!(times, TERMS.resets);

    let mut scene = Scene::new(TERMS);
    let times = ends_after(&mut scene, |scene, times| {
        let stream = times * 2 + 1;
        scene.post(stream);
        scene.frame((Kind::WindowUpdate, 0), stream, &[0; 4]).map(drop)
    });
    assert_eq!(times, TERMS.resets);
}

#[test]
fn requests_that_are_answered_make_up_for_those_that_come_to_nothing() {
    let mut scene = Scene::new(TERMS);
    let mut malformed = GET.to_vec();
    malformed.push(("connection", "close"));

    for round in 0..1000 {
        scene.pass(Duration::from_millis(25));
        scene.ask(round * 4 + 1, flag::END_STREAM, &malformed).unwrap();
        scene.get(round * 4 + 3);
        scene.answer(round * 4 + 3, true);
    }
}

#[test]
fn requests_beyond_the_bound_end_the_connection_in_the_end() {
    let mut scene = Scene::new(TERMS);
    for stream in [1, 3, 5] {
        scene.get(stream);
    }

    let times = ends_after(&mut scene, |scene, times| {
        scene.ask(times * 2 + 7, flag::END_STREAM, &GET).map(drop)
    });

    assert!(times >= 400, "a page that knows no bound yet asks for a hundred: {times}");
}

#[test]
fn header_block_that_goes_on_and_on_ends_the_connection() {
    // CVE-2024-27316, by many frames, by empty ones, and by bytes.
    for piece in [1, 0, 8000] {
        let mut scene = Scene::new(TERMS);
        scene.frame((Kind::Headers, 0), 1, &block(&GET)).unwrap();

        let times = ends_after(&mut scene, |scene, _| {
            scene.frame((Kind::Continuation, 0), 1, &vec![0; piece]).map(drop)
        });

        assert!(times <= 32, "{piece}: {times}");
    }
}

#[test]
fn bombs_end_the_connection_in_the_end_and_are_never_kept() {
    // A field of 3 KiB once, and then its place 10,000 times in each request.
    let mut scene = Scene::new(TERMS);
    let long = "v".repeat(3000);
    let mut first = block(&GET);
    first.extend([0x40, 1, b'n', 127, 0xb9, 0x16]);
    first.extend_from_slice(long.as_bytes());
    scene.frame((Kind::Headers, flag::END_HEADERS | flag::END_STREAM), 1, &first).unwrap();
    scene.answer(1, true);
    let bomb = [block(&GET), vec![0xbe; 10_000]].concat();

    let times = ends_after(&mut scene, |scene, times| {
        let stream = times * 2 + 3;
        let flags = flag::END_HEADERS | flag::END_STREAM;
        let events = scene.frame((Kind::Headers, flags), stream, &bomb)?;
        assert!(matches!(events[..], [Happened::TooLarge(_)]));
        scene.answer(stream, true);
        Ok(())
    });

    assert!(times <= 100, "{times}");
}

//! CONNECT for a protocol that it names (RFC 8441), and what goes through it.

use super::*;

const CONNECT: [(&str, &str); 5] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":authority", "localhost"),
    (":path", "/chat"),
];

impl Scene {
    /// A tunnel that is opened.
    fn tunnel(stream: u32) -> Self {
        let mut scene = Self::new(Terms { takes_connect: true, ..TERMS });
        let asked = scene.ask(stream, 0, &CONNECT).unwrap();
        assert!(matches!(asked[..], [Happened::Asked(_, _, false)]));
        scene.machine.begin(stream);
        scene.answer(stream, false);
        scene.said();
        scene
    }

    fn end(&mut self, stream: u32) {
        self.machine.write_end(stream, &mut self.out);
    }
}

#[test]
fn each_side_ends_its_own_half() {
    // RFC 8441 §5
    for ours_first in [true, false] {
        let mut scene = Scene::tunnel(1);

        let heard = if ours_first {
            scene.end(1);
            scene.frame((Kind::Data, 0), 1, b"more").unwrap();
            assert!(scene.machine.awaits(1));
            scene.frame((Kind::Data, flag::END_STREAM), 1, b"last").unwrap()
        } else {
            let heard = scene.frame((Kind::Data, flag::END_STREAM), 1, b"last").unwrap();
            assert_eq!(scene.send(1, b"more", false), 4);
            scene.end(1);
            heard
        };

        assert!(matches!(&heard[..], [Happened::Data(1, data, true)] if data == b"last"));
        assert_eq!(scene.machine.under_way(), 0);
        assert!(scene.resets().is_empty());
        let late = scene.frame((Kind::Data, 0), 1, b"x");
        assert_eq!(late.unwrap_err(), Code::StreamClosed);
    }
}

#[test]
fn half_that_is_ended_leaves_room_for_the_other() {
    let mut scene = Scene::tunnel(1);
    scene.end(1);
    scene.said();

    scene.frame((Kind::Data, 0), 1, &[b'x'; 600]).unwrap();
    scene.machine.take(1, 600);

    let update = (Kind::WindowUpdate, 0, 1, 600_u32.to_be_bytes().to_vec());
    assert_eq!(scene.said(), [update]);
}

#[test]
fn nothing_but_data_goes_through_a_tunnel() {
    // RFC 9113 §8.5
    let mut scene = Scene::tunnel(1);

    let heard = scene.ask(1, flag::END_STREAM, &[("checksum", "x")]).unwrap();

    assert!(matches!(heard[..], [Happened::Reset(1)]));
    assert_eq!(scene.resets(), [(1, Code::Protocol.number())]);
}

#[test]
fn tunnel_has_no_length_and_needs_all_that_names_a_page() {
    // RFC 9110 §9.3.6; RFC 8441 §4
    let mut wrong = vec![[&CONNECT[..], &[("content-length", "0")]].concat()];
    wrong.push([&CONNECT[..], &[("content-length", "7")]].concat());
    for missing in [":scheme", ":path"] {
        let fields = CONNECT.into_iter().filter(|(name, _)| *name != missing);
        wrong.push(fields.collect());
    }
    wrong.push([&CONNECT[..], &[("transfer-encoding", "chunked")]].concat());
    wrong.push([&CONNECT[..], &[("upgrade", "websocket")]].concat());

    for fields in wrong {
        let mut scene = Scene::new(Terms { takes_connect: true, ..TERMS });
        assert!(scene.ask(1, 0, &fields).unwrap().is_empty(), "{fields:?}");
        assert_eq!(scene.resets(), [(1, Code::Protocol.number())], "{fields:?}");
    }
}

#[test]
fn tunnel_that_is_refused_ends_like_any_request() {
    let mut scene = Scene::new(Terms { takes_connect: true, ..TERMS });
    scene.ask(1, 0, &CONNECT).unwrap();
    scene.machine.begin(1);

    let status = http::StatusCode::FORBIDDEN;
    scene.machine.write_head(1, (status, &http::HeaderMap::new()), true, &mut scene.out);

    assert_eq!(scene.resets(), [(1, Code::NoError.number())]);
    assert!(scene.frame((Kind::Data, 0), 1, b"late").unwrap().is_empty());
}

#[test]
fn tunnel_says_no_more_than_there_is_room_for() {
    // §6.9
    let mut scene = Scene::tunnel(1);

    let first = scene.send(1, &vec![b'x'; 70_000], false);
    scene.frame((Kind::WindowUpdate, 0), 0, &100_000_u32.to_be_bytes()).unwrap();
    scene.frame((Kind::WindowUpdate, 0), 1, &5_u32.to_be_bytes()).unwrap();
    let second = scene.send(1, &vec![b'x'; 70_000], false);

    assert_eq!((first, second), (65_535, 5));
}

//! A connection of HTTP/2: the same requests and the same end wherever the bytes are cut; no more under way than may be, and no
//! more of a body than there was room for; whatever is said to the browser is whole frames.
#![no_main]

use std::collections::BTreeMap;
use std::time::Instant;

use hyper::HeaderMap;
use hyper::Method;
use hyper::StatusCode;
use libfuzzer_sys::fuzz_target;

use vestibule::protocol::http2::code::Code;
use vestibule::protocol::http2::connection::Connection;
use vestibule::protocol::http2::connection::Event;
use vestibule::protocol::http2::connection::Terms;
use vestibule::protocol::http2::frame::Head;
use vestibule::protocol::http2::frame::PREFACE;

const TERMS: Terms = Terms {
    streams: 4,
    resets: 3,
    header_fields: 20,
    header_bytes: 2000,
    header_table: 4096,
    stream_window: 300,
    connection_window: 66_000,
    takes_connect: true,
};

/// What came of one stream.
#[derive(Debug, Default, PartialEq)]
struct Came {
    asked: Vec<String>,
    is_tunnel: bool,
    body: Vec<u8>,
    ends: u32,
    resets: u32,
}

/// All that came, and how it ended. Every request without a body is answered at once, and every tunnel opened; nothing is ever taken of a
/// body.
fn heard<'a>(
    parts: impl Iterator<Item = &'a [u8]>,
    now: Instant,
) -> (BTreeMap<u32, Came>, Option<Code>) {
    let mut machine = Connection::new(TERMS);
    let mut all: BTreeMap<u32, Came> = BTreeMap::new();
    let mut out = Vec::new();
    let mut end = None;
    'parts: for mut part in std::iter::once(PREFACE).chain(parts) {
        loop {
            match machine.receive(&mut part, now) {
                Ok(Some(event)) => note(&mut machine, &mut all, event, &mut out),
                Ok(None) => break,
                Err(code) => {
                    end = Some(code);
                    break 'parts;
                }
            }
        }
        assert!(part.is_empty());
        assert!(machine.under_way() <= 4);
        machine.write_queued(&mut out);
    }
    machine.write_queued(&mut out);
    are_whole(&out);
    // Of a body that breaks a rule more or less may have come by then.
    all.values_mut().filter(|came| came.resets > 0).for_each(|came| came.body.clear());
    (all, end)
}

fn note(
    machine: &mut Connection,
    all: &mut BTreeMap<u32, Came>,
    event: Event<'_>,
    out: &mut Vec<u8>,
) {
    let answer = |machine: &mut Connection, stream, out: &mut Vec<u8>| {
        machine.write_head(stream, (StatusCode::OK, &HeaderMap::new()), false, out);
        let room = machine.room(stream);
        machine.write_data(stream, &vec![b'x'; room.min(10)], true, out);
    };
    // A tunnel is opened, and our half of it ended, when it is asked for; what comes is the browser's half.
    let open = |machine: &mut Connection, stream, out: &mut Vec<u8>| {
        machine.write_head(stream, (StatusCode::OK, &HeaderMap::new()), false, out);
        let room = machine.room(stream);
        machine.write_data(stream, &vec![b'x'; room.min(10)], false, out);
        machine.write_end(stream, out);
    };
    match event {
        Event::Request { stream, request, ends, .. } => {
            let came = all.entry(stream).or_default();
            let lines = request.headers().iter().map(|field| format!("{field:?}"));
            came.asked.push(format!("{} {}", request.method(), request.uri()));
            came.asked.extend(lines);
            came.ends += u32::from(ends);
            for value in request.headers().values() {
                assert!(!value.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)));
            }
            machine.begin(stream);
            if request.method() == Method::CONNECT {
                came.is_tunnel = true;
                open(machine, stream, out);
                assert_eq!(machine.awaits(stream), !ends, "the browser's half is its own");
            } else if ends {
                answer(machine, stream, out);
            }
        }
        Event::TooLarge { stream } => {
            all.entry(stream).or_default().asked.push("too large".to_owned());
            machine.begin(stream);
            answer(machine, stream, out);
        }
        Event::Data { stream, data, ends } => {
            let came = all.get_mut(&stream).expect("a request came before");
            assert!(came.ends == 0 && came.resets == 0, "nothing comes behind the end");
            came.body.extend_from_slice(data);
            came.ends += u32::from(ends);
            assert!(came.body.len() <= 300, "no more than there was room for");
            if came.is_tunnel {
                assert_eq!(machine.awaits(stream), !ends, "as above");
            } else if ends {
                answer(machine, stream, out);
            }
        }
        Event::Reset { stream } => all.get_mut(&stream).expect("as above").resets += 1,
        Event::Pong => {}
    }
}

fn are_whole(mut out: &[u8]) {
    while let Some((head, behind)) = out.split_first_chunk() {
        let head = Head::read(*head);
        assert!(head.length <= 16_384);
        out = &behind[head.length..];
    }
    assert!(out.is_empty());
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, stream)) = input.split_first() else { return };
    let now = Instant::now();

    let (whole, end) = heard([stream].into_iter(), now);
    let (cut, cut_end) = heard(stream.chunks(usize::from(cut) + 1), now);

    assert_eq!(whole, cut);
    assert_eq!(end, cut_end);
});

//! The path of a stanza, in bytes per second: the frames of a browser and the check of what is in them, the splitter of what
//! the server sent.

#![allow(missing_docs, reason = "criterion's macros write undocumented functions")]

use std::hint::black_box;

use criterion::BatchSize;
use criterion::BenchmarkId;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;

use vestibule::protocol::websocket::frame::Frame;
use vestibule::protocol::websocket::frame::Reader;
use vestibule::protocol::websocket::framing::Message;
use vestibule::protocol::websocket::framing::established;
use vestibule::protocol::xml::check::Limits;
use vestibule::protocol::xml::check::check;
use vestibule::protocol::xml::splitter::Splitter;

fn check_stanzas(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    for (name, stanza) in stanzas() {
        group.throughput(Throughput::Bytes(stanza.len() as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(name),
            stanza.as_bytes(),
            |bencher, stanza| {
                bencher.iter(|| check(black_box(stanza), &Limits::default()));
            },
        );
    }
    group.finish();
}

/// All that happens to a browser's stanza between its socket and the server's: the frame is read and unmasked, what is in
/// it checked, and its `from` found.
fn check_frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame check");
    for (name, stanza) in stanzas() {
        let frame = masked(stanza.as_bytes());
        let mut reader = Reader::new(1 << 20);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &frame, |bencher, frame| {
            bencher.iter_batched_ref(
                || frame.clone(),
                |bytes| is_stanza(&mut reader, black_box(bytes)),
                BatchSize::SmallInput,
            );
        });
        assert!(
            is_stanza(&mut reader, &mut frame.clone()),
            "{name} is no stanza of an established stream"
        );
    }
    group.finish();
}

fn is_stanza(reader: &mut Reader, mut bytes: &mut [u8]) -> bool {
    let Ok(Some(Frame::Text(text))) = reader.next(&mut bytes) else { return false };
    matches!(established(text, &Limits::default()), Ok(Message::Stanza(..)))
}

/// One text frame of 126 bytes to 64 KiB, as a browser sends it (RFC 6455 §5.2).
fn masked(payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![0x81, 0x80 | 0x7e];
    frame.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn split_stanzas(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("splitter");
    for (name, stanza) in stanzas() {
        let mut splitter = Splitter::new(1 << 20);
        let _header = splitter.next(&mut b"<stream:stream xmlns='jabber:client'>".as_slice());
        group.throughput(Throughput::Bytes(stanza.len() as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(name),
            stanza.as_bytes(),
            |bencher, stanza| {
                bencher.iter(|| {
                    splitter.next(&mut black_box(stanza)).is_ok_and(|piece| piece.is_some())
                });
            },
        );
    }
    group.finish();
}

/// A short message, a message of 2 KB of text, and a roster of 2 KB with more than 40 tags.
fn stanzas() -> [(&'static str, String); 3] {
    let message = |text: &str| {
        format!(
            "<message xmlns='jabber:client' to='hall@conference.example.org' type='groupchat' id='9f3a6c1e'>\
             <body>{text}</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
        )
    };
    let item = |number| {
        format!(
            "<item jid='member{number}@xmpp.example.org' name='Member {number}' subscription='both'><group>Friends</group></item>"
        )
    };
    let items: String = (10..32).map(item).collect();
    let roster = format!(
        "<iq xmlns='jabber:client' type='result' id='r1'><query xmlns='jabber:iq:roster'>{items}</query></iq>"
    );
    [
        ("message of 200 B", message("Good evening, is anybody here?")),
        (
            "message of 2 KB",
            message(&"It was a dark and stormy night; the rain fell in torrents. ".repeat(32)),
        ),
        ("roster of 2 KB", roster),
    ]
}

criterion_group!(benches, check_stanzas, check_frames, split_stanzas);
criterion_main!(benches);

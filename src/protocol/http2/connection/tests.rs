//! The machine, as a browser sees it.

mod bodies;
mod ends;
mod floods;
mod requests;
mod tunnels;

use http::Request;

use super::*;
use crate::protocol::http2::frame::Kind;
use crate::protocol::http2::frame::flag;

const TERMS: Terms = Terms {
    streams: 3,
    resets: 2,
    header_fields: 10,
    header_bytes: 4096,
    header_table: 4096,
    stream_window: 1000,
    connection_window: 100_000,
    takes_connect: false,
};

/// A browser, the machine, and what both said.
struct Scene {
    machine: Connection,
    now: Instant,
    /// What the machine is to send, and nobody has read.
    out: Vec<u8>,
}

/// An event, apart from the bytes it came in.
#[derive(Debug)]
enum Happened {
    Asked(u32, Request<()>, bool),
    TooLarge(u32),
    Data(u32, Vec<u8>, bool),
    Reset(u32),
    Pong,
}

impl Scene {
    /// Behind the preface and both sides' settings.
    fn new(terms: Terms) -> Self {
        let mut scene = Self::silent(terms);
        scene.hear(PREFACE).unwrap();
        scene.frame((Kind::Settings, 0), 0, &[]).unwrap();
        scene.said();
        scene
    }

    fn silent(terms: Terms) -> Self {
        Self { machine: Connection::new(terms), now: Instant::now(), out: Vec::new() }
    }

    fn hear(&mut self, mut bytes: &[u8]) -> Result<Vec<Happened>, Code> {
        let mut events = Vec::new();
        while let Some(event) = self.machine.receive(&mut bytes, self.now)? {
            events.push(match event {
                Event::Request { stream, request, ends, .. } => {
                    Happened::Asked(stream, request, ends)
                }
                Event::TooLarge { stream } => Happened::TooLarge(stream),
                Event::Data { stream, data, ends } => Happened::Data(stream, data.to_vec(), ends),
                Event::Reset { stream } => Happened::Reset(stream),
                Event::Pong => Happened::Pong,
            });
        }
        assert!(bytes.is_empty(), "all is taken");
        Ok(events)
    }

    fn frame(
        &mut self,
        kind: (Kind, u8),
        stream: u32,
        payload: &[u8],
    ) -> Result<Vec<Happened>, Code> {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, kind, stream, payload);
        self.hear(&bytes)
    }

    /// Asks with these fields, in one frame.
    fn ask(
        &mut self,
        stream: u32,
        flags: u8,
        fields: &[(&str, &str)],
    ) -> Result<Vec<Happened>, Code> {
        self.frame((Kind::Headers, flag::END_HEADERS | flags), stream, &block(fields))
    }

    /// Begins a POST whose body follows.
    fn post(&mut self, stream: u32) {
        let asked = self.ask(stream, 0, &POST).unwrap();
        assert!(matches!(asked[..], [Happened::Asked(asked, _, false)] if asked == stream));
        self.machine.begin(stream);
    }

    /// A whole GET.
    fn get(&mut self, stream: u32) {
        let asked = self.ask(stream, flag::END_STREAM, &GET).unwrap();
        assert!(matches!(asked[..], [Happened::Asked(asked, _, true)] if asked == stream));
        self.machine.begin(stream);
    }

    /// Begins an answer.
    fn answer(&mut self, stream: u32, ends: bool) {
        let (status, headers) = (http::StatusCode::OK, http::HeaderMap::new());
        self.machine.write_head(stream, (status, &headers), ends, &mut self.out);
    }

    /// Sends as much of a body as there is room for; how much that was.
    fn send(&mut self, stream: u32, body: &[u8], ends: bool) -> usize {
        let mut sent = 0;
        loop {
            let room = self.machine.room(stream);
            let piece = &body[sent..][..room.min(body.len() - sent)];
            sent += piece.len();
            let is_last = ends && sent == body.len();
            if !piece.is_empty() || is_last {
                self.machine.write_data(stream, piece, is_last, &mut self.out);
            }
            if piece.is_empty() || is_last {
                return sent;
            }
        }
    }

    /// The frames that were sent since this was last asked.
    fn said(&mut self) -> Vec<(Kind, u8, u32, Vec<u8>)> {
        let mut out = std::mem::take(&mut self.out);
        self.machine.write_queued(&mut out);
        let (mut rest, mut frames) = (&out[..], Vec::new());
        while let Some((head, behind)) = rest.split_first_chunk() {
            let head = Head::read(*head);
            let (payload, behind) = behind.split_at(head.length);
            frames.push((head.kind, head.flags, head.stream, payload.to_vec()));
            rest = behind;
        }
        assert!(rest.is_empty(), "whole frames");
        frames
    }

    /// The streams that were reset, and why.
    fn resets(&mut self) -> Vec<(u32, u32)> {
        let frames = self.said().into_iter().filter(|frame| frame.0 == Kind::ResetStream);
        frames.map(|(_, _, stream, code)| (stream, number(&code))).collect()
    }

    /// Time goes by.
    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

/// A header block of literals that nobody indexes (RFC 7541 §6.2.3).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name, value] {
            // Seven bits, and what is behind (§5.1).
            match text.len().checked_sub(127) {
                None => block.push(u8::try_from(text.len()).unwrap()),
                Some(more) => block.extend([
                    127,
                    u8::try_from(more & 0x7f).unwrap() | 0x80,
                    u8::try_from(more >> 7).unwrap(),
                ]),
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/up")];

#[test]
fn same_comes_of_the_same_bytes_wherever_they_are_cut() {
    let mut bytes = PREFACE.to_vec();
    frame::write(&mut bytes, (Kind::Settings, 0), 0, &[0, 4, 0, 0, 1, 0]);
    let block = block(&POST);
    let (first, second) = block.split_at(20);
    frame::write(&mut bytes, (Kind::Headers, 0), 1, first);
    frame::write(&mut bytes, (Kind::Continuation, flag::END_HEADERS), 1, second);
    frame::write(&mut bytes, (Kind::Data, flag::PADDED), 1, b"\x03body...");
    frame::write(&mut bytes, (Kind::Other, 0), 1, b"nobody knows");
    frame::write(&mut bytes, (Kind::Data, flag::END_STREAM), 1, b" and end");
    frame::write(&mut bytes, (Kind::Ping, 0), 0, b"12345678");

    for cut in 1..bytes.len() {
        let mut scene = Scene::silent(TERMS);
        let mut events = scene.hear(&bytes[..cut]).unwrap();
        events.extend(scene.hear(&bytes[cut..]).unwrap());

        let mut body = Vec::new();
        let mut ended = 0;
        for event in &events[1..] {
            let Happened::Data(1, data, ends) = event else { panic!("{event:?}") };
            body.extend_from_slice(data);
            ended += u8::from(*ends);
        }
        assert!(
            matches!(&events[0], Happened::Asked(1, request, false) if request.uri().path() == "/up")
        );
        assert_eq!((&body[..], ended), (&b"body and end"[..], 1), "cut at {cut}");
        let pong = scene.said().pop().unwrap();
        assert_eq!(pong, (Kind::Ping, flag::ACK, 0, b"12345678".to_vec()));
    }
}

#[test]
fn connection_with_a_request_under_way_keeps_little() {
    let mut scene = Scene::new(TERMS);
    scene.get(1);
    scene.said();

    let machine = &scene.machine;

    assert!(size_of::<Connection>() <= 448, "{} bytes", size_of::<Connection>());
    assert_eq!((machine.partial.capacity(), machine.queued.capacity()), (0, 0));
    assert!(machine.block.is_none());
}

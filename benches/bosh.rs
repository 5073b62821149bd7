//! The machine of a BOSH session alone, in requests per second: each says something to the server, whose answer releases it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros are undocumented, and a bench fails by panicking"
)]

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;

use vestibule::protocol::bosh::body::Body;
use vestibule::protocol::bosh::event::Event;
use vestibule::protocol::bosh::event::RequestId;
use vestibule::protocol::bosh::session::Session;
use vestibule::protocol::bosh::settings::Settings;
use vestibule::protocol::bosh::window::Rid;
use vestibule::protocol::xml::check::Limits;
use vestibule::protocol::xml::splitter::Piece;
use vestibule::protocol::xml::splitter::Splitter;

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bosh session");
    let message = format!(
        "<message xmlns='jabber:client' to='bob@xmpp.example.org' type='chat'><body>{}</body></message>",
        "x".repeat(100)
    );
    let now = Instant::now();
    let mut session = Session::prebound(Settings::default(), Rid::new(1).unwrap(), now);
    let mut splitter = Splitter::new(1 << 20);
    let _header = splitter.next(&mut b"<stream:stream xmlns='jabber:client'>".as_slice());
    let mut rid = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("request with a message of 200 B", |bencher| {
        bencher.iter(|| {
            rid += 1;
            let text = format!(
                "<body rid='{rid}' sid='SID' xmlns='http://jabber.org/protocol/httpbind'>{message}</body>"
            );
            let body = Body::parse(text.as_bytes(), &Limits::default()).unwrap();
            session.receive(Event::Request(RequestId(rid), body), now);
            while let Some(action) = session.next_action() {
                black_box(action);
            }
            let Ok(Some(Piece::Stanza(stanza))) = splitter.next(&mut message.as_bytes()) else {
                return;
            };
            session.receive(Event::Stanza(stanza), now);
            while let Some(action) = session.next_action() {
                black_box(action);
            }
        });
    });
    assert!(session.is_live(), "what was measured is no session");
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);

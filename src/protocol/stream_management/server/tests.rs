use proptest::prelude::*;

use super::*;

fn stanza(number: u64) -> Vec<u8> {
    format!("<message id='{number}'/>").into_bytes()
}

fn left(server: &Server) -> Vec<Vec<u8>> {
    server.unacknowledged().map(<[u8]>::to_vec).collect()
}

#[test]
fn client_is_asked_once_until_it_answers() {
    let mut server = Server::new(1000);
    assert!(!server.asks(), "there is nothing to ask about");

    server.send(b"<message/>");
    assert!(server.asks());
    server.send(b"<message/>");
    assert!(!server.asks());

    server.acknowledge(1).unwrap();
    assert!(server.asks(), "of the second it has said nothing");
    server.acknowledge(2).unwrap();
    assert!(!server.asks());
}

#[test]
fn stream_of_which_too_much_is_not_acknowledged_goes_on_but_over_no_other_connection() {
    let mut server = Server::new(25);
    server.send(b"<message/>");
    server.send(b"<message/>");
    assert!(server.is_whole());

    server.send(b"<message/>");

    assert!(!server.is_whole());
    assert_eq!(server.unacknowledged().count(), 3, "there is still whom to tell of it");
    server.let_go();
    assert_eq!(server.unacknowledged().count(), 2, "no more is kept than may be");
    server.send(b"<message/>");
    assert_eq!(server.acknowledge(3), Ok(()));
    assert!(!server.is_whole(), "the fourth is not kept");
    assert_eq!(server.acknowledge(5), Err(Error::Count { h: 5, acknowledged: 3, sent: 4 }));
}

#[test]
fn stream_whose_client_has_got_everything_after_all_can_go_on_over_another_connection_again() {
    let mut server = Server::new(25);
    for _ in 0..5 {
        server.send(b"<message/>");
        server.let_go();
    }
    assert!(!server.is_whole());
    assert!(server.asks(), "or nobody would know");

    assert_eq!(server.acknowledge(5), Ok(()));
    assert!(server.is_whole());
    server.send(b"<message id='6'/>");

    assert_eq!(left(&server), [b"<message id='6'/>".to_vec()]);
}

#[test]
fn more_than_was_sent_cannot_be_acknowledged() {
    let mut server = Server::new(1000);
    server.send(b"<message/>");

    assert_eq!(server.acknowledge(2), Err(Error::Count { h: 2, acknowledged: 0, sent: 1 }));
    assert_eq!(left(&server), [b"<message/>".to_vec()]);
    assert_eq!(server.acknowledge(1), Ok(()));
    assert_eq!(server.acknowledge(0), Err(Error::Count { h: 0, acknowledged: 1, sent: 1 }));
}

#[test]
fn answers_are_written_as_the_protocol_has_them() {
    for (answer, written) in [
        (enabled(None), "<enabled xmlns=\"urn:xmpp:sm:3\"/>"),
        (
            enabled(Some(("some-id", Duration::from_secs(75)))),
            "<enabled xmlns=\"urn:xmpp:sm:3\" id=\"some-id\" resume=\"true\" max=\"75\"/>",
        ),
        (resumed("some-id", 7), "<resumed xmlns=\"urn:xmpp:sm:3\" previd=\"some-id\" h=\"7\"/>"),
        (answer(7), "<a xmlns=\"urn:xmpp:sm:3\" h=\"7\"/>"),
        (
            not_resumed(Some(7)),
            "<failed xmlns=\"urn:xmpp:sm:3\" h=\"7\"><item-not-found xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\"/></failed>",
        ),
        (
            unexpected(),
            "<failed xmlns=\"urn:xmpp:sm:3\"><unexpected-request xmlns=\"urn:ietf:params:xml:ns:xmpp-stanzas\"/></failed>",
        ),
    ] {
        assert_eq!(answer, written);
    }
}

/// What happens to a stream.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// The server sends a stanza; it arrives or is lost with the connection, which is then cut sooner or later.
    Sends { arrives: bool },
    /// The client says how many have arrived.
    Acknowledges,
    /// The client says again what it said before.
    Repeats,
    /// The connection breaks, and another one takes its place.
    Breaks,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Sends { arrives: true }),
        2 => Just(Happens::Sends { arrives: false }),
        2 => Just(Happens::Acknowledges),
        1 => Just(Happens::Repeats),
        1 => Just(Happens::Breaks),
    ]
}

/// A stream both of whose counters stand where so many stanzas have been sent before.
fn behind(count: u32) -> Server {
    let mut server = Server::new(usize::MAX);
    server.kept.stand_at(count);
    server.taken = count;
    server
}

proptest! {
    /// The client is a list: what it has got, in order. Each stanza has a number of its own.
    #[test]
    fn whatever_breaks_the_client_gets_each_stanza_once_and_in_order(
        start in prop_oneof![Just(0), u32::MAX - 20..=u32::MAX],
        story in proptest::collection::vec(happens(), 0..80),
    ) {
        let mut server = behind(start);
        let (mut got, mut sent, mut said) = (Vec::new(), 0_u64, start);
        let mut broken = false;
        let h = |got: &[Vec<u8>]| start.wrapping_add(u32::try_from(got.len()).unwrap());

        for event in story.into_iter().chain([Happens::Breaks]) {
            match event {
                Happens::Sends { arrives } => {
                    server.send(&stanza(sent));
                    // A connection loses what is behind what it lost first.
                    broken |= !arrives;
                    if !broken {
                        got.push(stanza(sent));
                    }
                    sent += 1;
                }
                Happens::Acknowledges => {
                    said = h(&got);
                    prop_assert_eq!(server.acknowledge(said), Ok(()));
                }
                Happens::Repeats => prop_assert_eq!(server.acknowledge(said), Ok(())),
                Happens::Breaks => {
                    said = h(&got);
                    prop_assert_eq!(server.acknowledge(said), Ok(()));
                    got.extend(left(&server));
                    broken = false;
                }
            }
            let acknowledged = usize::try_from(said.wrapping_sub(start)).unwrap();
            prop_assert_eq!(left(&server).len() + acknowledged, usize::try_from(sent).unwrap());
        }

        let all: Vec<_> = (0..sent).map(stanza).collect();
        prop_assert_eq!(got, all, "nothing is lost, doubled or out of order");
    }

    #[test]
    fn count_that_cannot_be_is_refused_and_changes_nothing(
        start in any::<u32>(), sent in 0_u32..20, acknowledged in 0_u32..20, wrong in 1_u32..1000,
    ) {
        let acknowledged = acknowledged.min(sent);
        let mut server = behind(start);
        for number in 0..sent {
            server.send(&stanza(number.into()));
        }
        prop_assert_eq!(server.acknowledge(start.wrapping_add(acknowledged)), Ok(()));
        let before = left(&server);

        prop_assert!(server.acknowledge(start.wrapping_add(sent).wrapping_add(wrong)).is_err());
        if acknowledged > 0 {
            prop_assert!(server.acknowledge(start).is_err());
        }
        prop_assert_eq!(left(&server), before);
    }
}

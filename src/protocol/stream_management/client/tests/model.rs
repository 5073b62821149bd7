//! Random losses against a server that is two lists: nothing is lost, doubled or reordered in either direction.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;

/// Something that happens.
#[derive(Clone, Debug)]
enum Happens {
    /// The client sends so many stanzas at once.
    ClientSends(u8),
    /// The server sends so many.
    ServerSends(u8),
    /// The server asks for an acknowledgement.
    ServerAsks,
    /// So many of what is on its way to the server arrive.
    ReachServer(u8),
    /// So many of what is on its way to the client arrive.
    ReachClient(u8),
    /// All but so many of what the client has got are in safe hands.
    Handled(u8),
    /// The connection breaks, and what is on its way is lost.
    Breaks,
    /// The client connects again.
    Connects,
    Passes(u8),
}

/// A server as XEP-0198 describes it, and the wires to and from it.
#[derive(Default)]
struct World {
    /// What the client has sent, and what the server has handled of it.
    from_client: u32,
    at_server: Vec<u32>,
    /// What the server has sent, and up to where that is acknowledged.
    from_server: u32,
    acknowledged: u32,
    at_client: Vec<u32>,
    up: VecDeque<String>,
    down: VecDeque<String>,
    is_up: bool,
    /// Whether the server knows which stream the connection is for.
    is_resumed: bool,
}

impl World {
    fn server_takes(&mut self, element: &str) {
        let element = Element::parse(element.as_bytes()).unwrap();
        let h = |element: &Element| element.attribute("h").unwrap().parse::<u32>().unwrap();
        match element.name() {
            "message" => self.at_server.push(element.attribute("id").unwrap().parse().unwrap()),
            "r" => self.down.push_back(a(u32::try_from(self.at_server.len()).unwrap())),
            "a" => self.is_acknowledged(h(&element)),
            "resume" => {
                self.is_resumed = true;
                self.is_acknowledged(h(&element));
                let h = self.at_server.len();
                self.down
                    .push_back(format!("<resumed xmlns='urn:xmpp:sm:3' previd='ID' h='{h}'/>"));
                self.down.extend((self.acknowledged..self.from_server).map(message));
                self.down.push_back(R.to_owned());
            }
            other => panic!("{other}"),
        }
    }

    fn is_acknowledged(&mut self, h: u32) {
        assert!((self.acknowledged..=self.from_server).contains(&h), "{h}");
        self.acknowledged = h;
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.is_up {
            self.up.extend(elements(bytes));
        }
    }

    fn client_takes(&mut self, scene: &mut Scene, element: &str) {
        if let Some(id) = element.strip_prefix("<message id='") {
            if scene.client.arrived() == Arrival::New {
                self.at_client.push(id.trim_end_matches("'/>").parse().unwrap());
            }
        } else if scene.hear(element).unwrap() == Heard::Resumed {
            let mut again = Vec::new();
            scene.client.write_again(&mut again);
            self.send(&again);
        }
    }

    fn happens(&mut self, scene: &mut Scene, what: &Happens) {
        match *what {
            Happens::ClientSends(count) => {
                let sent: String =
                    (0..u32::from(count)).map(|more| message(self.from_client + more)).collect();
                self.from_client += u32::from(count);
                scene.client.sent(sent.as_bytes(), u32::from(count));
                // Otherwise it waits there for `<resumed/>`.
                if !matches!(scene.client.state, State::Resuming { .. }) {
                    self.send(sent.as_bytes());
                }
            }
            Happens::ServerSends(count) => {
                let sent = (0..u32::from(count)).map(|more| message(self.from_server + more));
                if self.is_resumed {
                    self.down.extend(sent);
                }
                self.from_server += u32::from(count);
            }
            Happens::ServerAsks if self.is_resumed => self.down.push_back(R.to_owned()),
            Happens::ReachServer(count) => {
                for _ in 0..count {
                    let Some(element) = self.up.pop_front() else { break };
                    self.server_takes(&element);
                }
            }
            Happens::ReachClient(count) => {
                for _ in 0..count {
                    let Some(element) = self.down.pop_front() else { break };
                    self.client_takes(scene, &element);
                }
            }
            Happens::Handled(left) => scene.client.handled(u32::from(left)),
            Happens::Breaks => {
                self.up.clear();
                self.down.clear();
                (self.is_up, self.is_resumed) = (false, false);
                // The client learns of it at once; that it does not is for the shell.
                scene.client.resume().unwrap();
            }
            Happens::Connects if !self.is_up => {
                self.is_up = true;
                let resume = scene.client.resume().unwrap();
                self.send(&resume);
            }
            Happens::ServerAsks | Happens::Connects => {}
            Happens::Passes(seconds) => scene.now += Duration::from_secs(seconds.into()),
        }
        let due = scene.due();
        self.send(due.as_bytes());
    }
}

fn message(id: u32) -> String {
    format!("<message id='{id}'/>")
}

fn elements(bytes: &[u8]) -> Vec<String> {
    let text = [b"<stream>", bytes].concat();
    let (mut splitter, mut rest) = (Splitter::new(usize::MAX), text.as_slice());
    let mut found = Vec::new();
    while let Some(piece) = splitter.next(&mut rest).unwrap() {
        if let Piece::Stanza(cut) = piece {
            found.push(String::from_utf8(cut.bytes.to_vec()).unwrap());
        }
    }
    found
}

fn anything() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (1..20_u8).prop_map(Happens::ClientSends),
        4 => (1..50_u8).prop_map(Happens::ServerSends),
        2 => Just(Happens::ServerAsks),
        4 => (1..60_u8).prop_map(Happens::ReachServer),
        4 => (1..60_u8).prop_map(Happens::ReachClient),
        2 => (0..40_u8).prop_map(Happens::Handled),
        1 => Just(Happens::Breaks),
        2 => Just(Happens::Connects),
        1 => (1..10_u8).prop_map(Happens::Passes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_doubled_or_reordered_however_often_the_connection_breaks(
        story in vec(anything(), 1..120),
    ) {
        let mut scene = Scene::managed();
        let mut world = World { is_up: true, is_resumed: true, ..World::default() };
        for what in &story {
            world.happens(&mut scene, what);
            prop_assert!(scene.client.untold() < LIMITS.arrived);
        }

        // All ends well: the connection stays, and whatever is on its way arrives.
        world.happens(&mut scene, &Happens::Connects);
        for _ in 0..50 {
            world.happens(&mut scene, &Happens::ReachServer(255));
            world.happens(&mut scene, &Happens::ReachClient(255));
        }
        world.happens(&mut scene, &Happens::Handled(0));
        world.happens(&mut scene, &Happens::ServerAsks);
        world.happens(&mut scene, &Happens::ReachClient(255));
        scene.client.ask();
        for _ in 0..3 {
            world.happens(&mut scene, &Happens::ReachServer(255));
            world.happens(&mut scene, &Happens::ReachClient(255));
        }

        prop_assert_eq!(&world.at_server, &(0..world.from_client).collect::<Vec<_>>());
        prop_assert_eq!(&world.at_client, &(0..world.from_server).collect::<Vec<_>>());
        prop_assert_eq!(world.acknowledged, world.from_server);
        prop_assert_eq!(scene.client.sent.stanzas(), 0);
    }
}

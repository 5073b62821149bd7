//! A browser that keeps the client's part of XEP-0198 to the letter.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::resume;
use crate::support::edge::Edge;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::session_cookie;
use crate::support::gateway::trusting;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::websocket::Socket;
use crate::thousand::MESSAGES;
use crate::thousand::TROUBLES;
use crate::thousand::Trouble;
use crate::thousand::Who;

/// It says every other number to itself, and the others in a room: what it hears has gone both ways.
pub(super) struct Talker {
    socket: Socket,
    cookie: String,
    authzid: String,
    jid: String,
    id: String,
    /// Stanzas that it has got.
    got: u32,
    /// Those that the server has.
    acknowledged: u32,
    unacknowledged: VecDeque<String>,
    /// What it has heard of itself, and in the room.
    heard: [Vec<u32>; 2],
    /// What the room has said of who comes and goes since it was entered.
    stirs: Vec<String>,
    /// From each loss of the connection until the stream went on.
    unusable: Vec<Duration>,
}

impl Talker {
    pub(super) async fn arrive(edge: &Edge, who: Who) -> Self {
        let domain = match who {
            Who::Member => {
                let cookie = session_cookie("bob");
                return Self::sign_in(edge, &cookie, &format!("bob@{MEMBERS}")).await;
            }
            Who::GuestWithPass => GUESTS,
            Who::AnonymousGuest => ANONYMOUS,
        };
        let socket = socket(edge, None).await;
        let cookie = socket.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
        let cookie = cookie.to_owned();
        socket.vanish();
        Self::sign_in(edge, &cookie, &format!("somebody@{domain}")).await
    }

    async fn sign_in(edge: &Edge, cookie: &str, authzid: &str) -> Self {
        let mut socket = socket(edge, Some(cookie)).await;
        log_in(&mut socket, authzid).await;
        let jid = socket.bind().await;
        let id = crate::enable(&mut socket).await;
        let mut talker = Self {
            socket,
            cookie: cookie.to_owned(),
            authzid: authzid.to_owned(),
            jid,
            id,
            got: 0,
            acknowledged: 0,
            unacknowledged: VecDeque::new(),
            heard: [Vec::new(), Vec::new()],
            stirs: Vec::new(),
            unusable: Vec::new(),
        };
        talker.enter_the_room().await;
        talker
    }

    async fn enter_the_room(&mut self) {
        self.send(format!(
            "<presence xmlns='jabber:client' to='{ROOM}/talker'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        ))
        .await;
        loop {
            let text = self.socket.receive().await;
            self.take(&text).await;
            if text.contains("<subject") {
                break;
            }
        }
        self.stirs.clear();
    }

    /// Says all numbers and hears them, with trouble between.
    pub(super) async fn talk(&mut self, edge: &mut Edge, trouble: Trouble) {
        for number in 0..MESSAGES {
            self.say(number).await;
            if number % (MESSAGES / TROUBLES) == 10 {
                // Some have come back, some are under way, each time more.
                self.hear_until(number.saturating_sub(number % 9)).await;
                let lost = Instant::now();
                if trouble == Trouble::EdgeIsKilled {
                    Box::pin(edge.is_killed()).await;
                }
                Box::pin(self.come_back(edge)).await;
                self.unusable.push(lost.elapsed());
            }
        }
        self.hear_until(MESSAGES).await;
    }

    /// Nothing is lost, doubled or out of order, and the room has noticed nothing.
    pub(super) fn expect_each_once(&self) {
        for (odd, heard) in (0..).zip(&self.heard) {
            let all: Vec<u32> = (0..MESSAGES).filter(|number| number % 2 == odd).collect();
            assert_eq!(heard, &all, "nothing is lost, doubled or out of order");
        }
        assert!(self.stirs.is_empty(), "nobody has left the room or entered it: {:?}", self.stirs);
    }

    /// For how long the chat was of no use, each time: the median, and the longest.
    pub(super) fn unusable(&self) -> String {
        let mut times: Vec<u128> = self.unusable.iter().map(Duration::as_millis).collect();
        times.sort_unstable();
        format!("{} / {} ms", times[times.len() / 2], times[times.len() - 1])
    }

    async fn say(&mut self, number: u32) {
        let (to, kind) = if number.is_multiple_of(2) {
            (self.jid.as_str(), "chat")
        } else {
            (ROOM, "groupchat")
        };
        self.send(format!(
            "<message xmlns='jabber:client' to='{to}' type='{kind}'><body>number {number}.</body></message>"
        ))
        .await;
    }

    async fn send(&mut self, text: String) {
        self.socket.send(&text).await;
        self.unacknowledged.push_back(text);
    }

    /// Reads until it has heard so many.
    async fn hear_until(&mut self, count: u32) {
        while self.heard.iter().map(Vec::len).sum::<usize>() < usize::try_from(count).unwrap() {
            let text = self.socket.receive().await;
            self.take(&text).await;
        }
    }

    async fn take(&mut self, text: &str) {
        if ["<message", "<presence", "<iq"].iter().any(|tag| text.starts_with(tag)) {
            self.got += 1;
            let number = text.split("number ").nth(1).and_then(|rest| rest.split('.').next());
            if let Some(number) = number {
                let room = usize::from(text.contains("groupchat"));
                self.heard[room].push(number.parse().unwrap());
            } else {
                self.stirs.push(text.to_owned());
            }
        } else if text.starts_with("<r ") {
            let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", self.got);
            self.socket.send(&answer).await;
        } else if text.starts_with("<a ") {
            self.forget(text);
        }
    }

    /// Lets go of what the server says it has.
    fn forget(&mut self, text: &str) {
        let text = text.replace('"', "'");
        let h: u32 =
            text.split("h='").nth(1).and_then(|h| h.split('\'').next()).unwrap().parse().unwrap();
        for _ in self.acknowledged..h {
            self.unacknowledged.pop_front().unwrap();
        }
        self.acknowledged = h;
    }

    /// Its connection is gone, with all that was on it; another one takes its place.
    async fn come_back(&mut self, edge: &Edge) {
        let mut socket = socket(edge, Some(&self.cookie)).await;
        log_in(&mut socket, &self.authzid).await;
        socket.send(&resume(&self.id, self.got)).await;
        let resumed = socket.receive().await;
        assert!(resumed.starts_with("<resumed"), "{resumed}");
        std::mem::replace(&mut self.socket, socket).vanish();
        self.forget(&resumed);
        for text in &self.unacknowledged {
            self.socket.send(text).await;
        }
    }
}

async fn socket(edge: &Edge, cookie: Option<&str>) -> Socket {
    let mut headers = vec![("origin", ORIGIN)];
    headers.extend(cookie.map(|cookie| ("cookie", cookie)));
    let tls = trusting(&edge.certificate(), "http/1.1");
    Socket::dial(edge.address(), tls, "/xmpp-websocket", &headers).await.unwrap()
}

async fn log_in(socket: &mut Socket, authzid: &str) {
    let domain = authzid.rsplit('@').next().unwrap_or(MEMBERS);
    socket.open_stream(domain).await;
    socket.auth("EXTERNAL", authzid).await;
    socket.open_stream(domain).await;
}

const ROOM: &str = "lobby@conference.localhost";

//! A browser that does as Strophe does: two requests under way at most, a request whose connection broke is repeated as it
//! was, and a page that was reloaded goes on with an empty body and the next rid.

use std::collections::VecDeque;
use std::fmt::Write;

/// Something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Auth,
    Restart,
    Message(u64),
    Pause(u32),
}

/// How far its login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It waits for the mechanisms.
    Beginning,
    /// It has sent `<auth/>`.
    Authenticating,
    /// It waits for the features behind the login.
    Restarting,
    /// It talks.
    Bound,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) rid: u64,
    pub(crate) text: String,
    pub(crate) messages: Vec<u64>,
    /// The attempt whose answer is waited for.
    pub(crate) attempt: u64,
    /// Read, but not its turn yet (XEP-0124 §14.2).
    pub(crate) answer: Option<String>,
}

/// A browser, and what it has read.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) stage: Stage,
    pub(crate) next_rid: u64,
    pub(crate) outbox: VecDeque<Item>,
    pub(crate) requests: Vec<Request>,
    /// The stanzas it has read, in order.
    pub(crate) read: Vec<u64>,
    /// It wants no request under way until it has something to say.
    pub(crate) pausing: bool,
    first: bool,
}

impl Browser {
    pub(crate) fn new(stage: Stage, next_rid: u64) -> Self {
        Self {
            stage,
            next_rid,
            outbox: VecDeque::new(),
            requests: Vec::new(),
            read: Vec::new(),
            pausing: false,
            first: stage == Stage::Beginning,
        }
    }

    /// The rid, text and messages of the next request, if there is to be one.
    pub(crate) fn next_request(&mut self) -> Option<(u64, String, Vec<u64>)> {
        let waits = self.stage != Stage::Bound && !self.first;
        let has_nothing = self.outbox.is_empty();
        let polls = self.requests.is_empty() && !self.pausing;
        if self.requests.len() >= 2 || has_nothing && !(polls || self.first) {
            return None;
        }
        // What it says beside its login waits for the end of that.
        let waiting = waits && !matches!(self.outbox.front(), Some(Item::Auth | Item::Restart));
        if waiting && !polls {
            return None;
        }
        let items = if waiting { Vec::new() } else { self.take_items() };
        self.first = false;
        let rid = self.next_rid;
        self.next_rid += 1;
        let messages: Vec<u64> = items
            .iter()
            .filter_map(|item| match item {
                Item::Message(number) => Some(*number),
                Item::Auth | Item::Restart | Item::Pause(_) => None,
            })
            .collect();
        Some((rid, text(rid, &items), messages))
    }

    fn take_items(&mut self) -> Vec<Item> {
        let alone = |item: &Item| !matches!(item, Item::Message(_));
        let Some(front) = self.outbox.front().copied() else { return Vec::new() };
        if alone(&front) {
            self.outbox.pop_front();
            self.pausing = matches!(front, Item::Pause(_));
            return vec![front];
        }
        self.pausing = false;
        let until = self.outbox.iter().position(alone).unwrap_or(self.outbox.len());
        self.outbox.drain(..until).collect()
    }

    /// An answer has come; those whose turn it is are read.
    pub(crate) fn take(&mut self, attempt: u64, answer: String) {
        let Some(request) = self.requests.iter_mut().find(|one| one.attempt == attempt) else {
            return;
        };
        request.answer = Some(answer);
        while self.requests.first().is_some_and(|request| request.answer.is_some()) {
            let answer = self.requests.remove(0).answer.unwrap();
            self.read_answer(&answer);
        }
    }

    fn read_answer(&mut self, answer: &str) {
        assert!(!answer.contains("type='terminate'"), "the session ended: {answer}");
        self.read.extend(stanzas(answer));
        match self.stage {
            Stage::Beginning if answer.contains("<stream:features") => {
                self.stage = Stage::Authenticating;
                self.outbox.push_front(Item::Auth);
            }
            Stage::Authenticating if answer.contains("<success") => {
                self.stage = Stage::Restarting;
                self.outbox.push_front(Item::Restart);
            }
            Stage::Restarting if answer.contains("<stream:features") => self.stage = Stage::Bound,
            Stage::Beginning | Stage::Authenticating | Stage::Restarting | Stage::Bound => {}
        }
    }

    /// The page is loaded anew, and knows the next rid and nothing else. What it had not read is lost to it.
    pub(crate) fn reload(&mut self) -> Vec<Request> {
        self.outbox.clear();
        self.pausing = false;
        std::mem::take(&mut self.requests)
    }
}

/// The numbers of the stanzas in an answer.
pub(crate) fn stanzas(answer: &str) -> impl Iterator<Item = u64> {
    let numbers = answer.split(" id='s").skip(1);
    numbers.map(|rest| rest.split('\'').next().unwrap().parse().expect("a number"))
}

fn text(rid: u64, items: &[Item]) -> String {
    let mut attributes = String::new();
    let mut payload = String::new();
    for item in items {
        match item {
            Item::Auth => payload.push_str("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
            Item::Restart => {
                attributes.push_str(" xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true'");
            }
            Item::Message(number) => {
                let _ = write!(payload, "<message xmlns='jabber:client' id='b{number}'/>");
            }
            Item::Pause(seconds) => {
                let _ = write!(attributes, " pause='{seconds}'");
            }
        }
    }
    format!(
        "<body xmlns='http://jabber.org/protocol/httpbind' sid='s' rid='{rid}'{attributes}>{payload}</body>"
    )
}

//! The part of the one who enables stream management and resumes: the client's (XEP-0198 §3 to §5).

use std::time::Duration;
use std::time::Instant;

use crate::protocol::namespace;
use crate::protocol::stream_management::Error;
use crate::protocol::stream_management::unacknowledged::Unacknowledged;
use crate::protocol::xml::element::Element;

/// Stream management on one stream, over as many connections as it takes.
///
/// The shell tells it of every stanza in either direction ([`sent`](Self::sent), [`arrived`](Self::arrived)), of those that
/// whoever they are for has got ([`handled`](Self::handled)), and of the server's own elements
/// ([`receive`](Self::receive)). What it has to say itself is written by [`write_due`](Self::write_due), which is to be
/// called after each of these and at [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct Client {
    limits: Limits,
    state: State,
    resumption: Option<Resumption>,
    /// Since both count; modulo 2^32, as all counts.
    arrived: u32,
    /// The first so many of these are in safe hands.
    handled: u32,
    /// What the server was last told of that.
    told: u32,
    /// Since when the server waits to be told.
    asked: Option<Instant>,
    sent: Unacknowledged,
    /// Whether the server is asked what it has handled.
    asking: Asking,
}

/// How much may be without an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Stanzas of the server that nobody has got yet: beyond it they are acknowledged all the same. Prosody forgets the
    /// first behind 500, and ends a stream that would be resumed then.
    pub arrived: u32,
    /// Bytes to the server.
    pub bytes: usize,
    /// Stanzas to the server.
    pub stanzas: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// `<enable/>` is on its way.
    Enabling,
    /// The server would not.
    Refused,
    /// Both count.
    Managed {
        /// So many of the next stanzas have arrived before.
        repeated: u32,
    },
    /// There is no connection, or `<resume/>` is on its way with this count.
    Resuming { h: u32 },
}

/// By what the stream is known when it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resumption {
    id: Box<str>,
    max: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    /// No `<r/>` is on its way.
    No,
    /// One is due.
    Due,
    /// One is not answered.
    Asked,
}

/// What an element of the server has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Stanzas are counted from now on.
    Enabled,
    /// They are not, and never will be.
    Refused,
    /// Nothing but counts.
    Counts,
    /// The stream goes on; what has to be sent again is due.
    Resumed,
    /// The stream is over. So many of what was sent have been handled, if the server still knew.
    NotResumed {
        /// The server's last count.
        h: Option<u32>,
    },
}

/// Whether a stanza has been here before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has not.
    New,
    /// It came over a connection that is gone, and comes again.
    Repeated,
}

impl Client {
    /// Begins: writes `<enable/>`, behind which everything that is sent counts.
    #[must_use]
    pub fn enable(limits: Limits, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(ENABLE);
        Self {
            limits,
            state: State::Enabling,
            resumption: None,
            arrived: 0,
            handled: 0,
            told: 0,
            asked: None,
            sent: Unacknowledged::default(),
            asking: Asking::No,
        }
    }

    /// Whether the server counts what it sends; not before it has said so.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        matches!(self.state, State::Managed { .. } | State::Resuming { .. })
    }

    /// Whether the stream can go on over another connection, and for how long the server waits for it where it says so.
    #[must_use]
    pub fn resumable(&self) -> Option<Option<Duration>> {
        self.resumption.as_ref().filter(|_| self.is_managed()).map(|resumption| resumption.max)
    }

    /// Whether as much is without an acknowledgement as may be: nothing more should be taken to be sent.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sent.stanzas() >= self.limits.stanzas || self.sent.bytes() >= self.limits.bytes
    }

    /// Whole elements are being sent, so many stanzas among them; or they wait for the stream to go on, and are due then.
    pub fn sent(&mut self, elements: &[u8], stanzas: u32) {
        let is_kept = match self.state {
            State::Refused => false,
            State::Enabling => stanzas > 0,
            State::Managed { .. } => stanzas > 0 && self.resumption.is_some(),
            State::Resuming { .. } => true,
        };
        if is_kept {
            self.sent.push(elements, stanzas);
        }
        if self.sent.stanzas() >= ASK_STANZAS || self.sent.bytes() >= ASK_BYTES {
            self.ask();
        }
    }

    /// Makes it ask what the server has handled, if that is not known: an idle stream should hold nothing.
    pub fn ask(&mut self) {
        if self.asking == Asking::No && self.sent.stanzas() > 0 {
            self.asking = Asking::Due;
        }
    }

    /// A stanza has come from the server.
    pub fn arrived(&mut self) -> Arrival {
        match &mut self.state {
            State::Managed { repeated } if *repeated > 0 => {
                *repeated -= 1;
                return Arrival::Repeated;
            }
            State::Managed { .. } => self.arrived = self.arrived.wrapping_add(1),
            State::Enabling | State::Refused | State::Resuming { .. } => {}
        }
        Arrival::New
    }

    /// How many stanzas have arrived and are not in safe hands: the last ones.
    #[must_use]
    pub fn unhandled(&self) -> u32 {
        self.arrived.wrapping_sub(self.handled)
    }

    /// How many have not been acknowledged: the server sees to them, should the stream end.
    #[must_use]
    pub fn untold(&self) -> u32 {
        self.arrived.wrapping_sub(self.told)
    }

    /// Of the stanzas that have arrived, all but the last `left` are in safe hands.
    pub fn handled(&mut self, left: u32) {
        let handled = self.arrived.wrapping_sub(left.min(self.unhandled()));
        self.handled = handled;
    }

    /// Takes an element of the server's namespace of stream management.
    ///
    /// # Errors
    /// What makes the stream useless, now and for a resumption.
    pub fn receive(&mut self, element: &Element, now: Instant) -> Result<Heard, Error> {
        let unexpected = || Error::Unexpected { name: element.name().to_owned() };
        if element.namespace() != Some(namespace::STREAM_MANAGEMENT) {
            return Err(unexpected());
        }
        match (self.state, element.name()) {
            (State::Enabling, "enabled") => {
                self.state = State::Managed { repeated: 0 };
                self.resumption = resumption(element);
                if self.resumption.is_none() {
                    self.sent.clear();
                }
                Ok(Heard::Enabled)
            }
            (State::Enabling, "failed") => {
                self.state = State::Refused;
                self.sent.clear();
                Ok(Heard::Refused)
            }
            (State::Managed { .. }, "r") => {
                self.asked.get_or_insert(now);
                Ok(Heard::Counts)
            }
            (State::Managed { .. }, "a") => {
                let h = count(element)?;
                if self.resumption.is_some() {
                    self.sent.acknowledge(h)?;
                }
                self.asking = Asking::No;
                Ok(Heard::Counts)
            }
            (State::Resuming { h }, "resumed") => self.resumed(element, h),
            (State::Resuming { .. }, "failed") => {
                self.state = State::Refused;
                let h = count(element).ok();
                // A count that cannot be leaves all of them in doubt.
                h.map(|h| self.sent.acknowledge(h).ok());
                Ok(Heard::NotResumed { h })
            }
            _ => Err(unexpected()),
        }
    }

    /// Writes what is to be said to the server by itself.
    pub fn write_due(&mut self, now: Instant, out: &mut Vec<u8>) {
        let State::Managed { .. } = self.state else { return };
        if self.untold() >= self.limits.arrived {
            // The older half: one acknowledgement, then, for as many stanzas again.
            self.handled(self.unhandled().min(self.limits.arrived / 2));
            self.tell(out);
        }
        let news = self.handled.wrapping_sub(self.told);
        let is_patient = self.asked.is_some_and(|asked| now < asked + PATIENCE);
        if self.asked.is_some() && (self.unhandled() == 0 || news >= ENOUGH || !is_patient) {
            self.tell(out);
        }
        if self.asking == Asking::Due {
            self.asking = Asking::Asked;
            out.extend_from_slice(REQUEST);
        }
    }

    /// When to call [`write_due`](Self::write_due) whatever happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let State::Managed { .. } = self.state else { return None };
        self.asked.map(|asked| asked + PATIENCE)
    }

    /// The connection is gone; what is written is to be said first on the next one, behind SASL.
    ///
    /// Nothing where the stream cannot be resumed.
    #[must_use]
    pub fn resume(&mut self) -> Option<Vec<u8>> {
        let h = match self.state {
            State::Managed { .. } => self.handled,
            // Over a connection that broke before the server had answered.
            State::Resuming { h } => h,
            State::Enabling | State::Refused => return None,
        };
        let id = &self.resumption.as_ref()?.id;
        let resume = Element::new("resume", namespace::STREAM_MANAGEMENT);
        let resume = resume.with_attribute("h", &h.to_string()).with_attribute("previd", id);
        self.state = State::Resuming { h };
        Some(resume.to_bytes())
    }

    /// Writes all that the server has not handled, as far as it has said: what has to be sent again, and what waited.
    pub fn write_again(&self, out: &mut Vec<u8>) {
        self.sent.write(out);
    }

    /// Writes the last acknowledgement of a stream that ends in order (XEP-0198 §4).
    pub fn write_farewell(&mut self, out: &mut Vec<u8>) {
        if matches!(self.state, State::Managed { .. }) && self.handled != self.told {
            self.tell(out);
        }
    }

    fn tell(&mut self, out: &mut Vec<u8>) {
        self.told = self.handled;
        self.asked = None;
        out.extend_from_slice(b"<a xmlns='urn:xmpp:sm:3' h='");
        out.extend_from_slice(self.told.to_string().as_bytes());
        out.extend_from_slice(b"'/>");
    }

    fn resumed(&mut self, element: &Element, h: u32) -> Result<Heard, Error> {
        let id = self.resumption.as_ref().map(|resumption| &*resumption.id);
        if element.attribute("previd") != id {
            return Err(Error::Other);
        }
        self.sent.acknowledge(count(element)?)?;
        // Between `<resume/>` and now more may have got into safe hands; the server counts from what it was told.
        self.told = h;
        self.state = State::Managed { repeated: self.arrived.wrapping_sub(h) };
        (self.asked, self.asking) = (None, Asking::No);
        self.ask();
        Ok(Heard::Resumed)
    }
}

fn resumption(enabled: &Element) -> Option<Resumption> {
    if !matches!(enabled.attribute("resume"), Some("true" | "1")) {
        return None;
    }
    let max = enabled.attribute("max").and_then(|max| max.parse().ok()).map(Duration::from_secs);
    Some(Resumption { id: enabled.attribute("id")?.into(), max })
}

fn count(element: &Element) -> Result<u32, Error> {
    let h = element.attribute("h").and_then(|h| h.parse().ok());
    h.ok_or_else(|| Error::NoCount { name: element.name().to_owned() })
}

const ENABLE: &[u8] = b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
const REQUEST: &[u8] = b"<r xmlns='urn:xmpp:sm:3'/>";
/// The server is asked what it has handled when it has not said so of as many stanzas, or bytes.
const ASK_STANZAS: u32 = 10;
const ASK_BYTES: usize = 8 * 1024;
/// How long the answer to the server may wait for who the stanzas are for: it says more then, and stands in one write with
/// it. ejabberd gives up a connection after 60 s.
const PATIENCE: Duration = Duration::from_secs(3);
/// As many stanzas are worth an answer before all are handled.
const ENOUGH: u32 = 50;

#[cfg(test)]
mod tests;

//! The part of the one who is asked (XEP-0198 §§3–5): it counts what arrives, keeps what is not acknowledged, and lets the stream
//! go on over another connection.

use std::time::Duration;

use crate::protocol::namespace;
use crate::protocol::stream_management::Error;
use crate::protocol::stream_management::unacknowledged::Unacknowledged;

/// Both counts of a stream whose client has enabled it.
#[derive(Debug)]
pub struct Server {
    /// Stanzas of the client that have arrived, modulo 2^32.
    taken: u32,
    kept: Unacknowledged,
    /// How many bytes are kept at most.
    most: usize,
    /// Whether the client has been asked and has not answered.
    asking: bool,
}

impl Server {
    /// Nothing has been said by either side; not more than so many bytes are kept for the client.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { taken: 0, kept: Unacknowledged::default(), most, asking: false }
    }

    /// A stanza of the client has arrived.
    pub fn take(&mut self) {
        self.taken = self.taken.wrapping_add(1);
    }

    /// How many of the client's stanzas have arrived, modulo 2^32.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken
    }

    /// A stanza, which stands alone, goes to the client; it is kept until it is acknowledged. The first that is too much is the
    /// last that is kept, until there is less.
    pub fn send(&mut self, stanza: &[u8]) {
        if self.is_whole() {
            self.kept.push(stanza, 1);
        } else {
            self.kept.pass();
        }
    }

    /// Lets go of the stanza that is too much: the client gets it over the connection it has, and until it says so it comes
    /// back over no other.
    pub fn let_go(&mut self) {
        self.kept.shrink(self.most);
    }

    /// Whether the client is to be asked now how many have arrived (§4): where it has not said so of all of them and is not
    /// being asked already.
    pub fn asks(&mut self) -> bool {
        let asks = !self.asking && self.kept.stanzas() > 0;
        self.asking |= asks;
        asks
    }

    /// The client says that `h` stanzas have arrived, modulo 2^32.
    ///
    /// # Errors
    /// [`Error::Count`] where so many were not sent, or it said more before.
    pub fn acknowledge(&mut self, h: u32) -> Result<(), Error> {
        self.asking = false;
        self.kept.acknowledge(h)
    }

    /// Whether the stream can go on over another connection: all that is not acknowledged is kept, and is not too much.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.kept.is_whole() && self.kept.bytes() <= self.most
    }

    /// What the client has not acknowledged, stanza by stanza, as far as it is kept; a client that comes back gets it again (§5).
    pub fn unacknowledged(&self) -> impl Iterator<Item = &[u8]> {
        self.kept.parts()
    }

    /// Writes what is due to the senders of what the client never acknowledged (RFC 6120 §8.3).
    pub fn write_bounces(&self, out: &mut Vec<u8>) {
        for stanza in self.unacknowledged() {
            crate::protocol::bounce::write(stanza, 1, out);
        }
    }
}

/// `<sm/>` among the features.
pub const FEATURE: &str = "<sm xmlns='urn:xmpp:sm:3'/>";

/// The question how many have arrived (§4).
pub const REQUEST: &str = "<r xmlns=\"urn:xmpp:sm:3\"/>";

/// The answer to `<enable/>`; with the `id` of a stream that can go on, and for how long it is kept (§3).
#[must_use]
pub fn enabled(resumable: Option<(&str, Duration)>) -> String {
    let xmlns = namespace::STREAM_MANAGEMENT;
    match resumable {
        Some((id, kept)) => {
            let max = kept.as_secs();
            format!("<enabled xmlns=\"{xmlns}\" id=\"{id}\" resume=\"true\" max=\"{max}\"/>")
        }
        None => format!("<enabled xmlns=\"{xmlns}\"/>"),
    }
}

/// The answer to `<resume/>` of a stream that goes on, where `h` stanzas of the client have arrived (§5).
#[must_use]
pub fn resumed(id: &str, h: u32) -> String {
    format!("<resumed xmlns=\"{}\" previd=\"{id}\" h=\"{h}\"/>", namespace::STREAM_MANAGEMENT)
}

/// The answer to `<r/>`, where `h` stanzas of the client have arrived (§4).
#[must_use]
pub fn answer(h: u32) -> String {
    format!("<a xmlns=\"{}\" h=\"{h}\"/>", namespace::STREAM_MANAGEMENT)
}

/// The answer to `<resume/>` of a stream that does not go on; with how many stanzas of the client had arrived, where that is
/// known (§5).
#[must_use]
pub fn not_resumed(h: Option<u32>) -> String {
    let h = h.map(|h| format!(" h=\"{h}\"")).unwrap_or_default();
    failed(&h, "item-not-found")
}

/// The answer to what has no place now (§3).
#[must_use]
pub fn unexpected() -> String {
    failed("", "unexpected-request")
}

fn failed(h: &str, condition: &str) -> String {
    format!(
        "<failed xmlns=\"{}\"{h}><{condition} xmlns=\"{}\"/></failed>",
        namespace::STREAM_MANAGEMENT,
        namespace::STANZA_ERROR
    )
}

#[cfg(test)]
mod tests;

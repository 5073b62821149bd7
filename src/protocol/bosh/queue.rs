//! What waits for the browser, kept as the body it will be, so that it is never copied (XEP-0124 §8).

use bytes::Bytes;

use crate::protocol::bosh::answer::CLOSE;
use crate::protocol::bosh::answer::EMPTY;
use crate::protocol::bosh::answer::OPEN;
use crate::protocol::xml::splitter::Cut;

/// Bytes for the browser, in order; no allocation while there are none.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// A start tag and what follows it, or nothing.
    body: Vec<u8>,
    /// How long the start tag is.
    head: usize,
}

impl Queue {
    /// A queue that begins with the start tag of a session's first answer.
    pub(super) fn beginning(head: Vec<u8>) -> Self {
        Self { head: head.len(), body: head }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// Adds bytes that need nothing more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.open().extend_from_slice(bytes);
        }
    }

    /// Adds a stanza of upstream's stream, in whose default namespace it no longer stands.
    pub(super) fn push_stanza(&mut self, stanza: &Cut<'_>) {
        stanza.write_alone(self.open());
    }

    /// Puts what an answer carried that was never read back before all else.
    pub(super) fn put_back(&mut self, content: &[u8]) {
        let mut body = std::mem::take(&mut self.body);
        let later = body.split_off(self.head.min(body.len()));
        self.push(content);
        self.push(&later);
    }

    /// Everything as an answer.
    pub(super) fn take_body(&mut self) -> Bytes {
        if self.body.is_empty() {
            return EMPTY;
        }
        let mut body = std::mem::take(&mut self.body);
        body.extend_from_slice(CLOSE);
        body.into()
    }

    /// Everything without the body round it.
    pub(super) fn take_content(&mut self) -> Vec<u8> {
        let mut body = std::mem::take(&mut self.body);
        body.split_off(self.head.min(body.len()))
    }

    fn open(&mut self) -> &mut Vec<u8> {
        if self.body.is_empty() {
            self.body.extend_from_slice(OPEN);
            self.head = OPEN.len();
        }
        &mut self.body
    }
}

//! What waits for the browser, kept as the bodies it will be, so that it is never copied (XEP-0124 §8).

use std::collections::VecDeque;

use bytes::Bytes;

use crate::protocol::bosh::answer::CLOSE;
use crate::protocol::bosh::answer::EMPTY;
use crate::protocol::bosh::answer::OPEN;
use crate::protocol::xml::splitter::Cut;

/// Bytes for the browser, in order; no allocation while there are none.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The next answer: a start tag and what follows it, or nothing.
    body: Vec<u8>,
    /// How long the start tag is.
    head: usize,
    /// The answers after it, where there is more than goes into one.
    backlog: Option<Box<Backlog>>,
}

/// Bodies that wait for their turn; there is always one.
#[derive(Debug, Default)]
struct Backlog {
    bodies: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    /// A queue that begins with the start tag of a session's first answer.
    pub(super) fn beginning(head: Vec<u8>) -> Self {
        Self { head: head.len(), body: head, backlog: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.body.len() + self.backlog.as_ref().map_or(0, |backlog| backlog.bytes)
    }

    /// Whether more waits than goes into one answer.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    /// What waits, without the bodies round it.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut content = self.body.get(self.head..).unwrap_or_default().to_vec();
        for body in self.backlog.iter().flat_map(|backlog| &backlog.bodies) {
            content.extend_from_slice(body.get(OPEN.len()..).unwrap_or_default());
        }
        content
    }

    /// Adds bytes that need nothing more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match &mut self.backlog {
            Some(backlog) => backlog.extend_last(|last| last.extend_from_slice(bytes)),
            None => self.open().extend_from_slice(bytes),
        }
    }

    /// Adds a stanza of upstream's stream, in whose default namespace it no longer stands.
    ///
    /// It begins another answer where this one would be longer than `limit`.
    pub(super) fn push_stanza(&mut self, stanza: &Cut<'_>, limit: usize) {
        if let Some(backlog) = &mut self.backlog {
            return backlog.push_stanza(stanza, limit);
        }
        let body = self.open();
        let before = body.len();
        stanza.write_alone(body);
        if self.body.len() > limit && before > self.head {
            let stanza = self.body.split_off(before);
            self.backlog.insert(Box::default()).push_back(&stanza);
        }
    }

    /// Puts what an answer carried that was never read back before all else.
    pub(super) fn put_back(&mut self, content: &[u8], limit: usize) {
        if content.is_empty() {
            return;
        }
        let mut body = std::mem::take(&mut self.body);
        let later = body.split_off(self.head.min(body.len()));
        let body = self.open();
        body.extend_from_slice(content);
        if later.is_empty() || body.len() + later.len() <= limit {
            body.extend_from_slice(&later);
        } else {
            self.backlog.get_or_insert_default().push_front(&later);
        }
    }

    /// The next answer.
    pub(super) fn take_body(&mut self) -> Bytes {
        if self.body.is_empty() {
            return EMPTY;
        }
        let mut body = self.take_first();
        body.reserve_exact(CLOSE.len());
        body.extend_from_slice(CLOSE);
        // It is kept for a while, in case that it is asked for again.
        body.shrink_to_fit();
        body.into()
    }

    /// Everything without the bodies round it.
    pub(super) fn take_content(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        while !self.body.is_empty() {
            let head = self.head;
            content.append(&mut self.take_first().split_off(head));
        }
        content
    }

    fn take_first(&mut self) -> Vec<u8> {
        let next = self.backlog.as_mut().and_then(|backlog| backlog.pop_front());
        if next.is_some() {
            self.backlog.take_if(|backlog| backlog.bodies.is_empty());
        }
        let body = std::mem::replace(&mut self.body, next.unwrap_or_default());
        self.head = OPEN.len();
        body
    }

    fn open(&mut self) -> &mut Vec<u8> {
        if self.body.is_empty() {
            self.body.extend_from_slice(OPEN);
            self.head = OPEN.len();
        }
        &mut self.body
    }
}

impl Backlog {
    fn push_stanza(&mut self, stanza: &Cut<'_>, limit: usize) {
        let mut over = Vec::new();
        self.extend_last(|last| {
            let before = last.len();
            stanza.write_alone(last);
            if last.len() > limit {
                over = last.split_off(before);
            }
        });
        if !over.is_empty() {
            self.push_back(&over);
        }
    }

    fn extend_last(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(last) = self.bodies.back_mut() {
            let before = last.len();
            write(last);
            self.bytes += last.len().saturating_sub(before);
        }
    }

    fn push_back(&mut self, content: &[u8]) {
        let body = [OPEN, content].concat();
        self.bytes += body.len();
        self.bodies.push_back(body);
    }

    fn push_front(&mut self, content: &[u8]) {
        let body = [OPEN, content].concat();
        self.bytes += body.len();
        self.bodies.push_front(body);
    }

    fn pop_front(&mut self) -> Option<Vec<u8>> {
        let body = self.bodies.pop_front()?;
        self.bytes = self.bytes.saturating_sub(body.len());
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for two short stanzas.
    const LIMIT: usize = OPEN.len() + 22;

    fn push(queue: &mut Queue, text: &str) {
        let stanza = Cut {
            bytes: text.as_bytes(),
            name_end: 2,
            has_namespace: true,
            declares_stream: false,
        };
        queue.push_stanza(&stanza, LIMIT);
    }

    fn take(queue: &mut Queue) -> String {
        let body = queue.take_body();
        let text = std::str::from_utf8(&body).unwrap();
        if body == EMPTY {
            return String::new();
        }
        let content = text.strip_prefix(std::str::from_utf8(OPEN).unwrap()).unwrap();
        content.strip_suffix("</body>").unwrap().to_owned()
    }

    #[test]
    fn stanzas_beyond_the_limit_go_into_the_next_answers_whole_and_in_order() {
        let mut queue = Queue::default();
        for name in ["a", "b", "c", "d", "e"] {
            push(&mut queue, &format!("<{name} xm='1'/>"));
        }

        assert!(queue.has_backlog());
        assert_eq!(queue.len(), 3 * OPEN.len() + 5 * 11);
        assert_eq!(take(&mut queue), "<a xm='1'/><b xm='1'/>");
        push(&mut queue, "<f/>");
        let rest: Vec<String> =
            std::iter::from_fn(|| (!queue.is_empty()).then(|| take(&mut queue))).collect();
        assert_eq!(rest.concat(), "<c xm='1'/><d xm='1'/><e xm='1'/><f/>");
        assert!(rest.iter().all(|body| body.len() <= 22), "{rest:?}");
        assert!(!queue.has_backlog());
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn stanza_larger_than_the_limit_goes_alone() {
        let mut queue = Queue::default();
        let large = format!("<l x='{}'/>", "x".repeat(100));
        for text in ["<a/>", &large, "<b/>"] {
            push(&mut queue, text);
        }

        assert_eq!(take(&mut queue), "<a/>");
        assert_eq!(take(&mut queue), large);
        assert_eq!(take(&mut queue), "<b/>");
        assert_eq!(take(&mut queue), "");
    }

    #[test]
    fn what_is_put_back_comes_first_and_makes_no_answer_too_long() {
        let mut queue = Queue::default();
        push(&mut queue, "<b xmlns='b'/>");
        push(&mut queue, "<c xmlns='c'/>");

        queue.put_back(b"<a xmlns='a'/>", LIMIT);

        assert_eq!(take(&mut queue), "<a xmlns='a'/>");
        queue.put_back(b"<a/>", LIMIT);
        assert_eq!(take(&mut queue), "<a/><b xmlns='b'/>");
        assert_eq!(take(&mut queue), "<c xmlns='c'/>");
    }

    #[test]
    fn nothing_that_is_put_back_is_nothing() {
        let mut queue = Queue::default();

        queue.put_back(b"", LIMIT);

        assert!(queue.is_empty());
    }

    #[test]
    fn content_is_everything_that_waits() {
        let mut queue = Queue::default();
        for text in ["<a xm='1'/>", "<b xm='1'/>", "<c xm='1'/>"] {
            push(&mut queue, text);
        }

        assert_eq!(queue.take_content(), b"<a xm='1'/><b xm='1'/><c xm='1'/>");
        assert!(queue.is_empty() && !queue.has_backlog());
    }
}

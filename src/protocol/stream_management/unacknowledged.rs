//! What was sent and is not yet acknowledged: dropped by the count of the other side, sent again after a resumption.

use std::collections::VecDeque;

use crate::protocol::stream_management::Error;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;

/// The stanzas that the other side has not acknowledged, in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Unacknowledged {
    parts: VecDeque<Part>,
    /// How many stanzas have been acknowledged since the counting began, modulo 2^32.
    acknowledged: u32,
    /// How many of those that are kept have not.
    stanzas: u32,
    /// How many have not that were sent behind these and are not kept.
    beyond: u32,
    bytes: usize,
}

/// What was sent at once, and is kept as one piece: taken apart only if a connection breaks in the middle of it.
#[derive(Debug)]
struct Part {
    bytes: Box<[u8]>,
    /// How many stanzas of it are not acknowledged: the last ones.
    left: u32,
    /// How many it holds.
    stanzas: u32,
}

impl Unacknowledged {
    /// Keeps whole elements, so many stanzas among them.
    pub fn push(&mut self, elements: &[u8], stanzas: u32) {
        self.stanzas = self.stanzas.saturating_add(stanzas);
        self.bytes = self.bytes.saturating_add(elements.len());
        self.parts.push_back(Part { bytes: elements.into(), left: stanzas, stanzas });
    }

    /// Counts a stanza that is not kept; nor is any behind it, until it is acknowledged.
    pub fn pass(&mut self) {
        self.beyond = self.beyond.saturating_add(1);
    }

    /// Lets go of what was kept last, where all is more than so many bytes.
    pub fn shrink(&mut self, most: usize) {
        while self.bytes > most
            && let Some(part) = self.parts.pop_back()
        {
            self.bytes = self.bytes.saturating_sub(part.bytes.len());
            self.stanzas -= part.left;
            self.beyond = self.beyond.saturating_add(part.left);
        }
    }

    /// Whether all that is not acknowledged is kept.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.beyond == 0
    }

    /// How many stanzas are not acknowledged.
    #[must_use]
    pub fn stanzas(&self) -> u32 {
        self.stanzas.saturating_add(self.beyond)
    }

    /// How many bytes are kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The other side has handled `h` stanzas since the counting began, modulo 2^32 (XEP-0198 §4).
    ///
    /// # Errors
    /// [`Error::Count`] where so many were not sent, or more acknowledged before.
    pub fn acknowledge(&mut self, h: u32) -> Result<(), Error> {
        let mut more = h.wrapping_sub(self.acknowledged);
        if more > self.stanzas() {
            let (acknowledged, sent) =
                (self.acknowledged, self.acknowledged.wrapping_add(self.stanzas()));
            return Err(Error::Count { h, acknowledged, sent });
        }
        self.acknowledged = h;
        let of_kept = more.min(self.stanzas);
        self.stanzas -= of_kept;
        self.beyond -= more - of_kept;
        more = of_kept;
        while let Some(part) = self.parts.front_mut() {
            if part.left > more {
                part.left -= more;
                break;
            }
            more -= part.left;
            self.bytes = self.bytes.saturating_sub(part.bytes.len());
            self.parts.pop_front();
        }
        if self.parts.is_empty() {
            // An idle stream holds nothing.
            self.parts = VecDeque::new();
        }
        Ok(())
    }

    /// Writes all that is not acknowledged, in order.
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in &self.parts {
            out.extend_from_slice(behind(&part.bytes, part.stanzas - part.left.min(part.stanzas)));
        }
    }

    /// What was kept at once, piece by piece; of one that is acknowledged in part all of it.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| &*part.bytes)
    }

    /// As if so many had been sent, and acknowledged, before.
    #[cfg(test)]
    pub(super) fn stand_at(&mut self, acknowledged: u32) {
        self.acknowledged = acknowledged;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What stands behind the first so many stanzas of whole elements.
fn behind(elements: &[u8], stanzas: u32) -> &[u8] {
    let mut rest = elements;
    if stanzas == 0 {
        return rest;
    }
    let mut splitter = Splitter::new(usize::MAX);
    let mut header: &[u8] = b"<stream>";
    // Neither fails: the elements were checked, or cut, before they were kept. If they do, rather twice than never.
    if splitter.next(&mut header).is_err() {
        return elements;
    }
    let mut passed = 0;
    while passed < stanzas {
        match splitter.next(&mut rest) {
            Ok(Some(Piece::Stanza(cut))) => passed += u32::from(cut.is_stanza()),
            Ok(Some(Piece::Header(_) | Piece::End) | None) | Err(_) => return elements,
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(unacknowledged: &Unacknowledged) -> String {
        let mut out = Vec::new();
        unacknowledged.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn acknowledged_stanzas_are_gone_even_from_the_middle_of_what_was_sent_at_once() {
        let mut sent = Unacknowledged::default();
        sent.push(b"<message id='1'/>", 1);
        sent.push(
            b"<iq id='2'><a/></iq><active xmlns='urn:xmpp:csi:0'/><presence/><message id='4'/>",
            3,
        );

        sent.acknowledge(2).unwrap();

        assert_eq!(left(&sent), "<active xmlns='urn:xmpp:csi:0'/><presence/><message id='4'/>");
        sent.acknowledge(3).unwrap();
        assert_eq!(left(&sent), "<message id='4'/>");
        sent.acknowledge(4).unwrap();
        assert_eq!((left(&sent).as_str(), sent.bytes(), sent.stanzas()), ("", 0, 0));
    }

    #[test]
    fn count_above_what_was_sent_or_below_what_was_acknowledged_is_refused() {
        let mut sent = Unacknowledged::default();
        sent.push(b"<message/><message/>", 2);
        sent.acknowledge(1).unwrap();

        assert_eq!(sent.acknowledge(3), Err(Error::Count { h: 3, acknowledged: 1, sent: 2 }));
        assert_eq!(sent.acknowledge(0), Err(Error::Count { h: 0, acknowledged: 1, sent: 2 }));
        assert_eq!(sent.acknowledge(1), Ok(()));
    }

    #[test]
    fn count_goes_on_from_zero_behind_two_to_the_32() {
        let mut sent = Unacknowledged { acknowledged: u32::MAX, ..Unacknowledged::default() };
        sent.push(b"<message id='1'/>", 1);
        sent.push(b"<message id='2'/>", 1);

        sent.acknowledge(0).unwrap();

        assert_eq!(left(&sent), "<message id='2'/>");
        assert_eq!(sent.acknowledge(1), Ok(()));
    }
}

//! What a session leaves behind that its browser may not have got: somebody has to see to it when it ends.

use crate::protocol::bosh::answer;
use crate::protocol::bosh::session::Session;

impl Session {
    /// How many stanzas the browser may not have got: the last ones that came from upstream.
    #[must_use]
    pub fn undelivered(&self) -> u32 {
        self.delivery.stanzas()
    }

    /// These stanzas, in order, and what came between them.
    #[must_use]
    pub fn undelivered_elements(&self) -> Vec<u8> {
        let answers = self.delivery.rids().filter_map(|rid| self.recent.answer(rid));
        let mut elements: Vec<u8> =
            answers.flat_map(|answer| answer::elements(answer)).copied().collect();
        elements.append(&mut self.queue.content());
        elements
    }
}

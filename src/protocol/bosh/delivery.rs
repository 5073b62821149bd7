//! Which stanzas the browser has surely got: those of the answers that it has gone on from (XEP-0124 §14.3).

use crate::protocol::bosh::answer;
use crate::protocol::bosh::body::Body;
use crate::protocol::bosh::body::Kind;
use crate::protocol::bosh::payload::Payload;
use crate::protocol::bosh::window::Rid;
use crate::protocol::xml::splitter::Cut;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;

/// The stanzas that wait, and the answers of which nobody knows yet whether they were read; most of the time none.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    waiting: u32,
    answers: Vec<Answered>,
}

#[derive(Debug)]
struct Answered {
    rid: Rid,
    stanzas: u32,
}

impl Delivery {
    /// An element of upstream waits for the browser.
    pub(super) fn waits(&mut self, element: &Cut<'_>) {
        self.waiting = self.waiting.saturating_add(u32::from(element.is_stanza()));
    }

    /// A request was answered, with all that waited or the first of it.
    pub(super) fn answered(&mut self, rid: Rid, answer: &[u8], is_all: bool) {
        // It is seldom that more waits than goes into one answer.
        let stanzas = if is_all { self.waiting } else { stanzas_in(answer).min(self.waiting) };
        self.waiting -= stanzas;
        if stanzas > 0 {
            self.answers.push(Answered { rid, stanzas });
        }
    }

    /// The answer of a request is taken back: what it carried waits again.
    pub(super) fn take_back(&mut self, rid: Rid) {
        if let Some(at) = self.answers.iter().position(|answered| answered.rid == rid) {
            self.waiting = self.waiting.saturating_add(self.answers.remove(at).stanzas);
        }
    }

    /// The browser goes on with this request, which says what it has read.
    ///
    /// It has two under way at most. So it has read all answers but that of the request before; and that one too when it asks
    /// for more with nothing to say itself, for it would not while the other was still under way. Where that is in doubt, nothing
    /// is known.
    pub(super) fn goes_on(&mut self, body: &Body, is_in_doubt: bool) {
        if self.answers.is_empty() || is_in_doubt {
            return;
        }
        let before = body.rid.get().saturating_sub(1);
        if let Some(got) = body.ack {
            // It says so itself (XEP-0124 §9.2).
            return self.read_up_to(got.min(before));
        }
        let asks = body.kind == Kind::Ordinary
            && body.pause.is_none()
            && body.payload.as_ref().is_ok_and(Payload::is_empty);
        self.read_up_to(before.saturating_sub(u64::from(!asks)));
    }

    /// How many stanzas the browser may not have got.
    pub(super) fn stanzas(&self) -> u32 {
        self.answers.iter().fold(self.waiting, |sum, answered| sum.saturating_add(answered.stanzas))
    }

    /// The rids of the answers that they are in, in order.
    pub(super) fn rids(&self) -> impl Iterator<Item = Rid> {
        self.answers.iter().map(|answered| answered.rid)
    }

    fn read_up_to(&mut self, rid: u64) {
        self.answers.retain(|answered| answered.rid.get() > rid);
        if self.answers.is_empty() {
            self.answers = Vec::new();
        }
    }
}

/// How many stanzas an answer carries.
fn stanzas_in(answer: &[u8]) -> u32 {
    let mut splitter = Splitter::new(usize::MAX);
    let (mut header, mut rest): (&[u8], &[u8]) = (b"<stream>", answer::elements(answer));
    if splitter.next(&mut header).is_err() {
        return 0;
    }
    let mut stanzas = 0;
    while let Ok(Some(Piece::Stanza(cut))) = splitter.next(&mut rest) {
        stanzas += u32::from(cut.is_stanza());
    }
    stanzas
}

//! What requests and answers say of their sequence: keys (XEP-0124 §15) and acknowledgements (§9).

use crate::protocol::bosh::farewell::Word;
use crate::protocol::bosh::keys::Chain;
use crate::protocol::bosh::keys::Keys;
use crate::protocol::bosh::session::Session;
use crate::protocol::bosh::window::Rid;

impl Session {
    /// Whether a request shows the key that it must, where its session has keys.
    pub(super) fn shows_key(&mut self, rid: Rid, keys: Option<&Keys>) -> bool {
        self.keys.as_mut().is_none_or(|chain| chain.admits(rid, keys))
    }

    /// A request whose turn it is may begin keys where there are none; one that comes late may not.
    pub(super) fn begin_keys(&mut self, rid: Rid, keys: Option<&Keys>) {
        if self.keys.is_none() && rid.next() >= self.window.next() {
            self.keys = keys.and_then(|keys| Chain::begin(rid, keys)).map(Box::new);
        }
    }

    /// An answer with what its browser is to know beside, where it wants to.
    pub(super) fn marked(&mut self, rid: Rid, word: Word) -> Word {
        let Some(acknowledgements) = &mut self.acknowledgements else { return word };
        let missing = self.recent.first_skipped_beside(rid).unwrap_or(self.window.next());
        let received = missing.before();
        match word {
            Word::Body(answer) => Word::Body(acknowledgements.mark(&answer, rid, received)),
            Word::Status(_) => word,
        }
    }
}

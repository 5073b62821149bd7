//! A head that was judged, kept as short as another one can be compared with it: what is the same is not judged again.

use std::hash::BuildHasher;
use std::hash::Hasher;
use std::hash::RandomState;
use std::sync::LazyLock;

use crate::server::lane::head::Most;
use crate::server::lane::head::Plain;
use crate::server::lane::head::digits;

/// What a head said, but for how long its body was.
#[derive(Debug)]
pub struct Said {
    plain: Plain,
    /// A hash of all but the length of the body, by a key of this process.
    hash: u64,
}

impl Said {
    /// What `head` says, about which the verdict was `plain`; none where it gives no length.
    #[must_use]
    pub fn of(head: &[u8], plain: &Plain) -> Option<Self> {
        let length = plain.length.clone()?;
        let hash = hash(head.get(..length.start)?, head.get(length.end..plain.head)?);
        Some(Self { plain: plain.clone(), hash })
    }

    /// What `bytes` begin with, where that is the same head, digit by digit of the length of its body excepted; none where
    /// it is to be judged.
    #[must_use]
    pub fn again(&self, bytes: &[u8], most: Most) -> Option<Plain> {
        let length = self.plain.length.clone()?;
        let (before, rest) = bytes.split_at_checked(length.start)?;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, behind) = rest.split_at_checked(count)?;
        let behind = behind.get(..self.plain.head.checked_sub(length.end)?)?;
        let body = digits(number).filter(|length| *length <= most.body)?;
        let (end, head) = (length.start + count, length.start + count + behind.len());
        let is_same = head <= most.head && hash(before, behind) == self.hash;
        let length = Some(length.start..end);
        is_same.then(|| Plain { head, body, length, ..self.plain.clone() })
    }
}

/// Where the first part ends is known, so it need not be said.
fn hash(before: &[u8], behind: &[u8]) -> u64 {
    let mut hasher = KEY.build_hasher();
    hasher.write(before);
    hasher.write(behind);
    hasher.finish()
}

/// Nobody can make out what it hashes to.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

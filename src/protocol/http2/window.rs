//! Flow control (RFC 9113 §5.2, §6.9): how much either side may still send.

use crate::protocol::http2::code::Code;
use crate::protocol::http2::frame::GREATEST;

/// How many bytes we may send. Less than none where the browser has taken room back (§6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sending(i32);

/// How many bytes the browser may send, and what it has sent that is taken, but for which it has no new room yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receiving {
    room: u32,
    taken: u32,
}

impl Sending {
    /// A window of so many bytes.
    pub(super) fn new(bytes: u32) -> Self {
        Self(i32::try_from(bytes).unwrap_or(i32::MAX))
    }

    /// What may be sent now.
    pub(super) fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    /// So many bytes are sent, for which there was room.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(i32::try_from(bytes).unwrap_or(i32::MAX));
    }

    /// The browser opens the window further (§6.9).
    ///
    /// # Errors
    /// [`Code::Protocol`] by nothing; [`Code::FlowControl`] further than any window is.
    pub(super) fn open(&mut self, bytes: u32) -> Result<(), Code> {
        if bytes == 0 {
            return Err(Code::Protocol);
        }
        self.shift(i64::from(bytes))
    }

    /// The size that all windows began with changes by so much (§6.9.2).
    ///
    /// # Errors
    /// [`Code::FlowControl`] where this is now larger than any window is.
    pub(super) fn shift(&mut self, bytes: i64) -> Result<(), Code> {
        let shifted = i64::from(self.0).saturating_add(bytes);
        self.0 = i32::try_from(shifted).map_err(|_| Code::FlowControl)?;
        Ok(())
    }
}

impl Receiving {
    /// A window of so many bytes.
    pub(super) fn new(bytes: u32) -> Self {
        Self { room: bytes, taken: 0 }
    }

    /// So many bytes come.
    ///
    /// # Errors
    /// [`Code::FlowControl`] where there is no room for them.
    pub(super) fn comes(&mut self, bytes: usize) -> Result<(), Code> {
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.room.checked_sub(bytes));
        self.room = left.ok_or(Code::FlowControl)?;
        Ok(())
    }

    /// So many of them are taken. What the browser is to have room for again, where that is worth a frame: as much as it has
    /// room for still, which is half of all, unless some of it waits to be taken.
    pub(super) fn takes(&mut self, bytes: usize, most: u32) -> Option<u32> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Never more than what came, so that no window grows.
        let missing = most.saturating_sub(self.room);
        self.taken = self.taken.saturating_add(bytes).min(missing);
        if self.taken == 0 || self.taken < self.room {
            return None;
        }
        self.room = self.room.saturating_add(self.taken).min(GREATEST);
        Some(std::mem::take(&mut self.taken))
    }
}

/// What each window begins with, unless a setting says otherwise (§6.9.2).
pub(super) const INITIAL: u32 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_opens_no_further_than_2_to_the_31_less_1() {
        let mut window = Sending::new(1);

        assert_eq!(window.open(GREATEST), Err(Code::FlowControl));
        assert_eq!(window.open(0), Err(Code::Protocol));
        assert_eq!(window.open(GREATEST - 1), Ok(()));
        assert_eq!(window.room(), GREATEST as usize);
    }

    #[test]
    fn window_that_is_less_than_none_opens_from_there() {
        let mut window = Sending::new(10);
        window.sent(10);

        window.shift(-7).unwrap();
        window.open(5).unwrap();
        assert_eq!(window.room(), 0);
        window.open(5).unwrap();
        assert_eq!(window.room(), 3);
    }

    #[test]
    fn room_is_given_back_when_half_is_taken_and_never_more_than_came() {
        let mut window = Receiving::new(100);

        window.comes(49).unwrap();
        assert_eq!(window.takes(49, 100), None);
        window.comes(11).unwrap();
        assert_eq!(window.comes(41), Err(Code::FlowControl));
        assert_eq!(window.takes(50, 100), Some(60));
        assert_eq!(window.comes(100), Ok(()));
    }

    #[test]
    fn room_is_given_back_when_as_much_is_taken_as_is_left_beside_what_nobody_takes() {
        let mut window = Receiving::new(100);

        window.comes(80).unwrap();
        assert_eq!(window.takes(19, 100), None);
        assert_eq!(window.takes(1, 100), Some(20));
        window.comes(40).unwrap();
        assert_eq!(window.takes(1, 100), Some(1));
        assert_eq!(window.takes(0, 100), None);
    }
}

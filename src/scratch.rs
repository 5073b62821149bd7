//! Buffers of the thread, lent for the length of one call: what makes an idle session hold none.

use std::cell::Cell;
use std::thread::LocalKey;

/// A buffer on loan; it goes back when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    buffer: Vec<u8>,
    owner: &'static LocalKey<Cell<Vec<u8>>>,
}

impl Scratch {
    /// Borrows the buffer of `owner`, empty.
    #[must_use]
    pub fn empty(owner: &'static LocalKey<Cell<Vec<u8>>>) -> Self {
        let mut buffer = owner.take();
        buffer.clear();
        Self { buffer, owner }
    }

    /// Borrows the buffer of `owner`, at least `size` bytes long, with whatever it held last.
    #[must_use]
    pub fn sized(owner: &'static LocalKey<Cell<Vec<u8>>>, size: usize) -> Self {
        let mut buffer = owner.take();
        if buffer.len() < size {
            buffer.resize(size, 0);
        }
        Self { buffer, owner }
    }

    /// The buffer.
    pub fn get(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // One huge stanza does not stay with the thread for ever.
        if buffer.capacity() <= LARGEST_KEPT {
            self.owner.set(buffer);
        }
    }
}

const LARGEST_KEPT: usize = 256 * 1024;

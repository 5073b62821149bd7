//! Buffers of the thread, lent for the length of one call: what makes an idle session hold none.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::ready;
use std::thread::LocalKey;

use tokio::io::AsyncRead;
use tokio::io::ReadBuf;

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

/// Reads once behind what is in `onto`, at most 4 KiB, and makes it no larger than what comes; 0 at the end.
///
/// Cancel safe: nothing is read unless this is over.
///
/// # Errors
/// Those of `from`.
pub async fn read_more(
    from: &mut (impl AsyncRead + Unpin),
    onto: &mut Vec<u8>,
) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut room = Scratch::sized(&READ, MOST);
        let mut read = ReadBuf::new(room.get().get_mut(..MOST).unwrap_or_default());
        ready!(Pin::new(&mut *from).poll_read(cx, &mut read))?;
        onto.extend_from_slice(read.filled());
        Ok(read.filled().len()).into()
    })
    .await
}

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

const MOST: usize = 4096;
const LARGEST_KEPT: usize = 256 * 1024;

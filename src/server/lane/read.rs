//! Reading a connection, into a buffer of the thread.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use tokio::io::AsyncRead;
use tokio::io::ReadBuf;

use crate::browser::Browser;
use crate::scratch::Scratch;

/// Room for one read.
pub(super) fn room() -> Scratch {
    Scratch::sized(&INCOMING, MOST)
}

/// Reads once; nothing at the end of the connection.
pub(super) fn poll_read<'a>(
    browser: &mut Browser,
    room: &'a mut [u8],
    cx: &mut Context<'_>,
) -> Poll<io::Result<&'a [u8]>> {
    let mut read = ReadBuf::new(room);
    ready!(Pin::new(browser).poll_read(cx, &mut read))?;
    let length = read.filled().len();
    Poll::Ready(Ok(room.get(..length).unwrap_or_default()))
}

thread_local! {
    static INCOMING: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What one read takes at most.
pub(super) const MOST: usize = 16 * 1024;

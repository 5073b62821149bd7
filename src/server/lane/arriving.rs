//! The body of a request that has not come whole with its head.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use hyper::body;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::SizeHint;

use crate::browser::Browser;
use crate::server::lane::read;

/// What is still to come of a body, behind what has come.
#[derive(Debug)]
pub(super) struct Arriving<'a> {
    browser: &'a mut Browser,
    here: Bytes,
    left: usize,
}

impl<'a> Arriving<'a> {
    /// `here` has come; so many more bytes are its.
    pub(super) fn new(browser: &'a mut Browser, here: Bytes, left: usize) -> Self {
        Self { browser, here, left }
    }

    /// How many bytes have not come.
    pub(super) fn left(&self) -> usize {
        self.left
    }
}

impl body::Body for Arriving<'_> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if !this.here.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.here)))));
        }
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let mut room = read::room();
        // No further than to its end: what follows is another request.
        let room = room.get().get_mut(..this.left.min(read::MOST)).unwrap_or_default();
        let read = Bytes::copy_from_slice(ready!(read::poll_read(this.browser, room, cx))?);
        if read.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        this.left -= read.len();
        Poll::Ready(Some(Ok(Frame::data(read))))
    }

    fn is_end_stream(&self) -> bool {
        self.here.is_empty() && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.here.len().saturating_add(self.left) as u64)
    }
}

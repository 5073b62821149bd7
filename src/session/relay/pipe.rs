//! Writing as much as the other side takes now.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use tokio::io::AsyncWrite;

/// Writes `out` as far as `to` takes it now; the rest is kept in `unsent`.
pub(super) fn poll_send(
    to: &mut (impl AsyncWrite + Unpin),
    out: &[u8],
    unsent: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    if !unsent.is_empty() {
        unsent.extend_from_slice(out);
        return Ok(());
    }
    let mut rest = out;
    while !rest.is_empty() {
        match Pin::new(&mut *to).poll_write(cx, rest) {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(sent)) => rest = rest.get(sent..).unwrap_or_default(),
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    unsent.extend_from_slice(rest);
    Ok(())
}

/// Writes what `to` did not take before; ready when it has it all.
pub(in crate::session) fn poll_drain(
    to: &mut (impl AsyncWrite + Unpin),
    unsent: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if unsent.capacity() == 0 {
        return Poll::Ready(Ok(()));
    }
    while !unsent.is_empty() {
        let sent = ready!(Pin::new(&mut *to).poll_write(cx, unsent))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        unsent.drain(..sent.min(unsent.len()));
    }
    *unsent = Vec::new();
    Poll::Ready(Ok(()))
}

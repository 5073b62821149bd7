//! The threads that serve, a runtime each: both sockets of a session wake the same thread, and no other looks for its work.
//!
//! One runtime over all threads would wake another whenever two sessions have something to do at a time, and that costs
//! more than what they have to do (`benches/README.md` has the figures).

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;

use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;
use tracing::debug;

use crate::server::accept::Socket;

/// Where connections are served: on the thread that accepts them, and on others, in turn.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    others: Arc<[Handle]>,
    next: Arc<AtomicUsize>,
    /// The others end, with whatever they still serve, when the last clone of this is dropped.
    _end: Option<Arc<DropGuard>>,
}

impl Threads {
    /// So many, of which one is the caller's own, and the others are started here.
    ///
    /// # Errors
    /// When the system has no more.
    pub fn start(number: NonZeroUsize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let others = (1..number.get()).map(|place| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let ended = end.clone().cancelled_owned();
            let serve = move || runtime.block_on(ended);
            thread::Builder::new().name(format!("serve-{place}")).spawn(serve)?;
            Ok(handle)
        });
        let others = others.collect::<io::Result<_>>()?;
        Ok(Self { others, next: Arc::default(), _end: Some(Arc::new(end.drop_guard())) })
    }

    /// Serves a connection on the thread whose turn it is: `serve` is given its socket there.
    pub(super) fn serve<F>(
        &self,
        socket: Socket,
        serve: impl FnOnce(Socket) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % (self.others.len() + 1);
        let Some(other) = self.others.get(turn) else {
            tokio::spawn(serve(socket));
            return Ok(());
        };
        let socket = socket.detach()?;
        other.spawn(async move {
            match socket.attach() {
                Ok(socket) => serve(socket).await,
                Err(error) => debug!(%error, "a connection was lost between two threads"),
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokio::net::TcpListener;
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn connections_are_served_on_every_thread_in_turn() {
        let threads = Threads::start(NonZeroUsize::new(3).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (served, mut seen) = mpsc::channel(1);
        let mut on = Vec::new();

        for _ in 0..6 {
            let browser = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let served = served.clone();
            let serve = async move |socket| {
                let Socket::Tcp(socket) = socket else { panic!("it came by TCP") };
                socket.writable().await.unwrap();
                let here = (thread::current().id(), socket.peer_addr().unwrap());
                served.send(here).await.unwrap();
            };
            threads.serve(Socket::Tcp(socket), serve).unwrap();
            let (thread, peer) = seen.recv().await.unwrap();
            assert_eq!(peer, browser.local_addr().unwrap());
            on.push(thread);
        }

        assert_eq!(on.iter().collect::<HashSet<_>>().len(), 3);
        assert_eq!(on[..3], on[3..]);
        assert!(on.contains(&thread::current().id()));
    }
}

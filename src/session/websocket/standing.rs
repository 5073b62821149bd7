//! Whether the site still knows the visitor behind a socket by the cookie it came with, and what happens where it does not.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::session::roll::Stay;
use crate::session::roll::bell::Presence;

/// What the site is being asked about a visitor.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Standing> + Send + 'a>>;

/// Who can be asked about a visitor.
pub trait Witness: Send + Sync {
    /// Asks; bounded in time.
    fn ask(&self) -> Asking<'_>;
}

impl fmt::Debug for dyn Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

/// What the site says of a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// He is who he was.
    Same,
    /// The cookie is somebody else's now, or nobody's: the visitor has left, or the site has given him another cookie.
    Denied,
    /// It does not answer.
    Unsaid,
}

/// Keeps the stream of a visitor whom the site denied: a member whose cookie was only changed comes back with the new one, and
/// resumes.
///
/// Whether somebody asks for it in time, and it is left to the server and him; else, when `grace` is over, he is signed out or
/// the edge goes down, it is to be closed.
pub(super) async fn grace(grace: Duration, (stay, shutdown): (&Stay, &CancellationToken)) -> bool {
    let questions = tokio::select! {
        biased;
        () = stay.revoked() => Vec::new(),
        () = shutdown.cancelled() => Vec::new(),
        questions = stay.asked() => questions,
        () = sleep(grace) => Vec::new(),
    };
    let is_asked_for = !questions.is_empty();
    for question in questions {
        // Who asked may be gone as well.
        question.send(Presence::Gone).ok();
    }
    is_asked_for
}

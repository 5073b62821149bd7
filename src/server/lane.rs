//! The lean way for BOSH over HTTP/1.1: while a request is held, or none is here, a connection keeps no buffer.
//!
//! It takes requests of one plain form; with the first that is another, the connection goes to the library for good, with
//! every byte that was not taken. So nothing is framed here that the library would frame otherwise.

mod answer;
mod arriving;
pub mod head;
mod last;
mod read;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio::time::sleep;
use tracing::debug;

use crate::browser::Browser;
use crate::endpoint::Refusal;
use crate::endpoint::bosh;
use crate::endpoint::bosh::Outcome;
use crate::endpoint::bosh::Sender;
use crate::endpoint::bosh::reading;
use crate::endpoint::coding::Coding;
use crate::metrics::bound::Bound;
use crate::protocol::bosh::event::Connection;
use crate::server::bounds::Bounds;
use crate::server::forwarded::Neighbour;
use crate::server::lane::answer::Unsent;
use crate::server::lane::arriving::Arriving;
use crate::server::lane::head::Most;
use crate::server::lane::head::Plain;
use crate::server::lane::head::Verdict;
use crate::server::lane::head::said::Said;
use crate::server::lane::last::Again;
use crate::server::lane::last::By;
use crate::server::lane::last::Dress;
use crate::server::lane::last::Last;
use crate::server::router::Entrance;
use crate::server::router::Router;
use crate::server::router::dressed;
use crate::session::bosh::Answer;
use crate::session::bosh::Reply;

/// A connection whose requests so far were all of the plain form.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    browser: &'a mut Browser,
    neighbour: Neighbour,
    https: bool,
    router: &'a Arc<Router>,
    bounds: &'a Bounds,
    /// Read, and not yet taken: a part of a head, or what a browser asks that does not wait for its answer.
    ahead: Vec<u8>,
    /// How much of that is known to be a part of a head.
    seen: usize,
    has_asked: bool,
    last: Option<Box<Last>>,
    /// What marks its requests as those of one browser; none behind a proxy.
    own: Option<Connection>,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is over.
    Over,
    /// It says something that is not for the lane, and says again what was not taken.
    Leaves,
}

/// What a browser does next.
enum Next {
    /// It asks; so much of the body is here.
    Asks(Box<Asked>),
    /// It asks as it did before, and its session has it already; whether the connection ends with the answer.
    AsksAgain(Reply, Dress, bool),
    /// Something that is not for the lane.
    Leaves,
    /// It is gone.
    Gone,
}

/// A request, and so much of its body as is here.
struct Asked {
    request: Request<()>,
    plain: Plain,
    said: Option<Said>,
    here: Bytes,
}

/// What becomes of a request.
enum Taken {
    /// It is answered, as far as the browser takes it.
    Answered(Unsent),
    /// Its session has it.
    Held(Reply, Dress),
    /// The browser does not wait.
    Gone,
}

impl<'a> Lane<'a> {
    /// A browser that `neighbour` has brought, over TLS or not; its requests are marked as those of one connection.
    pub(super) fn new(
        browser: &'a mut Browser,
        (neighbour, https): (Neighbour, bool),
        (router, bounds): (&'a Arc<Router>, &'a Bounds),
        own: Option<Connection>,
    ) -> Self {
        let (ahead, seen, has_asked, last) = (Vec::new(), 0, false, None);
        Self { browser, neighbour, https, router, bounds, ahead, seen, has_asked, last, own }
    }

    /// Whether anything was asked.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked
    }

    /// Answers one request after the other.
    pub(super) async fn serve(&mut self) -> End {
        let mut leaving = pin!(self.router.edge().shutdown.cancelled());
        let header = self.bounds.settings().header;
        let mut late = pin!(sleep(header));
        loop {
            late.as_mut().reset(Instant::now() + header);
            let next = tokio::select! {
                biased;
                next = poll_fn(|cx| self.poll_next(cx)) => next,
                () = leaving.as_mut() => {
                    self.browser.shutdown().await.ok();
                    return End::Over;
                }
                () = late.as_mut() => {
                    self.is_late();
                    return End::Over;
                }
            };
            let has_asked = std::mem::replace(&mut self.has_asked, true);
            let goes_on = match next {
                Next::Asks(asked) => self.answer(asked).await,
                Next::AsksAgain(reply, dress, is_last) => {
                    self.answer_held(reply, dress, is_last).await
                }
                Next::Leaves => {
                    self.has_asked = has_asked;
                    self.browser.read_again(std::mem::take(&mut self.ahead));
                    return End::Leaves;
                }
                Next::Gone => return End::Over,
            };
            match goes_on {
                Ok(true) => {}
                Ok(false) => {
                    self.browser.shutdown().await.ok();
                    return End::Over;
                }
                Err(error) => {
                    debug!(%error, "a connection ended early");
                    return End::Over;
                }
            }
        }
    }

    /// Answers a request; whether the connection goes on.
    async fn answer(&mut self, asked: Box<Asked>) -> io::Result<bool> {
        let is_last = asked.plain.is_last;
        // In a box, because it is far larger than what is kept while a request is held.
        match Box::pin(self.take_in(asked)).await? {
            Taken::Answered(unsent) => self.finish(unsent).await,
            Taken::Held(reply, dress) => self.answer_held(reply, dress, is_last).await,
            Taken::Gone => Err(gone()),
        }
    }

    /// Waits for what the session says, and answers it; whether the connection goes on.
    async fn answer_held(&mut self, reply: Reply, dress: Dress, is_last: bool) -> io::Result<bool> {
        let Some(answer) = self.held(reply).await else { return Err(gone()) };
        let unsent = self.say(answer, &dress, is_last)?;
        self.finish(unsent).await
    }

    /// Writes the rest of an answer; whether the connection goes on.
    async fn finish(&mut self, unsent: Unsent) -> io::Result<bool> {
        let Unsent { head, body, is_last } = unsent;
        if !self.ahead.is_empty() {
            // Who asks before it is answered shows by its next request of nothing that it was.
            self.own = None;
        }
        self.browser.write_all(&head).await?;
        self.browser.write_all(&body).await?;
        self.browser.flush().await?;
        Ok(!is_last)
    }

    /// A browser does not say what it wants.
    fn is_late(&self) {
        // Between two requests it is how every connection ends that is no longer needed.
        if !self.has_asked {
            self.bounds.metrics().reached(Bound::HeaderTime);
        }
        debug!("a connection ended early");
    }

    /// Reads until it is known what comes next.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if self.ahead.len() > self.seen {
                let (ahead, seen) =
                    (std::mem::take(&mut self.ahead), std::mem::take(&mut self.seen));
                if let Some(next) = self.judge(&ahead, seen) {
                    return Poll::Ready(next);
                }
            }
            let mut room = read::room();
            let read = match ready!(read::poll_read(self.browser, room.get(), cx)) {
                Ok(read) if !read.is_empty() => read,
                Ok(_) | Err(_) => return Poll::Ready(Next::Gone),
            };
            if !self.ahead.is_empty() {
                self.ahead.extend_from_slice(read);
            } else if let Some(next) = self.judge(read, 0) {
                return Poll::Ready(next);
            }
        }
    }

    /// What these bytes are, which are all that has come; none as long as that cannot be told.
    fn judge(&mut self, bytes: &[u8], seen: usize) -> Option<Next> {
        let settings = self.bounds.settings();
        let bytes_of =
            |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        let most = Most {
            fields: settings.header_fields.get(),
            head: bytes_of(settings.header_bytes),
            body: bytes_of(self.router.edge().bosh.settings().body),
        };
        if let Some(last) = &self.last
            && let Some(Again { reply, length, is_last }) =
                last.again(self.router, (bytes, most), self.own)
        {
            let dress = last.dress().clone();
            self.ahead = bytes.get(length..).unwrap_or_default().to_vec();
            return Some(Next::AsksAgain(reply, dress, is_last));
        }
        match head::read(bytes, seen, most) {
            Verdict::Plain(plain) => {
                let (head, behind) = bytes.split_at_checked(plain.head)?;
                let (here, next) = behind.split_at(plain.body.min(behind.len()));
                let Some(request) = plain.request(head) else {
                    self.ahead = bytes.to_vec();
                    return Some(Next::Leaves);
                };
                self.ahead = next.to_vec();
                let (said, here) = (Said::of(head, &plain), Bytes::copy_from_slice(here));
                Some(Next::Asks(Box::new(Asked { request, plain, said, here })))
            }
            Verdict::Partial => {
                self.ahead = bytes.to_vec();
                self.seen = bytes.len();
                None
            }
            Verdict::Other => {
                self.ahead = bytes.to_vec();
                Some(Next::Leaves)
            }
        }
    }

    /// Takes a request in: up to its answer, or until its session has it.
    async fn take_in(&mut self, asked: Box<Asked>) -> io::Result<Taken> {
        let Asked { mut request, plain: Plain { body, mut is_last, .. }, said, here } = *asked;
        // As they are before anything is looked at: what is replaced meanwhile has not let it in.
        let by = By::now(self.router);
        let left = body.saturating_sub(here.len());
        let entered = match self.router.enter(&mut request, self.neighbour, self.https) {
            Entrance::Open(entered) => entered,
            Entrance::Shut(response) => {
                self.router.note((request.method(), request.uri().path()), &response);
                // What has not come of the body is not waited for.
                return self.begin(response, is_last || left > 0).map(Taken::Answered);
            }
        };
        let (edge, address) = (self.router.edge(), entered.address);
        let coding = Coding::allowed(edge.bosh.settings(), request.headers());
        let arrived = if left == 0 {
            reading::at_once(edge, here, address)
        } else {
            let mut body = Arriving::new(self.browser, here, left);
            let arrived = reading::read(edge, &mut body, address).await;
            is_last |= body.left() > 0;
            arrived
        };
        let outcome = match arrived {
            Ok(arrived) => {
                let asked = (&request, arrived);
                let sender = Sender { address, over: self.own };
                let mut posted = pin!(bosh::posted(edge, &entered.site, asked, sender));
                let posted = poll_fn(|cx| match posted.as_mut().poll(cx) {
                    Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                    Poll::Pending => self.poll_gone(cx).map(|()| None),
                });
                let Some(outcome) = posted.await else { return Ok(Taken::Gone) };
                outcome
            }
            Err(refusal) => Err(refusal),
        };
        let response = match outcome {
            Ok(Outcome::Held(reply, shown)) => {
                let dress = Dress { allowed: entered.allowed.alone(), coding };
                self.last = Last::of(said, shown, &dress, by).map(Box::new);
                return Ok(Taken::Held(reply, dress));
            }
            Ok(Outcome::Answered(response)) => response,
            Err(refusal) => refusal.answer(),
        };
        self.router.note((request.method(), request.uri().path()), &response);
        let response = coding.encode(edge.bosh.settings(), response);
        self.begin(dressed(response, &entered.allowed), is_last).map(Taken::Answered)
    }

    /// Waits for what the session says; none where the browser does not.
    async fn held(&mut self, mut reply: Reply) -> Option<Option<Answer>> {
        poll_fn(|cx| match Pin::new(&mut reply).poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => self.poll_gone(cx).map(|()| None),
        })
        .await
    }

    /// Begins to write what a session says.
    fn say(
        &mut self,
        answer: Option<Answer>,
        Dress { allowed, coding }: &Dress,
        is_last: bool,
    ) -> io::Result<Unsent> {
        let answer = match answer {
            Some(Answer::Body(body, None)) if *coding == Coding::Never => {
                let is_last = self.is_last(is_last);
                return answer::begin_usual(self.browser, body, allowed, is_last);
            }
            answer => answer,
        };
        let edge = self.router.edge();
        let response = bosh::said(edge, answer).unwrap_or_else(Refusal::answer);
        self.router.note((&Method::POST, bosh::PATH), &response);
        let response = coding.encode(edge.bosh.settings(), response);
        self.begin(dressed(response, allowed), is_last)
    }

    /// Begins to write an answer.
    fn begin(&mut self, response: Response<Bytes>, is_last: bool) -> io::Result<Unsent> {
        let is_last = self.is_last(is_last);
        answer::begin(self.browser, response, is_last)
    }

    /// Whether the connection ends with an answer: the browser wants it to, or the edge goes down.
    fn is_last(&self, is_last: bool) -> bool {
        is_last || self.router.edge().shutdown.is_cancelled()
    }

    /// Ready when the browser is gone; what it asks meanwhile is kept, and it is read no further.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ahead.is_empty() {
            return Poll::Pending;
        }
        let mut room = read::room();
        match ready!(read::poll_read(self.browser, room.get(), cx)) {
            Ok(read) if !read.is_empty() => {
                self.ahead = read.to_vec();
                Poll::Pending
            }
            Ok(_) | Err(_) => Poll::Ready(()),
        }
    }
}

/// The browser has left before its answer.
fn gone() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

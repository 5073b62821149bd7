//! One request over HTTP/2, from its head to the end of its answer, or of the tunnel that it has got.

mod carrying;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

use hyper::Response;
use hyper::body::Body as _;
use hyper::body::Bytes;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderValue;
use tracing::debug;

use crate::browser::incoming::Inlet;
use crate::browser::pace::Pace;
use crate::browser::tunnel::Mouth;
use crate::endpoint::Body;
use crate::protocol::http2::code::Code;
use crate::protocol::http2::connection::Connection;
use crate::server::date;
use crate::server::http2::turns::Turn;

/// A request, and what becomes of it.
pub(super) struct Exchange {
    stream: u32,
    turn: Arc<Turn>,
    /// Where what comes behind its head goes.
    pub(super) up: Up,
    stage: Stage,
    /// The time that the browser has to make room for the answer; in a box, because that is seldom needed.
    pace: Option<Box<Pace>>,
}

/// What comes behind the head of a request.
#[derive(Debug)]
pub(super) enum Up {
    /// Nothing more.
    Nothing,
    /// The rest of its body.
    Body(Inlet),
    /// What goes through the tunnel that it asks for.
    Tunnel(Mouth),
}

/// How far it is.
enum Stage {
    /// Its answer is awaited.
    Asked(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
    /// Its answer is to begin.
    Answered(Box<Response<Body>>),
    /// Its answer goes out.
    Answering(Box<Outgoing>),
    /// It has its tunnel; whether there may be something to be said through it.
    Carrying(bool),
    /// The tunnel is ended on our side, and the browser has not ended it.
    Ended,
    /// Nothing more is to be said.
    Over,
}

/// The rest of an answer.
struct Outgoing {
    body: Body,
    /// What has come of the body, and was not sent.
    here: Bytes,
    /// What follows behind that.
    next: Next,
}

enum Next {
    /// More, once it is this request's turn.
    More,
    /// More, which is not here yet.
    Awaited,
    Trailers(HeaderMap),
    Nothing,
}

/// What an attempt to write has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// A piece of the answer; there may be another.
    Piece,
    /// Nothing, as long as nobody is woken or the browser makes no room.
    Nothing,
    /// The rest of it.
    All,
    /// The browser has made too little room for too long.
    Stalled,
}

impl Exchange {
    /// A request that `asked` answers.
    pub(super) fn new(
        stream: u32,
        turn: Arc<Turn>,
        up: Up,
        asked: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
    ) -> Self {
        Self { stream, turn, up, stage: Stage::Asked(asked), pace: None }
    }

    /// A request that is answered without a look at it.
    pub(super) fn answered(stream: u32, turn: Arc<Turn>, response: Response<Body>) -> Self {
        let stage = Stage::Answered(Box::new(response));
        Self { stream, turn, up: Up::Nothing, stage, pace: None }
    }

    /// Its number.
    pub(super) fn stream(&self) -> u32 {
        self.stream
    }

    /// Its turn comes: it was woken, or is new.
    pub(super) fn go_on(&mut self) {
        self.turn.comes();
        match &mut self.stage {
            Stage::Asked(asked) => {
                let waker = Waker::from(self.turn.clone());
                if let Poll::Ready(response) = asked.as_mut().poll(&mut Context::from_waker(&waker))
                {
                    self.stage = Stage::Answered(Box::new(response));
                }
            }
            Stage::Answering(outgoing) => {
                if let Next::Awaited = outgoing.next {
                    outgoing.next = Next::More;
                }
            }
            Stage::Carrying(speaks) => *speaks = true,
            Stage::Answered(_) | Stage::Ended | Stage::Over => {}
        }
    }

    /// Writes a piece of its answer, of at most so many bytes, if any is there and the browser has room for it.
    pub(super) fn write(
        &mut self,
        machine: &mut Connection,
        (most, stall): (usize, Duration),
        out: &mut Vec<u8>,
    ) -> Written {
        if let Stage::Answered(_) = &self.stage {
            self.begin(machine, out);
            if let Stage::Over = self.stage {
                return Written::All;
            }
        }
        if let (Stage::Carrying(true) | Stage::Ended, Up::Tunnel(_)) = (&self.stage, &self.up) {
            return self.carry(machine, (most, stall), out);
        }
        let Stage::Answering(outgoing) = &mut self.stage else { return Written::Nothing };
        let waker = Waker::from(self.turn.clone());
        let cx = &mut Context::from_waker(&waker);
        if let Err(error) = outgoing.fetch(cx) {
            debug!(error = &*error, "an answer broke off");
            machine.reset(self.stream, Code::Internal);
            return Written::All;
        }
        let before = outgoing.here.len();
        let written = outgoing.write(machine, (self.stream, most), out);
        let moved = before.saturating_sub(outgoing.here.len());
        let is_stuck = !outgoing.here.is_empty() && machine.room(self.stream) == 0;
        if let Some(pace) = self.pace.as_mut().filter(|_| moved > 0) {
            pace.moved(moved);
        }
        if written == Written::Nothing && is_stuck {
            let pace = self.pace.get_or_insert_with(|| Box::new(Pace::new(stall)));
            if pace.poll_over(cx).is_ready() {
                return Written::Stalled;
            }
        }
        written
    }

    /// Writes the head of its answer.
    fn begin(&mut self, machine: &mut Connection, out: &mut Vec<u8>) {
        let Stage::Answered(response) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return;
        };
        let (mut head, body) = response.into_parts();
        if head.status.is_success()
            && let Up::Tunnel(_) = self.up
        {
            head.headers.entry(header::DATE).or_insert_with(date::now);
            machine.write_head(self.stream, (head.status, &head.headers), false, out);
            self.stage = Stage::Carrying(true);
            return;
        }
        let ends = body.is_end_stream();
        if let Some(length) = body.size_hint().exact().filter(|_| !ends) {
            head.headers.entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        head.headers.entry(header::DATE).or_insert_with(date::now);
        machine.write_head(self.stream, (head.status, &head.headers), ends, out);
        if !ends {
            let outgoing = Outgoing { body, here: Bytes::new(), next: Next::More };
            self.stage = Stage::Answering(Box::new(outgoing));
        }
    }
}

impl Outgoing {
    /// Fetches more of the body, if none is here.
    fn fetch(&mut self, cx: &mut Context<'_>) -> Result<(), <Body as hyper::body::Body>::Error> {
        while self.here.is_empty()
            && let Next::More = self.next
        {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(frame)) => match frame?.into_data() {
                    Ok(data) => {
                        self.here = data;
                        if self.body.is_end_stream() {
                            self.next = Next::Nothing;
                        }
                    }
                    Err(frame) => {
                        self.next = frame.into_trailers().map_or(Next::Nothing, Next::Trailers);
                    }
                },
                Poll::Ready(None) => self.next = Next::Nothing,
                Poll::Pending => self.next = Next::Awaited,
            }
        }
        Ok(())
    }

    /// Writes a piece of what is here, and the end behind the last.
    fn write(
        &mut self,
        machine: &mut Connection,
        (stream, most): (u32, usize),
        out: &mut Vec<u8>,
    ) -> Written {
        let length = self.here.len().min(machine.room(stream)).min(most);
        let piece = self.here.split_to(length);
        let is_behind = !self.here.is_empty();
        match &self.next {
            Next::Nothing if !is_behind => {
                machine.write_data(stream, &piece, true, out);
                Written::All
            }
            Next::Trailers(trailers) if !is_behind => {
                if !piece.is_empty() {
                    machine.write_data(stream, &piece, false, out);
                }
                machine.write_trailers(stream, trailers, out);
                Written::All
            }
            Next::Nothing | Next::Trailers(_) | Next::More | Next::Awaited if piece.is_empty() => {
                Written::Nothing
            }
            Next::Nothing | Next::Trailers(_) | Next::More | Next::Awaited => {
                machine.write_data(stream, &piece, false, out);
                Written::Piece
            }
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("stream", &self.stream).finish_non_exhaustive()
    }
}

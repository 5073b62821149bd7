//! When a connection is asked whether it lives, and when it ends by itself.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep_until;

use crate::protocol::http2::connection::Connection;
use crate::server::bounds::Settings;

/// The times of one connection.
#[derive(Debug)]
pub(super) struct Clock {
    header: Duration,
    idle: Duration,
    ping: Duration,
    pong: Duration,
    /// When anything whole last came.
    heard: Instant,
    /// When the PING was sent that is not answered.
    asked: Option<Instant>,
    /// Since when no request is under way.
    idles: Option<Instant>,
    is_leaving: bool,
    /// Never later than anything is due; set anew when it has passed.
    timer: Pin<Box<Sleep>>,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// To ask whether the browser is there.
    Ping,
    /// To tell it to leave: it has not asked anything for long.
    Leave,
    /// To leave it: it has never asked anything.
    Silent,
    /// The same: it does not answer, or not leave.
    Deaf,
}

impl Clock {
    /// Begins now.
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings { header, idle, ping, pong, .. } = *settings;
        let heard = Instant::now();
        let timer = Box::pin(sleep_until(heard + header.min(ping)));
        let (asked, idles) = (None, Some(heard));
        Self { header, idle, ping, pong, heard, asked, idles, is_leaving: false, timer }
    }

    /// Something whole has come.
    pub(super) fn hears(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The PING is answered.
    pub(super) fn pong(&mut self) {
        self.asked = None;
    }

    /// The browser is told to leave.
    pub(super) fn leaves(&mut self) {
        self.is_leaving = true;
        self.idles = self.idles.map(|_| Instant::now());
    }

    /// Ready with what is due; to be called when everything else waits.
    ///
    /// With `tunnels` on the connection it is not asked whether it lives: who has a WebSocket pings it, and waits for longer,
    /// so that a train in a tunnel of another kind costs nobody his chat.
    pub(super) fn poll(
        &mut self,
        (machine, tunnels): (&Connection, u32),
        cx: &mut Context<'_>,
    ) -> Poll<Due> {
        if machine.under_way() > 0 {
            self.idles = None;
        } else if self.idles.is_none() {
            self.idles = Some(Instant::now());
        }
        loop {
            let Some((at, due)) = self.next(machine, tunnels) else { return Poll::Pending };
            if at < self.timer.deadline() {
                self.timer.as_mut().reset(at);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if at <= now {
                if due == Due::Ping {
                    self.asked = Some(now);
                }
                return Poll::Ready(due);
            }
            self.timer.as_mut().reset(at);
        }
    }

    /// What is due next, and when.
    fn next(&self, machine: &Connection, tunnels: u32) -> Option<(Instant, Due)> {
        if tunnels > 0 {
            return None;
        }
        let alive = match self.asked {
            Some(asked) => (asked + self.pong, Due::Deaf),
            None => (self.heard + self.ping, Due::Ping),
        };
        let Some(since) = self.idles else { return Some(alive) };
        let idle = match (self.is_leaving, machine.has_begun()) {
            (true, _) => (since + LEAVING, Due::Deaf),
            (false, true) => (since + self.idle, Due::Leave),
            (false, false) => (since + self.header, Due::Silent),
        };
        Some(if idle.0 <= alive.0 { idle } else { alive })
    }
}

/// How long a browser may stay that was told to leave and asks nothing.
const LEAVING: Duration = Duration::from_secs(5);

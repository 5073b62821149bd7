//! What goes through a tunnel (RFC 8441 §5): DATA both ways, an end for each, and a reset for what broke off.

use std::task::Context;
use std::task::Waker;
use std::time::Duration;

use crate::browser::pace::Pace;
use crate::browser::tunnel::Next;
use crate::protocol::http2::code::Code;
use crate::protocol::http2::connection::Connection;
use crate::server::http2::exchange::Exchange;
use crate::server::http2::exchange::Stage;
use crate::server::http2::exchange::Up;
use crate::server::http2::exchange::Written;

impl Exchange {
    /// How many bytes of what came were taken since this was last asked.
    pub(in crate::server::http2) fn taken(&self) -> usize {
        match &self.up {
            Up::Nothing => 0,
            Up::Body(inlet) => inlet.taken(),
            Up::Tunnel(mouth) => mouth.taken(),
        }
    }

    /// Writes a piece of what there is to be said through its tunnel, as [`write`](Self::write) does.
    pub(super) fn carry(
        &mut self,
        machine: &mut Connection,
        (most, stall): (usize, Duration),
        out: &mut Vec<u8>,
    ) -> Written {
        let Up::Tunnel(mouth) = &self.up else { return Written::Nothing };
        let most = most.min(machine.room(self.stream));
        let before = out.len();
        let next = mouth.speak(most, |piece| machine.write_data(self.stream, piece, false, out));
        let has_moved = out.len() > before;
        match next {
            Next::More | Next::Nothing if has_moved => {
                self.stage = Stage::Carrying(next == Next::More);
                self.pace = None;
                Written::Piece
            }
            Next::Nothing => {
                self.stage = Stage::Carrying(false);
                Written::Nothing
            }
            // While the session is there, it is the one that knows how long a browser is waited for.
            Next::More if mouth.is_left() => self.wait_for_browser(stall),
            Next::More => Written::Nothing,
            Next::End => self.end(machine, out),
            Next::Broken => {
                machine.reset(self.stream, Code::Cancel);
                Written::All
            }
        }
    }

    /// Ends our half; the rest is the browser's to end, as long as anybody waits for that.
    fn end(&mut self, machine: &mut Connection, out: &mut Vec<u8>) -> Written {
        let Up::Tunnel(mouth) = &self.up else { return Written::All };
        let ended = !matches!(self.stage, Stage::Ended);
        if ended {
            machine.write_end(self.stream, out);
            self.stage = Stage::Ended;
        }
        if !machine.awaits(self.stream) {
            return Written::All;
        }
        if mouth.is_left() {
            machine.reset(self.stream, Code::NoError);
            return Written::All;
        }
        if ended { Written::Piece } else { Written::Nothing }
    }

    fn wait_for_browser(&mut self, stall: Duration) -> Written {
        let waker = Waker::from(self.turn.clone());
        let pace = self.pace.get_or_insert_with(|| Box::new(Pace::new(stall)));
        if pace.poll_over(&mut Context::from_waker(&waker)).is_ready() {
            return Written::Stalled;
        }
        Written::Nothing
    }
}

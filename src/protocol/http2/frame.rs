//! Frames (RFC 9113 §4.1, §6): their heads read and held against the rules of their kind; the ones that we send written.

use crate::protocol::http2::code::Code;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the payload, in bytes.
    pub length: usize,
    /// What it is.
    pub kind: Kind,
    /// See [`flag`].
    pub flags: u8,
    /// The stream it is of; 0 for the connection.
    pub stream: u32,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A piece of a body (§6.1).
    Data,
    /// The beginning of a header block (§6.2).
    Headers,
    /// What nobody heeds any more (§6.3).
    Priority,
    /// The end of a stream that is not its natural one (§6.4).
    ResetStream,
    /// Settings, or that they were taken (§6.5).
    Settings,
    /// What only servers may do (§6.6).
    PushPromise,
    /// A question whether somebody is there, or its answer (§6.7).
    Ping,
    /// The end of the connection (§6.8).
    GoAway,
    /// Room for more (§6.9).
    WindowUpdate,
    /// More of a header block (§6.10).
    Continuation,
    /// Any other, to be ignored (§4.1): also `PRIORITY_UPDATE` (RFC 9218 §7.1).
    Other,
}

/// The flags of frames.
pub mod flag {
    /// DATA and HEADERS: the last of its stream.
    pub const END_STREAM: u8 = 0x1;
    /// SETTINGS and PING: the answer to one.
    pub const ACK: u8 = 0x1;
    /// HEADERS and CONTINUATION: the last of its header block.
    pub const END_HEADERS: u8 = 0x4;
    /// DATA and HEADERS: padding follows.
    pub const PADDED: u8 = 0x8;
    /// HEADERS: five bytes precede the header block.
    pub const PRIORITY: u8 = 0x20;
}

impl Head {
    /// How long a head is.
    pub const LENGTH: usize = 9;

    /// Reads one.
    #[must_use]
    pub fn read([a, b, c, kind, flags, stream @ ..]: [u8; Self::LENGTH]) -> Self {
        // The length has 24 bits, so it fits.
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        // The first bit of the stream means nothing.
        let stream = u32::from_be_bytes(stream) & GREATEST;
        Self { length, kind: Kind::read(kind), flags, stream }
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a browser may send a frame with this head at all.
    ///
    /// # Errors
    /// The code with which the connection ends. (RFC 9113 §6.3 lets a PRIORITY of a wrong length end but its stream; nobody
    /// sends one.)
    pub fn check(&self) -> Result<(), Code> {
        let has_length = match self.kind {
            Kind::Priority => self.length == 5,
            Kind::ResetStream | Kind::WindowUpdate => self.length == 4,
            Kind::Ping => self.length == 8,
            Kind::GoAway => self.length >= 8,
            Kind::Settings if self.has(flag::ACK) => self.length == 0,
            Kind::Settings => self.length.is_multiple_of(6),
            Kind::Data | Kind::Headers | Kind::PushPromise | Kind::Continuation | Kind::Other => {
                true
            }
        };
        if !has_length || self.length > LARGEST {
            return Err(Code::FrameSize);
        }
        let has_place = match self.kind {
            Kind::Settings | Kind::Ping | Kind::GoAway => self.stream == 0,
            Kind::Data
            | Kind::Headers
            | Kind::Priority
            | Kind::ResetStream
            | Kind::Continuation => self.stream != 0,
            Kind::PushPromise => false,
            Kind::WindowUpdate | Kind::Other => true,
        };
        if has_place { Ok(()) } else { Err(Code::Protocol) }
    }
}

impl Kind {
    fn read(number: u8) -> Self {
        match number {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::ResetStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Other,
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::ResetStream => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Other => u8::MAX,
        }
    }
}

/// Writes a frame.
pub fn write(out: &mut Vec<u8>, (kind, flags): (Kind, u8), stream: u32, payload: &[u8]) {
    // Ours are never longer than a browser allows, which is less than 24 bits.
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[kind.number(), flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Writes the end of a stream by an error, or before all of its request has come (§6.4).
pub fn write_reset(out: &mut Vec<u8>, stream: u32, code: Code) {
    write(out, (Kind::ResetStream, 0), stream, &code.number().to_be_bytes());
}

/// Writes room for so many bytes more (§6.9).
pub fn write_window_update(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    write(out, (Kind::WindowUpdate, 0), stream, &bytes.to_be_bytes());
}

/// Writes the end of the connection: later streams than `last` were not looked at (§6.8).
pub fn write_go_away(out: &mut Vec<u8>, last: u32, code: Code) {
    let said = u64::from(last) << 32 | u64::from(code.number());
    write(out, (Kind::GoAway, 0), 0, &said.to_be_bytes());
}

/// What a browser of HTTP/2 says first, before any frame (§3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest payload of a frame that we take, in bytes: what is so unless a setting says otherwise (§4.2).
pub const LARGEST: usize = 16 * 1024;
/// The greatest number of a stream, and the largest window (§5.1.1, §6.9.1).
pub const GREATEST: u32 = u32::MAX >> 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: u8, length: u8, stream: u8) -> Head {
        Head::read([0, 0, length, kind, 0, 0, 0, 0, stream])
    }

    #[test]
    fn head_that_is_written_is_read_as_it_was() {
        for number in 0..=9 {
            let mut out = Vec::new();
            write(&mut out, (Kind::read(number), flag::ACK), 7, b"payload");

            let head = Head::read(out.first_chunk().copied().unwrap());

            assert_eq!(head, Head { length: 7, kind: Kind::read(number), flags: 1, stream: 7 });
        }
    }

    #[test]
    fn first_bit_of_a_stream_means_nothing() {
        assert_eq!(Head::read([0, 0, 0, 0, 0, 0x80, 0, 0, 1]).stream, 1);
    }

    #[test]
    fn frame_has_the_length_of_its_kind() {
        // RFC 9113 §6: kind, lengths that are right, lengths that are wrong.
        for (kind, right, wrong) in [
            (2, &[5_u8][..], &[4_u8, 6][..]),
            (3, &[4], &[3, 5]),
            (4, &[0, 6, 12], &[1, 7]),
            (6, &[8], &[7, 9]),
            (7, &[8, 20], &[7]),
            (8, &[4], &[3, 5]),
        ] {
            let stream = u8::from(matches!(kind, 2 | 3));
            for &length in right {
                assert_eq!(head(kind, length, stream).check(), Ok(()), "{kind} of {length}");
            }
            for &length in wrong {
                let checked = head(kind, length, stream).check();
                assert_eq!(checked, Err(Code::FrameSize), "{kind} of {length}");
            }
        }
        let larger = Head { length: LARGEST + 1, kind: Kind::Other, flags: 0, stream: 0 };
        assert_eq!(larger.check(), Err(Code::FrameSize));
    }

    #[test]
    fn frame_is_of_a_stream_or_of_the_connection_as_its_kind_is() {
        for kind in [0, 1, 9] {
            assert_eq!(head(kind, 0, 0).check(), Err(Code::Protocol), "{kind}");
        }
        for (kind, length) in [(4, 0), (6, 8), (7, 8)] {
            assert_eq!(head(kind, length, 1).check(), Err(Code::Protocol), "{kind}");
        }
        assert_eq!(head(5, 4, 1).check(), Err(Code::Protocol), "browsers push nothing (§8.4)");
    }
}

//! Why a stream or a connection ends (RFC 9113 §7).

/// An error code, as far as it is ours to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u32)]
pub enum Code {
    /// It does not end by an error.
    #[error("NO_ERROR")]
    NoError = 0,
    /// The browser breaks a rule for which there is no other code.
    #[error("PROTOCOL_ERROR")]
    Protocol = 1,
    /// Something of ours is broken.
    #[error("INTERNAL_ERROR")]
    Internal = 2,
    /// More was sent than there was a window for, or a window is larger than any may be.
    #[error("FLOW_CONTROL_ERROR")]
    FlowControl = 3,
    /// A frame came for a stream that the browser had ended itself.
    #[error("STREAM_CLOSED")]
    StreamClosed = 5,
    /// A frame is not as long as one of its kind is.
    #[error("FRAME_SIZE_ERROR")]
    FrameSize = 6,
    /// The request was not looked at; it may be asked again.
    #[error("REFUSED_STREAM")]
    RefusedStream = 7,
    /// The stream is not needed any more.
    #[error("CANCEL")]
    Cancel = 8,
    /// The header block cannot be read, and so no later one.
    #[error("COMPRESSION_ERROR")]
    Compression = 9,
    /// The browser asks for work that is of no use to anybody.
    #[error("ENHANCE_YOUR_CALM")]
    EnhanceYourCalm = 11,
}

impl Code {
    /// As it is written.
    #[must_use]
    pub fn number(self) -> u32 {
        self as u32
    }
}

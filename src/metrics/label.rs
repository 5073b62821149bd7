//! What counters tell apart: whose a session is, how its browser is attached, which way stanzas go, how a sign-in ended.

/// Who a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A visitor whom the site knows.
    Member,
    /// A guest.
    Guest,
    /// Somebody who may not enter and is told so, or who could not be signed in.
    Nobody,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Member, Self::Guest, Self::Nobody];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Guest => "guest",
            Self::Nobody => "nobody",
        }
    }
}

/// How a browser is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// BOSH, prebound or not.
    Bosh,
    /// WebSocket, on a connection of its own.
    WebSocket,
    /// The same on a connection of HTTP/2, beside whatever else goes over it.
    WebSocketHttp2,
}

impl Transport {
    pub(super) const ALL: [Self; 3] = [Self::Bosh, Self::WebSocket, Self::WebSocketHttp2];

    /// The name of it, in figures and in the log.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Bosh => "bosh",
            Self::WebSocket => "websocket",
            Self::WebSocketHttp2 => "websocket_http2",
        }
    }
}

/// Which way stanzas go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the browser to the server.
    Up,
    /// From the server to the browser.
    Down,
}

impl Direction {
    pub(super) const ALL: [Self; 2] = [Self::Up, Self::Down];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// How the attempt to let a stream go on over another connection ended (XEP-0198).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It goes on.
    Done,
    /// The server would not: it restarted, or waited no longer.
    Refused,
    /// There was no connection in time.
    Late,
    /// The session ended meanwhile.
    Abandoned,
}

impl Resume {
    pub(super) const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Late, Self::Abandoned];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Abandoned => "abandoned",
        }
    }
}

/// How one attempt to sign in upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// Signed in.
    Done,
    /// The server cannot be reached.
    Unreachable,
    /// A step took too long.
    Late,
    /// The server refuses our pass.
    Refused,
    /// The server, or the connection, broke off or spoke nonsense.
    Broken,
    /// TLS, or the name in the server's certificate, could not be verified.
    Insecure,
}

impl SignIn {
    pub(super) const ALL: [Self; 6] =
        [Self::Done, Self::Unreachable, Self::Late, Self::Refused, Self::Broken, Self::Insecure];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unreachable => "unreachable",
            Self::Late => "late",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Insecure => "insecure",
        }
    }
}

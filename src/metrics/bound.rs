//! The bounds of the edge, as they are counted.

/// A bound of the edge that was reached. `proxy.toml` has each under the key that [`Bound::label`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Connections at once.
    Connections,
    /// Connections of one address at once.
    ConnectionsPerAddress,
    /// TLS handshakes that are worked on.
    Handshakes,
    /// TLS handshakes of one address under way.
    HandshakesPerAddress,
    /// How long a TLS handshake may take.
    HandshakeTime,
    /// How long the header of a request may take.
    HeaderTime,
    /// How long the body of a request may take.
    BodyTime,
    /// How long a browser may take no byte of its answer, or too few.
    WriteTime,
    /// Header fields of a request, in count or bytes.
    Header,
    /// Cookies of a request, in count or bytes.
    Cookies,
    /// Bytes of a request's body.
    Body,
    /// Resets of HTTP/2 streams on one connection, and floods of other frames; streams beyond their number are refused
    /// below all that counts.
    Streams,
    /// WebSockets at once on one HTTP/2 connection.
    WebSockets,
    /// Sign-ins under way at one server; another waits for its turn.
    SignIns,
    /// Browsers that wait for a sign-in.
    SignInsWaiting,
    /// Guests signed in per minute and address.
    GuestSignIns,
    /// Sessions of guests of one address.
    GuestsPerAddress,
    /// Failed sign-ins on one stream.
    FailedSignIns,
    /// Unknown sids per minute and address.
    UnknownSids,
    /// Sessions over BOSH in all.
    Sessions,
    /// Sessions of one visitor.
    SessionsPerVisitor,
    /// How long a prebound session waits for its browser.
    Attach,
    /// Requests of one session that come too often, or too many at once.
    Polling,
    /// How long the browser's own login may take.
    Login,
    /// Bytes of one stanza of a browser.
    Stanza,
    /// Bytes that a browser sent before their turn.
    Ahead,
    /// Bytes that a browser sent to the server before it had signed in.
    Early,
    /// Elements in one request.
    Elements,
    /// Elements of a browser inside one another.
    Depth,
    /// Attributes of one tag of a browser, or prefixes that it declares.
    Attributes,
    /// Bytes of one stanza of a server.
    UpstreamStanza,
    /// Bytes of one answer; the rest waits for the next.
    Answer,
    /// Bytes of old answers that are kept for repetition.
    Answers,
    /// Bytes that wait for a browser that does not read.
    Queue,
    /// What a browser has sent and a server has not acknowledged, in bytes or stanzas.
    Unacknowledged,
    /// What the edge keeps for a browser that may come back.
    Kept,
    /// Questions to a site about its visitors.
    Questions,
}

impl Bound {
    pub(super) const ALL: [Self; 37] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Handshakes,
        Self::HandshakesPerAddress,
        Self::HandshakeTime,
        Self::HeaderTime,
        Self::BodyTime,
        Self::WriteTime,
        Self::Header,
        Self::Cookies,
        Self::Body,
        Self::Streams,
        Self::WebSockets,
        Self::SignIns,
        Self::SignInsWaiting,
        Self::GuestSignIns,
        Self::GuestsPerAddress,
        Self::FailedSignIns,
        Self::UnknownSids,
        Self::Sessions,
        Self::SessionsPerVisitor,
        Self::Attach,
        Self::Polling,
        Self::Login,
        Self::Stanza,
        Self::Ahead,
        Self::Early,
        Self::Elements,
        Self::Depth,
        Self::Attributes,
        Self::UpstreamStanza,
        Self::Answer,
        Self::Answers,
        Self::Queue,
        Self::Unacknowledged,
        Self::Kept,
        Self::Questions,
    ];

    /// The name of the bound in `vestibule_bounds_reached_total`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Handshakes => "handshakes",
            Self::HandshakesPerAddress => "handshakes_per_address",
            Self::HandshakeTime => "handshake_time",
            Self::HeaderTime => "header_time",
            Self::BodyTime => "body_time",
            Self::WriteTime => "write_time",
            Self::Header => "header",
            Self::Cookies => "cookies",
            Self::Body => "body",
            Self::Streams => "streams",
            Self::WebSockets => "websockets",
            Self::SignIns => "sign_ins",
            Self::SignInsWaiting => "sign_ins_waiting",
            Self::GuestSignIns => "guest_sign_ins",
            Self::GuestsPerAddress => "guests_per_address",
            Self::FailedSignIns => "failed_sign_ins",
            Self::UnknownSids => "unknown_sids",
            Self::Sessions => "sessions",
            Self::SessionsPerVisitor => "sessions_per_visitor",
            Self::Attach => "attach",
            Self::Polling => "polling",
            Self::Login => "login",
            Self::Stanza => "stanza",
            Self::Ahead => "ahead",
            Self::Early => "early",
            Self::Elements => "elements",
            Self::Depth => "depth",
            Self::Attributes => "attributes",
            Self::UpstreamStanza => "upstream_stanza",
            Self::Answer => "answer",
            Self::Answers => "answers",
            Self::Queue => "queue",
            Self::Unacknowledged => "unacknowledged",
            Self::Kept => "kept",
            Self::Questions => "questions",
        }
    }
}

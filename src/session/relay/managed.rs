//! Who counts the stanzas of a session (XEP-0198): browser and server, the edge in the server's place, or nobody.

use std::time::Duration;

use crate::protocol::passage::Managing;
use crate::protocol::stream_error::StreamError;
use crate::protocol::stream_management;
use crate::protocol::stream_management::server;
use crate::protocol::stream_management::server::Server;
use crate::protocol::websocket::framing;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Cut;

/// Whether browser and server count each other's stanzas, and who is the server.
#[derive(Debug, Default)]
pub enum Managed {
    /// The server has said `<enabled/>` or `<resumed/>`.
    Yes {
        /// So many stanzas of the browser it was given since then, modulo 2^32.
        taken: u32,
    },
    /// The browser has said `<enable/>`, behind which its stanzas count.
    Asked {
        /// So many.
        taken: u32,
    },
    /// Neither. To a browser that counts all the same the server would say a stream error; Converse 14 does so where it binds
    /// anew with what it kept of an old stream.
    #[default]
    No,
    /// The edge has offered to count, because the server does not.
    Offered(Box<Keep>),
    /// It does.
    Here(Box<Here>),
}

/// What is kept for a browser that goes without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// For how long its stream upstream is kept.
    pub time: Duration,
    /// How much of what it has not acknowledged, in bytes.
    pub bytes: u32,
}

/// A stream that the edge manages in the server's place.
#[derive(Debug)]
pub struct Here {
    /// Both counts.
    pub server: Server,
    /// By what the browser can come back to it; none where it did not ask for that.
    pub id: Option<Box<str>>,
    /// What is kept for it.
    pub keep: Keep,
}

/// Where an element of the browser's is answered.
pub(super) struct Ends<'a> {
    /// Framed for the browser.
    pub(super) browser: &'a mut Vec<u8>,
    /// For the server.
    pub(super) upstream: &'a mut Vec<u8>,
    /// By what the stream is known from now on.
    pub(super) named: &'a mut Option<Box<str>>,
    /// What is said when the browser takes it.
    pub(super) due: &'a mut Due,
}

/// What the edge says of its count when the browser takes it: a browser that asks without end, and reads nothing, fills no buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// How many of its stanzas were taken.
    answer: bool,
    /// That what it asked for has no place now.
    refusal: bool,
    /// Whether it has got everything.
    question: bool,
}

impl Due {
    /// Whether there is anything to say.
    pub(super) fn is_any(self) -> bool {
        self != Self::default()
    }
}

impl Managed {
    /// A stanza of the browser is given to the server.
    pub(super) fn take(&mut self) {
        match self {
            Self::Yes { taken } | Self::Asked { taken } => *taken = taken.wrapping_add(1),
            Self::Here(here) => here.server.take(),
            Self::No | Self::Offered(_) => {}
        }
    }

    /// How many of the browser's stanzas were taken since both count, modulo 2^32.
    pub(super) fn taken(&self) -> u32 {
        match self {
            Self::Yes { taken } | Self::Asked { taken } => *taken,
            Self::Here(here) => here.server.taken(),
            Self::No | Self::Offered(_) => 0,
        }
    }

    /// The server has answered `<enable/>`.
    pub(super) fn answered(&mut self, enabled: bool) {
        if let Self::Asked { taken } = *self {
            *self = if enabled { Self::Yes { taken } } else { Self::No };
        }
    }

    /// Says what is due, of what is true now.
    pub(super) fn answer(&mut self, due: Due, browser: &mut Vec<u8>) {
        if due.refusal {
            framing::write_text(server::unexpected().as_bytes(), browser);
        }
        let Self::Here(here) = self else { return };
        if due.answer {
            framing::write_text(server::answer(here.server.taken()).as_bytes(), browser);
        }
        if due.question {
            here.ask(browser);
        }
    }

    /// The browser speaks of stream management: it goes to whoever counts.
    pub(super) fn hear(
        &mut self,
        (managing, element): (Managing, &[u8]),
        ends: Ends<'_>,
    ) -> Result<(), StreamError> {
        let Ends { browser, upstream, named, due } = ends;
        match (&mut *self, managing) {
            (Self::Here(_), Managing::Ask) => due.answer = true,
            (Self::Here(here), Managing::Answer) => {
                let counted = count(element).map(|h| here.server.acknowledge(h)).transpose();
                counted.map_err(|error| refused(&error))?;
                due.question = true;
            }
            (Self::Offered(keep), Managing::Enable) => {
                let here = Here::enabled(element, **keep);
                let kept = here.id.as_deref().map(|id| (id, keep.time));
                framing::write_text(server::enabled(kept).as_bytes(), browser);
                named.clone_from(&here.id);
                *self = Self::Here(Box::new(here));
            }
            (Self::Offered(_) | Self::Here(_), Managing::Enable | Managing::Resume) => {
                due.refusal = true;
            }
            (Self::Offered(_), _)
            | (Self::Here(_), Managing::Other)
            | (Self::No | Self::Asked { .. }, Managing::Ask | Managing::Answer) => {}
            (Self::No | Self::Asked { .. } | Self::Yes { .. }, Managing::Enable) => {
                upstream.extend_from_slice(element);
                *self = Self::Asked { taken: 0 };
            }
            (Self::No | Self::Asked { .. } | Self::Yes { .. }, _) => {
                upstream.extend_from_slice(element);
            }
        }
        Ok(())
    }
}

impl Here {
    /// A stream that begins to be managed with this `<enable/>`.
    fn enabled(enable: &[u8], keep: Keep) -> Self {
        let enable = Element::parse(enable).ok();
        let resume = enable.as_ref().and_then(|enable| enable.attribute("resume"));
        let id = matches!(resume, Some("true" | "1")).then(id).flatten();
        let bytes = usize::try_from(keep.bytes).unwrap_or(usize::MAX);
        Self { server: Server::new(bytes), id, keep }
    }

    /// A stanza goes to the browser, or waits for it.
    pub(in crate::session) fn send(&mut self, cut: &Cut<'_>) {
        if cut.is_stanza() {
            let mut stanza = Vec::with_capacity(cut.bytes.len());
            cut.write_alone(&mut stanza);
            self.server.send(&stanza);
        }
    }

    /// Asks the browser how much has arrived, where that is not known and not asked.
    pub(in crate::session) fn ask(&mut self, browser: &mut Vec<u8>) {
        if self.server.asks() {
            framing::write_text(server::REQUEST.as_bytes(), browser);
        }
    }

    /// Whether a browser that is gone can come back to it.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.id.is_some() && self.server.is_whole()
    }
}

/// How many stanzas the browser says have arrived.
fn count(answer: &[u8]) -> Option<u32> {
    Element::parse(answer).ok()?.attribute("h")?.parse().ok()
}

/// The stream error for a count that cannot be (XEP-0198 §6).
pub(in crate::session) fn refused(error: &stream_management::Error) -> StreamError {
    match *error {
        stream_management::Error::Count { h, sent, .. } => StreamError::CountTooHigh { h, sent },
        stream_management::Error::NoCount { .. }
        | stream_management::Error::Other
        | stream_management::Error::Unexpected { .. } => StreamError::PolicyViolation,
    }
}

/// What nobody can guess; none without randomness, because then somebody could.
fn id() -> Option<Box<str>> {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(id)).into())
}

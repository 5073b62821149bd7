//! We are the client: header and auth, then header and bind; two flights, which every server takes (SCRAM: three).
//!
//! One flight would do on Prosody, but ejabberd loses what comes with `<auth/>` in one read. The second header has no
//! XML declaration, because Prosody refuses one in the middle of what it has read. A server that dislikes being talked to
//! before it has spoken is signed in to step by step.
//!
//! A login begins where nothing more will be learnt in the clear: what TLS takes before it is in [`starttls`], and ends with
//! it.

mod error;
mod flight;
pub mod starttls;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

pub use crate::protocol::login::error::Error;

use crate::protocol::jid::Domain;
use crate::protocol::jid::Jid;
use crate::protocol::language::Language;
use crate::protocol::login::flight::write_auth;
use crate::protocol::login::flight::write_bind;
use crate::protocol::login::flight::write_header;
use crate::protocol::login::flight::write_response;
use crate::protocol::namespace;
use crate::protocol::sasl::Channel;
use crate::protocol::sasl::Credentials;
use crate::protocol::sasl::Exchange;
use crate::protocol::sasl::Next;
use crate::protocol::sasl::scram::Salting;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;

/// A login that is under way.
#[derive(Debug)]
pub struct Login {
    plan: Plan,
    state: State,
    splitter: Splitter,
}

/// Where a login goes, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The domain that the edge has chosen.
    pub domain: Domain,
    /// What the browser's texts are in, if it has said so: stanzas that say nothing of it are in the stream's (RFC 6120 §8.1.5).
    pub language: Option<Language>,
    /// How far it goes.
    pub goal: Goal,
    /// Whether it waits for the server's word at each step.
    pub pace: Pace,
    /// Who else could read it.
    pub channel: Channel,
    /// The most bytes that a stanza of the server may have.
    pub limit: usize,
}

/// How far the login goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// To the features behind SASL: the browser binds or resumes by itself.
    Features,
    /// To a bound stream with this resource, or another if the server has its own mind.
    Bind {
        /// The resource that is asked for.
        resource: String,
    },
    /// To a stream that goes on, whose last connection broke (XEP-0198 §5).
    Resume {
        /// The `<resume/>`.
        resume: Vec<u8>,
    },
}

/// Whether we speak before the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// What will surely come next is sent with what comes first.
    Pipelined,
    /// Each step waits for the one before.
    StepByStep,
}

/// A stream that is signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// What the server offers behind SASL (RFC 6120 §6.4.6).
    pub features: Element,
    /// Whom the server has bound; with [`Goal::Bind`] only.
    pub jid: Option<Jid>,
    /// `<resumed/>` or `<failed/>`; with [`Goal::Resume`] only.
    pub resumption: Option<Element>,
    /// Stands behind the last piece of the login.
    pub splitter: Splitter,
    /// What has been read behind it.
    pub rest: Vec<u8>,
}

/// What a read made of the login.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a step lives from one read to the next")]
pub enum Step {
    /// More has to come.
    More(Login),
    /// Nothing has to come: [`Deriving::derive`] goes on.
    Derive(Box<Deriving>),
    /// Signed in.
    Done(Box<SignedIn>),
}

/// A login that waits for a password to be hashed.
#[derive(Debug)]
pub struct Deriving {
    plan: Plan,
    salting: Salting,
    splitter: Splitter,
    rest: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Header and features before SASL are due, and `<auth/>` waits for them.
    Offer(Credentials),
    /// They are due and tell nothing, because `<auth/>` is on its way.
    OldFeatures(Exchange),
    /// `<success/>`, `<failure/>` or a challenge is due.
    Outcome(Exchange),
    /// Header and features behind SASL are due.
    NewFeatures,
    /// The answer to the bind is due.
    Bound(Element),
    /// The answer to `<resume/>` is due.
    Resumed(Element),
}

/// What one element made of the login.
enum Turn {
    On(State),
    /// The server's stream begins anew.
    Restart,
    Derive(Salting),
    /// The features, and the answer to what was asked for behind them.
    Done(Element, Answer),
}

/// The answer to what was asked for behind the features.
#[derive(Default)]
struct Answer {
    jid: Option<Jid>,
    resumption: Option<Element>,
}

impl Login {
    /// Begins: writes the first flight.
    ///
    /// # Errors
    /// [`Error::Sasl`], before anything is written.
    pub fn begin(plan: Plan, credentials: Credentials, out: &mut Vec<u8>) -> Result<Self, Error> {
        let unasked = match plan.pace {
            Pace::Pipelined => credentials.unasked(),
            Pace::StepByStep => None,
        };
        let state = match unasked {
            None => {
                write_header(&plan.domain, plan.language.as_ref(), out);
                State::Offer(credentials)
            }
            Some(mechanism) => {
                let (exchange, message) = credentials.begin(mechanism, plan.channel)?;
                write_header(&plan.domain, plan.language.as_ref(), out);
                write_auth(mechanism, message.as_ref(), out);
                State::OldFeatures(exchange)
            }
        };
        let splitter = Splitter::new(plan.limit);
        Ok(Self { plan, state, splitter })
    }

    /// Goes on with what has been read; writes what is to be sent to `out`.
    ///
    /// # Errors
    /// When the server does not let us in, or is none.
    pub fn receive(self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, Error> {
        let Self { plan, mut state, mut splitter } = self;
        loop {
            let Some(piece) = splitter.next(&mut bytes)? else {
                return Ok(Step::More(Self { plan, state, splitter }));
            };
            let Some(element) = taken(piece)? else { continue };
            state = match plan.turn(state, element, out)? {
                Turn::On(state) => state,
                Turn::Restart => {
                    splitter.restart();
                    State::NewFeatures
                }
                Turn::Derive(salting) => {
                    let rest = bytes.to_vec();
                    return Ok(Step::Derive(Box::new(Deriving { plan, salting, splitter, rest })));
                }
                Turn::Done(features, Answer { jid, resumption }) => {
                    let rest = bytes.to_vec();
                    let signed_in = SignedIn { features, jid, resumption, splitter, rest };
                    return Ok(Step::Done(Box::new(signed_in)));
                }
            };
        }
    }
}

impl Login {
    /// Why the server did not let us in, where it has closed the connection.
    #[must_use]
    pub fn closed(&self) -> Error {
        match self.state {
            State::Resumed(_) => Error::NotResumed,
            State::Offer(_)
            | State::OldFeatures(_)
            | State::Outcome(_)
            | State::NewFeatures
            | State::Bound(_) => Error::Closed,
        }
    }
}

impl Deriving {
    /// Hashes, which keeps a processor busy for milliseconds to half a second, and goes on.
    ///
    /// # Errors
    /// As [`Login::receive`].
    pub fn derive(self, out: &mut Vec<u8>) -> Result<Step, Error> {
        let Self { plan, salting, splitter, rest } = self;
        let (last, message) = salting.prove();
        write_response(message.as_bytes(), out);
        let state = State::Outcome(Exchange::Proven(last));
        Login { plan, state, splitter }.receive(&rest, out)
    }
}

impl Plan {
    /// What an element makes of a state.
    fn turn(&self, state: State, element: Element, out: &mut Vec<u8>) -> Result<Turn, Error> {
        match state {
            State::Offer(credentials) => {
                expect(&element, "features", namespace::STREAM)?;
                let mechanism = credentials.choose(&mechanisms(&element), self.channel)?;
                let (exchange, message) = credentials.begin(mechanism, self.channel)?;
                write_auth(mechanism, message.as_ref(), out);
                Ok(Turn::On(State::Outcome(exchange)))
            }
            State::OldFeatures(exchange) => {
                expect(&element, "features", namespace::STREAM)?;
                Ok(Turn::On(State::Outcome(exchange)))
            }
            State::Outcome(exchange) => self.outcome(exchange, &element, out),
            State::NewFeatures => {
                expect(&element, "features", namespace::STREAM)?;
                if self.pace == Pace::StepByStep {
                    self.write_goal(out);
                }
                Ok(match &self.goal {
                    Goal::Features => Turn::Done(element, Answer::default()),
                    Goal::Bind { .. } => Turn::On(State::Bound(element)),
                    Goal::Resume { .. } => Turn::On(State::Resumed(element)),
                })
            }
            State::Bound(features) => {
                let jid = Some(bound(&element)?);
                Ok(Turn::Done(features, Answer { jid, resumption: None }))
            }
            State::Resumed(features) => {
                if !element.is("failed", namespace::STREAM_MANAGEMENT) {
                    expect(&element, "resumed", namespace::STREAM_MANAGEMENT)?;
                }
                Ok(Turn::Done(features, Answer { jid: None, resumption: Some(element) }))
            }
        }
    }

    fn outcome(
        &self,
        exchange: Exchange,
        element: &Element,
        out: &mut Vec<u8>,
    ) -> Result<Turn, Error> {
        if element.is("failure", namespace::SASL) {
            return Err(Error::Refused { condition: condition(element, namespace::SASL) });
        }
        if element.is("challenge", namespace::SASL) {
            let message = decoded(element)?.unwrap_or_default();
            return Ok(match exchange.challenge(&message)? {
                Next::Derive(salting) => Turn::Derive(salting),
                Next::Respond(exchange) => {
                    write_response(b"", out);
                    Turn::On(State::Outcome(exchange))
                }
            });
        }
        expect(element, "success", namespace::SASL)?;
        exchange.succeed(decoded(element)?.as_deref())?;
        write_header(&self.domain, self.language.as_ref(), out);
        if self.pace == Pace::Pipelined {
            self.write_goal(out);
        }
        Ok(Turn::Restart)
    }

    /// Writes what is asked for behind the features.
    fn write_goal(&self, out: &mut Vec<u8>) {
        match &self.goal {
            Goal::Features => {}
            Goal::Bind { resource } => write_bind(resource, out),
            Goal::Resume { resume } => out.extend_from_slice(resume),
        }
    }
}

/// The element of a piece; none in a header.
fn taken(piece: Piece<'_>) -> Result<Option<Element>, Error> {
    let element = match piece {
        Piece::Header(_) => return Ok(None),
        Piece::End => return Err(Error::Closed),
        Piece::Stanza(cut) => Element::parse_in(cut.bytes, SCOPE)?,
    };
    if element.is("error", namespace::STREAM) {
        let condition = condition(&element, namespace::STREAM_ERROR);
        return Err(Error::StreamError { condition });
    }
    Ok(Some(element))
}

fn expect(element: &Element, name: &'static str, namespace: &str) -> Result<(), Error> {
    if element.is(name, namespace) {
        return Ok(());
    }
    Err(Error::Unexpected { name: element.name().to_owned(), expected: name })
}

/// The mechanisms that features name (RFC 6120 §6.3.3).
fn mechanisms(features: &Element) -> Vec<String> {
    let list = features.child("mechanisms", namespace::SASL);
    let named = list.into_iter().flat_map(Element::children);
    let named = named.filter(|child| child.is("mechanism", namespace::SASL));
    named.map(|mechanism| mechanism.text().trim().to_owned()).collect()
}

/// What a challenge or `<success/>` holds; `=` is a message without bytes (RFC 6120 §6.4.2), and no text is none.
fn decoded(element: &Element) -> Result<Option<Vec<u8>>, Error> {
    match element.text().trim() {
        "" => Ok(None),
        "=" => Ok(Some(Vec::new())),
        text => BASE64_STANDARD.decode(text).map(Some).map_err(|_| Error::Encoding),
    }
}

/// The full JID of the answer to our bind (RFC 6120 §7.6.1).
fn bound(element: &Element) -> Result<Jid, Error> {
    expect(element, "iq", namespace::CLIENT)?;
    if let Some(error) = element.child("error", namespace::CLIENT) {
        return Err(Error::NotBound { condition: condition(error, namespace::STANZA_ERROR) });
    }
    let jid =
        element.child("bind", namespace::BIND).and_then(|bind| bind.child("jid", namespace::BIND));
    let jid = jid.and_then(|jid| Jid::parse(&jid.text()).ok());
    jid.ok_or_else(|| Error::NotBound { condition: "no JID in the answer".to_owned() })
}

/// The name of the first child in `namespace`, which is how every XMPP error says what it is.
fn condition(error: &Element, namespace: &str) -> String {
    let condition = error
        .children()
        .find(|child| child.namespace() == Some(namespace) && child.name() != "text");
    condition.map_or("undefined-condition", Element::name).to_owned()
}

/// What our header declares, and so does the server's (RFC 6120 §4.8.5).
const SCOPE: &[(&str, &str)] = &[("", namespace::CLIENT), ("stream", namespace::STREAM)];

#[cfg(test)]
mod tests;

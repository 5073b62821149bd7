//! We are the client: header and auth, then header and bind; two flights, which every server takes.
//!
//! One flight would do on Prosody, but ejabberd loses what comes with `<auth/>` in one read. The second header has no
//! XML declaration, because Prosody refuses one in the middle of what it has read.

use std::mem;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use thiserror::Error;

use crate::protocol::jid::Domain;
use crate::protocol::jid::Jid;
use crate::protocol::namespace;
use crate::protocol::xml::check;
use crate::protocol::xml::element;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;

/// A login that is under way.
#[derive(Debug)]
pub struct Login {
    domain: Domain,
    goal: Goal,
    state: State,
    splitter: Splitter,
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
}

/// A stream that is signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// What the server offers behind SASL (RFC 6120 §6.4.6).
    pub features: Element,
    /// Whom the server has bound; with [`Goal::Bind`] only.
    pub jid: Option<Jid>,
    /// Stands behind the last piece of the login.
    pub splitter: Splitter,
    /// What has been read behind it.
    pub rest: Vec<u8>,
}

/// Why the server did not let us in.
#[derive(Debug, Error)]
pub enum Error {
    /// The pass is refused: a clock, a secret, an account.
    #[error("the server refuses the sign-in: {condition}")]
    Refused {
        /// The SASL condition (RFC 6120 §6.5).
        condition: String,
    },
    /// The resource cannot be bound.
    #[error("the server refuses to bind: {condition}")]
    NotBound {
        /// The stanza error (RFC 6120 §7.6.2).
        condition: String,
    },
    /// The server ends the stream.
    #[error("the server ends the stream: {condition}")]
    StreamError {
        /// The condition (RFC 6120 §4.9.3).
        condition: String,
    },
    /// The server closes without a word.
    #[error("the server closes the stream during the sign-in")]
    Closed,
    /// The server says something that has no place here.
    #[error("the server sends <{name}/> where {expected} is due")]
    Unexpected {
        /// The name of the element.
        name: String,
        /// What should have come.
        expected: &'static str,
    },
    /// The server's stream cannot be cut.
    #[error(transparent)]
    Stream(#[from] splitter::Error),
    /// The server's XML is none.
    #[error("the server's XML cannot be read")]
    Xml(#[from] check::Error),
}

#[derive(Clone, Debug)]
enum State {
    /// Header and features before SASL are due; they tell nothing, because `<auth/>` is on its way.
    FirstFeatures,
    /// `<success/>` or `<failure/>` is due.
    Outcome,
    /// Header and features behind SASL are due.
    SecondFeatures,
    /// The answer to the bind is due.
    Bound(Element),
}

impl Login {
    /// Begins: writes the first flight.
    ///
    /// `payload` is the initial response before base64; a stanza of more than `limit` bytes ends the stream.
    pub fn begin(
        domain: Domain,
        goal: Goal,
        (mechanism, payload): (&str, Option<&[u8]>),
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Self {
        write_header(&domain, out);
        let mut auth = Element::new("auth", namespace::SASL).with_attribute("mechanism", mechanism);
        if let Some(payload) = payload {
            auth = auth.with_text(&BASE64_STANDARD.encode(payload));
        }
        auth.write(out);
        Self { domain, goal, state: State::FirstFeatures, splitter: Splitter::new(limit) }
    }

    /// Goes on with what has been read; writes what is to be sent to `out`.
    ///
    /// # Errors
    /// When the server does not let us in, or is none.
    pub fn receive(mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, Error> {
        loop {
            let Some(piece) = self.splitter.next(&mut bytes)? else { return Ok(Step::More(self)) };
            let element = match piece {
                Piece::Header(_) => continue,
                Piece::End => return Err(Error::Closed),
                Piece::Stanza(cut) => Element::parse_in(cut.bytes, SCOPE)?,
            };
            if let Some(error) = stream_error(&element) {
                return Err(error);
            }
            let state = mem::replace(&mut self.state, State::Outcome);
            let (features, jid) = match state {
                State::FirstFeatures => {
                    expect(&element, "features", namespace::STREAM)?;
                    continue;
                }
                State::Outcome => {
                    refused(&element)?;
                    expect(&element, "success", namespace::SASL)?;
                    self.splitter.restart();
                    self.write_second_flight(out);
                    self.state = State::SecondFeatures;
                    continue;
                }
                State::SecondFeatures => {
                    expect(&element, "features", namespace::STREAM)?;
                    match self.goal {
                        Goal::Features => (element, None),
                        Goal::Bind { .. } => {
                            self.state = State::Bound(element);
                            continue;
                        }
                    }
                }
                State::Bound(features) => (features, Some(bound(&element)?)),
            };
            let rest = bytes.to_vec();
            return Ok(Step::Done(Box::new(SignedIn {
                features,
                jid,
                splitter: self.splitter,
                rest,
            })));
        }
    }

    fn write_second_flight(&self, out: &mut Vec<u8>) {
        write_header(&self.domain, out);
        if let Goal::Bind { resource } = &self.goal {
            let resource = Element::new("resource", namespace::BIND).with_text(resource);
            Element::new("iq", namespace::CLIENT)
                .with_attribute("type", "set")
                .with_attribute("id", "bind")
                .with_child(Element::new("bind", namespace::BIND).with_child(resource))
                .write(out);
        }
    }
}

/// What a read made of the login.
#[derive(Debug)]
pub enum Step {
    /// More has to come.
    More(Login),
    /// Signed in.
    Done(Box<SignedIn>),
}

fn write_header(domain: &Domain, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<stream:stream to='");
    element::escape(domain.as_str(), out);
    out.extend_from_slice(
        b"' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    );
}

fn expect(element: &Element, name: &'static str, namespace: &str) -> Result<(), Error> {
    if element.is(name, namespace) {
        return Ok(());
    }
    Err(Error::Unexpected { name: element.name().to_owned(), expected: name })
}

fn stream_error(element: &Element) -> Option<Error> {
    let error = element.is("error", namespace::STREAM);
    error.then(|| Error::StreamError { condition: condition(element, namespace::STREAM_ERROR) })
}

fn refused(element: &Element) -> Result<(), Error> {
    if element.is("failure", namespace::SASL) {
        return Err(Error::Refused { condition: condition(element, namespace::SASL) });
    }
    Ok(())
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
mod tests {
    use super::*;

    const FIRST: &str = "<?xml version='1.0'?><stream:stream from='xmpp.test' id='1' version='1.0' xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams'><stream:features><mechanisms \
        xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>";
    const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
    const SECOND: &str = "<?xml version='1.0'?><stream:stream from='xmpp.test' id='2' version='1.0' xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams'><stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
        </stream:features>";
    const BOUND: &str = "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
        <jid>bob@xmpp.test/one</jid></bind></iq>";

    fn begin(goal: Goal) -> (Login, String) {
        let mut out = Vec::new();
        let domain = Domain::parse("xmpp.test").unwrap();
        let login = Login::begin(domain, goal, ("PLAIN", Some(b"\0bob\0pass")), 10_000, &mut out);
        (login, String::from_utf8(out).unwrap())
    }

    fn receive(login: Login, bytes: &str) -> (Result<Step, Error>, String) {
        let mut out = Vec::new();
        let step = login.receive(bytes.as_bytes(), &mut out);
        (step, String::from_utf8(out).unwrap())
    }

    fn more((step, out): (Result<Step, Error>, String)) -> (Login, String) {
        match step.unwrap() {
            Step::More(login) => (login, out),
            Step::Done(_) => panic!("signed in too early"),
        }
    }

    fn done((step, _): (Result<Step, Error>, String)) -> SignedIn {
        match step.unwrap() {
            Step::Done(signed_in) => *signed_in,
            Step::More(_) => panic!("not signed in yet"),
        }
    }

    fn bind() -> Goal {
        Goal::Bind { resource: "one".to_owned() }
    }

    #[test]
    fn header_and_auth_go_out_together() {
        let (_, flight) = begin(Goal::Features);

        assert_eq!(
            flight,
            "<stream:stream to='xmpp.test' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>\
             <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGJvYgBwYXNz</auth>"
        );
    }

    #[test]
    fn nothing_more_goes_out_before_success() {
        let (login, _) = begin(bind());

        let (_, out) = more(receive(login, FIRST));

        assert_eq!(out, "");
    }

    #[test]
    fn header_and_bind_go_out_together_and_the_bound_jid_is_ours() {
        let (login, _) = begin(bind());

        let (login, out) = more(receive(login, &(FIRST.to_owned() + SUCCESS)));
        let signed_in = done(receive(login, &(SECOND.to_owned() + BOUND + "<presence/>")));

        assert!(
            out.starts_with("<stream:stream to='xmpp.test'") && out.contains("<resource"),
            "{out}"
        );
        assert_eq!(signed_in.jid.unwrap().to_string(), "bob@xmpp.test/one");
        assert!(signed_in.features.child("bind", namespace::BIND).is_some());
        assert_eq!(signed_in.rest, b"<presence/>");
    }

    #[test]
    fn a_login_cut_anywhere_ends_the_same() {
        let all = FIRST.to_owned() + SUCCESS + SECOND + BOUND;
        for at in 1..all.len() {
            let (login, _) = begin(bind());
            let (login, _) = more(receive(login, all.get(..at).unwrap()));
            let signed_in = done(receive(login, all.get(at..).unwrap()));
            assert_eq!(signed_in.jid.unwrap().to_string(), "bob@xmpp.test/one", "cut at {at}");
        }
    }

    #[test]
    fn a_failure_is_told_even_when_a_stream_error_follows_it() {
        let (login, _) = begin(Goal::Features);
        let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>no</text></failure>";
        let error = "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";

        let (step, _) = receive(login, &(FIRST.to_owned() + failure + error));

        assert!(matches!(step, Err(Error::Refused { condition }) if condition == "not-authorized"));
    }

    #[test]
    fn a_stream_error_before_the_features_is_told_by_name() {
        let (login, _) = begin(Goal::Features);
        let header = FIRST.split_inclusive("streams'>").next().unwrap().to_owned();
        let error = "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";

        let (step, _) = receive(login, &(header + error));

        assert!(
            matches!(step, Err(Error::StreamError { condition }) if condition == "host-unknown")
        );
    }

    #[test]
    fn a_server_that_will_not_bind_is_no_success() {
        let (login, _) = begin(bind());
        let error = "<iq type='error' id='bind'><error type='cancel'><conflict \
            xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>";

        let (step, _) = receive(login, &(FIRST.to_owned() + SUCCESS + SECOND + error));

        assert!(matches!(step, Err(Error::NotBound { condition }) if condition == "conflict"));
    }

    #[test]
    fn a_stanza_in_place_of_success_is_no_success() {
        let (login, _) = begin(Goal::Features);

        let (step, _) = receive(login, &(FIRST.to_owned() + "<message/>"));

        assert!(matches!(step, Err(Error::Unexpected { name, .. }) if name == "message"));
    }
}

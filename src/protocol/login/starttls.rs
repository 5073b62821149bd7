//! STARTTLS (RFC 6120 §5): what is said in the clear, which ends with `<proceed/>`.
//!
//! Nothing of it is kept. The login behind it begins with a new header, new features and a splitter of its own.

use crate::protocol::jid::Domain;
use crate::protocol::login::Error;
use crate::protocol::login::Pace;
use crate::protocol::login::expect;
use crate::protocol::login::flight::write_header;
use crate::protocol::login::taken;
use crate::protocol::namespace;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Splitter;

/// The stream in the clear.
#[derive(Debug)]
pub struct StartTls {
    pace: Pace,
    state: State,
    splitter: Splitter,
}

/// What a read made of it.
#[derive(Debug)]
pub enum Step {
    /// More has to come.
    More(StartTls),
    /// TLS begins with our next byte.
    Proceed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Header and features are due.
    Features,
    /// `<proceed/>` is due.
    Outcome,
}

impl StartTls {
    /// Begins: writes the header, and `<starttls/>` with it unless it waits for the server's word.
    pub fn begin(domain: &Domain, pace: Pace, out: &mut Vec<u8>) -> Self {
        // What is said on this stream is no text in any language.
        write_header(domain, None, out);
        if pace == Pace::Pipelined {
            write_starttls(out);
        }
        Self { pace, state: State::Features, splitter: Splitter::new(LARGEST) }
    }

    /// Goes on with what has been read; writes what is to be sent to `out`.
    ///
    /// # Errors
    /// When there will be no TLS: then there is no going on either.
    pub fn receive(self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<Step, Error> {
        let Self { pace, mut state, mut splitter } = self;
        loop {
            let Some(piece) = splitter.next(&mut bytes)? else {
                return Ok(Step::More(Self { pace, state, splitter }));
            };
            let Some(element) = taken(piece)? else { continue };
            match state {
                State::Features => {
                    expect(&element, "features", namespace::STREAM)?;
                    if element.child("starttls", namespace::TLS).is_none() {
                        return Err(Error::NoTls);
                    }
                    if pace == Pace::StepByStep {
                        write_starttls(out);
                    }
                    state = State::Outcome;
                }
                State::Outcome if element.is("failure", namespace::TLS) => {
                    return Err(Error::TlsRefused);
                }
                State::Outcome => {
                    expect(&element, "proceed", namespace::TLS)?;
                    return if bytes.is_empty() { Ok(Step::Proceed) } else { Err(Error::Injected) };
                }
            }
        }
    }
}

fn write_starttls(out: &mut Vec<u8>) {
    Element::new("starttls", namespace::TLS).write(out);
}

/// Far more bytes than features before TLS have.
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "<?xml version='1.0'?><stream:stream id='1' version='1.0' xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams'>";
    const OFFER: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
        </stream:features>";
    const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

    fn begin(pace: Pace) -> (StartTls, String) {
        let mut out = Vec::new();
        let starttls = StartTls::begin(&Domain::parse("xmpp.test").unwrap(), pace, &mut out);
        (starttls, String::from_utf8(out).unwrap())
    }

    fn receive(pace: Pace, bytes: &str) -> (Result<Step, Error>, String) {
        let mut out = Vec::new();
        let step = begin(pace).0.receive(bytes.as_bytes(), &mut out);
        (step, String::from_utf8(out).unwrap())
    }

    #[test]
    fn header_and_starttls_go_out_together() {
        let (_, flight) = begin(Pace::Pipelined);

        assert!(flight.starts_with("<stream:stream to='xmpp.test'"), "{flight}");
        assert!(
            flight.ends_with("><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            "{flight}"
        );
    }

    #[test]
    fn step_by_step_starttls_waits_for_the_offer() {
        let (_, flight) = begin(Pace::StepByStep);
        let (step, answer) = receive(Pace::StepByStep, &(HEADER.to_owned() + OFFER));

        assert!(!flight.contains("starttls"), "{flight}");
        assert!(matches!(step, Ok(Step::More(_))), "{step:?}");
        assert_eq!(answer, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    }

    #[test]
    fn tls_begins_behind_proceed_wherever_the_reads_are_cut() {
        let all = HEADER.to_owned() + OFFER + PROCEED;
        for at in 1..all.len() {
            let (step, _) = receive(Pace::Pipelined, all.get(..at).unwrap());
            let Ok(Step::More(starttls)) = step else { panic!("{step:?} at {at}") };
            let step = starttls.receive(all.get(at..).unwrap().as_bytes(), &mut Vec::new());
            assert!(matches!(step, Ok(Step::Proceed)), "{step:?} at {at}");
        }
    }

    #[test]
    fn server_that_does_not_offer_tls_gets_no_further() {
        let offer = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
            <mechanism>PLAIN</mechanism></mechanisms></stream:features>";

        for pace in [Pace::Pipelined, Pace::StepByStep] {
            let (step, answer) = receive(pace, &(HEADER.to_owned() + offer + PROCEED));
            assert!(matches!(step, Err(Error::NoTls)), "{step:?}");
            assert_eq!(answer, "");
        }
    }

    #[test]
    fn server_that_refuses_tls_gets_no_further() {
        let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>";

        let (step, _) = receive(Pace::Pipelined, &(HEADER.to_owned() + OFFER + failure));

        assert!(matches!(step, Err(Error::TlsRefused)), "{step:?}");
    }

    #[test]
    fn any_byte_behind_proceed_is_an_injection() {
        for more in [" ", "\n", "<", "<stream:features/>", "\u{16}\u{3}"] {
            let (step, _) = receive(Pace::Pipelined, &(HEADER.to_owned() + OFFER + PROCEED + more));
            assert!(matches!(step, Err(Error::Injected)), "{step:?} of {more:?}");
        }
    }

    #[test]
    fn success_of_sasl_in_the_clear_is_no_proceed() {
        let success = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";

        let (step, _) = receive(Pace::Pipelined, &(HEADER.to_owned() + OFFER + success));

        assert!(matches!(step, Err(Error::Unexpected { .. })), "{step:?}");
    }
}

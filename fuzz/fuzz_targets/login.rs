//! A server that we sign in to, whatever it says: we show who we are once, never in the clear, and are let in by its word alone;
//! and all of it is the same wherever the reads are cut.
//!
//! The input is a letter for what we have, a letter for how, and how long the reads are; then what the server says.
#![no_main]

use libfuzzer_sys::fuzz_target;

use vestibule::protocol::jid::Domain;
use vestibule::protocol::jid::Localpart;
use vestibule::protocol::login::Error;
use vestibule::protocol::login::Goal;
use vestibule::protocol::login::Login;
use vestibule::protocol::login::Pace;
use vestibule::protocol::login::Plan;
use vestibule::protocol::login::Step;
use vestibule::protocol::login::starttls;
use vestibule::protocol::login::starttls::StartTls;
use vestibule::protocol::sasl::Channel;
use vestibule::protocol::sasl::Credentials;
use vestibule::protocol::sasl::scram::Hash;
use vestibule::secret::Secret;

/// A ticket (`t`), a password (`p`), one of which it is known that the server hashes it (`k`), or nothing.
fn credentials(kind: u8) -> Credentials {
    let username = Localpart::parse("bob").expect("a name");
    let password = Secret::new("pencil");
    let known = (kind == b'k').then_some(Hash::Sha256);
    match kind {
        b't' => Credentials::Plain { username, password },
        b'p' | b'k' => Credentials::Password { username, password, nonce: [7; 16], known },
        _ => Credentials::Anonymous,
    }
}

/// Pipelined or not (capitals), over TLS (`a`, `b`) or not, to a bound stream (`b`, `d`) or not.
fn plan(how: u8) -> Plan {
    let is_bound = matches!(how | 0x20, b'b' | b'd');
    Plan {
        domain: Domain::parse("xmpp.test").expect("a domain"),
        language: None,
        goal: if is_bound { Goal::Bind { resource: "one".into() } } else { Goal::Features },
        pace: if how.is_ascii_uppercase() { Pace::StepByStep } else { Pace::Pipelined },
        channel: if matches!(how | 0x20, b'a' | b'b') { Channel::Private } else { Channel::Open },
        limit: 1000,
    }
}

/// What we said, and how it went.
fn signing_in<'a>(
    (kind, how): (u8, u8),
    reads: impl Iterator<Item = &'a [u8]>,
) -> (String, String) {
    let mut out = Vec::new();
    let ended = |out: Vec<u8>, how: String| (String::from_utf8(out).expect("text"), how);
    let mut login = match Login::begin(plan(how), credentials(kind), &mut out) {
        Ok(login) => login,
        Err(error) => return ended(out, error.to_string()),
    };
    for read in reads {
        login = match login.receive(read, &mut out) {
            Ok(Step::More(login)) => login,
            // What comes of it is the business of SASL.
            Ok(Step::Derive(_)) => return ended(out, "hashing".into()),
            Ok(Step::Done(signed_in)) => {
                let end = format!("signed in as {:?}: {:?}", signed_in.jid, signed_in.features);
                return ended(out, end);
            }
            // Where several things are wrong at once, what is seen first depends on where the reads were cut.
            Err(Error::Stream(_)) => return ended(out, "no stream".into()),
            Err(error) => return ended(out, error.to_string()),
        };
    }
    ended(out, "waiting".into())
}

/// Nothing but a header and `<starttls/>` is said in the clear, and TLS begins behind `<proceed/>` and nothing else.
fn begin_tls(how: u8, stream: &[u8]) {
    let (plan, mut out) = (plan(how), Vec::new());
    let starttls = StartTls::begin(&plan.domain, plan.pace, &mut out);
    if let Ok(starttls::Step::Proceed) = starttls.receive(stream, &mut out) {
        let said = stream.windows(7).any(|name| name == b"proceed");
        assert!(said && stream.ends_with(b">"), "TLS begins behind <proceed/>");
    }
    let out = String::from_utf8(out).expect("text");
    assert!(!out.contains("auth") && out.matches("<starttls").count() <= 1, "{out}");
}

fuzz_target!(|input: &[u8]| {
    let &[kind, how, length, ref stream @ ..] = input else { return };
    begin_tls(how, stream);

    let (said, end) = signing_in((kind, how), [stream].into_iter());
    let length = usize::from(length.saturating_sub(b'0')).max(1);
    let (said_to_cuts, end_of_cuts) = signing_in((kind, how), stream.chunks(length));

    assert_eq!(end, end_of_cuts);
    assert_eq!(said, said_to_cuts);
    assert!(said.matches("<auth ").count() <= 1, "shown twice: {said}");
    if plan(how).channel == Channel::Open {
        assert!(!said.contains("'PLAIN'"), "readable on the way: {said}");
    }
    if end.starts_with("signed in") {
        assert_eq!(said.matches("<stream:stream ").count(), 2, "{said}");
        assert!(stream.windows(7).any(|name| name == b"success"), "nobody let us in");
        let proves_itself = kind == b'k' || kind == b'p' && plan(how).channel == Channel::Open;
        assert!(
            !proves_itself || kind == b'p' && said.contains("'PLAIN'"),
            "without proof: {said}"
        );
    }
});

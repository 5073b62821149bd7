//! SASL as a client: whoever does not know the password is not believed, whatever it says in SCRAM or around it.
#![no_main]

use libfuzzer_sys::fuzz_target;

use vestibule::protocol::jid::Domain;
use vestibule::protocol::jid::Localpart;
use vestibule::protocol::login::Goal;
use vestibule::protocol::login::Login;
use vestibule::protocol::login::Pace;
use vestibule::protocol::login::Plan;
use vestibule::protocol::login::Step;
use vestibule::protocol::sasl::Channel;
use vestibule::protocol::sasl::Credentials;
use vestibule::protocol::sasl::scram::First;
use vestibule::protocol::sasl::scram::Hash;
use vestibule::secret::Secret;

fuzz_target!(|said: &[u8]| {
    exchange(said);
    for known in [Some(Hash::Sha256), None] {
        stream(said, known);
    }
});

/// The server's two messages of SCRAM, with a NUL between them.
fn exchange(said: &[u8]) {
    let mut messages = said.splitn(2, |byte| *byte == 0);
    let (Some(challenge), Some(proof)) = (messages.next(), messages.next()) else { return };
    let (first, _) = First::begin(Hash::Sha1, "user", &Secret::new("pencil"), [0; 16])
        .expect("both can be prepared");
    let Ok(salting) = first.receive(challenge) else { return };
    assert!((4096..=1_000_000).contains(&salting.iterations().get()));
    // More would only take longer.
    if salting.iterations().get() > 5000 {
        return;
    }
    assert!(salting.prove().0.receive(proof).is_err(), "a stranger is believed");
}

/// A server's stream, read at once and a byte at a time.
fn stream(said: &[u8], known: Option<Hash>) {
    for length in [said.len().max(1), 1] {
        let plan = Plan {
            domain: Domain::parse("xmpp.example.org").expect("a domain"),
            language: None,
            goal: Goal::Features,
            pace: Pace::Pipelined,
            channel: Channel::Open,
            limit: 10_000,
        };
        let credentials = Credentials::Password {
            username: Localpart::parse("user").expect("a localpart"),
            password: Secret::new("pencil"),
            nonce: [0; 16],
            known,
        };
        let mut sent = Vec::new();
        let mut login = Login::begin(plan, credentials, &mut sent).expect("nothing is shown yet");
        for read in said.chunks(length) {
            login = match login.receive(read, &mut sent) {
                Ok(Step::More(login)) => login,
                // What comes of a challenge is looked at above.
                Ok(Step::Derive(_)) | Err(_) => break,
                Ok(Step::Done(_)) => panic!("signed in at a server that has proven nothing"),
            };
        }
        let plain = b"AHVzZXIAcGVuY2ls".as_slice();
        assert!(!sent.windows(plain.len()).any(|shown| shown == plain), "the password is shown");
    }
}

//! SCRAM as its examples have it, and servers that are not to be believed.

use super::*;

const SHA1_NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

fn begin(hash: Hash, nonce: &str) -> (First, String) {
    First::begin_with(hash, "user", &Secret::new("pencil"), nonce.to_owned()).unwrap()
}

/// What becomes of a server's first message; the nonce that it goes on from is "ours".
fn challenge(message: &str) -> Result<Salting, Error> {
    begin(Hash::Sha1, "ours").0.receive(message.as_bytes())
}

#[test]
fn scram_sha_1_is_as_the_example_has_it() {
    // RFC 5802 §5
    let (first, message) = begin(Hash::Sha1, SHA1_NONCE);
    assert_eq!(message, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    let challenge = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";

    let (last, message) = first.receive(challenge).unwrap().prove();

    assert_eq!(
        message,
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    );
    assert_eq!(last.receive(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="), Ok(()));
}

#[test]
fn scram_sha_256_is_as_the_example_has_it() {
    // RFC 7677 §3
    let (first, message) = begin(Hash::Sha256, "rOprNGfwEbeRWgbNEkqO");
    assert_eq!(message, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    let (last, message) = first.receive(challenge).unwrap().prove();

    assert_eq!(
        message,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert_eq!(last.receive(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
}

#[test]
fn server_that_does_not_know_the_password_is_not_believed() {
    let proven = || {
        let (first, _) = begin(Hash::Sha1, SHA1_NONCE);
        let challenge = b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        first.receive(challenge).unwrap().prove().0
    };

    for (message, error) in [
        ("v=smF9pqV8S7suAoZWja4dJRkFsKQ=", Error::Signature),
        ("v=", Error::Signature),
        ("v=rmF9pqV8S7suAoZWja4dJRkFsA==", Error::Signature),
        ("v=***", Error::Malformed),
        ("", Error::Malformed),
        ("rmF9pqV8S7suAoZWja4dJRkFsKQ=", Error::Malformed),
        ("e=invalid-proof", Error::Refused { reason: "invalid-proof" }),
        ("e=look\nhere", Error::Refused { reason: "other-error" }),
    ] {
        assert_eq!(proven().receive(message.as_bytes()), Err(error), "{message}");
    }
}

#[test]
fn nonce_of_the_server_goes_on_from_ours() {
    for nonce in ["theirs", "ours", "our", "", "Ours-and-theirs", "theirs-ours", "ours\u{e4}"] {
        let answered = challenge(&format!("r={nonce},s=QSXCR+Q6sek8bf92,i=4096"));
        assert_eq!(answered.map(|_| ()), Err(Error::Nonce), "{nonce}");
    }
    assert!(challenge("r=oursandtheirs,s=QSXCR+Q6sek8bf92,i=4096").is_ok());
}

#[test]
fn rounds_of_hashing_are_bounded_on_both_sides() {
    for asked in [0, 1, 4095, 1_000_001, 1_000_000_000, u64::from(u32::MAX) + 4097] {
        let answered = challenge(&format!("r=ours+,s=QSXCR+Q6sek8bf92,i={asked}"));
        assert_eq!(answered.map(|_| ()), Err(Error::Iterations { asked }));
    }
    for text in ["", "-1", "+4096", "4096x", "99999999999999999999999"] {
        let answered = challenge(&format!("r=ours+,s=QSXCR+Q6sek8bf92,i={text}"));
        assert_eq!(answered.map(|_| ()), Err(Error::Malformed), "{text}");
    }
    for taken in [4096, 1_000_000] {
        let answered = challenge(&format!("r=ours+,s=QSXCR+Q6sek8bf92,i={taken}"));
        assert_eq!(answered.unwrap().iterations().get(), taken);
    }
}

#[test]
fn salt_is_bounded_on_both_sides() {
    for length in [0, 7, 257] {
        let salt = BASE64_STANDARD.encode(vec![1; length]);
        let answered = challenge(&format!("r=ours+,s={salt},i=4096"));
        assert_eq!(answered.map(|_| ()), Err(Error::Salt { length }));
    }
}

#[test]
fn extension_that_is_demanded_is_refused_and_one_that_is_not_is_passed_over() {
    let demanded = challenge("m=x,r=ours+,s=QSXCR+Q6sek8bf92,i=4096");
    assert_eq!(demanded.map(|_| ()), Err(Error::Extension));

    assert!(challenge("r=ours+,s=QSXCR+Q6sek8bf92,i=4096,x=1").is_ok());
}

#[test]
fn message_that_is_none_is_refused() {
    let long = format!("r=ours{},s=QSXCR+Q6sek8bf92,i=4096", "x".repeat(5000));
    for message in
        ["", ",", "r=ours+", "s=QSXCR+Q6sek8bf92,r=ours+,i=4096", "r=ours+,s=*,i=4096", &long]
    {
        assert_eq!(challenge(message).map(|_| ()), Err(Error::Malformed), "{message}");
    }
    let refused = challenge("e=unknown-user");
    assert_eq!(refused.map(|_| ()), Err(Error::Refused { reason: "unknown-user" }));
}

#[test]
fn name_is_escaped_and_name_and_password_are_prepared() {
    // U+00AD is mapped to nothing, U+00AA to a (RFC 4013 §3).
    let (_, message) =
        First::begin(Hash::Sha1, "a=b,c\u{ad}\u{aa}", &Secret::new("p"), [0; 16]).unwrap();
    assert!(message.starts_with("n,,n=a=3Db=2Cca,r=AAAA"), "{message}");

    let prepared = First::begin(Hash::Sha1, "user", &Secret::new("pen\u{ad}cil"), [0; 16]);
    assert!(prepared.unwrap().0.password.matches(b"pencil"));
    for (name, password) in [("user", "\u{7}"), ("\u{7}", "pencil")] {
        let begun = First::begin(Hash::Sha1, name, &Secret::new(password), [0; 16]);
        assert_eq!(begun.map(|_| ()), Err(Error::Unprepared));
    }
}

//! SCRAM-SHA-1 as native clients speak it (RFC 5802).

use std::num::NonZeroU32;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::support::xmpp::Answer;
use crate::support::xmpp::Client;

/// Signs in on an open stream, and gives the server's last answer.
pub(crate) async fn sign_in(client: &mut Client, username: &str, password: &str) -> Answer {
    let bare = format!("n={username},r=nonce-of-the-client");
    let first = client.authenticate("SCRAM-SHA-1", format!("n,,{bare}").as_bytes()).await;
    let Answer::Challenge(challenge) = first else { return first };
    let challenge = String::from_utf8(challenge).expect("SCRAM is text");
    let value = |name: &str| {
        challenge.split(',').find_map(|part| part.strip_prefix(name)).expect("an attribute")
    };

    let salt = BASE64_STANDARD.decode(value("s=")).expect("base64");
    let iterations: NonZeroU32 = value("i=").parse().expect("a number");
    let without_proof = format!("c=biws,r={}", value("r="));
    let signed = format!("{bare},{challenge},{without_proof}");
    let proof = BASE64_STANDARD.encode(proof(password, &salt, iterations, &signed));
    client.respond(format!("{without_proof},p={proof}").as_bytes()).await
}

/// RFC 5802 §3: the client's key, covered by its signature.
fn proof(password: &str, salt: &[u8], iterations: NonZeroU32, signed: &str) -> Vec<u8> {
    let mut salted = [0; 20];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, iterations, salt, password.as_bytes(), &mut salted);
    let client_key = sign(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, client_key.as_ref());
    let signature = sign(stored_key.as_ref(), signed.as_bytes());
    client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, cover)| key ^ cover).collect()
}

fn sign(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), text)
}

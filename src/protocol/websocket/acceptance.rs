//! How a server shows that it has understood a key (RFC 6455 §1.3).

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// What `Sec-WebSocket-Accept` says to this `Sec-WebSocket-Key`.
#[must_use]
pub fn acceptance(key: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, SUFFIX].concat());
    BASE64_STANDARD.encode(hash)
}

const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_of_the_rfc_is_accepted_as_the_rfc_says() {
        // RFC 6455 §1.3.
        assert_eq!(acceptance(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}

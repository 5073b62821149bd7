//! SCRAM-SHA-1 and SCRAM-SHA-256 as a client (RFC 5802, RFC 7677), without channel binding.

use std::num::NonZeroU32;

use aws_lc_rs::constant_time;
use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SCRAM-SHA-1.
    Sha1,
    /// SCRAM-SHA-256.
    Sha256,
}

/// The first message is out; the server's challenge is due.
#[derive(Debug)]
pub struct First {
    hash: Hash,
    password: Secret,
    nonce: String,
    /// The first message without its header: both sides sign it.
    bare: String,
}

/// The challenge is here; the rounds of hashing are due.
#[derive(Debug)]
pub struct Salting {
    hash: Hash,
    password: Secret,
    salt: Vec<u8>,
    iterations: NonZeroU32,
    without_proof: String,
    /// RFC 5802 §3, `AuthMessage`.
    signed: String,
}

/// The proof is out; the server's is due.
#[derive(Debug)]
pub struct Final {
    signature: hmac::Tag,
}

/// Why the server is not believed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// What it says is not SCRAM.
    #[error("the server's SCRAM message cannot be read")]
    Malformed,
    /// Its nonce is not ours with more behind it: somebody repeats an old exchange.
    #[error("the server's nonce does not go on from ours")]
    Nonce,
    /// Too few rounds would let a thief of the exchange guess the password, too many would keep us busy.
    #[error(
        "the server asks for {asked} rounds of hashing, and {LEAST_ITERATIONS} to {MOST_ITERATIONS} are taken"
    )]
    Iterations {
        /// How many it asks for.
        asked: u64,
    },
    /// A salt that is none, or much too long.
    #[error("the server's salt has {length} bytes, and {LEAST_SALT} to {MOST_SALT} are taken")]
    Salt {
        /// How long it is.
        length: usize,
    },
    /// It demands an extension (`m=`, RFC 5802 §5.1).
    #[error("the server demands an extension of SCRAM")]
    Extension,
    /// It says why it refuses (`e=`).
    #[error("the server refuses: {reason}")]
    Refused {
        /// One of RFC 5802 §7.
        reason: &'static str,
    },
    /// It does not know the password.
    #[error("the server's signature is not that of one who knows the password")]
    Signature,
    /// Name or password hold what `SASLprep` forbids.
    #[error("the name or the password hold characters that SASLprep forbids")]
    Unprepared,
}

impl Hash {
    /// The name of the mechanism.
    #[must_use]
    pub fn mechanism(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
        }
    }

    fn sign(self, key: &[u8], text: &[u8]) -> hmac::Tag {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), text)
    }

    fn digest(self, text: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, text)
    }

    /// RFC 5802 §2.2, `Hi`.
    fn salted(self, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Zeroizing<Vec<u8>> {
        let (algorithm, length) = match self {
            Self::Sha1 => (pbkdf2::PBKDF2_HMAC_SHA1, digest::SHA1_OUTPUT_LEN),
            Self::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, digest::SHA256_OUTPUT_LEN),
        };
        let mut salted = Zeroizing::new(vec![0; length]);
        pbkdf2::derive(algorithm, iterations, salt, password, &mut salted);
        salted
    }
}

impl First {
    /// Begins: what is to be said first, `nonce` being random and new.
    ///
    /// # Errors
    /// [`Error::Unprepared`]
    pub fn begin(
        hash: Hash,
        username: &str,
        password: &Secret,
        nonce: [u8; 16],
    ) -> Result<(Self, String), Error> {
        Self::begin_with(hash, username, password, BASE64_STANDARD.encode(nonce))
    }

    /// The same with a nonce of printable characters but the comma.
    fn begin_with(
        hash: Hash,
        username: &str,
        password: &Secret,
        nonce: String,
    ) -> Result<(Self, String), Error> {
        let username = stringprep::saslprep(username).map_err(|_| Error::Unprepared)?;
        let password = str::from_utf8(password.expose()).map_err(|_| Error::Unprepared)?;
        let password = stringprep::saslprep(password).map_err(|_| Error::Unprepared)?;
        let username = username.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={username},r={nonce}");
        let message = format!("{NO_CHANNEL_BINDING}{bare}");
        let password = Secret::new(password.as_bytes());
        Ok((Self { hash, password, nonce, bare }, message))
    }

    /// Takes the server's first message.
    ///
    /// # Errors
    /// When it is not to be believed or would cost too much.
    pub fn receive(self, message: &[u8]) -> Result<Salting, Error> {
        let message = text(message)?;
        let mut attributes = message.split(',');
        let mut next = |name| attributes.next().and_then(|part| part.strip_prefix(name));
        if let Some(reason) = message.strip_prefix("e=") {
            return Err(refused(reason));
        }
        if message.starts_with("m=") {
            return Err(Error::Extension);
        }
        let nonce = next("r=").ok_or(Error::Malformed)?;
        let salt = next("s=").ok_or(Error::Malformed)?;
        let iterations = next("i=").ok_or(Error::Malformed)?;
        // More may follow, and is signed with the rest (RFC 5802 §5.1).
        let is_longer = nonce.strip_prefix(&self.nonce).is_some_and(|theirs| !theirs.is_empty());
        if !is_longer || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::Nonce);
        }
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| Error::Malformed)?;
        if !(LEAST_SALT..=MOST_SALT).contains(&salt.len()) {
            return Err(Error::Salt { length: salt.len() });
        }
        let without_proof = format!("c={},r={nonce}", BASE64_STANDARD.encode(NO_CHANNEL_BINDING));
        let signed = format!("{},{message},{without_proof}", self.bare);
        let (hash, password) = (self.hash, self.password);
        Ok(Salting {
            hash,
            password,
            salt,
            iterations: bounded(iterations)?,
            without_proof,
            signed,
        })
    }
}

impl Salting {
    /// How many rounds there will be.
    #[must_use]
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Hashes, which keeps a processor busy for milliseconds to half a second, and proves that we know the password.
    #[must_use]
    pub fn prove(self) -> (Final, String) {
        let Self { hash, password, salt, iterations, without_proof, signed } = self;
        let salted = hash.salted(password.expose(), &salt, iterations);
        let client_key = hash.sign(&salted, b"Client Key");
        let stored_key = hash.digest(client_key.as_ref());
        let cover = hash.sign(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(cover.as_ref())
            .map(|(key, cover)| key ^ cover)
            .collect();
        let server_key = hash.sign(&salted, b"Server Key");
        let signature = hash.sign(server_key.as_ref(), signed.as_bytes());
        (Final { signature }, format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)))
    }
}

impl Final {
    /// Takes the server's last message.
    ///
    /// # Errors
    /// When it does not prove that the server knows the password.
    pub fn receive(self, message: &[u8]) -> Result<(), Error> {
        let message = text(message)?;
        if let Some(reason) = message.strip_prefix("e=") {
            return Err(refused(reason));
        }
        let signature = message.split(',').next().and_then(|part| part.strip_prefix("v="));
        let signature = signature.and_then(|text| BASE64_STANDARD.decode(text).ok());
        let signature = signature.ok_or(Error::Malformed)?;
        constant_time::verify_slices_are_equal(self.signature.as_ref(), &signature)
            .map_err(|_| Error::Signature)
    }
}

fn text(message: &[u8]) -> Result<&str, Error> {
    let fits = message.len() <= LONGEST_MESSAGE;
    fits.then_some(message).and_then(|message| str::from_utf8(message).ok()).ok_or(Error::Malformed)
}

fn bounded(iterations: &str) -> Result<NonZeroU32, Error> {
    // A sign is no digit, though Rust would take it.
    let digits = iterations.bytes().all(|byte| byte.is_ascii_digit());
    let asked: u64 = iterations.parse().ok().filter(|_| digits).ok_or(Error::Malformed)?;
    let taken = u32::try_from(asked).ok().and_then(NonZeroU32::new);
    let taken = taken.filter(|taken| (LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&taken.get()));
    taken.ok_or(Error::Iterations { asked })
}

/// A word of our own for what the server says, because it goes into the log.
fn refused(reason: &str) -> Error {
    let reason = reason.split(',').next().unwrap_or_default();
    let known = REASONS.iter().find(|known| **known == reason);
    Error::Refused { reason: known.copied().unwrap_or("other-error") }
}

/// RFC 5802 §7, `gs2-header`: no channel binding, and none that we could do (`y` would say so), no other identity.
const NO_CHANNEL_BINDING: &str = "n,,";
/// RFC 7677 §4 asks servers for no fewer.
const LEAST_ITERATIONS: u32 = 4096;
/// Half a second of one processor; servers ask for 4,096 to 600,000.
const MOST_ITERATIONS: u32 = 1_000_000;
/// Fewer bytes would let one table serve for many passwords.
const LEAST_SALT: usize = 8;
const MOST_SALT: usize = 256;
/// Far more than nonce, salt and number take.
const LONGEST_MESSAGE: usize = 4096;
/// RFC 5802 §7, `server-error-value`.
const REASONS: [&str; 11] = [
    "invalid-encoding",
    "extensions-not-supported",
    "invalid-proof",
    "channel-bindings-dont-match",
    "server-does-support-channel-binding",
    "channel-binding-not-supported",
    "unsupported-channel-binding-type",
    "unknown-user",
    "invalid-username-encoding",
    "no-resources",
    "other-error",
];

#[cfg(test)]
mod tests;

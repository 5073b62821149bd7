//! A guest, known by a cookie of our own.

use std::fmt;
use std::fs;
use std::io;
use std::io::Write;
use std::num::NonZeroU32;
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::HeaderValue;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::protocol::jid::Localpart;
use crate::site::Site;

/// How guests are known again: `[guests]`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What signs the guest cookie: a file with 32 random bytes, made on first run.
    pub key_file: PathBuf,
    /// How long a browser keeps the cookie, and a guest so the address.
    #[serde(with = "humantime_serde")]
    pub lifetime: Duration,
    /// Sessions that guests of one IPv4 address, or of one /64 of IPv6, may have at once; more get a 429.
    pub per_address: NonZeroUsize,
    /// Guests of one such address who are signed in within a minute: so many at once, and as many again each minute; more
    /// get a 429. Each page load is a sign-in.
    pub sign_ins_per_minute: NonZeroU32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key_file: PathBuf::from("certs/guest-cookie.key"),
            lifetime: Duration::from_secs(30 * 24 * 60 * 60),
            per_address: PER_ADDRESS,
            sign_ins_per_minute: SIGN_INS_PER_MINUTE,
        }
    }
}

/// A visitor whom the site does not know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Guest {
    /// Who of all guests.
    pub id: Id,
}

/// What tells one guest from the others: 80 random bits, written as 20 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id([u8; 10]);

impl Guest {
    /// A guest whom nobody has seen; nothing if this machine has no random bytes.
    #[must_use]
    pub fn new() -> Option<Self> {
        let mut id = [0; 10];
        rand::fill(&mut id).ok()?;
        Some(Self { id: Id(id) })
    }

    /// What stands before the `@` where the server believes our tickets: `guest-` and the digits.
    #[must_use]
    pub fn localpart(&self) -> Option<Localpart> {
        // Always one: nothing but lower-case letters, digits and a hyphen.
        Localpart::parse(&self.to_string()).ok()
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guest-{}", self.id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What signs the guest cookies of all sites.
#[derive(Debug)]
pub struct Key {
    key: hmac::Key,
    lifetime: Duration,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or made.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// What is there is something else.
    #[error("{} has {found} bytes, not the 32 of a key", .path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// This machine has no random bytes.
    #[error("no random bytes")]
    Random,
}

impl Key {
    /// Reads the key, and makes it if its file does not exist.
    ///
    /// # Errors
    /// The file cannot be read or made, or is no key.
    pub fn load(settings: &Settings) -> Result<Self, Error> {
        let failed = |error| Error::File(settings.key_file.clone(), error);
        let bytes = match fs::read(&settings.key_file) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut bytes = Zeroizing::new(vec![0; 32]);
                rand::fill(&mut bytes).map_err(|_| Error::Random)?;
                write_new(&settings.key_file, &bytes).map_err(failed)?;
                tracing::info!(file = %settings.key_file.display(), "made the key of the guest cookie");
                bytes
            }
            Err(error) => return Err(failed(error)),
        };
        if bytes.len() != 32 {
            return Err(Error::Length { path: settings.key_file.clone(), found: bytes.len() });
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), lifetime: settings.lifetime })
    }

    /// The `Set-Cookie` by which this guest is known again, for a lifetime from `now`.
    #[must_use]
    pub fn cookie(&self, site: &Site, guest: &Guest, now: SystemTime) -> HeaderValue {
        let signed = format!("{}.{}", guest.id, seconds(now));
        let seal = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &sealed(site, &signed)));
        let lifetime = self.lifetime.as_secs();
        let text = format!(
            "{COOKIE}={signed}.{seal}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={lifetime}"
        );
        // Always one: every part is of visible ASCII.
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The guest whom the value of a cookie names; nobody unless this key has signed it for this site, within a lifetime
    /// before `now`: Max-Age binds only a browser that means well.
    #[must_use]
    pub fn read(&self, site: &Site, value: &[u8], now: SystemTime) -> Option<Guest> {
        let (signed, seal) = std::str::from_utf8(value).ok()?.rsplit_once('.')?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        hmac::verify(&self.key, &sealed(site, signed), &seal).ok()?;
        let (id, issued) = signed.split_once('.')?;
        let (issued, now): (u64, u64) = (issued.parse().ok()?, seconds(now));
        let is_of_now = issued <= now.saturating_add(CLOCKS.as_secs())
            && now.saturating_sub(issued) <= self.lifetime.as_secs();
        if is_of_now { Some(Guest { id: id_of(id)? }) } else { None }
    }
}

/// What is signed: a guest of one site is nobody on another.
fn sealed(site: &Site, signed: &str) -> Vec<u8> {
    [b"vestibule guest\0", site.id.as_bytes(), b"\0", signed.as_bytes()].concat()
}

fn seconds(time: SystemTime) -> u64 {
    // A clock before 1970 is at fault itself, and is then so whenever it is asked.
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn id_of(text: &str) -> Option<Id> {
    let digits = text.bytes().map(|byte| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    });
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    bytes.try_into().ok().map(Id)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// The name of our cookie: the prefix makes browsers hold it to one host and to TLS.
pub const COOKIE: &str = "__Host-vestibule-guest";

/// A school, or the customers of a mobile network, behind one address.
const PER_ADDRESS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);
/// Each of those, every 20 s.
const SIGN_INS_PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(299);

/// How far the clocks of several machines with one key, or of one before and after it was set, may differ.
const CLOCKS: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::site::tests::site;

    fn site_of(host: &str) -> Site {
        let text = format!(
            "hosts = ['{host}']
             [guests]
             domain = 'guest.example.org'
             upstream = '127.0.0.1:5222'
             secret = 'a secret we share'"
        );
        site(&text).unwrap()
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn settings(folder: &tempfile::TempDir) -> Settings {
        Settings { key_file: folder.path().join("certs/guest.key"), ..Settings::default() }
    }

    /// The value of the cookie that this `Set-Cookie` sets.
    fn value(set_cookie: &HeaderValue) -> String {
        let text = set_cookie.to_str().unwrap();
        let rest = text.strip_prefix("__Host-vestibule-guest=").unwrap();
        rest.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn guest_is_known_again_by_the_cookie() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::load(&settings(&folder)).unwrap();
        let (site, guest) = (site_of("a.example"), Guest::new().unwrap());

        let set_cookie = key.cookie(&site, &guest, now());

        assert_eq!(key.read(&site, value(&set_cookie).as_bytes(), now()), Some(guest));
    }

    #[test]
    fn cookie_is_held_to_this_host_and_out_of_reach_of_scripts() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::load(&settings(&folder)).unwrap();

        let set_cookie = key.cookie(&site_of("a.example"), &Guest { id: Id([0xab; 10]) }, now());

        let text = set_cookie.to_str().unwrap();
        assert!(
            text.starts_with("__Host-vestibule-guest=abababababababababab.1700000000."),
            "{text}"
        );
        assert!(
            text.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=2592000"),
            "{text}"
        );
    }

    #[test]
    fn cookie_ends_with_its_lifetime_even_if_the_browser_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::load(&settings(&folder)).unwrap();
        let (site, guest) = (site_of("a.example"), Guest::new().unwrap());
        let cookie = value(&key.cookie(&site, &guest, now()));
        let (month, second) = (Duration::from_secs(30 * 24 * 60 * 60), Duration::from_secs(1));

        assert_eq!(key.read(&site, cookie.as_bytes(), now() + month), Some(guest.clone()));
        assert_eq!(key.read(&site, cookie.as_bytes(), now() + month + second), None);
        // A clock that was set right in between is no reason to become another.
        assert_eq!(key.read(&site, cookie.as_bytes(), now() - CLOCKS), Some(guest));
        assert_eq!(key.read(&site, cookie.as_bytes(), now() - CLOCKS - second), None);
    }

    #[test]
    fn cookie_that_was_altered_or_is_of_another_site_is_nobody_s() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::load(&settings(&folder)).unwrap();
        let (site, guest) = (site_of("a.example"), Guest { id: Id([0xab; 10]) });
        let good = value(&key.cookie(&site, &guest, now()));

        assert_eq!(key.read(&site_of("b.example"), good.as_bytes(), now()), None);
        let altered = [
            good.replacen("ab", "ac", 1),
            good.to_uppercase(),
            format!("{good}A"),
            good.replacen('.', "", 1),
            good.replacen(".1700000000", "", 1),
            good.replacen(".17", ".18", 1),
        ];
        for value in altered {
            assert_eq!(key.read(&site, value.as_bytes(), now()), None, "{value}");
        }
        for value in [&b""[..], b".", b"\xff.\xff", b"abababababababababab."] {
            assert_eq!(key.read(&site, value, now()), None);
        }
    }

    #[test]
    fn key_is_made_once_and_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let (site, guest) = (site_of("a.example"), Guest::new().unwrap());

        let first = Key::load(&settings).unwrap();
        let second = Key::load(&settings).unwrap();

        assert_eq!(first.cookie(&site, &guest, now()), second.cookie(&site, &guest, now()));
        assert_eq!(fs::metadata(&settings.key_file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn key_of_another_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { key_file: folder.path().join("key"), ..Settings::default() };
        fs::write(&settings.key_file, "short").unwrap();

        let error = Key::load(&settings).unwrap_err();

        assert!(error.to_string().ends_with("key has 5 bytes, not the 32 of a key"), "{error}");
    }

    #[test]
    fn address_of_a_guest_is_guest_and_twenty_digits() {
        let guest = Guest { id: Id([0x0f; 10]) };

        assert_eq!(guest.localpart().unwrap().as_str(), "guest-0f0f0f0f0f0f0f0f0f0f");
    }
}

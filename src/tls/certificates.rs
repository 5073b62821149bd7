//! The certificates with their keys, and which of them is for the name that a browser asks for (SNI, RFC 6066 §3).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use humantime_serde::re::humantime::format_rfc3339_seconds;
use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;
use webpki::KeyUsage;

use crate::file::Read;
use crate::tls::config::Pair;
use crate::tls::contents::Contents;
use crate::tls::contents::Fingerprint;

/// All certificates that browsers may be shown; at least one.
pub struct Certificates {
    /// For a browser that asks for no name, or for one that no certificate is for.
    default: Arc<CertifiedKey>,
    /// By a name in lower case, whose first label may be `*`.
    by_name: HashMap<String, Arc<CertifiedKey>>,
    spans: Vec<Span>,
    fingerprint: Fingerprint,
}

/// What is wrong with a pair of files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The file is not what it should be.
    #[error("expected PEM in {}", .0.display())]
    NotPem(PathBuf, #[source] pem::Error),
    /// The file has no certificate at all.
    #[error("there is no certificate in {}", .0.display())]
    Empty(PathBuf),
    /// The key is another certificate's.
    #[error("{} is not the key of {}", .key.display(), .certificate.display())]
    OthersKey {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// It cannot be shown to a browser.
    #[error("{} cannot be used", .0.display())]
    Unusable(PathBuf, #[source] rustls::Error),
    /// It would never be shown.
    #[error("{} is for no host name", .0.display())]
    Nameless(PathBuf),
}

/// An error with the place of the pair in [`Settings::pairs`](crate::tls::config::Settings::pairs), and its key there.
#[derive(Debug)]
pub struct Fault {
    /// Which pair, from 0.
    pub pair: usize,
    /// `certificate` or `key`.
    pub key: &'static str,
    /// What is wrong.
    pub error: Error,
}

/// How long a certificate is good.
#[derive(Debug, Clone)]
struct Span {
    file: PathBuf,
    begins: Option<SystemTime>,
    ends: Option<SystemTime>,
}

impl Certificates {
    /// Reads all pairs, of which the first is the default. Of two that are for one name the earlier is shown.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(pairs: &[Pair], read: Read) -> Result<Self, Vec<Fault>> {
        Self::of(&Contents::of(pairs, read))
    }

    /// The same of what is read already.
    pub(super) fn of(contents: &Contents) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut spans = Vec::new();
        let mut default = None;
        let mut by_name = HashMap::new();
        for (place, pair) in contents.pairs.iter().enumerate() {
            let (certified, names) = match certified(pair, contents) {
                Ok(certified) => certified,
                Err(found) => {
                    let found = found.into_iter();
                    faults.extend(found.map(|(key, error)| Fault { pair: place, key, error }));
                    continue;
                }
            };
            if place > 0 && names.is_empty() {
                let error = Error::Nameless(pair.certificate.clone());
                faults.push(Fault { pair: place, key: "certificate", error });
            }
            for name in names {
                by_name.entry(name).or_insert_with(|| Arc::clone(&certified));
            }
            spans.push(Span::of(&pair.certificate, &certified));
            default.get_or_insert(certified);
        }
        match default {
            Some(default) if faults.is_empty() => {
                let fingerprint = contents.fingerprint();
                Ok(Self { default, by_name, spans, fingerprint })
            }
            Some(_) | None => Err(faults),
        }
    }

    /// The certificate for a browser that asks for `name`.
    #[must_use]
    pub fn choose(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        name.and_then(|name| self.named(name)).unwrap_or(&self.default)
    }

    /// Whether one is for this host name, which is in lower case.
    #[must_use]
    pub fn are_for(&self, host: &str) -> bool {
        self.named(host).is_some()
    }

    /// What an administrator should know about when they are good, with the place of the pair.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<(usize, String)> {
        let spans = self.spans.iter().enumerate();
        spans.filter_map(|(place, span)| Some((place, span.warning(now)?))).collect()
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The exact name before the wildcard, which stands for one label (RFC 9525 §6.3).
    fn named(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        let wildcard = || {
            let (_, rest) = name.split_once('.')?;
            self.by_name.get(&format!("*.{rest}"))
        };
        self.by_name.get(&name).or_else(wildcard)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Span {
    fn of(file: &Path, certified: &CertifiedKey) -> Self {
        let certificate = certified.cert.first();
        let at = |time| certificate.and_then(|certificate| fault_at(certificate, time));
        let begins = match at(UnixTime::since_unix_epoch(Duration::ZERO)) {
            Some(webpki::Error::CertNotValidYet { not_before, .. }) => Some(not_before),
            _ => None,
        };
        let ends = match at(UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX))) {
            Some(webpki::Error::CertExpired { not_after, .. }) => Some(not_after),
            _ => None,
        };
        let date = |time: UnixTime| {
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()))
        };
        Self { file: file.to_owned(), begins: begins.and_then(date), ends: ends.and_then(date) }
    }

    fn warning(&self, now: SystemTime) -> Option<String> {
        let file = self.file.display();
        if let Some(begins) = self.begins.filter(|begins| *begins > now) {
            return Some(format!("{file} is good only from {} on", format_rfc3339_seconds(begins)));
        }
        let ends = self.ends.filter(|ends| *ends < now + NEAR)?;
        let verb = if ends < now { "expired" } else { "expires" };
        Some(format!("{file} {verb} on {}", format_rfc3339_seconds(ends)))
    }
}

/// What webpki says against the certificate at this time. It tells when a certificate begins and ends to nobody else, and
/// looks at that before anything but the list of what is distrusted, which is empty.
fn fault_at(certificate: &CertificateDer<'_>, time: UnixTime) -> Option<webpki::Error> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let usage = KeyUsage::server_auth();
    certificate.verify_for_usage(&[], &[], &[], time, usage, None, None).err()
}

type Certified = (Arc<CertifiedKey>, Vec<String>);

/// The pair, and the names in lower case that it is for.
fn certified(pair: &Pair, contents: &Contents) -> Result<Certified, Vec<(&'static str, Error)>> {
    let chain = chain(&pair.certificate, contents).map_err(|error| ("certificate", error));
    let key = key(&pair.key, contents).map_err(|error| ("key", error));
    let (chain, key) = match (chain, key) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
    };
    let unusable = |file: &Path, error| Error::Unusable(file.to_owned(), error);
    // What rustls cannot sign with is the key's fault.
    let signing = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|error| vec![("key", unusable(&pair.key, error))])?;
    let certified = CertifiedKey::new(chain, signing);
    if let Err(error) = certified.keys_match() {
        return Err(vec![if error == InconsistentKeys::KeyMismatch.into() {
            let (certificate, key) = (pair.certificate.clone(), pair.key.clone());
            ("key", Error::OthersKey { certificate, key })
        } else {
            ("certificate", unusable(&pair.certificate, error))
        }]);
    }
    let names = certified.end_entity_cert().ok().map(names).unwrap_or_default();
    Ok((Arc::new(certified), names))
}

fn chain(path: &Path, contents: &Contents) -> Result<Vec<CertificateDer<'static>>, Error> {
    let content = contents.read(path).map_err(|error| Error::Read(path.to_owned(), error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(content)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::NotPem(path.to_owned(), error))?;
    if chain.is_empty() { Err(Error::Empty(path.to_owned())) } else { Ok(chain) }
}

fn key(path: &Path, contents: &Contents) -> Result<PrivateKeyDer<'static>, Error> {
    let content = contents.read(path).map_err(|error| Error::Read(path.to_owned(), error))?;
    PrivateKeyDer::from_pem_slice(content).map_err(|error| Error::NotPem(path.to_owned(), error))
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let certificate = EndEntityCert::try_from(certificate);
    certificate.map_or_else(
        |_| Vec::new(),
        |certificate| certificate.valid_dns_names().map(str::to_ascii_lowercase).collect(),
    )
}

/// An end that is nearer than this needs somebody: what renews certificates by itself has done so by then.
const NEAR: Duration = Duration::from_secs(14 * 24 * 60 * 60);

#[cfg(test)]
mod tests;

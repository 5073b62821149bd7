//! `[tls]` of proxy.toml, and what rustls is told for every listener.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;
use serde::Deserialize;

use crate::file::Read;

/// `[tls]` of proxy.toml.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The certificate chain, PEM, the site's own first. Where it and `key` are at their defaults and missing, a
    /// development certificate is made there. It is shown to browsers that ask for a name that no other is for.
    pub certificate: PathBuf,
    /// The private key of the certificate, PEM.
    pub key: PathBuf,
    /// Other certificates, each shown to browsers that ask for a name it is for.
    pub certificates: Vec<Pair>,
    /// How often the files are looked at: a new certificate is shown without a restart.
    #[serde(with = "humantime_serde")]
    pub watch: Duration,
}

/// A certificate and its key: `[[tls.certificates]]` of proxy.toml.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The certificate chain, PEM, the site's own first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            certificate: PathBuf::from(DEVELOPMENT_CERTIFICATE),
            key: PathBuf::from(DEVELOPMENT_KEY),
            certificates: Vec::new(),
            watch: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Whether a development certificate is to be made: the settings are at their defaults, and the files are missing.
    #[must_use]
    pub fn wants_development_certificate(&self, read: Read) -> bool {
        let missing =
            |path: &Path| read(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        self.certificate.ends_with(DEVELOPMENT_CERTIFICATE)
            && self.key.ends_with(DEVELOPMENT_KEY)
            && missing(&self.certificate)
            && missing(&self.key)
    }

    /// Every certificate with its key, the first of them for browsers that ask for no name or another one.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        let first = Pair { certificate: self.certificate.clone(), key: self.key.clone() };
        std::iter::once(first).chain(self.certificates.iter().cloned()).collect()
    }

    /// Makes relative paths relative to `folder`.
    pub fn take_paths_from(&mut self, folder: &Path) {
        let more =
            self.certificates.iter_mut().flat_map(|pair| [&mut pair.certificate, &mut pair.key]);
        for path in [&mut self.certificate, &mut self.key].into_iter().chain(more) {
            *path = folder.join(&*path);
        }
    }
}

/// The configuration of a listener that shows one certificate to everybody.
///
/// # Errors
/// When the key does not belong to the chain.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
    server_config_with(Arc::new(SingleCertAndKey::from(certified)))
}

/// The configuration of a listener whose certificates `shown` chooses: TLS 1.2 and 1.3, `h2` and `http/1.1` by ALPN.
///
/// Tickets are stateless, one for each full handshake, so that there is no table of sessions to bound. Their key is this
/// process's own: to another one a ticket of ours says nothing, and it shakes hands in full. There is no early data.
///
/// # Errors
/// When this machine has no random bytes for the key of the tickets.
pub fn server_config_with(
    shown: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// Where the development certificate stands, beside proxy.toml.
const DEVELOPMENT_CERTIFICATE: &str = "certs/development.pem";
/// Where its key stands.
const DEVELOPMENT_KEY: &str = "certs/development.key";

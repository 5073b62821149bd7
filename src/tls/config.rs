//! Certificates and keys become rustls's configuration; a development certificate is made where none is yet.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::SanType;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

/// `[tls]` of proxy.toml.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The certificate chain, PEM, the site's own first. Where it and `key` are at their defaults and missing, a
    /// development certificate is made there.
    pub certificate: PathBuf,
    /// The private key of the certificate, PEM.
    pub key: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            certificate: PathBuf::from(DEVELOPMENT_CERTIFICATE),
            key: PathBuf::from(DEVELOPMENT_KEY),
        }
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of `[tls]` cannot be read.
    #[error("cannot read {}, the file of [tls] {key}", path.display())]
    Read {
        /// The key of proxy.toml.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The key does not belong to the certificate, or rustls cannot use it.
    #[error("certificate and key of [tls] cannot be used together")]
    Unusable(#[source] rustls::Error),
    /// The development certificate could not be made.
    #[error("cannot make the development certificate")]
    Make(#[source] rcgen::Error),
    /// The development certificate could not be written.
    #[error("cannot write the development certificate {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}

impl Settings {
    /// Whether a development certificate will be made: the settings are at their defaults, and the files are missing.
    #[must_use]
    pub fn makes_its_own(&self) -> bool {
        self.certificate.ends_with(DEVELOPMENT_CERTIFICATE)
            && self.key.ends_with(DEVELOPMENT_KEY)
            && !self.certificate.exists()
            && !self.key.exists()
    }

    /// Makes a development certificate for `names`, if the settings are at their defaults and the files are missing.
    /// Says whether it did.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn make_development_certificate(&self, names: &[String]) -> Result<bool, Error> {
        if !self.makes_its_own() {
            return Ok(false);
        }
        let (certificate, key) = development_certificate(names).map_err(Error::Make)?;
        if let Some(folder) = self.certificate.parent() {
            write_error(folder, fs::create_dir_all(folder))?;
        }
        write_error(&self.key, write_private(&self.key, key.as_bytes()))?;
        write_error(&self.certificate, fs::write(&self.certificate, certificate))?;
        Ok(true)
    }

    /// What the listeners use: TLS 1.2 and 1.3, `h2` and `http/1.1` by ALPN.
    ///
    /// # Errors
    /// When a file is missing or does not hold what it should.
    pub fn load(&self) -> Result<Arc<ServerConfig>, Error> {
        let read = |key, path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::Read { key, path, source }
        };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(read("certificate", &self.certificate))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(read("key", &self.key))?;
        server_config(chain, key).map_err(Error::Unusable)
    }
}

/// The configuration of every listener.
///
/// Tickets are stateless, one for each full handshake, so that a resumption works on any node; there is no early data.
///
/// # Errors
/// When the key does not belong to the chain.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// A certificate for `names` and the loopback addresses, with its own authority behind it, both PEM, and its key.
fn development_certificate(names: &[String]) -> Result<(String, String), rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "Vestibule development authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name.push(DnType::CommonName, "Vestibule development certificate");
    params.subject_alt_names.push(SanType::DnsName("localhost".try_into()?));
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    // The authority rides along, so that one file is enough for a client that is to trust it (NODE_EXTRA_CA_CERTS).
    Ok((certificate.pem() + &issuer.pem(), key.serialize_pem()))
}

/// Writes a file that nobody else may read.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

fn write_error(path: &Path, result: io::Result<()>) -> Result<(), Error> {
    result.map_err(|source| Error::Write { path: path.to_path_buf(), source })
}

/// Where the development certificate stands, beside proxy.toml.
const DEVELOPMENT_CERTIFICATE: &str = "certs/development.pem";
/// Where its key stands.
const DEVELOPMENT_KEY: &str = "certs/development.key";

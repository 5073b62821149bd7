//! A certificate for a first try, made where none is yet: browsers warn of it.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::Path;
use std::path::PathBuf;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::SanType;

use crate::tls::config::Settings;

/// Why there is no development certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be made.
    #[error("cannot make the development certificate")]
    Make(#[source] rcgen::Error),
    /// It could not be written.
    #[error("cannot write the development certificate {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}

/// Makes a certificate for `names` where `settings` want it.
///
/// # Errors
/// When it cannot be made or written.
pub fn make(settings: &Settings, names: &[String]) -> Result<(), Error> {
    let (certificate, key) = certificate(names).map_err(Error::Make)?;
    if let Some(folder) = settings.certificate.parent() {
        write_error(folder, fs::create_dir_all(folder))?;
    }
    write_error(&settings.key, write_private(&settings.key, key.as_bytes()))?;
    write_error(&settings.certificate, fs::write(&settings.certificate, certificate))
}

/// A certificate for `names` and the loopback addresses, with its own authority behind it, both PEM, and its key.
fn certificate(names: &[String]) -> Result<(String, String), rcgen::Error> {
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

//! An authority of the tests, and the certificates that it signs for servers.

use std::fs;
use std::path::PathBuf;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::date_time_ymd;
use tempfile::TempDir;

/// An authority, with its files in a folder of its own.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Whether a certificate is good still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Good,
    Expired,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "An authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("authority.pem"), issuer.pem()).expect("a file");
        Self { folder, issuer }
    }

    /// The file of its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Signs a certificate for one name: its file, and that of its key.
    pub(crate) fn sign(&self, name: &str, age: Age) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        if age == Age::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |end: &str, content: String| {
            let path = self.folder.path().join(format!("{name}.{end}"));
            fs::write(&path, content).expect("a file");
            path
        };
        (file("crt", certificate.pem()), file("key", key.serialize_pem()))
    }

    /// The configuration that has a Prosody show a certificate for `name`, take nobody without TLS, and speak TLS from the
    /// first byte on `port`.
    pub(crate) fn prosody(&self, name: &str, age: Age, port: u16) -> String {
        let (certificate, key) = self.sign(name, age);
        let files =
            format!("{{ certificate = '{}', key = '{}' }}", certificate.display(), key.display());
        let host = |host: &str| {
            format!(
                "VirtualHost '{host}' ssl = {files} c2s_require_encryption = true modules_enabled = {{ 'tls' }}\n"
            )
        };
        format!(
            "c2s_direct_tls_ports = {{ {port} }} c2s_direct_tls_ssl = {files}\n{}{}{}",
            host("xmpp.localhost"),
            host("guest.localhost"),
            host("anon.localhost"),
        )
    }
}

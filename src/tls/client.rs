//! TLS as a client: an XMPP server has to prove that it is its domain's (RFC 6120 §13.7.2).

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::CertificateError as Wrong;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::file::Read;

/// Whose a server has to be, and who may say so.
#[derive(Clone)]
pub struct Identity {
    name: ServerName<'static>,
    connector: TlsConnector,
}

/// Why no server could prove anything.
#[derive(Debug, Error)]
pub enum Error {
    /// No certificate could be for it.
    #[error("{0} cannot stand in a certificate: write the domain in ASCII")]
    Name(String),
    /// The file of authorities cannot be read.
    #[error("cannot read the authorities in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// There is no authority in it.
    #[error("{} holds no certificate of an authority", .0.display())]
    Empty(PathBuf),
    /// This machine has none.
    #[error(
        "this machine believes no authority: install ca-certificates, or name a file of authorities"
    )]
    NoAuthority,
    /// rustls refuses.
    #[error("TLS cannot be configured: {0}")]
    Configure(#[from] rustls::Error),
}

/// Why a server is not talked to.
#[derive(Debug, Error)]
pub enum NotProven {
    /// It did not prove that it is the domain's.
    #[error("the server does not prove that it is {name}: {why}")]
    Untrusted {
        /// Whose it should be.
        name: String,
        /// What is wrong, for people.
        why: &'static str,
        /// The same, of rustls.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection broke in the TLS handshake")]
    Broken(#[source] io::Error),
}

impl Identity {
    /// The identity of the server of `domain`, attested by the authorities in a file (PEM) or, without one, by those that
    /// this machine believes; `file` reads it, and `alpn` is what the connection will be for, if that is to be said (XEP-0368).
    ///
    /// # Errors
    /// [`enum@Error`], which is the administrator's to mend.
    pub fn new(
        domain: &str,
        authority: Option<&Path>,
        alpn: Option<&str>,
        file: Read,
    ) -> Result<Self, Error> {
        let host = domain.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| Error::Name(domain.to_owned()))?;
        let roots = match authority {
            Some(path) => written(path, file)?,
            None => believed()?,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
        Ok(Self { name, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Shakes hands; the stream is the server's of whom it was to be, or there is none.
    ///
    /// Not cancel safe: the connection is of no use afterwards.
    ///
    /// # Errors
    /// [`NotProven`]
    pub async fn connect<S>(&self, socket: S) -> Result<TlsStream<S>, NotProven>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.connector.connect(self.name.clone(), socket).await.map_err(|source| {
            let why = source.get_ref().and_then(|error| error.downcast_ref()).map(why);
            match why {
                Some(why) => {
                    let name = self.name.to_str().into_owned();
                    NotProven::Untrusted { name, why, source }
                }
                None => NotProven::Broken(source),
            }
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.name).finish()
    }
}

fn written(path: &Path, file: Read) -> Result<RootCertStore, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    let content = file(path).map_err(|error| read(pem::Error::Io(error)))?;
    for certificate in CertificateDer::pem_slice_iter(&content) {
        roots.add(certificate.map_err(read)?)?;
    }
    if roots.is_empty() { Err(Error::Empty(path.to_owned())) } else { Ok(roots) }
}

fn believed() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    // One that cannot be read does not make the others less believed.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(Error::NoAuthority) } else { Ok(roots) }
}

/// What is wrong with a server, in the words of the one who has to mend it.
fn why(error: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(error) = error else {
        return "the TLS handshake fails";
    };
    let is_name = matches!(error, Wrong::NotValidForName | Wrong::NotValidForNameContext { .. });
    let is_old = matches!(error, Wrong::Expired | Wrong::ExpiredContext { .. });
    let is_new = matches!(error, Wrong::NotValidYet | Wrong::NotValidYetContext { .. });
    if is_name {
        "its certificate is for other names"
    } else if is_old {
        "its certificate has expired"
    } else if is_new {
        "its certificate is not valid yet"
    } else if matches!(error, Wrong::UnknownIssuer | Wrong::BadSignature) {
        // The second is of one that has the name of another.
        "its certificate is signed by an authority that is not believed here"
    } else {
        "its certificate cannot be verified"
    }
}

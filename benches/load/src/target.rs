//! The gateway that sessions go to.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use anyhow::Result;
use rustls::CipherSuite;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::net::lookup_host;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tunnel::Lines;

/// Where browsers connect to, and how.
#[derive(Clone)]
pub struct Target {
    /// The host name, as in the page's URL.
    pub host: String,
    /// Where it is.
    pub address: SocketAddr,
    /// The origin of the page.
    pub origin: String,
    /// The XMPP domain that browsers name.
    pub domain: String,
    /// The connections of WebSockets over HTTP/2.
    pub lines: Arc<Lines>,
    /// How HTTP is spoken there.
    pub version: Version,
    tls: Arc<ClientConfig>,
    /// Where browsers come from, if that is said.
    source: Option<IpAddr>,
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One request at a time on a connection.
    Http1,
    /// Many (RFC 9113).
    Http2,
}

/// Whether a browser that comes again shows what it was given last time (RFC 8446 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tickets {
    /// It does, where it has been here.
    Kept,
    /// Each handshake is whole.
    Dropped,
}

impl Target {
    /// The gateway at `https://host[:port]`, whose certificate one of `authorities` has signed, or one that this machine
    /// believes.
    pub async fn find(
        url: &str,
        domain: &str,
        authorities: Option<&Path>,
        tickets: Tickets,
    ) -> Result<Self> {
        let place = url.strip_prefix("https://").context("the URL begins with https://")?;
        let place = place.trim_end_matches('/');
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => {
                (host, port.parse().with_context(|| format!("the port {port:?}"))?)
            }
            None => (place, 443),
        };
        let mut found =
            lookup_host((host, port)).await.with_context(|| format!("where {host} is"))?;
        let address = found.next().with_context(|| format!("{host} has no address"))?;
        Ok(Self {
            host: host.to_owned(),
            address,
            origin: format!("https://{place}"),
            domain: domain.to_owned(),
            lines: Arc::new(Lines::of(1)),
            version: Version::Http1,
            tls: client(authorities, tickets)?,
            source: None,
        })
    }

    /// The same, with so many WebSockets on one connection of HTTP/2.
    #[must_use]
    pub fn with_sockets(&self, each: usize) -> Self {
        Self { lines: Arc::new(Lines::of(each)), ..self.clone() }
    }

    /// The same, where HTTP/2 is spoken.
    #[must_use]
    pub fn by_http2(&self) -> Self {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Self { version: Version::Http2, tls: Arc::new(tls), ..self.clone() }
    }

    /// The same, by an address of its kind, with browsers that come from `source`.
    pub async fn coming_from(&self, source: IpAddr) -> Result<Self> {
        let mut found = lookup_host((self.host.as_str(), self.address.port())).await?;
        let address = found
            .find(|found| found.is_ipv4() == source.is_ipv4())
            .with_context(|| format!("{} has no address like {source}", self.host))?;
        Ok(Self { address, source: Some(source), ..self.clone() })
    }

    /// A connection, its handshake done.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let socket = match self.source {
            None => TcpStream::connect(self.address).await,
            Some(source) => {
                let socket = match source {
                    IpAddr::V4(_) => TcpSocket::new_v4(),
                    IpAddr::V6(_) => TcpSocket::new_v6(),
                }?;
                socket.bind((source, 0).into())?;
                socket.connect(self.address).await
            }
        };
        let socket = socket.context("cannot connect")?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone())?;
        let connector = TlsConnector::from(self.tls.clone());
        connector.connect(name, socket).await.context("the TLS handshake failed")
    }
}

fn client(authorities: Option<&Path>, tickets: Tickets) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = authorities {
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    // As Chromium and Firefox ask for them.
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
        _ => 1,
    });
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if tickets == Tickets::Dropped {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

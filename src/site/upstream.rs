//! The XMPP server of a domain: where it is, and how the way to it is protected.

use std::net::IpAddr;

use crate::file::Read;
use crate::site::Error;
use crate::site::settings;
use crate::site::settings::Backend;
use crate::site::settings::Written;
use crate::site::settings::shown;
use crate::tls::client;
use crate::tls::client::Identity;

/// An XMPP server, as a visitor is signed in to it.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its port for clients, as `host:port`, or its socket, as `unix:` and a path; also what it is called.
    pub address: String,
    /// How the way to it is protected.
    pub security: Security,
    /// Whether what will surely come next is sent before it has answered.
    pub pipelining: bool,
    /// Whether it is told the visitor's address.
    pub proxy_protocol: bool,
}

/// How the way to a server is protected.
#[derive(Debug, Clone)]
pub enum Security {
    /// Not at all: it does not leave this machine.
    None,
    /// TLS that begins on the port for clients, or no sign-in (RFC 6120 §5).
    StartTls(Identity),
    /// TLS from the first byte (XEP-0368).
    Tls(Identity),
}

impl Upstream {
    /// A server on this machine, with everything else at its default.
    #[must_use]
    pub fn local(address: &str) -> Self {
        let address = address.to_owned();
        Self { address, security: Security::None, pipelining: true, proxy_protocol: false }
    }

    /// Makes a server of what the administrator wrote.
    pub(super) fn new(written: &settings::XmppDomain, read: Read) -> Result<Self, Error> {
        let (domain, authority) = (written.domain.0.as_str(), written.authority.as_deref());
        let no_identity = |error: client::Error| Error::NoIdentity(error.to_string());
        let security = match written.security {
            settings::Security::None if !written.upstream.0.is_local() => {
                return Err(Error::InTheClear(written.upstream.0.0.clone()));
            }
            settings::Security::StartTls | settings::Security::Tls
                if written.upstream.0.is_socket() =>
            {
                return Err(Error::SocketWithTls);
            }
            settings::Security::None if authority.is_some() => return Err(Error::UnusedAuthority),
            settings::Security::None => Security::None,
            settings::Security::StartTls => {
                let identity = Identity::new(domain, authority, None, read);
                Security::StartTls(identity.map_err(no_identity)?)
            }
            settings::Security::Tls => {
                let identity = Identity::new(domain, authority, Some(ALPN), read);
                Security::Tls(identity.map_err(no_identity)?)
            }
        };
        Ok(Self {
            address: written.upstream.0.0.clone(),
            security,
            pipelining: written.pipelining,
            proxy_protocol: written.proxy_protocol,
        })
    }
}

/// Where a server listens for clients: `host:port`, or `unix:` and the path of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientPort(pub String);

impl Written for ClientPort {
    fn read(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "expected host:port, such as \"127.0.0.1:5222\", or \"unix:/run/ejabberd/c2s.sock\", not {}",
                shown(text)
            )
        };
        if let Some(path) = text.strip_prefix(UNIX) {
            let fits = path.starts_with('/') && path.len() <= LONGEST_PATH && !path.contains('\0');
            return if fits { Ok(Self(text.to_owned())) } else { Err(expected()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        if !port.parse().is_ok_and(|port: u16| port > 0) || host.is_empty() {
            return Err(expected());
        }
        // What may be the authority of a URL has neither spaces nor a path nor somebody before an @.
        Backend::read(&format!("http://{text}")).map_err(|_| expected())?;
        Ok(Self(text.to_owned()))
    }
}

impl ClientPort {
    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        if self.is_socket() {
            return true;
        }
        let host = self.0.rsplit_once(':').map_or(self.0.as_str(), |(host, _)| host);
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether it is a Unix socket.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.0.starts_with(UNIX)
    }
}

/// What the name of a Unix socket begins with.
pub const UNIX: &str = "unix:";
/// `sun_path` of unix(7), with its zero byte.
const LONGEST_PATH: usize = 107;

/// XEP-0368 §3.
const ALPN: &str = "xmpp-client";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_needs_a_port() {
        for right in ["127.0.0.1:5222", "[::1]:5222", "localhost:1", "unix:/run/c2s"] {
            assert_eq!(ClientPort::read(right).unwrap().0, right);
        }
        for wrong in [
            "",
            "localhost",
            ":5222",
            "localhost:0",
            "localhost:65536",
            "localhost:x",
            "a b:1",
            "a/b:1",
            "u@a:1",
            "unix:",
            "unix:run/c2s",
            &format!("unix:/{}", "x".repeat(107)),
        ] {
            assert!(ClientPort::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn upstream_on_another_machine_is_told_from_one_on_this() {
        for other in ["xmpp.example.org:5222", "192.0.2.1:5222", "[2001:db8::1]:5222"] {
            assert!(!ClientPort::read(other).unwrap().is_local(), "{other}");
        }
        for own in ["127.0.0.2:5222", "[::1]:5222", "localhost:1", "unix:/run/c2s"] {
            assert!(ClientPort::read(own).unwrap().is_local(), "{own}");
        }
    }
}

//! Where browsers are awaited: `[listen]`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::path::PathBuf;
use std::thread::available_parallelism;

use serde::Deserialize;

use crate::secret::Secret;
use crate::server::forwarded::Field;
use crate::server::forwarded::Proxy;
use crate::server::forwarded::Trust;
use crate::site::settings::Checked;
use crate::site::settings::Written;

/// The addresses that are listened on.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Addresses with TLS: HTTP/1.1 and HTTP/2.
    pub https: Vec<SocketAddr>,
    /// Plain HTTP/1.1 for a reverse proxy in front: a loopback address or `unix:` and a path.
    pub http: Vec<Checked<Plain>>,
    /// The reverse proxies that are believed about where browsers are: addresses or networks.
    pub trusted_proxies: Vec<Checked<Proxy>>,
    /// Where they write it.
    pub forwarded: Field,
    /// Whether each connection begins with the PROXY protocol, version 1 or 2, before TLS; others are closed.
    pub proxy_protocol: bool,
    /// How many threads serve browsers; see [`Settings::threads`].
    pub threads: Option<NonZeroUsize>,
    /// Whether other processes may listen on the same addresses, each of them with this set: then the kernel deals the
    /// connections out (`SO_REUSEPORT`). Not for Unix sockets, nor for `[internal]`.
    pub shared: bool,
}

/// Whose a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Of this process alone.
    Own,
    /// Of other processes as well, which say the same.
    Shared,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            https: vec![SocketAddr::from(([0; 8], 8443))],
            http: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded: Field::default(),
            proxy_protocol: false,
            threads: None,
            shared: false,
        }
    }
}

impl Settings {
    /// How many threads serve browsers: half as many as the machine has cores, unless told otherwise.
    ///
    /// The XMPP server and the site want the other half; and a message costs least where one thread finds several waiting
    /// (`benches/README.md`).
    #[must_use]
    pub fn threads(&self) -> NonZeroUsize {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.or(NonZeroUsize::new(cores / 2)).unwrap_or(NonZeroUsize::MIN)
    }

    /// Whose the ports are.
    #[must_use]
    pub fn port(&self) -> Port {
        if self.shared { Port::Shared } else { Port::Own }
    }

    /// Whom to believe about where browsers are.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let Self { trusted_proxies, forwarded, proxy_protocol, .. } = self;
        let proxies = trusted_proxies.clone();
        Trust { proxies, field: *forwarded, proxy_protocol: *proxy_protocol }
    }

    /// Whether nobody could come in: the PROXY protocol is asked for, and there is no proxy to speak it.
    #[must_use]
    pub fn asks_in_vain(&self) -> bool {
        let is_unix = |Checked(plain): &Checked<Plain>| matches!(plain, Plain::Unix(_));
        self.proxy_protocol && self.trusted_proxies.is_empty() && !self.http.iter().any(is_unix)
    }
}

/// `[internal]` of proxy.toml: where monitoring asks, apart from browsers.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Internal {
    /// Where; nowhere without. Plain HTTP on loopback and Unix sockets, HTTPS elsewhere.
    pub listen: Option<Checked<Address>>,
    /// What a request shows as `Authorization: Bearer`; anybody may ask without.
    pub secret: Option<Secret>,
}

/// An address of the internal listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Out of reach of others.
    Plain(Plain),
    /// Within it: HTTPS alone, and with a secret.
    Https(SocketAddr),
}

impl Internal {
    /// Whether it needs the certificates.
    #[must_use]
    pub fn is_https(&self) -> bool {
        matches!(self.listen, Some(Checked(Address::Https(_))))
    }

    /// Whether others could ask what they are not to know.
    #[must_use]
    pub fn lacks_a_secret(&self) -> bool {
        self.is_https() && self.secret.is_none()
    }
}

impl Address {
    /// The same, with a relative path taken from `folder`.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        match self {
            Self::Plain(plain) => Self::Plain(plain.below(folder)),
            Self::Https(address) => Self::Https(address),
        }
    }
}

impl Written for Address {
    fn read(text: &str) -> Result<Self, String> {
        match text.parse::<SocketAddr>() {
            Ok(address) if !address.ip().is_loopback() => Ok(Self::Https(address)),
            Ok(_) | Err(_) => Plain::read(text).map(Self::Plain),
        }
    }
}

/// Where plain HTTP is spoken: never where others could listen in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plain {
    /// An address of this machine alone.
    Loopback(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Plain {
    /// The same, with a relative path taken from `folder`.
    #[must_use]
    pub fn below(self, folder: &Path) -> Self {
        match self {
            Self::Loopback(address) => Self::Loopback(address),
            Self::Unix(path) => Self::Unix(folder.join(path)),
        }
    }
}

impl Written for Plain {
    fn read(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Ok(_) => Err(format!(
                "expected a loopback address: cookies do not leave this machine in the clear, as they would on {text}"
            )),
            Err(_) => Err(format!(
                "expected \"127.0.0.1:8080\" or \"unix:/run/vestibule.sock\", not {text:?}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_and_unix_sockets_alone() {
        for right in ["127.0.0.1:8080", "[::1]:80", "unix:/run/vestibule.sock"] {
            assert!(Plain::read(right).is_ok(), "{right}");
        }
        for wrong in
            ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "localhost:80", "unix:", "127.0.0.1"]
        {
            assert!(Plain::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn internal_listener_is_plain_on_this_machine_and_wants_a_secret_elsewhere() {
        let at = |text: &str| Internal {
            listen: Some(Checked(Address::read(text).unwrap())),
            secret: None,
        };

        for own in ["127.0.0.1:9464", "[::1]:9464", "unix:/run/internal.sock"] {
            assert!(!at(own).is_https() && !at(own).lacks_a_secret(), "{own}");
        }
        for seen in ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464"] {
            assert!(at(seen).is_https() && at(seen).lacks_a_secret(), "{seen}");
            assert!(!Internal { secret: Some(Secret::new("s")), ..at(seen) }.lacks_a_secret());
        }
        assert!(Address::read("9464").is_err());
    }

    #[test]
    fn relative_socket_is_below_the_folder() {
        let socket = Plain::read("unix:run/v.sock").unwrap();

        assert_eq!(
            socket.below(Path::new("/etc/vestibule")),
            Plain::Unix("/etc/vestibule/run/v.sock".into())
        );
    }
}

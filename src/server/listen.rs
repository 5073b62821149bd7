//! Where browsers are awaited: `[listen]`.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

use crate::server::forwarded::Proxy;
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
    /// The reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: addresses or networks.
    pub trusted_proxies: Vec<Checked<Proxy>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            https: vec![SocketAddr::from(([0; 8], 8443))],
            http: Vec::new(),
            trusted_proxies: Vec::new(),
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
    fn relative_socket_is_below_the_folder() {
        let socket = Plain::read("unix:run/v.sock").unwrap();

        assert_eq!(
            socket.below(Path::new("/etc/vestibule")),
            Plain::Unix("/etc/vestibule/run/v.sock".into())
        );
    }
}

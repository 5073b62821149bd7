//! The origin of a page: scheme, host and port (RFC 6454), compared as browsers compare it.

use std::fmt;
use std::str::FromStr;

/// Where a page comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

/// The schemes that pages with a chat can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scheme {
    Http,
    Https,
}

/// A text that is not the origin of a page; the `null` of a sandboxed frame is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the origin of a page")]
pub struct NotAnOrigin;

impl Origin {
    /// `https://` and the host, which is in lower case.
    #[must_use]
    pub fn of_host(host: &str) -> Self {
        Self { scheme: Scheme::Https, host: host.to_owned(), port: Scheme::Https.port() }
    }

    /// The origin of the page that a `Referer` names.
    ///
    /// # Errors
    /// [`NotAnOrigin`] when it names no page of the web.
    pub fn of_url(url: &str) -> Result<Self, NotAnOrigin> {
        let (scheme, rest) = url.split_once("://").ok_or(NotAnOrigin)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        Self::of_parts(scheme, authority)
    }

    /// The host, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is reached at this host and port; without one, at the port of its scheme.
    #[must_use]
    pub fn is_at(&self, host: &str, port: Option<u16>) -> bool {
        self.host == host && self.port == port.unwrap_or(self.scheme.port())
    }

    /// The same place with the scheme of RFC 6455: `wss://…` for `https://…`.
    #[must_use]
    pub fn for_websocket(&self) -> String {
        match self.scheme {
            Scheme::Http => format!("ws://{}", self.authority()),
            Scheme::Https => format!("wss://{}", self.authority()),
        }
    }

    fn authority(&self) -> String {
        if self.port == self.scheme.port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn of_parts(scheme: &str, authority: &str) -> Result<Self, NotAnOrigin> {
        let scheme = Scheme::of(scheme).ok_or(NotAnOrigin)?;
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address stand within brackets.
            Some((host, port)) if !port.contains(']') => (host, port_of(port)?),
            Some(_) | None => (authority, scheme.port()),
        };
        Ok(Self { scheme, host: host_of(host).ok_or(NotAnOrigin)?, port })
    }
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let (scheme, authority) = text.split_once("://").ok_or(NotAnOrigin)?;
        Self::of_parts(scheme, authority)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

impl Scheme {
    fn of(text: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Digits alone: `parse` would also take a sign.
fn port_of(text: &str) -> Result<u16, NotAnOrigin> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_| NotAnOrigin)
    } else {
        Err(NotAnOrigin)
    }
}

/// The host in lower case, an IPv6 address in its one short form (RFC 5952); nothing where it is none.
///
/// A name with other letters than these is written in punycode, as browsers do.
fn host_of(text: &str) -> Option<String> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<std::net::Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    // A final dot names the same machine, but browsers hold it for another origin, and so do we: nobody writes it.
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = !text.is_empty() && !text.ends_with('.') && text.bytes().all(letters);
    is_name.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn origins_are_equal_whatever_case_and_default_port() {
        assert_eq!(origin("https://www.example.org"), origin("HTTPS://WWW.example.ORG:443"));
        assert_eq!(origin("http://localhost"), origin("http://localhost:80"));
        assert_eq!(origin("https://[0:0::1]:8443"), origin("https://[::1]:8443"));
    }

    #[test]
    fn origins_differ_by_scheme_host_and_port() {
        let page = origin("https://www.example.org");

        for other in
            ["http://www.example.org", "https://example.org", "https://www.example.org:8443"]
        {
            assert_ne!(page, origin(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        let wrong = [
            "null",
            "",
            "https://",
            "https://a/",
            "https://a/b",
            "https://u@a",
            "https://a:",
            "https://a:+1",
            "https://a:99999",
            "wss://a",
            "https://a b",
            "https://a\\.b",
            "https://[a]",
            "https://a.",
            "https://bücher.example",
            "https://[::1",
            "https://::1",
            "//a",
            "https:a",
        ];
        for text in wrong {
            // An empty port is a port to no browser.
            assert_eq!(text.parse::<Origin>(), Err(NotAnOrigin), "{text}");
        }
    }

    #[test]
    fn origin_of_a_url_is_what_stands_before_its_path() {
        for url in [
            "https://a.example/b?c#d",
            "https://a.example",
            "https://a.example?x=https://b.example/",
        ] {
            assert_eq!(Origin::of_url(url).unwrap(), origin("https://a.example"), "{url}");
        }
        assert_eq!(Origin::of_url("https://a.example@evil.example/"), Err(NotAnOrigin));
        assert_eq!(Origin::of_url("about:blank"), Err(NotAnOrigin));
    }

    #[test]
    fn origin_is_shown_without_its_default_port() {
        assert_eq!(origin("https://[::1]:443").to_string(), "https://[::1]");
        assert_eq!(origin("https://localhost:8443").to_string(), "https://localhost:8443");
        assert_eq!(origin("https://localhost:8443").for_websocket(), "wss://localhost:8443");
    }
}

//! What the administrator writes about one website, below `[[site]]` in `proxy.toml`.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error as _;

use crate::protocol::jid::Case;
use crate::protocol::jid::Domain;
use crate::protocol::jid::Localpart;
use crate::secret::Secret;
use crate::site::jwt;
use crate::site::page::Origin;
use crate::site::upstream::ClientPort;

/// One `[[site]]`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The host names under which it is reached, without a port; the first is its name in logs.
    pub hosts: Vec<Checked<Host>>,
    /// The origins whose pages may speak for a visitor; by default `https://` and each host.
    #[serde(default)]
    pub origins: Vec<Checked<Origin>>,
    /// The web server that has everything that is not Vestibule's own: `http://` or `https://`, host and port.
    #[serde(default)]
    pub backend: Option<Checked<Backend>>,
    /// What becomes of a visitor without a valid session; by default a guest where there is `[site.guests]`.
    #[serde(default)]
    pub without_session: Option<WithoutSession>,
    /// What becomes of capitals in a username.
    #[serde(default)]
    pub usernames: Usernames,
    /// Localparts that no visitor is given: at least the server's administrators; `admin` unless told.
    #[serde(default = "administrators")]
    pub reserved: Vec<Checked<Localpart>>,
    /// Routes that pages may ask for in a session over BOSH, beside those to the site's own domains: `proto:host:port`. They change
    /// nothing.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Longest time a request over BOSH is held, where something before the site cuts it short; by default that of all sites,
    /// which it never exceeds.
    #[serde(default, with = "humantime_serde::option")]
    pub wait: Option<Duration>,
    /// The domain of the site's rooms.
    #[serde(default)]
    pub rooms: Option<Checked<Domain>>,
    /// Where members are at home.
    #[serde(default)]
    pub registered: Option<XmppDomain>,
    /// Where guests are.
    #[serde(default)]
    pub guests: Option<XmppDomain>,
    /// How the site knows its visitors.
    #[serde(default)]
    pub session: Session,
}

/// What becomes of a visitor whom the site does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum WithoutSession {
    /// A guest.
    Guest,
    /// Nobody is let in.
    Refuse,
}

/// What becomes of capitals in a username.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Usernames {
    /// `Bob` is `bob`: for sites where the two are one user.
    #[default]
    Fold,
    /// `Bob` is not let in: for sites where `bob` may be somebody else.
    Exact,
}

impl From<Usernames> for Case {
    fn from(usernames: Usernames) -> Self {
        match usernames {
            Usernames::Fold => Self::Fold,
            Usernames::Exact => Self::Exact,
        }
    }
}

/// `[site.registered]` or `[site.guests]`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct XmppDomain {
    /// What follows the `@`.
    pub domain: Checked<Domain>,
    /// The client port of the server that serves it, as `host:port`.
    pub upstream: Checked<ClientPort>,
    /// How the connection to it is protected.
    #[serde(default)]
    pub security: Security,
    /// The authorities that may say who the server is, PEM; by default those that this machine believes.
    #[serde(default)]
    pub authority: Option<PathBuf>,
    /// Whether what will surely come next is sent before the server has answered.
    #[serde(default = "yes")]
    pub pipelining: bool,
    /// Whether the server is told the visitor's address, by a header of the PROXY protocol (version 2).
    #[serde(default)]
    pub proxy_protocol: bool,
    /// What the server is shown in place of a password.
    #[serde(default)]
    pub pass: Pass,
    /// What signs a ticket or a JWT; the server has the same.
    #[serde(default)]
    pub secret: Option<Secret>,
}

/// The ways to protect a connection to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// It does not leave this machine.
    #[default]
    None,
    /// TLS begins on the port for clients (RFC 6120 §5); without it there is no sign-in.
    StartTls,
    /// TLS from the first byte, on a port of its own (XEP-0368).
    Tls,
}

fn yes() -> bool {
    true
}

impl Settings {
    /// Makes the paths that are relative relative to `folder`.
    pub fn take_paths_from(&mut self, folder: &Path) {
        for home in [&mut self.registered, &mut self.guests].into_iter().flatten() {
            home.authority = home.authority.as_ref().map(|path| folder.join(path));
        }
    }
}

fn administrators() -> Vec<Checked<Localpart>> {
    Localpart::parse("admin").map(Checked).into_iter().collect()
}

/// The ways to sign a visitor in upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// A one-time ticket that the server's module believes.
    #[default]
    Ticket,
    /// A JWT that says who the visitor is, in the claim `jid`; HS256.
    Jwt,
    /// SASL ANONYMOUS.
    Anonymous,
}

/// `[site.session]`: how the site's own session tells who a visitor is.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The site is asked.
    #[serde(default)]
    pub whois: Option<Whois>,
    /// The cookie says it and is signed.
    #[serde(default)]
    pub jwt: Option<jwt::Settings>,
}

/// `[site.session.whois]`: the site is asked whose cookie it is.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(from = "WrittenWhois")]
pub struct Whois {
    /// Where it is asked.
    #[cfg_attr(test, serde(serialize_with = "as_text"))]
    pub url: Uri,
    /// What proves to the site that Vestibule asks: `Authorization: Bearer`.
    pub secret: Secret,
    /// The cookies that are shown to the site, and no others.
    pub cookies: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWhois {
    url: Checked<Address>,
    secret: Secret,
    cookies: Vec<Checked<CookieName>>,
}

impl From<WrittenWhois> for Whois {
    fn from(written: WrittenWhois) -> Self {
        let cookies = written.cookies.into_iter().map(|name| name.0.0).collect();
        Self { url: written.url.0.0, secret: written.secret, cookies }
    }
}

/// A value that is checked while it is read, so that what is wrong is told by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked<T>(pub T);

/// What can be read from one text of `proxy.toml`.
pub trait Written: Sized {
    /// Reads the text.
    ///
    /// # Errors
    /// What was expected instead.
    fn read(text: &str) -> Result<Self, String>;
}

impl<'de, T: Written> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::read(&text).map(Self).map_err(D::Error::custom)
    }
}

// Tests compare keys, and a value that was read is as good as any.
/// What was written in the place of a URL, without the name and the password that may stand before an `@`: what is wrong in a
/// configuration ends in a log.
#[must_use]
pub fn shown(text: &str) -> String {
    let Some((before, host)) = text.rsplit_once('@') else { return format!("{text:?}") };
    let scheme = before.split_once("//").map_or("", |(scheme, _)| scheme);
    let slashes = if scheme.is_empty() { "" } else { "//" };
    format!("{:?}, where nothing may stand before the @", format!("{scheme}{slashes}…@{host}"))
}

#[cfg(test)]
impl<T: std::fmt::Debug> serde::Serialize for Checked<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:?}", self.0))
    }
}

#[cfg(test)]
fn as_text<S: serde::Serializer>(value: &Uri, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A host name in lower case, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(pub String);

/// The URL of something on a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub Uri);

/// The URL of a web server, without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend(pub Uri);

/// The name of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieName(pub String);

impl Written for Host {
    fn read(text: &str) -> Result<Self, String> {
        let host = text.to_ascii_lowercase();
        if Origin::of_host(&host).to_string().parse() == Ok(Origin::of_host(&host)) {
            Ok(Self(host))
        } else {
            Err(format!("expected a host name without scheme and port, not {}", shown(text)))
        }
    }
}

impl Written for Origin {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!("expected an origin such as \"https://www.example.org\", not {}", shown(text))
        })
    }
}

impl Written for Address {
    fn read(text: &str) -> Result<Self, String> {
        let expected = || format!("expected an http:// or https:// URL, not {}", shown(text));
        let url: Uri = text.parse().map_err(|_| expected())?;
        let web = matches!(url.scheme_str(), Some("http" | "https"));
        if web && url.authority().is_some_and(|authority| !authority.as_str().contains('@')) {
            Ok(Self(url))
        } else {
            Err(expected())
        }
    }
}

impl Written for Backend {
    fn read(text: &str) -> Result<Self, String> {
        let Address(url) = Address::read(text)?;
        if url.path() == "/" && url.query().is_none() {
            Ok(Self(url))
        } else {
            Err(format!(
                "expected a URL without a path, such as \"http://127.0.0.1:8080\", not {}",
                shown(text)
            ))
        }
    }
}

impl Written for CookieName {
    fn read(text: &str) -> Result<Self, String> {
        let forbidden =
            |byte: u8| !byte.is_ascii_graphic() || b"()<>@,;:\\\"/[]?={}".contains(&byte);
        if text.is_empty() || text.bytes().any(forbidden) {
            return Err(format!("expected the name of a cookie, not {text:?}"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Written for Domain {
    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| format!("expected an XMPP domain, not {text:?}: {error}"))
    }
}

impl Written for Localpart {
    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| {
            format!("expected the part before the @ of an address, not {text:?}: {error}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_folded_and_has_no_port_or_scheme() {
        assert_eq!(Host::read("WWW.Example.org").unwrap().0, "www.example.org");
        for wrong in ["", "a:443", "https://a", "a/b", "a b", "a."] {
            assert!(Host::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn backend_is_a_web_server_without_a_path() {
        for right in ["http://127.0.0.1:8080", "https://cms.example.org/"] {
            assert!(Backend::read(right).is_ok(), "{right}");
        }
        for wrong in
            ["127.0.0.1:8080", "ftp://a", "http://a/b", "http://a/?b", "http://u:p@a", "/a"]
        {
            assert!(Backend::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cookie_name_is_a_token() {
        assert!(CookieName::read("__Host-PHPSESSID").is_ok());
        for wrong in ["", "a b", "a=b", "a;b", "ä"] {
            assert!(CookieName::read(wrong).is_err(), "{wrong}");
        }
    }
}

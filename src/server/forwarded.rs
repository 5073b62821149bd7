//! Which reverse proxies are believed, and so who the browser is by address.

mod element;

use std::net::IpAddr;
use std::net::SocketAddr;

use hyper::HeaderMap;
use hyper::header;
use hyper::header::HeaderName;
use ipnet::IpNet;
use serde::Deserialize;

use crate::server::forwarded::element::Elements;
use crate::site::settings::Checked;
use crate::site::settings::Written;

/// A reverse proxy that is believed: one address, or a network of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxy(IpNet);

impl Written for Proxy {
    fn read(text: &str) -> Result<Self, String> {
        let one = |address: IpAddr| Self(IpNet::from(address));
        text.parse().map(Self).or_else(|_| text.parse().map(one)).map_err(|_| {
            format!("expected an address or a network, such as \"127.0.0.1\" or \"10.0.0.0/8\", not {text:?}")
        })
    }
}

/// Who has connected to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// Over TCP, from this address.
    Address(IpAddr),
    /// Over a Unix socket: a reverse proxy on this machine, which is always believed, as nobody else can reach it.
    UnixSocket,
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The address of the browser.
    pub address: IpAddr,
    /// Whether the browser is on TLS, with us or with a reverse proxy that is believed.
    pub https: bool,
}

/// Which reverse proxies are believed, and in which of their words.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The proxies.
    pub proxies: Vec<Checked<Proxy>>,
    /// What they write.
    pub field: Field,
    /// Whether each connection of theirs begins with the PROXY protocol.
    pub proxy_protocol: bool,
}

/// The header field in which proxies say who the browser is.
///
/// There is one: a proxy that writes one field lets pass what a browser has written into the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Trust {
    /// Whether who connected is a proxy that is believed.
    #[must_use]
    pub fn believes(&self, neighbour: Neighbour) -> bool {
        match neighbour {
            Neighbour::Address(address) => self.is_proxy(address),
            Neighbour::UnixSocket => true,
        }
    }

    /// Where a request comes from, which `neighbour` has brought, over TLS or not.
    ///
    /// The header field is believed from the right, as far as the addresses are of trusted proxies.
    #[must_use]
    pub fn source(&self, neighbour: Neighbour, https: bool, headers: &HeaderMap) -> Source {
        let address = match neighbour {
            Neighbour::Address(address) => address.to_canonical(),
            Neighbour::UnixSocket => IpAddr::from([127, 0, 0, 1]),
        };
        if !self.believes(neighbour) {
            return Source { address, https };
        }
        match self.field {
            Field::XForwardedFor => {
                let fields = headers.get_all(X_FORWARDED_FOR).iter().rev();
                let shown = fields
                    .flat_map(|field| field.to_str().unwrap_or_default().rsplit(','))
                    .map(address_of);
                // The last one is what the proxy next to us has written or let stand.
                let proto = headers.get_all(X_FORWARDED_PROTO).iter().next_back();
                let proto = proto.and_then(|field| field.to_str().ok()?.rsplit(',').next());
                let https = https || proto.is_some_and(is_https);
                Source { address: self.first_stranger(address, shown), https }
            }
            Field::Forwarded => {
                let elements = || {
                    let fields = headers.get_all(header::FORWARDED).iter().rev();
                    fields.flat_map(|field| Elements::of(field.to_str().unwrap_or("?")))
                };
                let shown = elements().map(|element| address_of(&element?.node?));
                let proto = elements().next().flatten().and_then(|element| element.proto);
                let https = https || proto.as_deref().is_some_and(is_https);
                Source { address: self.first_stranger(address, shown), https }
            }
        }
    }

    /// The first address that is no proxy's; what is no address was not written by a proxy that we believe, and who brought
    /// it is all we know.
    fn first_stranger(
        &self,
        neighbour: IpAddr,
        shown: impl Iterator<Item = Option<IpAddr>>,
    ) -> IpAddr {
        let mut address = neighbour;
        for hop in shown {
            let Some(hop) = hop else { break };
            address = hop;
            if !self.is_proxy(hop) {
                break;
            }
        }
        address
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|Checked(Proxy(net))| net.contains(&address.to_canonical()))
    }
}

fn is_https(proto: &str) -> bool {
    proto.trim().eq_ignore_ascii_case("https")
}

/// Some proxies add the port, and then brackets to IPv6.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    // A zone (RFC 4007 §11) has a meaning only on the machine that names it.
    if text.contains('%') {
        return None;
    }
    let address = text
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    address.map(|address: IpAddr| address.to_canonical())
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn seen(
        neighbour: Neighbour,
        forwarded_for: &[&'static str],
        proto: &'static str,
    ) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for field in forwarded_for {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(field));
        }
        headers.append(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
        let source = trust(Field::XForwardedFor).source(neighbour, false, &headers);
        (source.address.to_string(), source.https)
    }

    fn trust(field: Field) -> Trust {
        let proxies = ["127.0.0.1", "10.0.0.0/8"].map(|text| Checked(Proxy::read(text).unwrap()));
        Trust { proxies: proxies.to_vec(), field, proxy_protocol: false }
    }

    fn seen_in_forwarded(fields: &[&'static str]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::FORWARDED, HeaderValue::from_static(field));
        }
        // What a browser may write beside it.
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
        let source = trust(Field::Forwarded).source(from("127.0.0.1"), false, &headers);
        (source.address.to_string(), source.https)
    }

    fn from(address: &str) -> Neighbour {
        Neighbour::Address(address.parse().unwrap())
    }

    #[test]
    fn stranger_is_not_believed() {
        assert_eq!(
            seen(from("192.0.2.7"), &["198.51.100.1"], "https"),
            ("192.0.2.7".into(), false)
        );
    }

    #[test]
    fn trusted_proxy_says_who_the_browser_is() {
        assert_eq!(
            seen(from("127.0.0.1"), &["198.51.100.1"], "https"),
            ("198.51.100.1".into(), true)
        );
        assert_eq!(
            seen(from("::ffff:127.0.0.1"), &["[2001:db8::1]:4711"], "http"),
            ("2001:db8::1".into(), false)
        );
        assert_eq!(
            seen(Neighbour::UnixSocket, &["198.51.100.1"], "https"),
            ("198.51.100.1".into(), true)
        );
    }

    #[test]
    fn what_a_browser_puts_before_the_proxies_is_not_believed() {
        let forged = ["203.0.113.9, 198.51.100.1", "10.1.2.3"];

        assert_eq!(seen(from("127.0.0.1"), &forged, "http, https"), ("198.51.100.1".into(), true));
    }

    #[test]
    fn garbage_ends_the_belief() {
        assert_eq!(
            seen(from("127.0.0.1"), &["198.51.100.1, unknown, 10.1.2.3"], "x").0,
            "10.1.2.3"
        );
        assert_eq!(seen(from("127.0.0.1"), &[""], "x").0, "127.0.0.1");
    }

    #[test]
    fn address_with_a_zone_is_nobody_s_with_a_port_or_without() {
        for zoned in ["fe80::7%1", "[fe80::7%1]", "[fe80::7%1]:4711", "[fe80::7%eth0]:4711"] {
            assert_eq!(seen(from("127.0.0.1"), &[zoned], "x").0, "127.0.0.1", "{zoned}");
        }
    }

    #[test]
    fn forwarded_is_read_from_the_right_where_it_is_what_proxies_write() {
        for (fields, address, https) in [
            (&["for=192.0.2.43;proto=https"][..], "192.0.2.43", true),
            (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17", false),
            (&["for=\"[2001:db8:cafe::17]\""], "2001:db8:cafe::17", false),
            (&["for=203.0.113.9, for=192.0.2.43", "proto=http;for=10.1.2.3"], "192.0.2.43", false),
            (&["for=203.0.113.9;proto=https, for=192.0.2.43;proto=http"], "192.0.2.43", false),
            // RFC 7239 §6: who is hidden, or not known.
            (&["for=192.0.2.43, for=_hidden"], "127.0.0.1", false),
            (&["for=192.0.2.43, for=unknown, for=10.1.2.3"], "10.1.2.3", false),
            (&["by=203.0.113.43;proto=https"], "127.0.0.1", true),
            // A quote that a browser opens swallows nothing of what the proxy writes behind it.
            (&["for=\"203.0.113.9, for=192.0.2.43"], "192.0.2.43", false),
            (&[""], "127.0.0.1", false),
        ] {
            assert_eq!(seen_in_forwarded(fields), (address.to_owned(), https), "{fields:?}");
        }
    }

    #[test]
    fn forwarded_is_not_believed_where_proxies_write_the_other() {
        let mut headers = HeaderMap::new();
        headers.append(header::FORWARDED, HeaderValue::from_static("for=203.0.113.9;proto=https"));

        let source = trust(Field::XForwardedFor).source(from("127.0.0.1"), false, &headers);

        assert_eq!((source.address.to_string(), source.https), ("127.0.0.1".to_owned(), false));
    }
}

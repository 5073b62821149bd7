//! Which reverse proxies are believed, and so who the browser is by address.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::HeaderName;
use ipnet::IpNet;

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

/// Where a request comes from, which `neighbour` has brought, over TLS or not.
///
/// Its `X-Forwarded-For` is believed from the right, as far as the addresses are of trusted proxies.
#[must_use]
pub fn source(
    neighbour: Neighbour,
    https: bool,
    headers: &HeaderMap,
    trusted: &[Checked<Proxy>],
) -> Source {
    let is_trusted = |address: IpAddr| {
        trusted.iter().any(|Checked(Proxy(net))| net.contains(&address.to_canonical()))
    };
    let mut address = match neighbour {
        Neighbour::Address(address) if !is_trusted(address) => {
            return Source { address: address.to_canonical(), https };
        }
        Neighbour::Address(address) => address.to_canonical(),
        Neighbour::UnixSocket => IpAddr::from([127, 0, 0, 1]),
    };
    let fields = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let shown =
        fields.flat_map(|field| field.to_str().unwrap_or_default().rsplit(',')).map(address_of);
    for hop in shown {
        // What is no address was not written by a proxy that we believe; who brought it is all we know.
        let Some(hop) = hop else { break };
        address = hop;
        if !is_trusted(hop) {
            break;
        }
    }
    // The last one is what the proxy next to us has written or let stand.
    let proto =
        headers.get_all(X_FORWARDED_PROTO).iter().next_back().and_then(|field| field.to_str().ok());
    let proto = proto.and_then(|list| list.rsplit(',').next()).map(str::trim);
    Source {
        address,
        https: https || proto.is_some_and(|proto| proto.eq_ignore_ascii_case("https")),
    }
}

/// Some proxies add the port, and then brackets to IPv6.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text
        .parse()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
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
        let trusted = ["127.0.0.1", "10.0.0.0/8"].map(|text| Checked(Proxy::read(text).unwrap()));
        let source = source(neighbour, false, &headers, &trusted);
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
}

//! The header of the PROXY protocol: whose connection this is, before anything else is said on it.

use std::io;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use ppp::v2::Builder;
use ppp::v2::Command;
use ppp::v2::IPv4;
use ppp::v2::IPv6;
use ppp::v2::Protocol;
use ppp::v2::Version;

/// Version 2 of the header, for a visitor at `visitor` and the server at `server`.
///
/// Which port the visitor came from is not known here, and of no interest: it stays 0.
pub(super) fn header(visitor: IpAddr, server: SocketAddr) -> io::Result<Vec<u8>> {
    let command = Version::Two | Command::Proxy;
    // A socket for both families shows an IPv4 address in the clothes of IPv6.
    let (visitor, at) = (visitor.to_canonical(), server.ip().to_canonical());
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (visitor, at) else {
        let (source, destination) = (wide(visitor), wide(at));
        let addresses = IPv6::new(source, destination, 0, server.port());
        return Builder::with_addresses(command, Protocol::Stream, addresses).build();
    };
    let addresses = IPv4::new(source, destination, 0, server.port());
    Builder::with_addresses(command, Protocol::Stream, addresses).build()
}

/// Both addresses of a header are of one family.
fn wide(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

    fn header_of(visitor: &str, server: &str) -> Vec<u8> {
        header(visitor.parse().unwrap(), server.parse().unwrap()).unwrap()
    }

    #[test]
    fn header_is_as_the_specification_has_it() {
        // The PROXY protocol, §2.2: version 2, PROXY, TCP over IPv4, 12 bytes of addresses.
        let addresses = [192, 0, 2, 7, 127, 0, 0, 1, 0, 0, 0x14, 0x66];
        let expected = [&SIGNATURE[..], &[0x21, 0x11, 0, 12], &addresses].concat();

        assert_eq!(header_of("192.0.2.7", "127.0.0.1:5222"), expected);
        assert_eq!(header_of("::ffff:192.0.2.7", "127.0.0.1:5222"), expected);
    }

    #[test]
    fn addresses_of_two_families_are_told_as_ipv6() {
        let header = header_of("2001:db8::7", "127.0.0.1:5222");

        assert_eq!(header.get(12..16), Some(&[0x21, 0x21, 0, 36][..]));
        assert_eq!(header.get(42..48), Some(&[0xff, 0xff, 127, 0, 0, 1][..]));
        let other = header_of("192.0.2.7", "[::1]:5222");
        assert_eq!(other.get(26..32), Some(&[0xff, 0xff, 192, 0, 2, 7][..]));
    }
}

//! The PROXY protocol: what a load balancer says about a browser before the browser's own first byte.

use std::io;
use std::net::IpAddr;

use ppp::v1;
use ppp::v2;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;

/// Why a connection does not begin as it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The connection broke, or ended within the header.
    #[error("the PROXY header broke off")]
    Broken(#[from] io::Error),
    /// Something else was said.
    #[error("no PROXY header, or a malformed one")]
    Malformed,
    /// The header is longer than any needs to be.
    #[error("the PROXY header is longer than {LONGEST} bytes")]
    TooLong,
}

/// Reads the header, version 1 or 2, and no byte behind it; the address of the browser, where the proxy says one.
///
/// It says none where it speaks for itself (`LOCAL`), or does not know. Not cancel safe; the caller bounds the time.
///
/// # Errors
/// Any [`Error`].
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, Error> {
    // The shortest of all, "PROXY UNKNOWN\r\n", is longer than this.
    let mut header = vec![0; SIGNATURE.len()];
    from.read_exact(&mut header).await?;
    if header == SIGNATURE { read_v2(from, header).await } else { read_v1(from, header).await }
}

async fn read_v2(
    from: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<IpAddr>, Error> {
    // Version and command, family, and the length of the rest.
    let mut fixed = [0; 4];
    from.read_exact(&mut fixed).await?;
    header.extend_from_slice(&fixed);
    let [_, _, high, low] = fixed;
    let before = header.len();
    let length = before + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(Error::TooLong);
    }
    header.resize(length, 0);
    from.read_exact(header.get_mut(before..).unwrap_or_default()).await?;
    let header = v2::Header::try_from(header.as_slice()).map_err(|_| Error::Malformed)?;
    Ok(match (header.command, header.addresses) {
        (v2::Command::Proxy, v2::Addresses::IPv4(both)) => Some(both.source_address.into()),
        (v2::Command::Proxy, v2::Addresses::IPv6(both)) => Some(both.source_address.into()),
        (v2::Command::Local, _) | (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    })
}

async fn read_v1(
    from: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<IpAddr>, Error> {
    if !header.starts_with(b"PROXY ") {
        return Err(Error::Malformed);
    }
    // Byte by byte, as what follows the line is the browser's.
    while !header.ends_with(b"\r\n") {
        if header.len() >= LONGEST_LINE {
            return Err(Error::TooLong);
        }
        header.push(from.read_u8().await?);
    }
    let header = v1::Header::try_from(header.as_slice()).map_err(|_| Error::Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(both) => Some(both.source_address.into()),
        v1::Addresses::Tcp6(both) => Some(both.source_address.into()),
        v1::Addresses::Unknown => None,
    })
}

/// How version 2 begins (§2.2 of the specification).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1 (§2.1 of the specification).
const LONGEST_LINE: usize = 107;
/// Of version 2, additions included: what everybody must be able to take at once (§2.2 of the specification).
const LONGEST: usize = 536;

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(bytes: &[u8]) -> (Result<Option<IpAddr>, Error>, Vec<u8>) {
        let mut rest = bytes;
        let told = read(&mut rest).await;
        (told, rest.to_vec())
    }

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, payload].concat()
    }

    // §2.1 and §2.2 of the specification.
    const IPV4: [u8; 12] = [192, 0, 2, 7, 192, 0, 2, 1, 0x12, 0x34, 0x01, 0xbb];

    #[tokio::test]
    async fn both_versions_tell_the_address_and_leave_what_follows() {
        let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 4660 443\r\n\x16\x03".to_vec();
        let binary = [v2(1, 0x11, &IPV4), b"\x16\x03".to_vec()].concat();
        let ipv6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4660 443\r\n\x16\x03".to_vec();

        for (bytes, address) in [(line, "192.0.2.7"), (binary, "192.0.2.7"), (ipv6, "2001:db8::7")]
        {
            let (told, rest) = told(&bytes).await;

            assert_eq!(told.unwrap(), Some(address.parse().unwrap()));
            assert_eq!(rest, b"\x16\x03");
        }
    }

    #[tokio::test]
    async fn proxy_may_speak_for_itself() {
        let long_unknown = b"PROXY UNKNOWN ffff:f... ignored\r\n".to_vec();
        for bytes in
            [b"PROXY UNKNOWN\r\n".to_vec(), long_unknown, v2(0, 0, &[]), v2(0, 0x11, &IPV4)]
        {
            let (told, rest) = told(&bytes).await;

            assert_eq!(told.unwrap(), None, "{bytes:?}");
            assert!(rest.is_empty());
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let line_without_end = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        let too_long = v2(1, 0x11, &[0; 600]);
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.700 192.0.2.1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192".to_vec(),
            b"PROXY".to_vec(),
            v2(1, 0x11, &IPV4[..11]),
            v2(7, 0x11, &IPV4),
            line_without_end,
            too_long,
        ] {
            assert!(told(&bytes).await.0.is_err(), "{bytes:?}");
        }
    }
}

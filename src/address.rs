//! How much of a browser's address the log tells.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use serde::Deserialize;

/// What the log says of addresses: `[log] addresses`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// All of it.
    #[default]
    Full,
    /// The network: /24 of IPv4, /48 of IPv6.
    Truncated,
    /// Nothing.
    None,
}

/// An address as the log has it. Nothing else of a browser's address goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// The whole.
    Whole(IpAddr),
    /// The network that it is in.
    Network(IpAddr, u8),
    /// Nothing is said of it.
    Hidden,
}

impl Addresses {
    /// What the log says of this one.
    #[must_use]
    pub fn logged(self, address: IpAddr) -> Logged {
        match (self, address.to_canonical()) {
            (Self::Full, address) => Logged::Whole(address),
            (Self::Truncated, IpAddr::V4(address)) => {
                let network = Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8));
                Logged::Network(network.into(), 24)
            }
            (Self::Truncated, IpAddr::V6(address)) => {
                let network = Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80));
                Logged::Network(network.into(), 48)
            }
            (Self::None, _) => Logged::Hidden,
        }
    }
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(address) => address.fmt(f),
            Self::Network(network, bits) => write!(f, "{network}/{bits}"),
            Self::Hidden => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_told_as_far_as_it_is_to_be() {
        for (address, whole, network) in [
            ("192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            let address = address.parse().unwrap();

            assert_eq!(Addresses::Full.logged(address).to_string(), whole);
            assert_eq!(Addresses::Truncated.logged(address).to_string(), network);
            assert_eq!(Addresses::None.logged(address).to_string(), "-");
        }
    }
}

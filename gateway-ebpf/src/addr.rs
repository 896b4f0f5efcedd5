use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address in network order; IPv4 in its one canonical form, `::ffff:a.b.c.d`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [u8; 16]);

impl Address {
    /// An IPv4 address, from its bytes in network order.
    #[inline(always)]
    pub const fn v4([a, b, c, d]: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        matches!(self, Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..]))
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(Address(bytes): Address) -> Self {
        Ipv6Addr::from(bytes).to_canonical()
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(address.octets())
    }
}

/// A port in network order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Port(pub [u8; 2]);

impl From<u16> for Port {
    fn from(port: u16) -> Self {
        Self(port.to_be_bytes())
    }
}

impl From<Port> for u16 {
    fn from(Port(bytes): Port) -> Self {
        Self::from_be_bytes(bytes)
    }
}

const _: () = assert!(size_of::<Address>() == 16);
const _: () = assert!(size_of::<Port>() == 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_address_and_its_ipv4_are_one_address() {
        let v4: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(Address::from(v4), Address::from(mapped));
        assert!(Address::from(mapped).is_v4());
        assert_eq!(IpAddr::from(Address::from(mapped)), v4);
    }

    #[test]
    fn ipv6_keeps_its_bytes() {
        let v6: IpAddr = "2001:db8::ffff:1".parse().unwrap();
        assert!(!Address::from(v6).is_v4());
        assert_eq!(IpAddr::from(Address::from(v6)), v6);
    }

    #[test]
    fn ports_travel_in_network_order() {
        assert_eq!(Port::from(443), Port([0x01, 0xbb]));
        assert_eq!(u16::from(Port([0x01, 0xbb])), 443);
    }
}

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address in network order, as the four words in which the kernel shows it; IPv4 in its one canonical form,
/// `::ffff:a.b.c.d`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [u32; 4]);

/// The third word of an IPv4 address.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Address {
    /// An IPv4 address, from its word in network order.
    #[inline(always)]
    pub const fn v4(word: u32) -> Self {
        Self([0, 0, MAPPED, word])
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        matches!(self, Self([0, 0, MAPPED, _]))
    }

    /// The bytes in network order.
    #[inline(always)]
    pub fn octets(self) -> [u8; 16] {
        let Self([a, b, c, d]) = self;
        let ([a, b, c, d], mut octets) = ([a, b, c, d].map(u32::to_ne_bytes), [0; 16]);
        octets[..4].copy_from_slice(&a);
        octets[4..8].copy_from_slice(&b);
        octets[8..12].copy_from_slice(&c);
        octets[12..].copy_from_slice(&d);
        octets
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::from(v4),
            IpAddr::V6(v6) => {
                let word = |[a, b]: [u16; 2]| u32::from_be(u32::from(a) << 16 | u32::from(b));
                let [a, b, c, d, e, f, g, h] = v6.segments();
                Self([word([a, b]), word([c, d]), word([e, f]), word([g, h])])
            }
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(address.octets()).to_canonical()
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(u32::from_ne_bytes(address.octets()))
    }
}

/// A port in network order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Port(pub u16);

impl From<u16> for Port {
    fn from(port: u16) -> Self {
        Self(port.to_be())
    }
}

impl From<Port> for u16 {
    fn from(Port(port): Port) -> Self {
        Self::from_be(port)
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
        assert_eq!(Address::from(v6).octets()[..4], [0x20, 0x01, 0x0d, 0xb8]);
    }

    #[test]
    fn ports_travel_in_network_order() {
        assert_eq!(Port::from(443).0.to_ne_bytes(), [0x01, 0xbb]);
        assert_eq!(u16::from(Port::from(443)), 443);
    }
}

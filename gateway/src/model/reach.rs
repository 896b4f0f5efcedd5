use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Which addresses a name may have. Whoever controls the DNS of a name chooses its addresses, and must not reach what only the
/// node can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A third party's name: public unicast addresses, and these.
    Public(Vec<IpNet>),
    /// A server of the owner's own, which may be in a private network.
    Own,
}

impl Reach {
    /// Returns why a name may not have this address, if it may not. The address is canonical (no `::ffff:`).
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        match (self, special(address)?) {
            (_, Special::Never(why)) => Some(why),
            (Self::Own, Special::Private(_)) => None,
            (Self::Public(allowed), Special::Private(why)) => {
                (!allowed.iter().any(|net| net.contains(&address))).then_some(why)
            }
        }
    }

    /// Returns whether no name may have this address.
    pub fn is_never(address: IpAddr) -> bool {
        matches!(special(address), Some(Special::Never(_)))
    }
}

/// What is special about an address.
enum Special {
    /// Only the node itself, its link or nobody can have it.
    Never(&'static str),
    /// It can be reached from some networks only.
    Private(&'static str),
}

/// Returns what is special about an address (IANA special-purpose address registries; RFC 6890). Addresses for documentation and
/// benchmarks (192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 198.18.0.0/15, 2001:db8::/32, 3fff::/20) are not special here:
/// nothing internal has them, and test networks do.
fn special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<Special> {
    use Special::{Never, Private};
    /// The platform service of Azure's virtual machines.
    const AZURE: [u8; 4] = [168, 63, 129, 16];
    let octets = address.octets();
    Some(match octets {
        [0, ..] => Never("it is in 0.0.0.0/8, this network (RFC 1122)"),
        [127, ..] => Never("it is a loopback address"),
        [169, 254, ..] => Never("it is a link-local address, as cloud metadata services have"),
        [224..=239, ..] => Never("it is a multicast address"),
        [255, 255, 255, 255] => Never("it is the broadcast address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Private("it is a private address (RFC 1918)"),
        [100, 64..=127, ..] => Private("it is in 100.64.0.0/10, shared address space (RFC 6598)"),
        [192, 0, 0, _] => Private("it is in 192.0.0.0/24, protocol assignments (RFC 6890)"),
        [192, 88, 99, _] => Private("it is in 192.88.99.0/24, 6to4 relays (RFC 7526)"),
        [240..=255, ..] => Private("it is a reserved address (RFC 1112)"),
        AZURE => Private("it is the platform address of a cloud"),
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<Special> {
    use Special::{Never, Private};
    if address.is_loopback() || address.is_unspecified() {
        return Some(Never("it is the loopback or the unspecified address"));
    }
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        special_v4(Ipv4Addr::new(a, b, c, d))
    };
    Some(match segments {
        [0, 0, 0, 0, 0, 0, ..] => Never("it is an IPv4-compatible address, which is not in use any more (RFC 4291)"),
        [0xfe80..=0xfebf, ..] => Never("it is a link-local address"),
        [0xff00..=0xffff, ..] => Never("it is a multicast address"),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => match embedded(high, low)? {
            Never(_) => Never("it leads to a special IPv4 address through NAT64"),
            Private(_) => Private("it leads to a special IPv4 address through NAT64"),
        },
        [0x2002, high, low, ..] => match embedded(high, low)? {
            Never(_) => Never("it leads to a special IPv4 address through 6to4"),
            Private(_) => Private("it leads to a special IPv4 address through 6to4"),
        },
        [0x2001, 2, 0, ..] => return None,
        [0x2001, 0..=0x1ff, ..] => Private("it is in 2001::/23, protocol assignments such as Teredo (RFC 2928)"),
        [0xfc00..=0xfdff, ..] => Private("it is a unique local address (RFC 4193)"),
        [0x2000..=0x3fff, ..] => return None,
        _ => Private("it is not in 2000::/3, the global unicast addresses"),
    })
}

#[cfg(test)]
mod tests {
    use super::Reach;

    #[test]
    fn a_public_name_has_public_addresses_only() {
        let public = Reach::Public(Vec::new());
        for (text, accepted) in [
            ("8.8.8.8", true),
            ("192.0.2.1", true),
            ("198.18.77.10", true),
            ("203.0.113.7", true),
            ("172.32.0.1", true),
            ("100.128.0.1", true),
            ("2001:db8::1", true),
            ("2606:4700::1", true),
            ("64:ff9b::808:808", true),
            ("2002:808:808::1", true),
            ("10.0.0.1", false),
            ("172.31.255.255", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("100.100.100.200", false),
            ("168.63.129.16", false),
            ("192.0.0.192", false),
            ("192.88.99.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("0.0.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("224.0.0.1", false),
            ("::", false),
            ("::1", false),
            ("::7f00:1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("fd00:ec2::254", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b:1::808:808", false),
            ("2002:7f00:1::", false),
            ("2002:a00:1::1", false),
            ("2001::1", false),
            ("2001:0:a00:1::1", false),
            ("100::1", false),
        ] {
            assert_eq!(public.refusal(text.parse().unwrap()).is_none(), accepted, "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_added_and_the_node_itself_never_is() {
        let allowed = ["10.1.0.0/16", "fd00::/8", "127.0.0.0/8", "64:ff9b::/96"].map(|net| net.parse().unwrap());
        let reach = Reach::Public(allowed.to_vec());
        for (text, accepted) in [
            ("8.8.8.8", true),
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("fd12::1", true),
            ("64:ff9b::10.0.0.1", true),
            ("64:ff9b::169.254.169.254", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(reach.refusal(text.parse().unwrap()).is_none(), accepted, "{text}");
        }
    }

    #[test]
    fn a_server_of_the_owners_own_may_be_private() {
        for (text, accepted) in
            [("10.0.0.1", true), ("fd00::1", true), ("127.0.0.1", false), ("169.254.169.254", false)]
        {
            assert_eq!(Reach::Own.refusal(text.parse().unwrap()).is_none(), accepted, "{text}");
        }
    }
}

//! Addresses and networks.

use std::net::IpAddr;

use ipnet::IpNet;

/// Parses an address, or a prefix of addresses.
///
/// # Errors
/// The rule that the text breaks, and the remedy.
pub(in crate::config::compile) fn addresses_of(text: &str) -> Result<IpNet, (&'static str, String)> {
    let text = text.trim();
    let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    let example = "write an address or a network, like 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32".to_owned();
    let net = parsed.ok_or(("this is neither an address nor a network", example))?;
    let canonical = net.addr().to_canonical();
    if net.addr() != canonical {
        return Err((
            "this is an IPv4 address written as IPv6",
            format!("write {canonical}, with a prefix of at most 32"),
        ));
    }
    if net.trunc() != net {
        let help = format!("write {} for the network, or {} for the address", net.trunc(), net.addr());
        return Err(("this network has host bits set", help));
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::addresses_of;

    #[test]
    fn addresses_and_prefixes_are_told_apart() {
        for (text, expected) in [
            ("203.0.113.7", Ok("203.0.113.7/32")),
            ("203.0.113.0/24", Ok("203.0.113.0/24")),
            ("2001:db8::1", Ok("2001:db8::1/128")),
            ("203.0.113.7/24", Err("write 203.0.113.0/24 for the network, or 203.0.113.7 for the address")),
            ("::ffff:203.0.113.7", Err("write 203.0.113.7, with a prefix of at most 32")),
            (
                "203.0.113.1-203.0.113.9",
                Err("write an address or a network, like 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"),
            ),
        ] {
            let found = addresses_of(text).map(|net| net.to_string()).map_err(|(_, help)| help);
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }
}

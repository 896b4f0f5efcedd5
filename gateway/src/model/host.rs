use std::borrow::Borrow;
use std::fmt;

/// A host name: lower case, no trailing dot, LDH labels (RFC 1123 §2.1), at most 253 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

/// Why a text is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidHost {
    /// The text is empty.
    Empty,
    /// It is an IP address, not a name.
    Address,
    /// It, or one of its labels, is longer than DNS allows (253 and 63 bytes).
    TooLong,
    /// A label is empty, starts or ends with a hyphen.
    Label,
    /// It has this character; names outside ASCII are written in punycode.
    Character(char),
}

impl fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a host name cannot be empty"),
            Self::Address => write!(f, "an IP address is not a host name"),
            Self::TooLong => write!(f, "a host name has at most 253 bytes, each label at most 63"),
            Self::Label => write!(f, "a label cannot be empty, start or end with a hyphen"),
            Self::Character(c) => write!(f, "a host name cannot contain {c:?}"),
        }
    }
}

impl Host {
    /// Parses and normalises a name as written in a configuration, an SNI or a Host header (without port).
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() {
            return Err(InvalidHost::Empty);
        }
        if name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[') {
            return Err(InvalidHost::Address);
        }
        if name.len() > 253 {
            return Err(InvalidHost::TooLong);
        }
        for label in name.split('.') {
            if let Some(c) = label.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
                return Err(InvalidHost::Character(c));
            }
            if label.len() > 63 {
                return Err(InvalidHost::TooLong);
            }
            if label.is_empty() || label.starts_with('-') || label.ends_with('-') {
                return Err(InvalidHost::Label);
            }
        }
        Ok(Self(name))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host is equal to its text, and has the same hash.
impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        assert_eq!(Host::parse("API.Partner.Example.").unwrap().as_str(), "api.partner.example");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (text, why) in [
            ("", InvalidHost::Empty),
            ("192.0.2.1", InvalidHost::Address),
            ("[2001:db8::1]", InvalidHost::Address),
            ("a..b", InvalidHost::Label),
            ("-a.example", InvalidHost::Label),
            ("*.example", InvalidHost::Character('*')),
            ("bücher.example", InvalidHost::Character('ü')),
        ] {
            assert_eq!(Host::parse(text), Err(why), "{text}");
        }
        assert_eq!(Host::parse(&"a".repeat(64)), Err(InvalidHost::TooLong));
    }
}

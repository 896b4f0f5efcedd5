use std::fmt;

use super::{Host, InvalidHost};

/// All names below a domain, at any depth: `*.partner.example`. The domain itself is not one of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wildcard(Host);

impl Wildcard {
    /// Parses `*.partner.example`; `None` if the text does not begin with `*.`.
    pub fn parse(text: &str) -> Option<Result<Self, InvalidHost>> {
        text.strip_prefix("*.").map(|domain| Host::parse(domain).map(Self))
    }

    /// Returns whether the wildcard covers this name.
    pub fn covers(&self, name: &Host) -> bool {
        let domain = self.0.as_str();
        name.as_str().strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }

    /// Returns the domain whose names it covers.
    pub fn domain(&self) -> &Host {
        &self.0
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*.{}", self.0)
    }
}

/// How a configuration lists a name: the name itself, or a wildcard that covers it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Listing {
    /// The name itself.
    Host(Host),
    /// A wildcard that covers it.
    Wildcard(Wildcard),
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Wildcard(wildcard) => wildcard.fmt(f),
        }
    }
}

/// Returns the domains above a name, the nearest first.
pub fn domains_above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(dot, _)| &name[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_names_below_its_domain_only() {
        let wildcard = Wildcard::parse("*.Partner.Example.").unwrap().unwrap();
        assert_eq!(wildcard.to_string(), "*.partner.example");
        for (name, covered) in [
            ("api.partner.example", true),
            ("a.b.partner.example", true),
            ("API.partner.example.", true),
            ("partner.example", false),
            ("apartner.example", false),
            ("partner.example.org", false),
        ] {
            assert_eq!(wildcard.covers(&Host::parse(name).unwrap()), covered, "{name}");
        }
    }

    #[test]
    fn what_is_no_wildcard_is_refused() {
        assert_eq!(Wildcard::parse("api.partner.example"), None);
        assert_eq!(Wildcard::parse("*.*.example"), Some(Err(InvalidHost::Character('*'))));
        assert_eq!(Wildcard::parse("*."), Some(Err(InvalidHost::Empty)));
        assert_eq!(Wildcard::parse("*.203.0.113.7"), Some(Err(InvalidHost::Address)));
    }

    #[test]
    fn domains_above_a_name_are_listed_from_the_nearest() {
        assert_eq!(domains_above("a.b.example").collect::<Vec<_>>(), ["b.example", "example"]);
    }
}

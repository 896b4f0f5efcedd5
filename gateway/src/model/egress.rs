use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Host, Template};

/// The way out: the fixed source addresses, at least one in all, of which at most one per family is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// In the order of the configuration; the first of a family is used.
    pub addresses: Vec<IpAddr>,
    /// What connections go through; straight to the third party, if absent.
    pub proxy: Option<Arc<Proxy>>,
}

impl Egress {
    /// The source address for a destination of this family.
    pub fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|source| source.is_ipv4() == destination.is_ipv4())
    }

    /// What a connection to this name goes through, if anything.
    pub fn proxy_for(&self, name: Option<&Host>) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref().filter(|proxy| !name.is_some_and(|name| proxy.except.iter().any(|except| except.is(name))))
    }
}

/// A forward proxy, which is asked for a tunnel (`CONNECT`, RFC 9110 §9.3.6): it sees the name and the port of what it leads
/// to, and nothing of what is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Unique.
    pub name: Arc<str>,
    /// Where it is.
    pub at: ProxyHost,
    /// Its port.
    pub port: u16,
    /// Who Egret is there, and proof of it: a text, named values, no expressions.
    pub credentials: Option<(Arc<str>, Template)>,
    /// What it does not lead to.
    pub except: Vec<Names>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, port, .. } = self;
        match &self.at {
            ProxyHost::Name(host) => write!(f, "{name} (http://{host}:{port})"),
            ProxyHost::Address(address) => write!(f, "{name} (http://{})", SocketAddr::new(*address, *port)),
        }
    }
}

/// Where a proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyHost {
    /// Wherever this name leads.
    Name(Host),
    /// Here.
    Address(IpAddr),
}

impl ProxyHost {
    /// Its name, if it has one.
    pub fn name(&self) -> Option<&Host> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

/// One name, or all below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// This one.
    One(Host),
    /// `*.example`: those that end in it, at any depth, and not itself.
    Below(Host),
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => name.fmt(f),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

impl Names {
    /// Whether a name is one of them.
    pub fn is(&self, name: &Host) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Below(parent) => {
                name.as_str().strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_excepted_goes_straight() {
        let host = |name: &str| Host::parse(name).unwrap();
        let proxy = Proxy {
            name: "corporate".into(),
            at: ProxyHost::Name(host("proxy.acme.example")),
            port: 3128,
            credentials: None,
            except: vec![Names::One(host("hooks.acme.example")), Names::Below(host("internal.example"))],
        };
        let egress = Egress { addresses: Vec::new(), proxy: Some(Arc::new(proxy)) };
        for (name, through) in [
            ("api.partner.example", true),
            ("hooks.acme.example", false),
            ("more.hooks.acme.example", true),
            ("a.internal.example", false),
            ("a.b.internal.example", false),
            ("internal.example", true),
            ("not-internal.example", true),
        ] {
            assert_eq!(egress.proxy_for(Some(&host(name))).is_some(), through, "{name}");
        }
        assert!(egress.proxy_for(None).is_some(), "what has no name is no exception");
        assert!(Egress::default().proxy_for(None).is_none());
    }
}

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::{Host, Template};

/// The egress settings: the fixed source addresses, at least one in all, of which at most one per family is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// The addresses in the order of the configuration; the first of each family is used.
    pub addresses: Vec<IpAddr>,
    /// The forward proxy that connections go through; they go directly to the third party where this is absent.
    pub proxy: Option<Arc<Proxy>>,
}

impl Egress {
    /// Returns the source address for a destination of this family.
    pub fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|source| source.is_ipv4() == destination.is_ipv4())
    }

    /// Returns the source addresses that are used.
    pub fn sources(&self) -> Vec<IpAddr> {
        let families = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
        families.into_iter().filter_map(|any| self.source_for(any)).collect()
    }

    /// Returns the proxy that a connection to this name goes through, if any.
    pub fn proxy_for(&self, name: Option<&Host>) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref().filter(|proxy| !name.is_some_and(|name| proxy.except.iter().any(|except| except.is(name))))
    }
}

/// A forward proxy, which Egret asks for a tunnel (`CONNECT`, RFC 9110 §9.3.6). It sees the name and port of the third party, and
/// nothing of the contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The unique name of the proxy.
    pub name: Arc<str>,
    /// The host of the proxy.
    pub at: ProxyHost,
    /// The port of the proxy.
    pub port: u16,
    /// The user name and the password: a text with named values, without expressions.
    pub credentials: Option<(Arc<str>, Template)>,
    /// The names that Egret connects to directly, not through the proxy.
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

/// The host of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyHost {
    /// The proxy has this name, which Egret resolves.
    Name(Host),
    /// The proxy has this address.
    Address(IpAddr),
}

impl ProxyHost {
    /// Returns the name of the proxy's host, if it has one.
    pub fn name(&self) -> Option<&Host> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

/// One name, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Exactly this name.
    One(Host),
    /// `*.example`: the names that end in it, at any depth, and not the name itself.
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
    /// Returns whether a name is one of them.
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

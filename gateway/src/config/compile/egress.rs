//! The way out: source addresses, and proxies.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_saphyr::Spanned;

use super::values::{Values, constant};
use crate::config::diagnostic::Problem;
use crate::config::document::suggestion;
use crate::config::file::{ApiFile, EgressFile, File, ProxyFile};
use crate::model::{Egress, Host, Mode, Names, Proxy, ProxyHost};

/// What `egress.proxy` says where there is none.
const NONE: &str = "none";

/// The ways out.
pub(super) struct Ways<'a> {
    /// Of APIs that have none of their own.
    pub(super) all: Egress,
    written: Option<&'a EgressFile>,
    proxies: BTreeMap<&'a str, Option<Arc<Proxy>>>,
}

impl<'a> Ways<'a> {
    pub(super) fn new(file: &'a File, values: &Values, problems: &mut Vec<Problem>) -> Self {
        let compiled = |(name, written): (&'a String, &'a Spanned<ProxyFile>)| {
            (name.as_str(), proxy(name, written, values, problems).map(Arc::new))
        };
        let proxies = file.proxies.iter().map(compiled).collect();
        let mut ways = Self { all: Egress::default(), written: file.egress.as_ref(), proxies };
        if let Some(written) = ways.written {
            ways.all = Egress { addresses: addresses(written, problems), proxy: ways.proxy(written, None, problems) };
        }
        ways
    }

    /// That of an API, if it has one of its own.
    pub(super) fn of_api(&self, file: &ApiFile, mode: Mode, problems: &mut Vec<Problem>) -> Option<Egress> {
        let own = file.egress.as_ref().map(|own| Egress {
            addresses: if own.addresses.is_empty() { self.all.addresses.clone() } else { addresses(own, problems) },
            proxy: self.proxy(own, self.all.proxy.as_ref(), problems),
        });
        let written = [file.egress.as_ref(), self.written];
        if written.iter().flatten().all(|egress| egress.addresses.is_empty()) && mode != Mode::Deny {
            let help = "add an address of this node to egress.addresses, for all APIs or in this one";
            let problem = Problem::at(&file.name, "this API has no egress address", help);
            problems.push(problem.lacking(&["egress", "addresses"]));
        }
        if mode == Mode::Bind && own.as_ref().unwrap_or(&self.all).proxy.is_some() {
            let place = written.into_iter().flatten().find_map(|egress| egress.proxy.as_ref()).unwrap_or(&file.name);
            let rule = format!("connections of `{}` (mode: bind) cannot go through a proxy", file.name.value.trim());
            problems.push(Problem::at(place, rule, "write mode: passthrough, or egress: {proxy: none} in this API"));
        }
        own
    }

    fn proxy(
        &self,
        file: &EgressFile,
        otherwise: Option<&Arc<Proxy>>,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Proxy>> {
        let Some(written) = &file.proxy else { return otherwise.cloned() };
        match written.value.trim() {
            NONE => None,
            name => match self.proxies.get(name) {
                Some(proxy) => proxy.clone(),
                None => {
                    let help = suggestion(name, self.proxies.keys().copied().chain([NONE]));
                    let rule = format!("no proxy is named `{name}`");
                    problems.push(Problem::at(written, rule, help).lacking(&["proxies"]));
                    None
                }
            },
        }
    }
}

fn proxy(name: &str, written: &Spanned<ProxyFile>, values: &Values, problems: &mut Vec<Problem>) -> Option<Proxy> {
    let file = &written.value;
    if name == NONE {
        problems.push(Problem::at(
            written,
            "a proxy cannot be named `none`, which stands for no proxy",
            "choose another name",
        ));
    }
    let except = file.except.iter().filter_map(|written| names(written, problems)).collect();
    if let Some(username) = file.username.as_ref().filter(|username| username.value.contains(':')) {
        problems.push(Problem::at(
            username,
            "this user name has a colon, which RFC 7617 §2 forbids",
            "remove the colon",
        ));
    }
    if let (Some(password), false) = (&file.password, file.plain_secrets) {
        let help = "add plain_secrets: true here, if you trust the network between this node and the proxy";
        problems.push(Problem::at(password, "a password would be sent without TLS", help));
    }
    let credentials = match (&file.username, &file.password) {
        (Some(username), Some(password)) => Some((username.value.trim().into(), constant(password, values, problems))),
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            problems.push(Problem::at(
                one,
                "a user name and a password belong together",
                "write both `username` and `password`, or neither",
            ));
            None
        }
    };
    let (at, port) = place(&file.url, problems)?;
    Some(Proxy { name: name.into(), at, port, credentials, except })
}

fn place(written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<(ProxyHost, u16)> {
    const HELP: &str = "write a URL like http://proxy.acme.example:3128";
    let text = written.value.trim();
    if text.starts_with("https://") {
        let rule = "TLS with a proxy is not supported";
        let help = "write http://: TLS with the third party goes through the proxy unchanged";
        problems.push(Problem::at(written, rule, help));
        return None;
    }
    let Some(authority) = text.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest)) else {
        problems.push(Problem::at(written, "this URL does not begin with http://", HELP));
        return None;
    };
    if authority.contains('@') {
        problems.push(Problem::at(
            written,
            "this URL has credentials",
            "write them as `username` and `password`, beside `url`",
        ));
        return None;
    }
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return Some((ProxyHost::Address(address.ip().to_canonical()), address.port()));
    }
    let found = authority.rsplit_once(':').map(|(name, port)| (Host::parse(name), port.parse::<u16>()));
    match found {
        Some((Ok(name), Ok(port))) if port > 0 => Some((ProxyHost::Name(name), port)),
        Some((Err(invalid), _)) => {
            problems.push(Problem::at(written, invalid.to_string(), HELP));
            None
        }
        _ => {
            problems.push(Problem::at(written, "this URL has no port", HELP));
            None
        }
    }
}

fn names(written: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Names> {
    let text = written.value.trim();
    let parsed = match text.strip_prefix("*.") {
        Some(parent) => Host::parse(parent).map(Names::Below),
        None => Host::parse(text).map(Names::One),
    };
    let help = "write a name like db.acme.example, or *.acme.example for all names below acme.example";
    parsed.map_err(|invalid| problems.push(Problem::at(written, invalid.to_string(), help))).ok()
}

fn addresses(file: &EgressFile, problems: &mut Vec<Problem>) -> Vec<IpAddr> {
    let mut addresses: Vec<(IpAddr, &Spanned<String>)> = Vec::new();
    for written in &file.addresses {
        let text = written.value.trim();
        let Ok(address) = text.parse::<IpAddr>() else {
            let help = match text.split_once('/') {
                Some((address, _)) if address.parse::<IpAddr>().is_ok() => {
                    format!("write it without the prefix length: {address}")
                }
                _ => "write an address like 192.0.2.10 or 2001:db8::10".to_owned(),
            };
            problems.push(Problem::at(written, format!("`{text}` is not an IP address"), help));
            continue;
        };
        let address = address.to_canonical();
        if !can_leave_from(address) {
            let rule = "no connection to a third party can leave from this address";
            problems.push(Problem::at(
                written,
                rule,
                "name an address of this node that is routed: `ip address` lists them",
            ));
        } else if let Some((_, other)) = addresses.iter().find(|(other, _)| other.is_ipv4() == address.is_ipv4()) {
            let rule = "there is more than one address of this family";
            let help = "keep one address for each of IPv4 and IPv6; an API may have its own in apis[].egress";
            problems.push(Problem::at(written, rule, help).with(other));
        } else {
            addresses.push((address, written));
        }
    }
    addresses.into_iter().map(|(address, _)| address).collect()
}

fn can_leave_from(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

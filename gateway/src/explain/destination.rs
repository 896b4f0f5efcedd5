//! What happens to connections to a destination: which API they belong to, for whom, and what the kernel's table says.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;

use crate::admin::{Caller, DestinationExplained, DestinationStep};
use crate::model::{
    Action, Admission, Api, FailMode, Host, Listing, Mode, Model, Reason, Redirect, Scope, Strangers, UnlistedAction,
};
use crate::permit;

/// A destination that somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    target: Target,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Name(Host),
    Address(IpAddr),
}

/// What a running gateway knows.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    /// Returns the addresses that are known of a name, and how each is known.
    pub addresses: &'a dyn Fn(&Host) -> Vec<(IpAddr, String)>,
    /// Returns the listings whose names are at an address, for this caller.
    pub listings_at: &'a dyn Fn(IpAddr) -> Vec<Listing>,
    /// Returns the row of the kernel's table that holds for this caller, and how often it matched.
    pub row: &'a dyn Fn(SocketAddr) -> Row,
}

/// What the kernel's table says of a destination for one caller.
#[derive(Clone, Debug)]
pub enum Row {
    /// There is no row.
    None,
    /// There are rows for other owners only.
    Others,
    /// This row holds, and has matched so often.
    Is(Redirect, u64),
}

/// Returns where a key of an API is written; of the whole configuration, if the API's name is empty.
pub type PlaceOf<'a> = &'a dyn Fn(&str, &str) -> Option<String>;

impl std::str::FromStr for Destination {
    type Err = anyhow::Error;

    /// Reads `HOST`, `HOST:PORT`, `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { target: Target::Address(address.ip().to_canonical()), port: Some(address.port()) });
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self { target: Target::Address(address.to_canonical()), port: None });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().with_context(|| format!("{port}: no port"))?)),
            None => (text, None),
        };
        let host = Host::parse(name).map_err(|invalid| anyhow::anyhow!("{name}: {invalid}"))?;
        Ok(Self { target: Target::Name(host), port })
    }
}

/// Returns what happens to connections of a caller to a destination, step by step.
pub fn destination(
    asked: &Destination,
    caller: &Caller,
    model: &Model,
    place: PlaceOf<'_>,
    live: Option<Live<'_>>,
) -> DestinationExplained {
    let mut told = Telling { caller, model, place, live, steps: Vec::new() };
    let verdict = match &asked.target {
        Target::Name(host) => told.name(host, asked.port),
        Target::Address(address) => told.address(*address, asked.port),
    };
    DestinationExplained { steps: told.steps, verdict, generation: live.map(|_| model.generation.0) }
}

struct Telling<'a> {
    caller: &'a Caller,
    model: &'a Model,
    place: PlaceOf<'a>,
    live: Option<Live<'a>>,
    steps: Vec<DestinationStep>,
}

impl Telling<'_> {
    fn step(&mut self, what: impl Into<String>, found: impl Into<String>) {
        self.steps.push(DestinationStep { what: what.into(), found: found.into(), key: None, at: None });
    }

    /// A step that a key of an API decides, or the default of that key.
    fn by_key(&mut self, what: &str, found: impl Into<String>, api: &Api, key: &str) {
        let at = (self.place)(&api.name, key);
        let key = Some(format!("apis[{}].{key}", api.name));
        self.steps.push(DestinationStep { what: what.to_owned(), found: found.into(), key, at });
    }

    fn name(&mut self, host: &Host, port: Option<u16>) -> String {
        let listed = match port {
            Some(port) => self.model.listing(host, port),
            None => self.model.api_of(host),
        };
        let Some((_, api)) = listed else {
            return self.unlisted(host, port);
        };
        let listing = api.listings().find(|listing| matches!(listing, Listing::Host(other) if other == host));
        let listing = listing.or_else(|| {
            api.listings().find(|listing| matches!(listing, Listing::Wildcard(wildcard) if wildcard.covers(host)))
        });
        let listing = listing.map_or_else(|| host.to_string(), |listing| listing.to_string());
        self.by_key("name", format!("API `{}` lists it as {listing}", api.name), api, "hosts");
        let ports: Vec<_> = port.map_or_else(|| api.ports.clone(), |port| vec![port]);
        self.by_key("ports", format!("captured: {}", joined(&api.ports)), api, "ports");
        let verdict = self.treatment(api);
        let Some(live) = self.live else {
            self.step("addresses", "only a running gateway knows them");
            return verdict;
        };
        let addresses = (live.addresses)(host);
        if addresses.is_empty() {
            self.step("addresses", "none is known: a connection goes directly until Egret has resolved or seen one");
        }
        for (address, how) in addresses {
            self.step(format!("address {address}"), how);
            for port in &ports {
                self.row(SocketAddr::new(address, *port));
            }
        }
        verdict
    }

    fn unlisted(&mut self, host: &Host, port: Option<u16>) -> String {
        match (self.model.api_of(host), port) {
            (Some((_, api)), Some(port)) => {
                let found = format!("API `{}` lists the host, but not port {port}", api.name);
                self.by_key("name", found, api, "ports");
            }
            _ => self.step("name", "no API lists it"),
        }
        let strict: Vec<_> =
            self.model.apis.iter().filter(|api| api.strangers == Strangers::Refuse).map(|api| &*api.name).collect();
        let refused = match strict.as_slice() {
            [] => String::new(),
            strict => format!(", and refused (`{}`) at addresses of {}", Reason::StrangerRefused, strict.join(", ")),
        };
        let found = format!("carried to its original destination from the address that the kernel chooses{refused}");
        self.step("at an address of an API", found);
        let verdict = self.passes(None);
        format!("{verdict}, unless it goes to an address of an API: it is a stranger there")
    }

    fn address(&mut self, address: IpAddr, port: Option<u16>) -> String {
        let Some(live) = self.live else {
            self.step("address", "only a running gateway knows which names are at an address");
            return "not known without a running gateway".to_owned();
        };
        let there = (live.listings_at)(address);
        let apis: Vec<_> = self.model.apis.iter().filter(|api| there.iter().any(|listing| api.has(listing))).collect();
        for api in &apis {
            let hosts: Vec<_> = api.listings().filter(|listing| there.contains(listing)).collect();
            self.by_key("names there", format!("API `{}`: {}", api.name, joined(&hosts)), api, "hosts");
        }
        if apis.is_empty() {
            self.step("names there", "of no API");
        }
        let mut ports: Vec<_> = match port {
            Some(port) => vec![port],
            None => apis.iter().flat_map(|api| api.ports.iter().copied()).collect(),
        };
        ports.sort_unstable();
        ports.dedup();
        let captured = ports.iter().filter(|port| self.row(SocketAddr::new(address, **port))).count();
        match (captured, apis.as_slice()) {
            (0, _) => self.passes(ports.first().map(|port| SocketAddr::new(address, *port))).to_owned(),
            (_, [api]) => format!("the name decides; without one: {}", self.treatment(api)),
            _ => "the name in the connection decides which API it is for".to_owned(),
        }
    }

    /// Tells what happens to a connection that no row captures.
    fn passes(&mut self, destination: Option<SocketAddr>) -> &'static str {
        let (number, class) = permit::unlisted_class(&self.model.unlisted, &self.caller.workload);
        let has = |destination: SocketAddr| {
            class.except.iter().any(|except| except.contains(destination.ip(), destination.port()))
        };
        let verdict = match class.action {
            UnlistedAction::Report if !destination.is_some_and(has) => "the connection passes and is reported",
            UnlistedAction::Deny if !destination.is_some_and(has) => "the connection is refused with EPERM",
            _ => "Egret does not touch the connection",
        };
        let key = match number {
            0 => "capture.unlisted".to_owned(),
            number => format!("capture.unlisted.rules[{}]", number - 1),
        };
        let at = (self.place)("", "capture").filter(|_| !self.model.unlisted.is_off());
        let found = class.action.label().to_owned();
        self.steps.push(DestinationStep { what: "not listed".to_owned(), found, key: Some(key), at });
        verdict
    }

    /// Tells what the kernel's table says of a destination; returns whether it is captured.
    fn row(&mut self, destination: SocketAddr) -> bool {
        let Some(live) = self.live else { return false };
        let what = format!("kernel's table, port {}", destination.port());
        match (live.row)(destination) {
            Row::None => {
                self.step(what, "no row");
                false
            }
            Row::Others => {
                let found = format!("rows for other owners only, none for {}", self.caller.workload.identity.name);
                self.step(what, found);
                false
            }
            Row::Is(row, hits) => {
                let whom = match row.scope {
                    Scope::Everybody => "everybody".to_owned(),
                    Scope::Owner(_) => {
                        format!("{} alone, whose DNS server is not trusted", self.caller.workload.identity.owner)
                    }
                };
                let action = match row.action {
                    Action::Bind(source) => format!("leaves directly, from {source}"),
                    Action::Deny => "refused".to_owned(),
                    Action::Redirect | Action::Scoped => "sent to Egret".to_owned(),
                };
                let fail = row.fail.label();
                let found = format!("for {whom}: {action}; fail {fail}, generation {}, {hits} hits", row.generation);
                self.step(what, found);
                true
            }
        }
    }

    /// Tells how an API treats the connections of the caller.
    fn treatment(&mut self, api: &Api) -> String {
        let (model, workload) = (self.model, &self.caller.workload);
        let name = &workload.identity.name;
        let admission = permit::admission(api, workload);
        let verdict = match admission {
            Admission::Denied => {
                let found = format!("not for {name}");
                self.by_key("workloads", found, api, "workloads");
                return format!("refused (`{}`)", Reason::WorkloadNotAllowed);
            }
            Admission::Untouched => {
                self.by_key("workloads", format!("not for {name}, which is left untouched"), api, "workloads");
                "carried to its original destination from the address that the kernel chooses, without policies"
            }
            Admission::Admitted => {
                let whom = if api.workloads.is_some() { format!("for {name}") } else { "for all workloads".to_owned() };
                self.by_key("workloads", whom, api, "workloads");
                match api.mode {
                    Mode::Deny => "refused (`denied`)",
                    Mode::Bind if api.workloads.is_none() => "not carried by Egret: the kernel sets the source address",
                    Mode::Bind | Mode::Passthrough if api.rules.is_some() => {
                        "carried; policies see plain HTTP, and TLS is refused (`not_http`)"
                    }
                    Mode::Bind | Mode::Passthrough => "carried; TLS stays end to end",
                    Mode::Intercept => "carried; TLS is intercepted, and policies see the requests",
                }
            }
        };
        self.by_key("mode", api.mode.label(), api, "mode");
        let egress = model.egress_of(api);
        if admission == Admission::Admitted && api.mode != Mode::Deny {
            let own = api.egress.is_some();
            let at = (self.place)(if own { &api.name } else { "" }, "egress");
            let key = if own { format!("apis[{}].egress", api.name) } else { "egress".to_owned() };
            let through = egress.proxy.as_ref().map(|proxy| format!(", through {proxy}")).unwrap_or_default();
            let found = format!("{}{through}", joined(&egress.addresses));
            self.steps.push(DestinationStep { what: "leaves from".to_owned(), found, key: Some(key), at });
        }
        let without = match api.fail {
            FailMode::Closed => "refused",
            FailMode::Open => "goes directly",
        };
        self.by_key("while Egret is not there", without, api, "fail");
        verdict.to_owned()
    }
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_name_or_an_address_with_or_without_a_port() {
        let name = |name: &str| Target::Name(Host::parse(name).unwrap());
        let address = |text: &str| Target::Address(text.parse().unwrap());
        for (text, target, port) in [
            ("api.partner.example", name("api.partner.example"), None),
            ("API.Partner.example.:443", name("api.partner.example"), Some(443)),
            ("203.0.113.7", address("203.0.113.7"), None),
            ("203.0.113.7:443", address("203.0.113.7"), Some(443)),
            ("::ffff:203.0.113.7", address("203.0.113.7"), None),
            ("2001:db8::7", address("2001:db8::7"), None),
            ("[2001:db8::7]", address("2001:db8::7"), None),
            ("[2001:db8::7]:443", address("2001:db8::7"), Some(443)),
        ] {
            assert_eq!(text.parse::<Destination>().unwrap(), Destination { target, port }, "{text}");
        }
        for wrong in ["", "api.partner.example:", "api.partner.example:99999", "a b", "api.partner.example/x"] {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
        }
    }
}

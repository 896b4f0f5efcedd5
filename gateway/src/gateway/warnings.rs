//! What an owner should know about a valid configuration. It depends on the node and on DNS, so `egret check` cannot tell.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::egress::chosen_source;
use crate::model::{Api, Mode, Model, Strangers};
use crate::names::Names;

/// Addresses of an API that are looked at: as a rule the same route leads to all.
const LOOKED_AT: usize = 8;

/// Returns the warnings, at most two for each API.
pub(super) fn warnings(model: &Model, names: &Names) -> Vec<String> {
    let of_api = |api| [strangers_leave_from_egress(model, api, names), hides_another(model, api, names)];
    model.apis.iter().flat_map(of_api).flatten().collect()
}

fn strangers_leave_from_egress(model: &Model, api: &Api, names: &Names) -> Option<String> {
    if api.rules.is_none() || api.mode == Mode::Deny || api.strangers == Strangers::Refuse {
        return None;
    }
    let egress = model.egress_of(api);
    let mut addresses = api.hosts.iter().flat_map(|host| names.addresses(host)).take(LOOKED_AT);
    let source = addresses
        .find_map(|address| egress.source_for(address).filter(|source| chosen_source(address) == Some(*source)))?;
    Some(format!(
        "warning: API `{}` has policies and carries strangers, and {source} is both its egress address and the address that \
         strangers leave from: a caller that names another host at the same address reaches it from {source} past the \
         policies. Set `strangers: refuse`, or use another egress address",
        api.name
    ))
}

/// What is inside of TLS that is carried untouched may be for any host at the address.
fn hides_another(model: &Model, api: &Api, names: &Names) -> Option<String> {
    if !matches!(api.mode, Mode::Passthrough | Mode::Bind) {
        return None;
    }
    let addresses: BTreeSet<_> = api.hosts.iter().flat_map(|host| names.addresses(host)).collect();
    let guard =
        |address: &IpAddr| api.ports.iter().find_map(|port| model.guard(api, *port, &names.listings_at(*address)));
    let guards: Vec<_> = addresses.iter().filter_map(guard).collect();
    let (name, mode) = (&api.name, api.mode.label());
    if let Some(guard) = guards.first().filter(|_| guards.len() == addresses.len()) {
        return Some(format!(
            "warning: each address of API `{name}` (mode {mode}) belongs to another API, too, such as `{}`, which has \
             `strangers: refuse`: its connections are refused (`shared_address`), because Egret cannot look into them. Set \
             `mode: intercept` for `{name}`, or `strangers: carry` for `{}`",
            guard.name, guard.name
        ));
    }
    let there: BTreeSet<_> = addresses.into_iter().flat_map(|address| names.listings_at(address)).collect();
    let is_hidden = |other: &&Api| {
        let is_strict = other.mode == Mode::Deny || (other.rules.is_some() && !other.guards_addresses());
        let is_there = there.iter().any(|listing| other.has(listing));
        other.name != api.name && is_strict && is_there && other.ports.iter().any(|port| api.ports.contains(port))
    };
    let other = model.apis.iter().find(is_hidden)?;
    let remedy = match other.mode {
        Mode::Deny => String::new(),
        _ => format!("`strangers: refuse` for `{}`, or ", other.name),
    };
    Some(format!(
        "warning: API `{name}` (mode {mode}) shares an address with API `{}`, which has policies or is denied: a caller can name \
         the first one in TLS and ask for the second one inside, where Egret does not look. Set {remedy}`mode: intercept` for \
         `{name}`",
        other.name
    ))
}

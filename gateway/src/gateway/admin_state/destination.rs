//! What the running gateway knows of a destination.

use std::net::{IpAddr, SocketAddr};

use super::AdminState;
use crate::admin::{Caller, DestinationExplained};
use crate::explain::{self, Destination, Live, Row};
use crate::model::{Action, Host, Scope};

/// Explains what happens to connections of a caller to a destination. A workload that has called is known by its name.
pub(super) fn explain(state: &AdminState, asked: &Destination, caller: Caller) -> DestinationExplained {
    let caller = known(state, caller);
    let owners = state.names.scope_owners();
    let owned = owners.iter().find(|(_, owner)| caller.workload.identity.is_called(owner));
    let scope = owned.map_or(Scope::Everybody, |(cgroup, _)| Scope::Owner(*cgroup));
    let addresses = |host: &Host| addresses(state, host, scope);
    let listings_at = |address: IpAddr| state.names.listings_for(address, scope);
    let row = |destination: SocketAddr| row(state, scope, destination);
    let live = Live { addresses: &addresses, listings_at: &listings_at, row: &row };
    let (model, places) = (state.models.current(), state.models.places());
    explain::destination(asked, &caller, &model, &|api, key| places.at(api, key), Some(live))
}

/// Returns the caller with the facts of the workload that has this name, if one has called.
pub(super) fn known(state: &AdminState, caller: Caller) -> Caller {
    let asked = &caller.workload.identity;
    let is_described = [&asked.unit, &asked.container, &asked.pod].iter().any(|fact| fact.is_some());
    let owners = state.connection.telemetry.owners();
    match owners.into_iter().find(|owner| !is_described && owner.newest.identity.is_called(&asked.name)) {
        Some(owner) => Caller { workload: owner.newest, original_destination: None },
        None => caller,
    }
}

fn addresses(state: &AdminState, host: &Host, scope: Scope) -> Vec<(IpAddr, String)> {
    state
        .names
        .addresses_known(host, scope)
        .into_iter()
        .map(|known| {
            let how = match &known.learnt {
                None => "resolved by Egret".to_owned(),
                Some((owner, Scope::Everybody)) => format!("seen in a DNS response to {owner}"),
                Some((owner, Scope::Owner(_))) => {
                    format!("seen in a response of a server that is not trusted, to {owner}: for it alone")
                }
            };
            (known.address, how)
        })
        .collect()
}

fn row(state: &AdminState, scope: Scope, destination: SocketAddr) -> Row {
    match state.capture.row(Scope::Everybody, destination) {
        None => Row::None,
        Some((row, _)) if row.action == Action::Scoped => match state.capture.row(scope, destination) {
            Some((row, counters)) if scope != Scope::Everybody => Row::Is(row, counters.hits),
            _ => Row::Others,
        },
        Some((row, counters)) => Row::Is(row, counters.hits),
    }
}

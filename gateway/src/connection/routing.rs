//! Chooses the route of a captured connection, and puts the choice on record.

use std::sync::Arc;

use super::Rooms;
use super::first_bytes::First;
use crate::flow::Bound;
use crate::model::{
    Api, ApiId, Flow, Host, Mode, Model, OnRefusal, Origin, Protocol, Reason, Scope, Strangers, Workload, is_one_of,
};
use crate::permit;
use crate::route::{self, Carriage, Refusal, Route, Sharers};
use crate::telemetry::FlowRecord;

/// The mode on record where the caller's refusal of Egret's certificate has made it `passthrough`.
const PASSED: &str = "passthrough_on_refusal";

/// The mode on record where the API leaves the caller's workload untouched.
const UNTOUCHED: &str = "untouched";

/// Most lookups at the same time of names that callers choose. More are refused as if the lookup had failed.
const LOOKUPS: Bound = Bound { all: 256, each: 32 };

/// Returns the APIs that the connection's original destination belongs to.
pub(super) fn sharers<'a>(model: &'a Model, origin: &Origin, rooms: &Rooms) -> Sharers<'a> {
    // The index of an API means nothing in the configuration of another process.
    let captured_for = (model.generation == origin.generation).then_some(origin.api);
    let destination = origin.original_dst.0;
    Sharers::of(model, destination, captured_for, &(rooms.listings_for)(destination.ip(), origin.scope))
}

/// Returns the origin with an index of this model. An index that no API has stands for none.
pub(super) fn known(model: &Model, origin: Origin, sharers: &Sharers<'_>) -> Origin {
    if model.generation == origin.generation {
        return origin;
    }
    Origin { api: sharers.first().map_or(ApiId(u32::MAX), |(id, _)| id), ..origin }
}

/// Returns who speaks first on a connection of this workload to an address and port of these APIs.
pub(super) fn speaks_first(sharers: &Sharers<'_>, workload: &Workload, port: u16) -> First {
    let sharers = sharers.applying(&|api: &Api| permit::admission(api, workload));
    let mut apis = sharers.apis().peekable();
    if apis.peek().is_some() && apis.all(|api| api.opaque_ports.contains(&port)) {
        return First::Opaque;
    }
    // A caller that hesitates must not get around what is done with its requests, or be taken for one without a name.
    let looks = |api: &Api| {
        let is_read = api.mode == Mode::Intercept || api.backend.is_some() || api.rules.is_some();
        is_read || api.strangers == Strangers::Refuse
    };
    if sharers.apis().any(looks) { First::Caller } else { First::Either }
}

/// Chooses where the connection goes and how it is carried.
pub(super) async fn route<'a>(
    model: &'a Model,
    flow: &Flow,
    protocol: &Protocol,
    sharers: &Sharers<'a>,
    rooms: &Rooms,
    record: &FlowRecord,
) -> Result<(Route<'a>, Carriage), Reason> {
    let admission = |api: &Api| permit::admission(api, &flow.workload);
    let route =
        route::select(model, flow, protocol, sharers, &admission).map_err(|refusal| refused(refusal, record))?;
    match route {
        Route::Api(_, api) => {
            record.routed(&api.name, api.mode.label());
            resolve(api, protocol.authority(), flow, rooms).await?;
        }
        Route::Untouched(_, api) => {
            record.routed(&api.name, UNTOUCHED);
            // Other APIs at this address may be for the workload: a name must not lead past them.
            if protocol.authority().is_some() && !sharers.applying(&admission).is_empty() {
                verify(flow, protocol, rooms).await?;
            }
        }
        Route::Stranger => {
            record.stranger();
            verify(flow, protocol, rooms).await?;
        }
    }
    if matches!(protocol, Protocol::Http1 { host: None }) {
        return Err(Reason::NoName);
    }
    let carriage = match (route, route::carriage(&route, protocol)?) {
        (Route::Api(_, api), Carriage::Intercept(..)) if is_refused(api, flow, protocol, rooms) => {
            record.routed(&api.name, PASSED);
            Carriage::Passthrough
        }
        (_, carriage) => carriage,
    };
    Ok((route, carriage))
}

/// Returns the name that Egret dials: the one that the caller says. A caller that names no host goes where it connected to, unless
/// its owner alone says what lives there: then it goes to the host that the owner knows the address by, wherever Egret's own
/// resolution says that this host is.
///
/// # Errors
/// [`Reason::NoName`] if the owner knows the address by several hosts of the API, or by none any more.
pub(super) async fn name(
    route: &Route<'_>,
    flow: &Flow,
    protocol: &Protocol,
    rooms: &Rooms,
) -> Result<Option<Host>, Reason> {
    let (Route::Api(_, api), None, Scope::Owner(_)) = (route, protocol.authority(), flow.scope) else {
        return Ok(protocol.authority().cloned());
    };
    let mut names = (rooms.names_for)(flow.original_dst.0.ip(), flow.scope);
    names.retain(|name| api.lists(name));
    let [name] = <[Host; 1]>::try_from(names).map_err(|_| Reason::NoName)?;
    resolve(api, Some(&name), flow, rooms).await?;
    Ok(Some(name))
}

/// Puts the API that refuses a flow on record, and returns why it does.
pub(super) fn refused(refusal: Refusal<'_>, record: &FlowRecord) -> Reason {
    if let Some(api) = refusal.api {
        record.routed(&api.name, api.mode.label());
    }
    refusal.reason
}

/// Resolves the name that the caller asks for, if only a wildcard covers it: Egret dials its own resolution.
async fn resolve(api: &Api, name: Option<&Host>, flow: &Flow, rooms: &Rooms) -> Result<(), Reason> {
    let Some(name) = name.filter(|name| !api.hosts.contains(name)) else { return Ok(()) };
    let owner = &flow.workload.identity.owner;
    let _lookup = rooms.lookups.take(owner, 1, LOOKUPS).ok_or(Reason::Unresolved)?;
    (rooms.resolve)(name.clone(), Arc::clone(owner)).await;
    Ok(())
}

/// Checks that the host lives at the address that the caller connected to. A caller that names a host which lives elsewhere tries to get
/// around the policies of the API at this address.
async fn verify(flow: &Flow, protocol: &Protocol, rooms: &Rooms) -> Result<(), Reason> {
    let name = protocol.authority().ok_or(Reason::NoName)?;
    let _lookup = rooms.lookups.take(&flow.workload.identity.owner, 1, LOOKUPS).ok_or(Reason::NameMismatch)?;
    let lives_there = (rooms.lives_at)(name.clone(), flow.original_dst.0.ip()).await;
    lives_there.then_some(()).ok_or(Reason::NameMismatch)
}

/// Returns whether the caller would refuse Egret's certificate, and the API's owner lets it pass then.
fn is_refused(api: &Api, flow: &Flow, protocol: &Protocol, rooms: &Rooms) -> bool {
    let workload = &flow.workload;
    let holds = api.on_refusal_workloads.is_empty() || is_one_of(&api.on_refusal_workloads, workload);
    let name = protocol.authority().filter(|_| api.on_refusal == OnRefusal::Passthrough && holds);
    name.is_some_and(|name| rooms.leaves.refusals().passes(workload, name))
}

//! Flow and name to API, or the reason why not. The name decides; without a name, the address.

use crate::model::{Api, ApiId, Flow, Mode, Model, Protocol, Reason};

/// Where a flow belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// To a listed API.
    Api(ApiId, &'a Api),
    /// Its name is nobody's: it shares an address with a listed host, and is carried untouched to where it wanted.
    Unlisted,
}

/// Chooses.
///
/// # Errors
/// [`Reason::Denied`] when the API's mode says so.
pub fn select<'a>(model: &'a Model, flow: &Flow, protocol: &Protocol) -> Result<Route<'a>, Reason> {
    let port = flow.original_dst.0.port();
    let listed = match protocol.authority() {
        Some(name) => model
            .apis
            .iter()
            .position(|api| api.hosts.contains(name) && api.ports.contains(&port))
            .and_then(|index| u32::try_from(index).ok())
            .map(ApiId),
        None => Some(flow.api),
    };
    match listed.and_then(|id| model.api(id).map(|api| (id, api))) {
        Some((_, api)) if api.mode == Mode::Deny => Err(Reason::Denied),
        Some((id, api)) => Ok(Route::Api(id, api)),
        None => Ok(Route::Unlisted),
    }
}

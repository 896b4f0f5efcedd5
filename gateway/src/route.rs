//! Flow and name to API, or the reason why not. The name decides; without a name, the address.

mod operation;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use operation::{Parameters, operation};

use crate::model::{Alpn, Api, ApiId, Backend, Flow, Host, Mode, Model, Protocol, Reason};

/// Where a flow belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// To a listed API.
    Api(ApiId, &'a Api),
    /// Its name is nobody's: it shares an address with a listed host, and is carried untouched to where it wanted.
    Unlisted,
}

/// The API at an address, for a connection that was captured under a configuration of another process: its index
/// means nothing here. An index that no API has stands for none.
pub fn at(model: &Model, destination: SocketAddr, addresses: impl Fn(&Host) -> Vec<IpAddr>) -> ApiId {
    let index = model.apis.iter().position(|api| {
        api.ports.contains(&destination.port())
            && api.hosts.iter().any(|host| addresses(host).contains(&destination.ip()))
    });
    ApiId(index.and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX))
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

/// How a flow is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// Plain HTTP, request by request.
    Http,
    /// The caller's TLS ends here, and TLS of our own begins.
    Intercept(Arc<Backend>, Alpn),
    /// Plain HTTP from the caller, TLS of our own to the third party.
    Originate(Arc<Backend>),
    /// Bytes, untouched.
    Passthrough,
}

impl Carriage {
    /// The third party's port, if it is not the one that the caller asked for.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Originate(backend) => Some(backend.port),
            Self::Http | Self::Intercept(..) | Self::Passthrough => None,
        }
    }
}

/// Chooses how. What a caller speaks that is not HTTP is carried untouched, in any mode, unless there are policies that it
/// would get around.
///
/// # Errors
/// [`Reason::NoName`] when TLS of an intercepted API names no host; [`Reason::NotHttp`] where there are policies.
pub fn carriage(route: &Route<'_>, protocol: &Protocol) -> Result<Carriage, Reason> {
    let Route::Api(_, api) = route else { return Ok(Carriage::Passthrough) };
    Ok(match protocol {
        Protocol::Http1 { .. } => api.backend.clone().map_or(Carriage::Http, Carriage::Originate),
        Protocol::Tls { sni, alpn } if api.mode == Mode::Intercept && (alpn.http1 || alpn.http2) => {
            let backend = api.backend.clone().unwrap_or_default();
            sni.as_ref().map(|_| Carriage::Intercept(backend, *alpn)).ok_or(Reason::NoName)?
        }
        _ if api.rules.is_some() => return Err(Reason::NotHttp),
        _ => Carriage::Passthrough,
    })
}

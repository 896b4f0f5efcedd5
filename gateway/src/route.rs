//! Chooses the API of a flow, or the reason why the flow is refused. The name decides. Without a name the address decides, if
//! that is safe.

mod operation;

use std::net::SocketAddr;
use std::sync::Arc;

pub use operation::{Parameters, operation, operation_but_for_capitals};

use crate::model::{
    Admission, AdmissionOf, Alpn, Api, ApiId, Backend, Flow, Listing, Mode, Model, Protocol, Reason, Strangers,
};

/// Where a flow belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// It is for this API.
    Api(ApiId, &'a Api),
    /// It is for this API, which leaves its workload untouched. It is carried to its original destination as if Egret were not there.
    Untouched(ApiId, &'a Api),
    /// It names a host that no API lists. It is carried to its original destination as if Egret were not there, once it is known
    /// that the host lives there.
    Stranger,
}

/// Why a flow is refused, and the API that refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The reason of the refusal.
    pub reason: Reason,
    /// The API, if the address belongs to one.
    pub api: Option<&'a Api>,
}

impl From<Reason> for Refusal<'_> {
    fn from(reason: Reason) -> Self {
        Self { reason, api: None }
    }
}

/// The APIs that an address and port belong to, in the order of the configuration. Several APIs may share an address (a CDN).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharers<'a>(Vec<(ApiId, &'a Api)>);

impl<'a> Sharers<'a> {
    /// Returns the APIs that have one of these listings and the destination's port. `captured_for` is the API that the kernel's rule
    /// names: it is one of them even if its hosts have moved to other addresses since.
    pub fn of(model: &'a Model, destination: SocketAddr, captured_for: Option<ApiId>, there: &[Listing]) -> Self {
        let shares = |(id, api): &(ApiId, &Api)| {
            let lists = api.ports.contains(&destination.port()) && there.iter().any(|listing| api.has(listing));
            lists || captured_for == Some(*id)
        };
        Self((0..).map(ApiId).zip(&model.apis).filter(shares).collect())
    }

    /// Returns the first API.
    pub fn first(&self) -> Option<(ApiId, &'a Api)> {
        self.0.first().copied()
    }

    /// Returns those that do not leave the workload untouched.
    pub fn applying(&self, admission: AdmissionOf<'_>) -> Self {
        let applies = |(_, api): &&(ApiId, &Api)| admission(api) != Admission::Untouched;
        Self(self.0.iter().filter(applies).copied().collect())
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the APIs.
    pub fn apis(&self) -> impl Iterator<Item = &'a Api> {
        self.0.iter().map(|(_, api)| *api)
    }
}

/// Chooses the API.
///
/// # Errors
/// [`Reason::WorkloadNotAllowed`] if the workload may not use the API; [`Reason::Denied`] if the API's mode is `deny`; [`Reason::StrangerRefused`] if no API lists the name and one of those at the
/// address refuses strangers; [`Reason::NoName`] if there is no name and more than one API may be meant.
pub fn select<'a>(
    model: &'a Model,
    flow: &Flow,
    protocol: &Protocol,
    sharers: &Sharers<'a>,
    admission: AdmissionOf<'_>,
) -> Result<Route<'a>, Refusal<'a>> {
    let chosen = match protocol.authority() {
        Some(name) => model.listing(name, flow.original_dst.0.port()),
        None => Some(nameless(model, flow.original_dst.0.port(), sharers, admission)?),
    };
    match chosen {
        Some((id, api)) => match admission(api) {
            Admission::Untouched => Ok(Route::Untouched(id, api)),
            Admission::Denied => Err(Refusal { reason: Reason::WorkloadNotAllowed, api: Some(api) }),
            Admission::Admitted if api.mode == Mode::Deny => Err(Refusal { reason: Reason::Denied, api: Some(api) }),
            Admission::Admitted => Ok(Route::Api(id, api)),
        },
        None => match sharers.applying(admission).apis().find(|api| api.strangers == Strangers::Refuse) {
            Some(api) => Err(Refusal { reason: Reason::StrangerRefused, api: Some(api) }),
            None => Ok(Route::Stranger),
        },
    }
}

/// Chooses for a flow without a name. Where several APIs share the address, all of them must treat the flow in the same way. An
/// API that refuses strangers needs a name to know them, but for its opaque ports.
fn nameless<'a>(
    model: &Model,
    port: u16,
    sharers: &Sharers<'a>,
    admission: AdmissionOf<'_>,
) -> Result<(ApiId, &'a Api), Refusal<'a>> {
    let Some((id, first)) = sharers.first() else { return Err(Refusal { reason: Reason::NoName, api: None }) };
    let is_shared = sharers.0.len() > 1;
    let treated = admission(first);
    if treated == Admission::Untouched && sharers.apis().all(|api| admission(api) == treated) {
        return Ok((id, first));
    }
    let differs =
        |api: &Api| !carries_bytes(api) || model.egress_of(api) != model.egress_of(first) || admission(api) != treated;
    match sharers.apis().find(|api| needs_name(api, port) || (is_shared && differs(api))) {
        Some(api) => Err(Refusal { reason: Reason::NoName, api: Some(api) }),
        None => Ok((id, first)),
    }
}

fn needs_name(api: &Api, port: u16) -> bool {
    api.strangers == Strangers::Refuse && api.mode != Mode::Deny && !api.opaque_ports.contains(&port)
}

/// Whether the API's connections are carried without a look at what is in them.
fn carries_bytes(api: &Api) -> bool {
    matches!(api.mode, Mode::Passthrough | Mode::Bind) && api.rules.is_none()
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
    /// The bytes are carried untouched.
    Passthrough,
}

impl Carriage {
    /// Returns the third party's port, if it is not the one that the caller asked for.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Originate(backend) => Some(backend.port),
            Self::Http | Self::Intercept(..) | Self::Passthrough => None,
        }
    }
}

/// Chooses how a flow is carried. Plain HTTP is always carried request by request, also one that goes to its original destination: each request is judged by
/// the host that it names. Other protocols are carried untouched in any mode, unless they would get around policies.
///
/// # Errors
/// [`Reason::NoName`] when TLS of an intercepted API names no host; [`Reason::NotHttp`] where there are policies.
pub fn carriage(route: &Route<'_>, protocol: &Protocol) -> Result<Carriage, Reason> {
    let api = match route {
        Route::Api(_, api) => Some(api),
        Route::Stranger | Route::Untouched(..) => None,
    };
    Ok(match (protocol, api) {
        (Protocol::Http1 { .. }, api) => {
            api.and_then(|api| api.backend.clone()).map_or(Carriage::Http, Carriage::Originate)
        }
        (Protocol::Tls { sni, alpn }, Some(api)) if api.mode == Mode::Intercept && (alpn.http1 || alpn.http2) => {
            let backend = api.backend.clone().unwrap_or_default();
            sni.as_ref().map(|_| Carriage::Intercept(backend, *alpn)).ok_or(Reason::NoName)?
        }
        (_, Some(api)) if api.rules.is_some() => return Err(Reason::NotHttp),
        _ => Carriage::Passthrough,
    })
}

#[cfg(test)]
mod tests;

//! What holds for requests of any version.

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, Version, header};

use crate::model::Host;

pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// Whether a request is for one of these hosts, whoever reads it: where its target and its Host field both name one, they
/// name the same. A connection may carry requests for others, which are not this API's: a kept-alive one, and one of
/// HTTP/2 whose certificate covers several names.
pub(super) fn is_for(hosts: &[Host], request: &Request<Incoming>) -> bool {
    let fields: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
    // RFC 9112 §3.2: exactly one; in other versions it may be missing.
    if fields.len() > 1 || (fields.is_empty() && request.version() == Version::HTTP_11) {
        return false;
    }
    // An authority alone is the target of CONNECT and of nothing else (RFC 9112 §3.2.3).
    if request.uri().scheme().is_none() && request.uri().authority().is_some() && request.method() != Method::CONNECT {
        return false;
    }
    let target = request.uri().authority().map(|authority| named(authority.as_str()));
    let field = fields.first().map(|field| field.to_str().ok().and_then(named));
    match (target, field) {
        (Some(target), Some(field)) if target != field => false,
        (Some(name), _) | (None, Some(name)) => name.is_some_and(|name| hosts.contains(&name)),
        (None, None) => false,
    }
}

/// The host of an authority, whose port is a number or missing, and which names no user.
fn named(authority: &str) -> Option<Host> {
    let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| Host::parse(name).ok()).flatten()
}

/// RFC 9110 §15.5.20.
pub(super) fn misdirected() -> Response<Body> {
    answer(StatusCode::MISDIRECTED_REQUEST, "egret: misdirected: this connection is for another host\n")
}

/// An answer of our own.
pub(super) fn answer(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

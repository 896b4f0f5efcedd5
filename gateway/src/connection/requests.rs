//! What holds for requests of any version.

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, header};

use crate::model::Host;

pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// Whether a request is for one of these hosts. A connection may carry requests for others, which are not this API's: a
/// kept-alive one, and one of HTTP/2 whose certificate covers several names.
pub(super) fn is_for(hosts: &[Host], request: &Request<Incoming>) -> bool {
    let target = request.uri().host();
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let header = header.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
    target.or(header).and_then(|host| Host::parse(host).ok()).is_some_and(|host| hosts.contains(&host))
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

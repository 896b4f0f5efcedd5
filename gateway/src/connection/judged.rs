//! Judges requests by the host that they name.

use hyper::{Method, Request, Response, StatusCode, Version, header};

use super::requests::{Body, answer};
use crate::model::{Host, Reason};

/// Judges by the host that a request names whether it may go to one of these hosts. Each request of a connection is judged by
/// itself: a connection that is kept alive, or one of HTTP/2 whose certificate covers several names, may carry requests for
/// others.
///
/// # Errors
/// [`Reason::Misdirected`] if the host is not one of these, [`Reason::NoName`] if there is none, and [`Reason::BadRequest`] if two
/// readers could take the request for two hosts: two Host fields, or a target and a Host field that differ.
pub(super) fn judge<'a, B>(hosts: impl IntoIterator<Item = &'a Host>, request: &Request<B>) -> Result<(), Reason> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let field = fields.next();
    // RFC 9112 §3.2: at most one. HTTP/1.1 needs one, other versions do not.
    if fields.next().is_some() {
        return Err(Reason::BadRequest);
    }
    if field.is_none() && request.version() == Version::HTTP_11 {
        return Err(Reason::NoName);
    }
    // An authority alone is the target of CONNECT and of nothing else (RFC 9112 §3.2.3).
    if request.uri().scheme().is_none() && request.uri().authority().is_some() && request.method() != Method::CONNECT {
        return Err(Reason::BadRequest);
    }
    let target = request.uri().authority().map(|authority| named(authority.as_str()));
    let field = field.map(|field| field.to_str().ok().and_then(named));
    if !request.uri().path_and_query().is_none_or(|target| is_target(target.as_str(), request.method())) {
        return Err(Reason::BadRequest);
    }
    let name = match (target, field) {
        (Some(Some(target)), Some(Some(field))) if target.eq_ignore_ascii_case(field) => target,
        (Some(Some(name)), None) | (None, Some(Some(name))) => name,
        (None, None) => return Err(Reason::NoName),
        _ => return Err(Reason::BadRequest),
    };
    let is_listed = hosts.into_iter().any(|host| host.as_str().eq_ignore_ascii_case(name));
    is_listed.then_some(()).ok_or(Reason::Misdirected)
}

/// Returns whether a target is a path, or the `*` of OPTIONS (RFC 9112 §3.2).
fn is_target(target: &str, method: &Method) -> bool {
    target.starts_with('/') || (target == "*" && method == Method::OPTIONS)
}

/// Returns the host name of an authority. Its port is a number or missing, and it names no user.
fn named(authority: &str) -> Option<&str> {
    let (name, port) = authority.split_once(':').unwrap_or((authority, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    (is_name && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Returns the response to a request that is refused because of the host that it names.
pub(super) fn refusal(reason: Reason) -> Response<Body> {
    match reason {
        Reason::NoName => answer(StatusCode::BAD_REQUEST, "egret: no_name: this request names no host\n"),
        Reason::BadRequest => {
            answer(StatusCode::BAD_REQUEST, "egret: bad_request: this request does not name one host\n")
        }
        Reason::NameMismatch => answer(
            StatusCode::MISDIRECTED_REQUEST,
            "egret: name_mismatch: the host of this request does not live at the address of this connection\n",
        ),
        Reason::StrangerRefused => answer(
            StatusCode::MISDIRECTED_REQUEST,
            "egret: stranger_refused: only listed hosts may be reached at the address of this connection\n",
        ),
        Reason::WorkloadNotAllowed => answer(
            StatusCode::FORBIDDEN,
            "egret: workload_not_allowed: this workload may not use the API of this host\n",
        ),
        // RFC 9110 §15.5.20.
        _ => answer(
            StatusCode::MISDIRECTED_REQUEST,
            "egret: misdirected: this connection is for another host than this request\n",
        ),
    }
}

/// Returns the response to a request whose transfer coding Egret does not know (RFC 9112 §6.1).
pub(super) fn unknown_coding() -> Response<Body> {
    answer(StatusCode::NOT_IMPLEMENTED, "egret: the transfer coding of this request is not known\n")
}

/// Returns the response to CONNECT (RFC 9110 §9.3.6), which makes no sense for a proxy that the caller does not know of.
pub(super) fn no_connect() -> Response<Body> {
    answer(StatusCode::METHOD_NOT_ALLOWED, "egret: CONNECT is not carried\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(version: Version, target: &str, fields: &[&str]) -> Result<(), Reason> {
        let mut request = Request::builder().version(version).uri(target);
        for field in fields {
            request = request.header("host", *field);
        }
        let hosts = ["api.partner.example", "www.partner.example"].map(|name| Host::parse(name).unwrap());
        judge(&hosts, &request.body(()).unwrap())
    }

    #[test]
    fn a_request_is_for_the_one_host_that_it_names() {
        let (mismatch, bad, none) = (Err(Reason::Misdirected), Err(Reason::BadRequest), Err(Reason::NoName));
        for (target, fields, expected) in [
            ("/", &["api.partner.example"][..], Ok(())),
            ("/", &["WWW.Partner.example.:8080"], Ok(())),
            ("http://api.partner.example/", &["API.partner.example"], Ok(())),
            ("http://api.partner.example./", &["api.partner.example"], Ok(())),
            ("/", &["x.api.partner.example"], mismatch),
            ("/", &["partner.example"], mismatch),
            ("http://stranger.example/", &["stranger.example"], mismatch),
            ("/", &["203.0.113.7"], mismatch),
            ("http://stranger.example/", &["api.partner.example"], bad),
            ("http://api.partner.example/", &["stranger.example"], bad),
            ("http://api.partner.example/", &["www.partner.example"], bad),
            ("/", &["api.partner.example", "api.partner.example"], bad),
            ("/", &["stranger.example", "api.partner.example"], bad),
            ("/", &["api.partner.example, stranger.example"], bad),
            ("/", &["stranger.example@api.partner.example"], bad),
            ("/", &["api.partner.example/stranger.example"], bad),
            ("/", &["api.partner.example:80:81"], bad),
            ("/", &["api.partner.example:@stranger.example"], bad),
            ("/", &["[2001:db8::7]"], bad),
            ("/", &[""], bad),
            ("api.partner.example", &["api.partner.example"], bad),
            ("*", &["api.partner.example"], bad),
            ("/", &[], none),
            ("http://api.partner.example/", &[], none),
        ] {
            assert_eq!(judged(Version::HTTP_11, target, fields), expected, "{target} {fields:?}");
        }
        assert_eq!(judged(Version::HTTP_2, "https://api.partner.example/", &[]), Ok(()));
        assert_eq!(judged(Version::HTTP_2, "https://api.partner.example/", &["stranger.example"]), bad);
        assert_eq!(judged(Version::HTTP_2, "https://stranger.example/", &[]), mismatch);
        assert_eq!(judged(Version::HTTP_10, "http://api.partner.example/", &[]), Ok(()));
    }
}

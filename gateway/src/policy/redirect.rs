//! Redirects that are followed: to the third party itself only. Where another one is named, its caller decides.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{Method, StatusCode, Uri};

use super::call::Call;
use super::rewrite_uri;

/// Makes the request that an answer asks for; whether it is to be sent (RFC 9110 §15.4).
pub(super) fn follow(call: &mut Call<'_>) -> bool {
    let Some(response) = &call.response else { return false };
    let (status, method) = (response.status, call.request.method.clone());
    let becomes_get = match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => method == Method::POST,
        StatusCode::SEE_OTHER => !matches!(method, Method::GET | Method::HEAD),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        _ => return false,
    };
    let bodiless = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !becomes_get && !bodiless && call.request_body.is_none() {
        call.note(|| "not followed: its body cannot be sent twice".to_owned());
        return false;
    }
    let location = response.headers.get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned);
    let Some(target) = location.as_deref().and_then(|location| target(location, call)) else {
        call.note(|| "not followed: it leads elsewhere".to_owned());
        return false;
    };
    if rewrite_uri::to(&target, call).is_err() {
        return false;
    }
    if becomes_get {
        call.request.method = Method::GET;
        call.request_body = Some(bytes::Bytes::new());
        for name in [CONTENT_LENGTH, CONTENT_TYPE] {
            call.request.headers.remove(name);
        }
    }
    call.note(|| format!("redirected to {target}"));
    true
}

/// The path and the query that a reference leads to, at the same third party (RFC 3986 §4.2).
fn target(location: &str, call: &Call<'_>) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let of_host = |rest: &str| {
        let uri = Uri::try_from(format!("{}://{rest}", call.scheme)).ok()?;
        let same = uri.host()?.eq_ignore_ascii_case(call.host.as_str()) && call.service.is_none();
        let usual = if call.scheme == "https" { 443 } else { 80 };
        (same && uri.port_u16().is_none_or(|port| port == usual))
            .then(|| uri.path_and_query().map(ToString::to_string))?
    };
    if let Some((scheme, rest)) = location.split_once("://") {
        return if scheme.eq_ignore_ascii_case(call.scheme) { of_host(rest) } else { None };
    }
    if let Some(rest) = location.strip_prefix("//") {
        return of_host(rest);
    }
    if location.starts_with('/') {
        return Some(location.to_owned());
    }
    let path = call.request.uri.path();
    let plain = !location.is_empty() && !location.contains(':') && !location.split('/').any(|part| part == "..");
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    plain.then(|| match location.starts_with('?') {
        true => format!("{path}{location}"),
        false => format!("{directory}/{location}"),
    })
}

//! Redirects that are followed: to the third party itself only. Where another one is named, its caller decides.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, LINK, LOCATION};
use http::{HeaderValue, Method, StatusCode, Uri};

use crate::policy::engine::query::{pairs, parameters};
use crate::policy::engine::{Call, mask, paths};

/// Makes the request that an answer asks for, of a server below this path; whether it is to be sent (RFC 9110 §15.4).
pub(in crate::policy) fn follow(call: &mut Call<'_>, base: &str) -> bool {
    let Some(response) = &call.message.response else { return false };
    let (status, method) = (response.status, call.message.request.method.clone());
    let becomes_get = match status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => method == Method::POST,
        StatusCode::SEE_OTHER => !matches!(method, Method::GET | Method::HEAD),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
        _ => return false,
    };
    let bodiless = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !becomes_get && !bodiless && call.message.request_body.is_none() {
        call.note(|| "not followed: its body cannot be sent twice".to_owned());
        return false;
    }
    let location = response.headers.get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned);
    let target = location.as_deref().and_then(|location| target(location, call, base));
    let Some(target) = target.filter(|target| paths::stays_below(target)) else {
        call.note(|| "not followed: it leads elsewhere".to_owned());
        return false;
    };
    if is_of_another_operation(call, &target, becomes_get) {
        call.note(|| "not followed: it is another operation, whose policies did not run".to_owned());
        return false;
    }
    if paths::set_target(&target, call).is_err() {
        return false;
    }
    if becomes_get {
        call.message.request.method = Method::GET;
        call.message.request_body = Some(bytes::Bytes::new());
        for name in [CONTENT_LENGTH, CONTENT_TYPE] {
            call.message.request.headers.remove(name);
        }
    }
    let shown = call.message.shown_target();
    call.note(|| format!("redirected to {shown}"));
    true
}

/// Returns whether a redirect leads to an operation whose policies the request has not passed: the third party may redirect to
/// whatever its caller names.
fn is_of_another_operation(call: &Call<'_>, target: &str, becomes_get: bool) -> bool {
    let method = call.message.request.method.as_str();
    let path = target.split('?').next().unwrap_or_default();
    let before = paths::operation(call, method, call.message.request.uri.path());
    paths::skips_policies(call, before, paths::operation(call, if becomes_get { "GET" } else { method }, path))
}

/// The path and the query that a reference leads to, at the same third party (RFC 3986 §4.2).
fn target(location: &str, call: &Call<'_>, base: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let of_host = |rest: &str| {
        let uri = Uri::try_from(format!("{}://{rest}", call.context.scheme)).ok()?;
        let same = uri.host()?.eq_ignore_ascii_case(call.context.host.as_str()) && call.message.backend.is_none();
        let usual = if call.context.scheme == "https" { 443 } else { 80 };
        (same && uri.port_u16().is_none_or(|port| port == usual))
            .then(|| uri.path_and_query().map(ToString::to_string))?
    };
    if let Some((scheme, rest)) = location.split_once("://") {
        return if scheme.eq_ignore_ascii_case(call.context.scheme) { of_host(rest) } else { None };
    }
    if let Some(rest) = location.strip_prefix("//") {
        return of_host(rest);
    }
    if location.starts_with('/') {
        // What is sent gets the path before it again.
        let below = location.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        return below.map(|rest| if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") });
    }
    let path = call.message.request.uri.path();
    let plain = !location.is_empty() && !location.contains(':') && !location.split('/').any(|part| part == "..");
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    plain.then(|| match location.starts_with('?') {
        true => format!("{path}{location}"),
        false => format!("{directory}/{location}"),
    })
}

/// Takes secrets out of the places that an answer names: third parties lead to the same path and query elsewhere.
pub(in crate::policy) fn hide(call: &mut Call<'_>) {
    let (secrets, in_target) = (&call.message.secrecy.parameters, &call.message.secrecy.target_values);
    let Some(response) = call.message.response.as_mut().filter(|_| !secrets.is_empty() || !in_target.is_empty()) else {
        return;
    };
    for name in [LOCATION, CONTENT_LOCATION, LINK] {
        for (_, value) in response.headers.iter_mut().filter(|(known, _)| **known == name) {
            let told = String::from_utf8_lossy(value.as_bytes());
            let text = mask::text_without(&told, in_target);
            // RFC 8288 §3: links are in angle brackets.
            let shown = match name == LINK {
                true => text.split('>').map(|text| hidden_after(text, secrets)).collect::<Vec<_>>().join(">"),
                false => hidden(&text, secrets).into_owned(),
            };
            if shown != told {
                // What cannot be said is not.
                *value = HeaderValue::from_bytes(shown.as_bytes()).unwrap_or(HeaderValue::from_static(""));
            }
        }
    }
}

fn hidden_after(text: &str, secrets: &[Arc<str>]) -> String {
    text.rsplit_once('<').map_or(text.to_owned(), |(before, place)| format!("{before}<{}", hidden(place, secrets)))
}

/// A reference without these parameters.
fn hidden<'a>(place: &'a str, secrets: &[Arc<str>]) -> Cow<'a, str> {
    let is_secret = |pair: &str| parameters(pair).any(|(name, _)| secrets.iter().any(|secret| **secret == *name));
    let (place_and_query, fragment) = place.split_once('#').map_or((place, None), |(rest, end)| (rest, Some(end)));
    let Some((path, query)) = place_and_query.split_once('?') else { return Cow::Borrowed(place) };
    if !pairs(query).any(is_secret) {
        return Cow::Borrowed(place);
    }
    let query = pairs(query).filter(|pair| !is_secret(pair)).collect::<Vec<_>>().join("&");
    let query = if query.is_empty() { query } else { format!("?{query}") };
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{path}{query}{fragment}").into()
}

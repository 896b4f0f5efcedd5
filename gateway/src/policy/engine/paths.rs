//! Rules for methods and paths: how they may be spelled, that they stay below a base path, and that what a request puts into one does not make
//! it a request of another operation.

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri};

use super::call::Call;
use super::fault::Fault;
use crate::model::{Operation, Reason, Rules, ambiguity, has_dot_segment};
use crate::route;

/// Refuses a request whose path servers read in different ways.
///
/// # Errors
/// The path is one that `paths: strict` refuses.
pub(in crate::policy) fn is_unambiguous(call: &Call<'_>, rules: &Rules) -> Result<(), Box<Fault>> {
    let (method, path) = (call.message.request.method.as_str(), call.message.request.uri.path());
    if let Some(what) = ambiguity(path) {
        return Err(refused(format!("servers read this path in different ways: {what} (paths: strict)")));
    }
    let mut others = PATHS.iter().flat_map(|name| call.message.request.headers.get_all(*name));
    let is_same = |other: &HeaderValue| {
        let other = other.to_str().ok().and_then(|other| other.trim().parse::<Uri>().ok());
        other.is_some_and(|other| other.path() == path)
    };
    if !others.all(is_same) {
        return Err(refused("a header names another path, which some servers take instead (paths: strict)".to_owned()));
    }
    match route::operation_but_for_capitals(rules, method, path) {
        Some(other) => Err(refused(format!("but for its capitals this path is one of {} (paths: strict)", other.name))),
        None => Ok(()),
    }
}

/// Methods that servers know, some of them in any spelling.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// Fields by which servers take a request for one of another method.
const OVERRIDES: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];

/// Fields by which servers take a request for one of another path.
const PATHS: [&str; 2] = ["x-original-url", "x-rewrite-url"];

/// Refuses a request whose method servers read in different ways: small letters, or a field that names another method and so
/// another operation.
///
/// # Errors
/// Policies would run for another method than the third party may see.
pub(in crate::policy) fn has_one_method(call: &Call<'_>, rules: &Rules) -> Result<(), Box<Fault>> {
    let method = call.message.request.method.as_str();
    if METHODS.iter().any(|known| *known != method && known.eq_ignore_ascii_case(method)) {
        return Err(refused(format!("servers read the method {method} in different ways: write it in capitals")));
    }
    if rules.operations.is_empty() {
        return Ok(());
    }
    for value in OVERRIDES.iter().flat_map(|name| call.message.request.headers.get_all(*name)) {
        let other = value.to_str().unwrap_or_default().trim();
        let now = operation(call, other, call.message.request.uri.path());
        let is_none = rules.only_operations && now.is_none();
        if is_none || skips_policies(call, None, now) {
            let what = now.map_or("none of the operations", |now| &*now.name);
            return Err(refused(format!("a header names another method, with which this request is {what}")));
        }
    }
    Ok(())
}

/// Returns a request's target below the path of a backend's server.
///
/// # Errors
/// A server may read a path in it that is not below.
pub(in crate::policy) fn below(base: &str, uri: &Uri) -> Result<Uri, Box<Fault>> {
    if base.is_empty() {
        return Ok(uri.clone());
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if !stays_below(target) {
        return Err(refused(format!("this path may leave {base}, below which all of the backend's are")));
    }
    let mut parts = uri.clone().into_parts();
    let joined = format!("{base}{target}").try_into();
    parts.path_and_query = Some(joined.map_err(|_| refused("this path cannot be sent".to_owned()))?);
    Uri::from_parts(parts).map_err(|_| refused("this path cannot be sent".to_owned()))
}

/// Returns whether a path, with its query, stays below another path that is written before it. `*` does not.
pub(in crate::policy) fn stays_below(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    path.starts_with('/') && !has_dot_segment(path)
}

/// Returns whether a request that was this operation and now is that one skips policies: those of an operation that is neither its
/// own nor the one that the configuration's text alone leads to.
pub(in crate::policy) fn skips_policies(
    call: &Call<'_>,
    expected: Option<&Operation>,
    now: Option<&Operation>,
) -> bool {
    let Some(now) = now else { return false };
    let is_now = |other: Option<&Operation>| other.is_some_and(|other| std::ptr::eq(other, now));
    let own = call.context.operation.map(|operation| &operation.policies);
    let own = own.or_else(|| call.context.api.rules.as_deref().map(|rules| &rules.otherwise));
    !is_now(expected) && !is_now(call.context.operation) && own != Some(&now.policies)
}

/// Checks that a method which a request chooses does not make it a request of another operation.
///
/// # Errors
/// That operation has policies which did not run.
pub(in crate::policy) fn may_have_method(call: &Call<'_>, new: &Method) -> Result<(), Box<Fault>> {
    let path = call.message.request.uri.path();
    let (before, now) =
        (operation(call, call.message.request.method.as_str(), path), operation(call, new.as_str(), path));
    match now.filter(|_| skips_policies(call, before, now)) {
        Some(now) => {
            Err(refused(format!("the new method makes it operation {}, whose policies did not run", now.name)))
        }
        None => Ok(()),
    }
}

/// Returns the operation of a method and a path in the call's API.
pub(in crate::policy) fn operation<'a>(call: &Call<'a>, method: &str, path: &str) -> Option<&'a Operation> {
    let rules = call.context.api.rules.as_deref()?;
    route::operation(rules, method, path).map(|(operation, _)| operation)
}

/// Returns the refusal of a path.
pub(in crate::policy) fn refused(message: String) -> Box<Fault> {
    Fault::new(Reason::PathNotAllowed, 400, message)
}

/// Sets the path and the query of the request.
///
/// # Errors
/// The text is no path: it does not begin with a slash, has a fragment, or is not percent-encoded.
pub(in crate::policy) fn set_target(target: &str, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let bad = || {
        Fault::new(Reason::Expression, 500, "the new path is not valid: it begins with a slash and is percent-encoded")
    };
    // What follows `#` would silently be lost.
    if !target.starts_with('/') || target.contains('#') {
        return Err(bad());
    }
    let target = PathAndQuery::try_from(target).map_err(|_| bad())?;
    let mut parts = std::mem::take(&mut call.message.request.uri).into_parts();
    parts.path_and_query = Some(target);
    call.message.request.uri = Uri::from_parts(parts).map_err(|_| bad())?;
    Ok(())
}

use http::Uri;
use http::uri::PathAndQuery;

use super::call::{Call, Fault};
use super::{paths, template};
use crate::model::{Part, Reason, RewriteUri, Template};

/// Sets the path that the third party sees, and perhaps the query.
///
/// # Errors
/// An expression failed, the text is no path, or what the request puts into it leads elsewhere: to another directory (`..`), or to
/// an operation whose policies did not run.
pub(super) fn run(rewrite: &RewriteUri, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let filled = template::fill(&rewrite.template, call)?;
    call.note(|| filled.shown().to_owned());
    if rewrite.template.expressions().next().is_some() {
        leads_where_it_says(&rewrite.template, &filled.text, call)?;
    }
    call.secret_target |= filled.is_secret();
    call.secrets_of_target.extend(filled.secrets());
    let query = call.request.uri.query().filter(|query| rewrite.copy_query && !query.is_empty());
    let target = match query {
        Some(query) => format!("{}{}{query}", filled.text, if filled.text.contains('?') { '&' } else { '?' }),
        None => filled.text.into_owned(),
    };
    to(&target, call)
}

/// Checks what the values of holes make of a path.
fn leads_where_it_says(template: &Template, target: &str, call: &Call<'_>) -> Result<(), Box<Fault>> {
    let path = target.split('?').next().unwrap_or_default();
    if !paths::stays_below(path) {
        return Err(paths::refused("the new path would have a dot segment in it".to_owned()));
    }
    let (method, expected) = (call.request.method.as_str(), without_values(template));
    let expected = paths::operation(call, method, expected.split('?').next().unwrap_or_default());
    let now = paths::operation(call, method, path);
    match now.filter(|_| paths::skips_policies(call, expected, now)) {
        Some(now) => {
            Err(paths::refused(format!("the new path is one of operation {}, whose policies did not run", now.name)))
        }
        None => Ok(()),
    }
}

/// Returns the path that a template is where values say nothing.
fn without_values(template: &Template) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.to_string(),
        Part::Expression(..) => "-".to_owned(),
        Part::Named(value) => String::from_utf8_lossy(value.current().expose()).into_owned(),
    };
    let path: String = template.0.iter().map(part).collect();
    if path.starts_with('/') { path } else { format!("/{path}") }
}

/// Sets the path and the query.
///
/// # Errors
/// The text is no path: it does not begin with a slash, has a fragment, or is not percent-encoded.
pub(super) fn to(target: &str, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let bad = || {
        Fault::new(Reason::Expression, 500, "the new path is not valid: it begins with a slash and is percent-encoded")
    };
    // What follows `#` would silently be lost.
    if !target.starts_with('/') || target.contains('#') {
        return Err(bad());
    }
    let target = PathAndQuery::try_from(target).map_err(|_| bad())?;
    let mut parts = std::mem::take(&mut call.request.uri).into_parts();
    parts.path_and_query = Some(target);
    call.request.uri = Uri::from_parts(parts).map_err(|_| bad())?;
    Ok(())
}

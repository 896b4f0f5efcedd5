use http::Uri;
use http::uri::PathAndQuery;

use super::call::{Call, Fault};
use super::template;
use crate::model::{Reason, RewriteUri};

/// Sets the path, and the query perhaps.
pub(super) fn run(rewrite: &RewriteUri, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let filled = template::fill(&rewrite.template, call)?;
    call.note(|| filled.shown().to_owned());
    call.secret_target |= filled.is_secret();
    call.secrets_of_target.extend(filled.secrets());
    let query = call.request.uri.query().filter(|query| rewrite.copy_query && !query.is_empty());
    let target = match query {
        Some(query) => format!("{}{}{query}", filled.text, if filled.text.contains('?') { '&' } else { '?' }),
        None => filled.text.into_owned(),
    };
    to(&target, call)
}

/// Sets both.
pub(super) fn to(target: &str, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let bad =
        || Fault::new(Reason::Expression, 500, "the new path is none: it begins with a slash and is percent-encoded");
    if !target.starts_with('/') {
        return Err(bad());
    }
    let target = PathAndQuery::try_from(target).map_err(|_| bad())?;
    let mut parts = std::mem::take(&mut call.request.uri).into_parts();
    parts.path_and_query = Some(target);
    call.request.uri = Uri::from_parts(parts).map_err(|_| bad())?;
    Ok(())
}

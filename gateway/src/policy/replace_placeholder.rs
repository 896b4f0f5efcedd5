use http::{HeaderName, HeaderValue};

use super::call::{Call, Fault};
use super::set_query_parameter::{ENCODED, pairs, parameters};
use super::{rewrite_uri, set_header, template};
use crate::model::ReplacePlaceholder;

/// Puts a secret where the caller has written a placeholder: in fields of its head and in values of its query. So the caller never
/// has it.
pub(super) fn run(replace: &ReplacePlaceholder, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let placeholder = &*replace.placeholder;
    let has = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains(placeholder));
    let fields: Vec<HeaderName> =
        call.request.headers.iter().filter(|(_, value)| has(value)).map(|(name, _)| name.clone()).collect();
    let query = call.request.uri.query().unwrap_or_default().to_owned();
    // A name is no place for a secret: by their names parameters are known as such.
    let value_of = |pair: &str| pair.split_once('=').map_or(pair.len(), |(name, _)| name.len() + 1);
    let is_in = |pair: &&str| pair[value_of(pair)..].contains(placeholder);
    if fields.is_empty() && !pairs(&query).any(|pair| is_in(&pair)) {
        call.note(|| "the placeholder is not there".to_owned());
        return Ok(());
    }
    let filled = template::fill(&replace.value, call)?;
    for (name, value) in call.request.headers.iter_mut().filter(|(_, value)| has(value)) {
        let text = value.to_str().unwrap_or_default().replace(placeholder, &filled.text);
        *value = set_header::value(name, &text)?;
        value.set_sensitive(true);
    }
    for name in fields {
        call.note(|| format!("in {name}"));
    }
    if pairs(&query).any(|pair| is_in(&pair)) {
        let encoded = percent_encoding::utf8_percent_encode(&filled.text, ENCODED).to_string();
        let mut replaced = Vec::new();
        for pair in query.split('&') {
            if is_in(&pair) {
                call.secret_parameters.extend(parameters(pair).map(|(name, _)| name.as_ref().into()));
                let (name, value) = pair.split_at(value_of(pair));
                replaced.push(format!("{name}{}", value.replace(placeholder, &encoded)));
            } else {
                replaced.push(pair.to_owned());
            }
        }
        let query = replaced.join("&");
        rewrite_uri::to(&format!("{}?{query}", call.request.uri.path()), call)?;
        call.note(|| "in the query".to_owned());
    }
    Ok(())
}

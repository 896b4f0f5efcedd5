use http::{HeaderName, HeaderValue};

use super::call::{Call, Fault};
use super::{rewrite_uri, set_header, template};
use crate::model::ReplacePlaceholder;

/// Puts a secret where the caller has written a placeholder: in fields of its head and in its query. So the caller never has it.
pub(super) fn run(replace: &ReplacePlaceholder, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let placeholder = &*replace.placeholder;
    let has = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains(placeholder));
    let fields: Vec<HeaderName> =
        call.request.headers.iter().filter(|(_, value)| has(value)).map(|(name, _)| name.clone()).collect();
    let query = call.request.uri.query().unwrap_or_default().to_owned();
    if fields.is_empty() && !query.contains(placeholder) {
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
    if query.contains(placeholder) {
        let names = super::set_query_parameter::parameters(&query).filter(|(_, value)| value.contains(placeholder));
        call.secret_parameters.extend(names.map(|(name, _)| name.as_ref().into()));
        let encoded = percent_encoding::utf8_percent_encode(&filled.text, super::set_query_parameter::ENCODED);
        let query = query.replace(placeholder, &encoded.to_string());
        rewrite_uri::to(&format!("{}?{query}", call.request.uri.path()), call)?;
        call.note(|| "in the query".to_owned());
    }
    Ok(())
}

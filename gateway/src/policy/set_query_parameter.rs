use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::call::{Call, Fault};
use super::{rewrite_uri, template};
use crate::model::{Exists, SetQueryParameter};

/// RFC 3986 §2.3: what needs no encoding.
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sets, adds or removes a parameter of the request's query; the others stay as they came, byte for byte.
pub(super) fn run(set: &SetQueryParameter, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let query = call.request.uri.query().unwrap_or_default().to_owned();
    let there = parameters(&query).any(|(name, _)| *name == *set.name);
    if set.exists == Exists::Skip && there {
        call.note(|| format!("{} is there", set.name));
        return Ok(());
    }
    let filled = set.values.iter().map(|value| template::fill(value, call)).collect::<Result<Vec<_>, _>>()?;
    for value in &filled {
        call.note(|| format!("{}={}", set.name, value.shown()));
        if value.is_secret() {
            call.secret_parameters.push(set.name.clone());
        }
    }
    put(&set.name, filled.iter().map(|value| &*value.text), set.exists == Exists::Append, call)
}

/// Puts parameters of this name at the end, after those that are there or instead of them.
pub(super) fn put<'v>(
    own: &str,
    values: impl Iterator<Item = &'v str>,
    keep: bool,
    call: &mut Call<'_>,
) -> Result<(), Box<Fault>> {
    let query = call.request.uri.query().unwrap_or_default().to_owned();
    let kept = pairs(&query).filter(|pair| keep || decoded(name(pair)) != own);
    let added = values.map(|value| {
        let encode = |text| utf8_percent_encode(text, ENCODED).to_string();
        format!("{}={}", encode(own), encode(value))
    });
    let query = kept.map(str::to_owned).chain(added).collect::<Vec<_>>().join("&");
    let path = call.request.uri.path().to_owned();
    let target = if query.is_empty() { path } else { format!("{path}?{query}") };
    rewrite_uri::to(&target, call)
}

/// Returns names, decoded, and values as they were sent, in their order.
pub(super) fn encoded_parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    pairs(query).map(|pair| (decoded(name(pair)), pair.split_once('=').map_or("", |(_, value)| value).into()))
}

/// Names and values, decoded, in their order.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    pairs(query).map(|pair| (decoded(name(pair)), decoded(pair.split_once('=').map_or("", |(_, value)| value))))
}

/// As they are, in their order.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// As forms are encoded: a plus is a space.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned())
}

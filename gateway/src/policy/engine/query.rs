//! Queries of requests: names and values, decoded and as they were sent.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str};

/// The characters that are encoded in a value: all but the unreserved ones (RFC 3986 §2.3).
pub(in crate::policy) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the names, decoded, and the values as they were sent, in their order.
pub(in crate::policy) fn encoded_parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    pairs(query).map(|pair| (decoded(name(pair)), pair.split_once('=').map_or("", |(_, value)| value).into()))
}

/// Returns the names and values, decoded, in their order.
pub(in crate::policy) fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    pairs(query).map(|pair| (decoded(name(pair)), decoded(pair.split_once('=').map_or("", |(_, value)| value))))
}

/// Returns the parts between `&`, as they were sent.
pub(in crate::policy) fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

/// Returns the name in a part, as it was sent.
pub(in crate::policy) fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// Decodes a name or a value as forms are encoded: a plus is a space.
pub(in crate::policy) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned())
}

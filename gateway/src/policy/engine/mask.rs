//! Secrets that a third party repeats. What policies have put into a request is masked wherever it comes back: in the fields of the
//! response's head, in its trailers, and in its body where that is there as a whole. A body that is streamed or compressed is not looked at.

use std::borrow::Cow;
use std::cmp::Reverse;

use bytes::Bytes;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{percent_decode_str, utf8_percent_encode};

use super::call::Call;
use super::query::{ENCODED, parameters};
use super::secrecy::MASK;

/// The shortest secret that is looked for, in bytes: a shorter one would be found by chance.
const SHORTEST: usize = 6;

/// Remembers the secrets of the request that is sent now.
pub(in crate::policy) fn remember(call: &mut Call<'_>) {
    if !call.message.has_secret() {
        return;
    }
    let mut found: Vec<String> = call.message.secrecy.target_values.clone();
    for (name, value) in call.message.request.headers.iter().filter(|(_, value)| value.is_sensitive()) {
        let text = String::from_utf8_lossy(value.as_bytes());
        // `Bearer`, `Basic`, ...
        let credential = text.split_once(' ').filter(|_| [AUTHORIZATION, PROXY_AUTHORIZATION].contains(name));
        found.extend(credential.map(|(_, credential)| credential.to_owned()));
        found.push(text.into_owned());
    }
    let query = call.message.request.uri.query().unwrap_or_default();
    let is_secret = |name: &str| call.message.secrecy.parameters.iter().any(|known| **known == *name);
    found.extend(parameters(query).filter(|(name, _)| is_secret(name)).map(|(_, value)| value.into_owned()));
    for secret in found {
        add(call, secret);
    }
}

/// Remembers a secret of the request.
pub(in crate::policy) fn add(call: &mut Call<'_>, secret: String) {
    if secret.len() >= SHORTEST && !call.message.secrecy.sent.contains(&secret) {
        call.message.secrecy.sent.push(secret);
        // One may be a part of another.
        call.message.secrecy.sent.sort_unstable_by_key(|secret| Reverse(secret.len()));
    }
}

/// Masks secrets in the fields of a response's head, or in its trailers.
pub fn fields(headers: &mut HeaderMap, secrets: &[String]) {
    if secrets.is_empty() {
        return;
    }
    for value in headers.values_mut() {
        let text = String::from_utf8_lossy(value.as_bytes());
        if let Cow::Owned(masked) = text_without(&text, secrets) {
            *value = HeaderValue::from_bytes(masked.as_bytes()).unwrap_or(HeaderValue::from_static(MASK));
        }
    }
}

/// Returns a text with secrets masked, however they are percent-encoded.
pub(in crate::policy) fn text_without<'a>(text: &'a str, secrets: &[String]) -> Cow<'a, str> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut masked = Cow::Borrowed(text);
    for secret in secrets {
        if masked.contains(secret.as_str()) {
            masked = masked.replace(secret.as_str(), MASK).into();
        }
        if masked.contains('%') && decoded(&masked).contains(&decoded(secret)) {
            return Cow::Owned(MASK.to_owned());
        }
    }
    masked
}

/// Returns a body with secrets masked, as they are and as JSON, XML, queries and forms write them; `None` if there are none.
pub(in crate::policy) fn body(body: &Bytes, secrets: &[String]) -> Option<Bytes> {
    let mut masked: Option<Vec<u8>> = None;
    let mut all: Vec<_> = secrets.iter().flat_map(|secret| spellings(secret)).collect();
    all.sort_unstable_by_key(|secret| Reverse(secret.len()));
    for secret in all {
        let text = masked.as_deref().unwrap_or(body);
        if let Some(without) = replaced(text, secret.as_bytes()) {
            masked = Some(without);
        }
    }
    masked.map(Bytes::from)
}

fn spellings(secret: &str) -> Vec<String> {
    let json = serde_json::Value::from(secret).to_string();
    let xml = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let encoded = utf8_percent_encode(secret, ENCODED).to_string();
    let mut all =
        vec![secret.to_owned(), json[1..json.len() - 1].to_owned(), xml, encoded.replace("%20", "+"), encoded];
    all.dedup();
    all
}

fn replaced(text: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let find = |text: &[u8]| find(text, secret);
    let mut at = find(text)?;
    let (mut rest, mut without) = (text, Vec::with_capacity(text.len()));
    loop {
        without.extend_from_slice(&rest[..at]);
        without.extend_from_slice(MASK.as_bytes());
        rest = &rest[at + secret.len()..];
        match find(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    without.extend_from_slice(rest);
    Some(without)
}

/// Returns where a text is in another one.
pub(in crate::policy) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_every_spelling() {
        let secrets = ["s3cret key\"&".to_owned()];
        for text in ["s3cret key\"&", "s3cret key\\\"&", "s3cret key\"&amp;", "s3cret%20key%22%26", "s3cret+key%22%26"]
        {
            let body = body(&Bytes::from(format!("a {text} b {text}")), &secrets);
            assert_eq!(body.as_deref(), Some(&b"a *** b ***"[..]), "{text}");
        }
        assert_eq!(body(&Bytes::from_static(b"nothing"), &secrets), None);
        assert_eq!(text_without("a=s3cret%20key%22%26", &secrets), "***");
        assert_eq!(text_without("50% off", &secrets), "50% off");
    }
}

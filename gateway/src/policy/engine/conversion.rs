//! What `json-to-xml` and `xml-to-json` have in common: when they convert a body, and how they change the head.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Method};

use super::bodies;
use super::call::Call;
use super::fault::Fault;
use super::side::Side;
use crate::model::{Converted, Reason};

/// The format of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Format {
    Json,
    Xml,
}

impl Format {
    /// Returns whether a media type is of this format (RFC 8259, RFC 7303, RFC 6839).
    fn is(self, kind: &str) -> bool {
        let (name, suffix) = match self {
            Self::Json => ("json", "+json"),
            Self::Xml => ("xml", "+xml"),
        };
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let plain = kind.strip_prefix("application/").or_else(|| kind.strip_prefix("text/"));
        plain == Some(name) || kind.ends_with(suffix)
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Xml => "XML",
        }
    }

    const fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml",
        })
    }
}

/// Checks whether the body that the section is about is to be converted to this format.
///
/// # Errors
/// Says why it is not.
pub(in crate::policy) fn applies(when: Converted, to: Format, call: &Call<'_>) -> Result<(), String> {
    let from = if to == Format::Json { Format::Xml } else { Format::Json };
    let headers = match (call.side(), &call.message.response) {
        (Side::Request, _) => &call.message.request.headers,
        (Side::Response, Some(response)) => {
            let status = response.status;
            // RFC 9110 §6.4.1: these have no body.
            if call.message.request.method == Method::HEAD
                || status.is_informational()
                || [204, 304].contains(&status.as_u16())
            {
                return Err("such an answer has no body".to_owned());
            }
            &response.headers
        }
        (Side::Response, None) => return Err("there is no answer".to_owned()),
    };
    let said = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !when.always && !from.is(said) {
        return Err(format!("the body is not {}", from.label()));
    }
    if when.consider_accept && call.side() == Side::Response && !is_accepted(to, &call.message.request.headers) {
        return Err(format!("the caller does not ask for {}", to.label()));
    }
    Ok(())
}

/// Returns whether `Accept` names the format (RFC 9110 §12.5.1).
fn is_accepted(format: Format, headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(','));
    let mut named = ranges.filter(|range| format.is(range));
    named.any(|range| {
        let quality = range.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix("q="));
        quality.is_none_or(|quality| quality.trim().parse::<f32>().is_ok_and(|quality| quality > 0.0))
    })
}

/// Converts the body that the section is about, where it is to be converted.
pub(in crate::policy) fn run(
    when: Converted,
    to: Format,
    call: &mut Call<'_>,
    convert: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>,
) -> Result<(), Box<Fault>> {
    if let Err(why) = applies(when, to, call) {
        call.note(|| why);
        return Ok(());
    }
    let (body, status) = match call.side() {
        Side::Request => (call.message.request_body.clone(), 400),
        Side::Response => (call.message.response_body.clone(), 502),
    };
    let Some(body) = body.filter(|body| !body.is_empty()) else {
        call.note(|| "there is no body".to_owned());
        return Ok(());
    };
    let converted =
        convert(&body).map_err(|why| Fault::new(Reason::NotConverted, status, format!("the body is {why}")))?;
    call.note(|| format!("{} bytes of {}", converted.len(), to.label()));
    bodies::put(call, Bytes::from(converted));
    if let Some(headers) = call.headers() {
        headers.insert(CONTENT_TYPE, to.content_type());
        if when.consider_accept {
            // For whoever keeps it (RFC 9110 §12.5.5).
            headers.append(VARY, HeaderValue::from_static("Accept"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::ACCEPT;

    use super::{Format, is_accepted};

    #[test]
    fn media_types_are_told_apart() {
        for (kind, json, xml) in [
            ("application/json", true, false),
            ("Application/JSON; charset=utf-8", true, false),
            ("application/problem+json", true, false),
            ("text/xml", false, true),
            ("application/soap+xml; action=a", false, true),
            ("application/xml-dtd", false, false),
            ("text/plain", false, false),
            ("", false, false),
        ] {
            assert_eq!((Format::Json.is(kind), Format::Xml.is(kind)), (json, xml), "{kind}");
        }
    }

    #[test]
    fn accept_names_a_format_or_does_not() {
        for (accept, expected) in [
            ("application/xml", true),
            ("text/html, application/json;q=0.9, text/xml;q=0.1", true),
            ("application/xml;q=0", false),
            ("application/xml; q=0.0, */*", false),
            ("*/*", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(is_accepted(Format::Xml, &headers), expected, "{accept}");
        }
        assert!(!is_accepted(Format::Xml, &HeaderMap::new()));
    }
}

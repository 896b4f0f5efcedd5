//! Confirms stored responses: conditional requests to the third party, and conditions of callers (RFC 9110 §13, RFC 9111 §4.3).

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

use super::freshness::time;

/// Returns whether the third party can confirm the response.
pub(in crate::policy) fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED)
}

/// Makes a request conditional on the stored response. The caller's own conditions are evaluated when there is a response.
pub(in crate::policy) fn ask(request: &mut HeaderMap, kept: &HeaderMap) {
    request.remove(IF_NONE_MATCH);
    request.remove(IF_MODIFIED_SINCE);
    for (condition, validator) in [(IF_NONE_MATCH, ETAG), (IF_MODIFIED_SINCE, LAST_MODIFIED)] {
        if let Some(value) = kept.get(validator) {
            request.insert(condition, value.clone());
        }
    }
}

/// Whether a request is about a part, or about the third party's state: such are no matter of a cache's.
pub(in crate::policy) fn is_particular(request: &HeaderMap) -> bool {
    [RANGE, IF_RANGE, IF_MATCH, IF_UNMODIFIED_SINCE].iter().any(|name| request.contains_key(name))
}

/// Returns whether the caller has this response already (RFC 9110 §13.2.2).
pub(in crate::policy) fn has_already(request: &HeaderMap, kept: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let tag = kept.get(ETAG).map(|tag| opaque(tag.as_bytes()));
        let mut known =
            request.get_all(IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        return known.any(|one| one.trim_ascii() == b"*" || tag == Some(opaque(one.trim_ascii())));
    }
    let times = time(kept, LAST_MODIFIED).zip(time(request, IF_MODIFIED_SINCE));
    times.is_some_and(|(modified, since)| modified <= since)
}

/// Returns an entity tag without its mark of weakness: weak comparison is enough here (RFC 9110 §8.8.3.2).
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The headers of an answer of which the third party says that it is still so, with what it says now (RFC 9111 §3.2), but of those
/// that policies have changed, and of cookies, which are one caller's.
pub(in crate::policy) fn renewed(kept: &HeaderMap, not_modified: &HeaderMap, changed: &[HeaderName]) -> HeaderMap {
    const OF_THE_KEPT: [HeaderName; 8] =
        [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, SET_COOKIE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let mut headers = kept.clone();
    headers.remove(http::header::AGE);
    for name in not_modified.keys().filter(|name| !OF_THE_KEPT.contains(name) && !changed.contains(name)) {
        headers.remove(name);
        for value in not_modified.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn callers_that_have_it_already_are_told_so() {
        let kept = headers(&[(ETAG, "W/\"1\""), (LAST_MODIFIED, "Tue, 15 Nov 1994 08:12:31 GMT")]);
        for (request, has) in [
            (vec![(IF_NONE_MATCH, "\"1\"")], true),
            (vec![(IF_NONE_MATCH, "\"0\", W/\"1\"")], true),
            (vec![(IF_NONE_MATCH, "*")], true),
            (vec![(IF_NONE_MATCH, "\"2\"")], false),
            (vec![(IF_NONE_MATCH, "\"2\""), (IF_MODIFIED_SINCE, "Tue, 15 Nov 1994 08:12:31 GMT")], false),
            (vec![(IF_MODIFIED_SINCE, "Tue, 15 Nov 1994 08:12:31 GMT")], true),
            (vec![(IF_MODIFIED_SINCE, "Tue, 15 Nov 1994 08:12:30 GMT")], false),
            (vec![(IF_MODIFIED_SINCE, "yesterday")], false),
            (vec![], false),
        ] {
            assert_eq!(has_already(&headers(&request), &kept), has, "{request:?}");
        }
        assert!(!has_already(&headers(&[(IF_NONE_MATCH, "\"1\"")]), &HeaderMap::new()));
    }

    #[test]
    fn an_answer_that_is_still_so_has_its_new_headers_and_its_old_body() {
        let kept =
            headers(&[(ETAG, "\"1\""), (CONTENT_LENGTH, "5"), (http::header::AGE, "7"), (http::header::DATE, "then")]);
        let now = headers(&[
            (http::header::DATE, "now"),
            (CONTENT_LENGTH, "0"),
            (http::header::VIA, "1.1 a"),
            (http::header::VIA, "1.1 b"),
        ]);
        let renewed = renewed(&kept, &now, &[]);
        assert_eq!(renewed[CONTENT_LENGTH], "5");
        assert_eq!(renewed[http::header::DATE], "now");
        assert_eq!(renewed.get_all(http::header::VIA).iter().count(), 2);
        assert!(renewed.contains_key(ETAG) && !renewed.contains_key(http::header::AGE));
    }
}

//! Values of header fields.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::fault::Fault;
use crate::model::Reason;

/// Returns a text as the value of a field.
///
/// # Errors
/// The text has a line break or a control character. The message does not repeat the text, which may be a secret.
pub(in crate::policy) fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, Box<Fault>> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        let message = format!("what {name} would say is no header: a line break, or a control character");
        Fault::new(Reason::Expression, 500, message)
    })
}

/// Returns how long `Retry-After` asks to wait from now on, in seconds or until a time (RFC 9110 §10.2.3).
pub(in crate::policy) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until = || httpdate::parse_http_date(value).ok().map(|time| time.duration_since(now).unwrap_or_default());
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_number.then(|| Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    seconds.or_else(until)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_time() {
        let now = httpdate::parse_http_date("Fri, 31 Dec 1999 23:58:59 GMT").unwrap();
        let asked = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked("Fri, 31 Dec 1999 23:59:59 GMT"), Some(60));
        assert_eq!(asked("Fri, 31 Dec 1999 22:59:59 GMT"), Some(0));
        assert_eq!(asked("99999999999999999999"), Some(u64::MAX));
        for value in ["soon", "+5", "-5", ""] {
            assert_eq!(asked(value), None, "{value}");
        }
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig { cases: 300, rng_seed: proptest::test_runner::RngSeed::Fixed(19), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_wait_that_is_told_is_never_negative(value in "[0-9+ -]{0,24}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT") {
            let Ok(field) = HeaderValue::from_str(&value) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(RETRY_AFTER, field)]);
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let digits = !value.trim().is_empty() && value.trim().bytes().all(|byte| byte.is_ascii_digit());
            let wait = retry_after(&headers, now);
            prop_assert_eq!(wait.is_some(), digits || httpdate::parse_http_date(value.trim()).is_ok(), "{}", value);
        }
    }
}

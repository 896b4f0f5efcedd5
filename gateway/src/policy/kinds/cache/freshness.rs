//! How long a response is fresh, and how it may be used after that (RFC 9111 §4.2 and §5.2; RFC 5861 §4).

use std::time::{Duration, SystemTime};

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, PRAGMA};
use http::{HeaderMap, HeaderName};

use super::compiled::CacheStore;

/// The longest time that counts.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The directives of `Cache-Control`: names in lower case, values without quotes.
pub(in crate::policy) struct Directives(Vec<(String, Option<String>)>);

impl Directives {
    pub(in crate::policy) fn of(headers: &HeaderMap) -> Self {
        let items = headers.get_all(CACHE_CONTROL).iter().flat_map(|value| members(value.as_bytes()));
        let parts = |item: &[u8]| {
            let item = String::from_utf8_lossy(item);
            match item.split_once('=') {
                Some((name, value)) => {
                    (name.trim().to_ascii_lowercase(), Some(value.trim().trim_matches('"').to_owned()))
                }
                None => (item.to_ascii_lowercase(), None),
            }
        };
        let mut all: Vec<_> = items.map(parts).collect();
        // §5.4: what is said to caches of HTTP/1.0, where nothing else is.
        let old = |value: &http::HeaderValue| value.to_str().is_ok_and(|value| value.contains("no-cache"));
        if all.is_empty() && headers.get_all(PRAGMA).iter().any(old) {
            all.push(("no-cache".to_owned(), None));
        }
        Self(all)
    }

    pub(in crate::policy) fn has(&self, wanted: &str) -> bool {
        self.0.iter().any(|(name, _)| name == wanted)
    }

    /// The argument in seconds; none if what is written is no number (§4.2.1: then nothing is fresh).
    pub(in crate::policy) fn seconds(&self, wanted: &str) -> Option<Duration> {
        let (_, value) = self.0.iter().find(|(name, _)| name == wanted)?;
        let seconds = value.as_deref().and_then(number).unwrap_or(0);
        Some(Duration::from_secs(seconds).min(LONGEST))
    }

    /// Whether there is one of this name without an argument.
    pub(in crate::policy) fn is_bare(&self, wanted: &str) -> bool {
        self.0.iter().any(|(name, value)| name == wanted && value.is_none())
    }
}

/// Returns the members of a list (RFC 9110 §5.6.1). A comma in a quoted string is part of a member. A quotation mark that none
/// closes quotes nothing, so that it hides no directive.
fn members(list: &[u8]) -> Vec<&[u8]> {
    let (mut members, mut begin, mut at) = (Vec::new(), 0, 0);
    while let Some(byte) = list.get(at) {
        match byte {
            b',' => {
                members.push(&list[begin..at]);
                begin = at + 1;
                at += 1;
            }
            b'"' => at += quoted(&list[at..]).unwrap_or(1),
            _ => at += 1,
        }
    }
    members.push(&list[begin..]);
    members.into_iter().map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()).collect()
}

/// Returns the length of the quoted string that begins a text, if it has an end (RFC 9110 §5.6.4).
fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What an answer may be used for, as it and the policy say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Lifetime {
    /// How old it was when it came (§4.2.3).
    pub(in crate::policy) age: Duration,
    /// For how long from then on it is fresh, if anybody says (§4.2.1).
    pub(in crate::policy) fresh: Option<Duration>,
    /// For how long it had been stale when it came.
    pub(in crate::policy) overdue: Duration,
    /// How long after that it is better than no answer, or one of 500 and more.
    pub(in crate::policy) on_error: Duration,
    /// Whether it is never given when it is not fresh, but then (§5.2.2.2, §5.2.2.8, §5.2.2.10).
    pub(in crate::policy) must_revalidate: bool,
}

/// Returns how a response that came at this time may be used.
pub(in crate::policy) fn lifetime(headers: &HeaderMap, store: &CacheStore, now: SystemTime) -> Lifetime {
    let told = Directives::of(headers);
    let date = time(headers, DATE);
    let apparent = date.and_then(|date| now.duration_since(date).ok()).unwrap_or_default();
    let age = apparent.max(said_age(headers)).min(LONGEST);
    // Its owner's word stands for all that the third party says of it.
    if let Some(fresh) = store.duration {
        let on_error = store.stale_if_error.unwrap_or_default();
        return Lifetime { age, fresh: Some(fresh), overdue: Duration::ZERO, on_error, must_revalidate: false };
    }
    let no_cache = told.has("no-cache");
    let explicit = told.seconds("s-maxage").or_else(|| told.seconds("max-age"));
    let expires = || {
        headers.contains_key(EXPIRES).then(|| {
            let expires = time(headers, EXPIRES)?;
            expires.duration_since(date.unwrap_or(now)).ok()
        })
    };
    let total = if no_cache { Some(Duration::ZERO) } else { explicit.or_else(|| Some(expires()?.unwrap_or_default())) };
    let must_revalidate =
        no_cache || ["must-revalidate", "proxy-revalidate", "s-maxage"].iter().any(|name| told.has(name));
    let on_error = match must_revalidate {
        true => Duration::ZERO,
        false => store.stale_if_error.or_else(|| told.seconds("stale-if-error")).unwrap_or_default(),
    };
    let total = total.map(|total| total.min(LONGEST));
    let (fresh, overdue) =
        (total.map(|total| total.saturating_sub(age)), age.saturating_sub(total.unwrap_or_default()));
    Lifetime { age, fresh, overdue, on_error, must_revalidate }
}

/// Returns the age that a response says it has. Of a list, or of several fields, the first member counts; one that is not a number
/// is ignored (§5.1).
fn said_age(headers: &HeaderMap) -> Duration {
    let first = headers.get(AGE).and_then(|age| age.to_str().ok()?.split(',').next());
    Duration::from_secs(first.and_then(|age| number(age.trim())).unwrap_or(0))
}

/// A number of seconds, the largest there is if it is larger (§1.2.2).
fn number(text: &str) -> Option<u64> {
    let is_one = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Returns whether callers with credentials may share a response (§3.5).
pub(in crate::policy) fn is_for_all(headers: &HeaderMap) -> bool {
    let told = Directives::of(headers);
    ["public", "must-revalidate", "s-maxage"].iter().any(|name| told.has(name))
}

/// A time that is not one is in the past (§5.3).
pub(in crate::policy) fn time(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let field = |line: &&str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
        };
        lines.iter().map(field).collect()
    }

    /// Tue, 15 Nov 1994 08:12:31 GMT.
    fn now() -> SystemTime {
        httpdate::parse_http_date("Tue, 15 Nov 1994 08:12:31 GMT").unwrap()
    }

    fn of(lines: &[&str]) -> Lifetime {
        lifetime(&headers(lines), &CacheStore::default(), now())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_says_for_how_long_it_is_fresh() {
        let date = "date: Tue, 15 Nov 1994 08:12:31 GMT";
        for (lines, fresh) in [
            (&["cache-control: max-age=60"][..], Some(60)),
            (&["cache-control: max-age=60, S-MaxAge=\"90\""], Some(90)),
            (&["cache-control: max-age=60", "age: 20"], Some(40)),
            (&["cache-control: max-age=60", "age: 70"], Some(0)),
            (&["cache-control: max-age=60", "age: 20, 50"], Some(40)),
            (&["cache-control: max-age=60", "age: 70, 0"], Some(0)),
            (&["cache-control: max-age=60", "age: 20", "age: 50"], Some(40)),
            (&["cache-control: max-age=60", "age: 70", "age: 0"], Some(0)),
            (&["cache-control: max-age=60", "age: ,20"], Some(60)),
            (&["cache-control: max-age=60", "age: -20"], Some(60)),
            (&["cache-control: max-age=60", "age: 20.5"], Some(60)),
            (&["cache-control: max-age=60", "age: 99999999999999999999999"], Some(0)),
            (&["cache-control: max-age=60", "date: Tue, 15 Nov 1994 08:12:01 GMT"], Some(30)),
            (&["cache-control: max-age=60", "date: Tue, 15 Nov 1994 08:12:01 GMT", "age: 40"], Some(20)),
            (&["cache-control: max-age=soon"], Some(0)),
            (&["cache-control: max-age=+60"], Some(0)),
            (&["cache-control: ext=\"a, max-age=60\", max-age=5"], Some(5)),
            (&["cache-control: ext=\", max-age=5"], Some(5)),
            (&["cache-control: no-cache, ext=\"\u{e9}\"", "expires: Tue, 15 Nov 1994 09:12:31 GMT"], Some(0)),
            (&["cache-control: max-age=60, no-cache"], Some(0)),
            (&[date, "expires: Tue, 15 Nov 1994 08:13:31 GMT"], Some(60)),
            (&[date, "expires: Tue, 15 Nov 1994 08:13:31 GMT", "cache-control: max-age=5"], Some(5)),
            (&["expires: Tue, 15 Nov 1994 08:12:41 GMT"], Some(10)),
            (&[date, "expires: 0"], Some(0)),
            (&["pragma: no-cache"], Some(0)),
            (&["pragma: no-cache", "cache-control: max-age=9"], Some(9)),
            (&[date], None),
            (&[], None),
        ] {
            assert_eq!(of(lines).fresh, fresh.map(seconds), "{lines:?}");
        }
        for large in ["18446744073709551615", "99999999999999999999"] {
            let said = format!("cache-control: max-age={large}");
            assert!(of(&[&said]).fresh.unwrap() >= seconds(86_400), "{large}");
        }
    }

    #[test]
    fn what_is_not_fresh_is_for_errors_unless_the_third_party_forbids_it() {
        let store = CacheStore { duration: None, stale_if_error: Some(seconds(100)) };
        let on_error = |lines: &[&str], store: &CacheStore| lifetime(&headers(lines), store, now()).on_error;
        assert_eq!(on_error(&["cache-control: max-age=1"], &store), seconds(100));
        assert_eq!(on_error(&["cache-control: max-age=1, stale-if-error=7"], &CacheStore::default()), seconds(7));
        for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"] {
            let line = format!("cache-control: max-age=1, stale-if-error=7, {forbids}");
            assert_eq!(on_error(&[&line], &store), Duration::ZERO, "{forbids}");
            let own = CacheStore { duration: Some(seconds(5)), ..store.clone() };
            assert_eq!(on_error(&[&line], &own), seconds(100), "its owner's word holds");
        }
    }
}

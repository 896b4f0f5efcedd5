use http::HeaderValue;

use super::*;
use crate::fuzz::Target;

const CACHE_HEADERS: Target = Target {
    corpus: "cache-headers",
    words: &[
        "cache-control: ",
        "max-age=",
        "s-maxage=",
        "no-store",
        "no-cache",
        "private",
        "public",
        "must-revalidate",
        "stale-if-error=",
        "\"",
        "\\",
        ",",
        "=",
        "\n",
        " ",
        "\t",
        "age: ",
        "date: ",
        "expires: ",
        "pragma: no-cache",
        "Tue, 15 Nov 1994 08:12:31 GMT",
        "Tue, 15 Nov 1994 09:00:00 GMT",
        "0",
        "+",
        "-",
        "60",
        "99999999999999999999",
        "\u{e9}",
        "MAX-AGE=1",
        "ext=\"a, b\"",
        "vary: *",
        ";",
    ],
    cases: 4000,
    longest: 512,
};

fn headers(bytes: &[u8]) -> HeaderMap {
    let field = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    bytes.split(|byte| *byte == b'\n').filter_map(field).fold(HeaderMap::new(), |mut headers, (name, value)| {
        headers.append(name, value);
        headers
    })
}

/// The directives of RFC 9111 §5.2 as RFC 9110 §5.6 writes them; `None` where a field is not written so.
fn written(headers: &HeaderMap) -> Option<Vec<(String, Option<String>)>> {
    let mut all = Vec::new();
    for value in headers.get_all(CACHE_CONTROL) {
        let mut rest = value.as_bytes().trim_ascii_start();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(b",") {
                rest = after.trim_ascii_start();
                continue;
            }
            let name = token(&mut rest)?;
            let argument = match rest.strip_prefix(b"=") {
                None => None,
                Some(after) => {
                    rest = after;
                    Some(if rest.starts_with(b"\"") { quoted(&mut rest)? } else { token(&mut rest)? })
                }
            };
            all.push((name.to_ascii_lowercase(), argument));
            rest = rest.trim_ascii_start();
            if !(rest.is_empty() || rest.starts_with(b",")) {
                return None;
            }
        }
    }
    Some(all)
}

fn token(rest: &mut &[u8]) -> Option<String> {
    let is_one = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = rest.iter().take_while(|byte| is_one(byte)).count();
    let (token, after) = rest.split_at(length);
    *rest = after;
    (length > 0).then(|| String::from_utf8_lossy(token).into_owned())
}

fn quoted(rest: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    let mut bytes = rest.iter().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                *rest = &rest[at + 1..];
                return Some(String::from_utf8_lossy(&text).into_owned());
            }
            b'\\' => text.push(*bytes.next()?.1),
            byte => text.push(*byte),
        }
    }
    None
}

/// The seconds of a directive that stands there once, as RFC 9111 §1.2.2 reads them; zero if they are none.
fn seconds(written: &[(String, Option<String>)], name: &str) -> Option<Option<u64>> {
    let mut found = written.iter().filter(|(known, _)| known == name);
    let (_, argument) = found.next()?;
    // Twice: the first, or none (§4.2.1).
    let digits = argument.as_deref().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    Some(digits.map(|digits| digits.parse().unwrap_or(u64::MAX)))
}

/// Nothing is fresh for longer than the third party says (RFC 9111 §4.2), and whatever forbids is heard.
#[test]
fn a_response_is_never_fresh_for_longer_than_it_says() {
    let now = httpdate::parse_http_date("Tue, 15 Nov 1994 08:12:40 GMT").unwrap();
    CACHE_HEADERS.check(|bytes| {
        let headers = headers(bytes);
        let (told, life) = (Directives::of(&headers), lifetime(&headers, &CacheStore::default(), now));
        let Some(written) = written(&headers) else { return };
        for name in ["no-store", "private", "no-cache", "must-revalidate", "proxy-revalidate", "s-maxage"] {
            let is_written = written.iter().any(|(known, _)| known == name);
            assert!(!is_written || told.has(name), "{name} is not heard");
        }
        for name in ["public", "must-revalidate", "s-maxage"] {
            let is_written = written.iter().any(|(known, _)| known == name);
            assert!(is_written || !told.has(name), "{name} is nowhere");
        }
        let date = time(&headers, DATE);
        let apparent = date.and_then(|date| now.duration_since(date).ok()).unwrap_or_default().as_secs();
        assert!(life.age.as_secs() >= apparent.min(LONGEST.as_secs()));
        let explicit = seconds(&written, "s-maxage").or_else(|| seconds(&written, "max-age"));
        let bound = match explicit {
            Some(seconds) => Some(seconds.unwrap_or(0)),
            None => headers.contains_key(EXPIRES).then(|| {
                let expires =
                    time(&headers, EXPIRES).and_then(|expires| expires.duration_since(date.unwrap_or(now)).ok());
                expires.unwrap_or_default().as_secs()
            }),
        };
        let bound = if written.iter().any(|(name, _)| name == "no-cache") { Some(0) } else { bound };
        match (life.fresh, bound) {
            (Some(fresh), Some(bound)) => {
                let left = bound.saturating_sub(life.age.as_secs());
                assert!(fresh.as_secs() <= left, "fresh for {fresh:?}, and {left} s are left");
                let large = left.min(LONGEST.as_secs() - life.age.as_secs().min(LONGEST.as_secs()));
                assert!(
                    headers.contains_key(PRAGMA) || fresh.as_secs() + 1 >= large,
                    "fresh for {fresh:?} of {large} s"
                );
            }
            (Some(fresh), None) => assert!(fresh.is_zero(), "nobody says for how long"),
            (None, bound) => assert_eq!(bound, None),
        }
        let forbids = ["must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"];
        if written.iter().any(|(name, _)| forbids.contains(&name.as_str())) {
            assert!(life.must_revalidate && life.on_error.is_zero());
        }
    });
}

//! Charsets of bodies. Policies read UTF-8: they do not see what a third party reads in another charset.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Returns the charset that `Content-Type` names, in lower case, if it is neither UTF-8 nor a part of it. Of several, one is enough.
pub(in crate::policy) fn other_than_utf8(headers: &HeaderMap) -> Option<String> {
    let fields =
        headers.get_all(CONTENT_TYPE).iter().map(|field| String::from_utf8_lossy(field.as_bytes()).to_lowercase());
    let named = |field: String| {
        let parameters = field.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
        let charsets = parameters.filter(|(name, _)| name.trim() == "charset");
        let names = charsets.map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned()).collect::<Vec<_>>();
        names.into_iter().find(|name| !["utf-8", "utf8", "us-ascii", "ascii"].contains(&name.as_str()))
    };
    fields.into_iter().find_map(named)
}

/// Returns whether ASCII text is written with other bytes in a charset, so that a search for a text does not find it.
pub(in crate::policy) fn hides_ascii(charset: &str) -> bool {
    let hides = [
        "utf-7",
        "utf-16",
        "utf16",
        "utf-32",
        "utf32",
        "ucs",
        "iso-10646",
        "iso-2022",
        "hz-",
        "ibm",
        "cp0",
        "ebcdic",
        "unicode",
    ];
    hides.iter().any(|name| charset.starts_with(name))
}

/// Returns whether bytes begin as UTF-16 or UTF-32 does: with a byte order mark, or with ASCII among zeros.
pub(in crate::policy) fn looks_like_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, 0, 0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..])
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn one_charset_that_is_not_utf8_is_enough() {
        for (field, expected) in [
            ("application/json", None),
            ("application/json; charset=utf-8", None),
            ("application/json;Charset=\"UTF-8\"", None),
            ("text/plain; charset=us-ascii; format=flowed", None),
            ("application/json; charset=UTF-16", Some("utf-16")),
            ("application/json; charset=utf-8; charset=utf-16le", Some("utf-16le")),
            ("application/json; charset = 'utf-32'", Some("utf-32")),
            ("application/json; charset=", Some("")),
            ("text/html; charset=iso-8859-1", Some("iso-8859-1")),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(field))]);
            assert_eq!(other_than_utf8(&headers).as_deref(), expected, "{field}");
        }
        assert!(hides_ascii("utf-16le") && hides_ascii("ibm037") && !hides_ascii("iso-8859-1"));
    }

    #[test]
    fn utf16_is_known_without_a_name() {
        for bytes in [&b"\xfe\xff\0{"[..], b"\xff\xfe{\0", b"\0{", b"{\0", b"\0\0\0{"] {
            assert!(looks_like_utf16(bytes), "{bytes:?}");
        }
        for bytes in [&b""[..], b"{", b"{}", "\u{feff}{}".as_bytes()] {
            assert!(!looks_like_utf16(bytes), "{bytes:?}");
        }
    }
}

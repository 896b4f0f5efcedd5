//! What a server may read in a path beside what stands there. Servers decode once or twice, take a backslash for a slash, cut
//! parameters (`;`) off and resolve dots before or after that. No server does all of it; these functions assume that any may.

use icu_normalizer::{ComposingNormalizer, ComposingNormalizerBorrowed};

/// The form into which servers bring letters that look or mean the same (UAX #15): `ａ` is `a`, `‥` is `..`.
const NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfkc();

/// Returns why a path can be read in more than one way, or `None` where every server reads the same. It is for paths that decide
/// something: which operation a request is, and with it which policies run.
pub fn ambiguity(path: &str) -> Option<&'static str> {
    let Some(rest) = path.strip_prefix('/') else { return (path != "*").then_some("a path begins with a slash") };
    if path.contains('\\') {
        return Some("a backslash");
    }
    if path.contains("//") {
        return Some("two slashes in a row");
    }
    let decoded = decode(rest.as_bytes());
    if decoded.is_odd {
        return Some("a percent sign that encodes nothing");
    }
    if decoded.hides(b"/\\") {
        return Some("an encoded slash or backslash");
    }
    if decoded.hides(b"%") && decode(&decoded.bytes).changed() {
        return Some("an encoded percent-encoding");
    }
    if decoded.hides(b"#?") {
        return Some("an encoded # or ?");
    }
    if decoded.bytes.windows(3).any(|three| three == b"::$") {
        return Some("the name of a stream (::$)");
    }
    if decoded.bytes.contains(&b';') {
        return Some("a parameter in a segment (;)");
    }
    if decoded.bytes.iter().any(u8::is_ascii_control) {
        return Some("an encoded control character");
    }
    let Ok(text) = std::str::from_utf8(&decoded.bytes) else { return Some("bytes that are not UTF-8") };
    if !NFKC.is_normalized(text) || text.chars().any(has_ascii_case) {
        return Some("a letter that a server may take for another one (Unicode normalization or case)");
    }
    let ends_oddly = |segment: &[u8]| segment.ends_with(b".") || segment.ends_with(b" ") || segment.starts_with(b" ");
    decoded.bytes.split(|byte| *byte == b'/').any(ends_oddly).then_some("a segment that ends with a dot or a space")
}

/// Returns whether a server may read a `.` or `..` segment in a path, and so leave the directory that it is put below.
pub fn has_dot_segment(path: &str) -> bool {
    let mut bytes = path.as_bytes().to_vec();
    // A server that decodes decodes once; a proxy before it may have done so, too.
    for _ in 0..3 {
        if reads_dots(&bytes) || is_overlong(&bytes) {
            return true;
        }
        let decoded = decode(&bytes);
        if decoded.is_unicode {
            return true;
        }
        if !decoded.changed() {
            return false;
        }
        bytes = decoded.bytes;
    }
    reads_dots(&bytes)
}

/// Whether there is a segment of dots, as it stands or in [`NFKC`].
fn reads_dots(bytes: &[u8]) -> bool {
    let has_dots = |bytes: &[u8]| bytes.split(|byte| matches!(byte, b'/' | b'\\')).any(is_dots);
    has_dots(bytes)
        || (!bytes.is_ascii() && std::str::from_utf8(bytes).is_ok_and(|text| has_dots(NFKC.normalize(text).as_bytes())))
}

/// Whether a letter beyond ASCII becomes one of ASCII where case does not matter: `ı` is `I`, `K` (the unit) is `k`.
fn has_ascii_case(letter: char) -> bool {
    let (lower, upper) = (letter.to_lowercase().next(), letter.to_uppercase());
    // An `ß` is none: it becomes two letters.
    let mut upper = upper.clone().take(if upper.len() == 1 { 1 } else { 0 });
    !letter.is_ascii() && (lower.is_some_and(|letter| letter.is_ascii()) || upper.any(|letter| letter.is_ascii()))
}

/// Whether nothing but dots is left of a segment when what some servers cut off is gone: parameters, what follows a NUL,
/// surrounding blanks.
fn is_dots(segment: &[u8]) -> bool {
    let end = segment.iter().position(|byte| matches!(byte, b';' | 0)).unwrap_or(segment.len());
    let mut dots =
        segment[..end].iter().filter(|byte| !byte.is_ascii_whitespace() && !byte.is_ascii_control()).peekable();
    dots.peek().is_some() && dots.all(|byte| *byte == b'.')
}

/// Whether there are bytes that UTF-8 never has, but that some decoders read as `.`, `/` or `\` (RFC 3629 §3).
fn is_overlong(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, 0xc0 | 0xc1))
        || bytes.windows(2).any(|pair| matches!(pair, [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]))
}

/// A path, percent-decoded once.
struct Decoded {
    bytes: Vec<u8>,
    /// The bytes that were encoded.
    encoded: Vec<u8>,
    /// Whether there is a percent sign that two hexadecimal digits do not follow.
    is_odd: bool,
    /// Whether that is `%u`, which some servers read as a code point.
    is_unicode: bool,
}

impl Decoded {
    fn changed(&self) -> bool {
        !self.encoded.is_empty()
    }

    fn hides(&self, any: &[u8]) -> bool {
        self.encoded.iter().any(|byte| any.contains(byte))
    }
}

fn decode(mut rest: &[u8]) -> Decoded {
    let mut decoded = Decoded { bytes: Vec::new(), encoded: Vec::new(), is_odd: false, is_unicode: false };
    while let [byte, after @ ..] = rest {
        let pair = match (byte, after) {
            (b'%', [high, low, ..]) => super::digit(*high).zip(super::digit(*low)),
            _ => None,
        };
        if let Some((high, low)) = pair {
            decoded.bytes.push(high << 4 | low);
            decoded.encoded.push(high << 4 | low);
            rest = &after[2..];
            continue;
        }
        if *byte == b'%' {
            decoded.is_odd = true;
            decoded.is_unicode |= matches!(after.first(), Some(b'u' | b'U'));
        }
        decoded.bytes.push(*byte);
        rest = after;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::{ambiguity, has_dot_segment};

    #[test]
    fn a_path_that_servers_read_differently_is_ambiguous() {
        for path in [
            "/x/../admin",
            "/./a",
            "/a/.",
            "/a/..",
            "/%2e%2e/a",
            "/.%2E/a",
            "/a//b",
            "//a",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a;b=1",
            "/..;/a",
            "/a%3bb",
            "/a%00b",
            "/a%0a",
            "/a.",
            "/a./b",
            "/a%20",
            "/a%20/b",
            "/%20a",
            "/%2561",
            "/a%252fb",
            "/%c0%af",
            "/%ff",
            "/%",
            "/%zz",
            "/%u002e",
            "/admin%23/a",
            "/admin%3fa",
            "/admin::$DATA/a",
            "/adm%C4%B1n",
            "/adm\u{131}n",
            "/%EF%BD%81dmin",
            "/\u{17f}ecret",
            "/to\u{212a}en",
            "/\u{130}d",
            "/cafe\u{301}",
            "/a\u{ff0f}b",
            "/%E2%80%A5/a",
            "a",
            "",
        ] {
            assert!(ambiguity(path).is_some(), "{path}");
        }
        for path in [
            "/",
            "*",
            "/a",
            "/a/",
            "/a/b.c",
            "/.well-known/a",
            "/a%20b",
            "/caf%C3%A9",
            "/stra%C3%9Fe/\u{441}\u{442}\u{43e}",
            "/%E6%97%A5%E6%9C%AC",
            "/a+b",
            "/50%25",
            "/a:b@c,d=e",
            "/~a",
        ] {
            assert_eq!(ambiguity(path), None, "{path}");
        }
    }

    #[test]
    fn dot_segments_are_found_in_every_spelling() {
        for path in [
            "/..",
            "/../a",
            "/a/..",
            "/a/./b",
            "/%2e%2e/a",
            "/.%2E/a",
            "/%252e%252e/a",
            "/a%2f..%2fb",
            "/a%2f%2e%2e",
            "/a%252f..",
            "/..;/a",
            "/..;a=b/c",
            "/%2e%2e;/a",
            "/..%3b/a",
            "/a\\..\\b",
            "/a%5c..%5cb",
            "/..%00/a",
            "/..%20/a",
            "/.../a",
            "/..%0a/a",
            "/%c0%ae%c0%ae/a",
            "/..%c0%afa",
            "/%e0%80%ae/a",
            "/%u002e%u002e/a",
            "/%25%32%65%25%32%65/a",
            "/%E2%80%A5/a",
            "/a/%EF%BC%8E%EF%BC%8E/b",
            "/a%EF%BC%8F..%EF%BC%8Fb",
            "/%25E2%2580%25A5/a",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in [
            "/",
            "*",
            "/a",
            "/a.b/c",
            "/a..b",
            "/..a/b",
            "/.git",
            "/a;b/c",
            "/group%2Fproject",
            "/a//b",
            "/50%25",
            "/%e9",
            "/caf%C3%A9",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}

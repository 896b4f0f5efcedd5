mod ambiguity;

use std::borrow::Cow;

pub use ambiguity::{ambiguity, has_dot_segment};

/// Returns a path in the one spelling of all that mean the same (RFC 3986 §6.2.2): what needs no encoding is not encoded, all
/// else is, in capitals.
pub fn spelled(path: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte);
    if path.bytes().all(is_plain) {
        return Cow::Borrowed(path);
    }
    let (mut spelled, mut rest) = (String::with_capacity(path.len()), path.as_bytes());
    while let [byte, after @ ..] = rest {
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (byte, after)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = after;
            encode(high << 4 | low, is_unreserved, &mut spelled);
        } else {
            encode(*byte, |byte| is_plain(byte) || byte == b'%', &mut spelled);
        }
    }
    Cow::Owned(spelled)
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn encode(byte: u8, is_plain: impl Fn(u8) -> bool, text: &mut String) {
    if is_plain(byte) {
        text.push(byte.into());
    } else {
        text.push('%');
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
    }
}

#[cfg(test)]
mod tests {
    use super::spelled;

    #[test]
    fn spellings_of_the_same_are_one() {
        for (path, expected) in [
            ("/a/b;c=1", "/a/b;c=1"),
            ("/%61%2d%7E/%2fb", "/a-~/%2Fb"),
            ("/a b/\u{e9}", "/a%20b/%C3%A9"),
            ("/a%20b/%c3%A9", "/a%20b/%C3%A9"),
            ("/%", "/%"),
            ("/%4", "/%4"),
            ("/%zz%2", "/%zz%2"),
            ("/%2561", "/%2561"),
            ("", ""),
        ] {
            assert_eq!(spelled(path), expected, "{path}");
        }
    }
}

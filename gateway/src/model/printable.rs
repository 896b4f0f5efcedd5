use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns a number of things in words: `1 host`, `2 hosts`.
pub fn number(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// Returns the text with every character escaped that a terminal acts on instead of showing it, or that ends a line.
///
/// Names of processes and cgroups, request targets and messages are chosen by callers and third parties. On an operator's terminal
/// or in a text log they must not clear the screen, hide text, or look like a line of Egret's own.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |escaped, character| {
        let _ = match character {
            '\n' | '\r' | '\t' => write!(escaped, "{}", character.escape_default()),
            _ => write!(escaped, "\\u{{{:x}}}", u32::from(character)),
        };
    })
}

/// Returns a JSON text in which these characters are escaped as JSON does. A parser reads the same values as before.
///
/// In a JSON text they can stand in strings only: JSON itself demands the escapes below U+0020, and no others.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    escaped(json, |escaped, character| match character {
        // Between values, where pretty printing puts it.
        '\n' => escaped.push('\n'),
        // All of them are below U+10000: one escape is enough.
        _ => drop(write!(escaped, "\\u{:04x}", u32::from(character))),
    })
}

fn escaped(text: &str, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if is_plain(text) || !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if acts(character) { escape(&mut escaped, character) } else { escaped.push(character) }
    }
    Cow::Owned(escaped)
}

/// Whether all of it is printable ASCII, as nearly every text is. Whole pieces are looked at without a branch, which is ten times as fast.
fn is_plain(text: &str) -> bool {
    let is_plain = |piece: &[u8]| piece.iter().fold(true, |plain, byte| plain & (b' '..=b'~').contains(byte));
    text.as_bytes().chunks(64).all(is_plain)
}

/// Whether a terminal acts on the character: the control characters C0, DEL and C1, line and paragraph separators, and what
/// changes the direction of text (Unicode UAX #9).
fn acts(character: char) -> bool {
    let turns =
        matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns || matches!(character, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_that_a_terminal_acts_on_is_left() {
        for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|character| acts(*character)) {
            let (text, json) = (format!("a{character}b"), format!("\"a{character}b\""));
            assert!(printable(&text).bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{character:?}");
            if character > '~' {
                assert_eq!(serde_json::from_str::<String>(&printable_json(&json)).unwrap(), text);
                assert!(printable_json(&json).is_ascii(), "{character:?}");
            }
        }
    }

    #[test]
    fn escapes_are_readable_and_other_text_stays() {
        assert_eq!(
            printable("\u{1b}[2J\u{7}\r\nWARN\tx\u{9b}31m\u{7f}"),
            "\\u{1b}[2J\\u{7}\\r\\nWARN\\tx\\u{9b}31m\\u{7f}"
        );
        assert_eq!(printable("user\u{202e}txt.exe"), "user\\u{202e}txt.exe");
        for text in ["", "billing.service", "Zoë, 東京, עברית, 🦀"] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        assert_eq!(printable_json("{\n  \"a\": 1\n}"), "{\n  \"a\": 1\n}");
    }
}

//! Where the holes of a template stand, and what their values are encoded for there.

/// What the value of a hole is encoded for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escaping {
    /// Nothing: it is put in as it is. That is so in plain text, in `raw(...)`, and where all of the text is encoded later.
    #[default]
    None,
    /// The text that it is put into, which is known only then.
    Later,
    /// A segment of a path: `/` in it is no separator.
    PathSegment,
    /// A value in a query or a form.
    QueryValue,
    /// A part of a string of JSON, within its quotes.
    JsonString,
    /// A whole value of JSON.
    JsonValue,
    /// Text of XML or HTML, or a quoted attribute's value.
    Xml,
}

/// What a text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Anything: nothing is encoded.
    Text,
    /// A path, perhaps with a query.
    Url,
    /// A form: `application/x-www-form-urlencoded`.
    Form,
    /// JSON of any media type.
    Json,
    /// XML or HTML text.
    Xml,
}

impl Syntax {
    /// Returns the syntax of a media type, if it is one of those that are known here.
    pub fn of_kind(kind: &str) -> Option<Self> {
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.split_once('/')?.1 {
            "x-www-form-urlencoded" => Some(Self::Form),
            sub if sub.contains("json") => Some(Self::Json),
            sub if sub.contains("xml") || sub == "html" => Some(Self::Xml),
            _ => None,
        }
    }

    /// Returns the syntax that a body seems to be written in, from how it begins: JSON with `{` or `[` and what can follow there,
    /// XML with `<` and a letter, `?` or `!`, a form with `name=` and without any blank.
    pub fn of_text(text: &str) -> Self {
        let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
        let mut rest = text.chars().filter(|c| !c.is_ascii_whitespace());
        match (rest.next(), rest.next()) {
            (Some('{'), None | Some('"' | '}')) => Self::Json,
            (Some('['), None | Some('"' | '{' | '[' | ']' | '-' | '0'..='9')) => Self::Json,
            (Some('"'), _) => Self::Json,
            (Some('<'), Some(next)) if next.is_alphabetic() || matches!(next, '?' | '!') => Self::Xml,
            _ if is_form(text) => Self::Form,
            _ => Self::Text,
        }
    }
}

fn is_form(text: &str) -> bool {
    let name = text.split('=').next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']' | '%' | '+');
    name.len() < text.len() && !name.is_empty() && name.chars().all(is_name) && !text.contains(char::is_whitespace)
}

/// Reads the fixed parts of a text from left to right, and knows what a value is encoded for that is put where it has come to.
#[derive(Clone, Debug)]
pub struct Scanner {
    syntax: Syntax,
    place: Within,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// Nothing special: the path of a URL, JSON outside of a string, text of XML.
    Plain,
    /// The query of a URL.
    Query,
    /// A string of JSON.
    String,
    /// A string of JSON, after a backslash.
    Backslash,
    /// A tag of XML, outside of quotes.
    Tag,
    /// An attribute's value that ends with this quote.
    Quotes(u8),
}

impl Scanner {
    /// Returns one at the beginning of a text.
    pub fn new(syntax: Syntax) -> Self {
        Self { syntax, place: Within::Plain }
    }

    /// Reads the next fixed part.
    pub fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.place = match (self.syntax, self.place, byte) {
                (Syntax::Url, _, b'?') => Within::Query,
                (Syntax::Json, Within::Plain, b'"') => Within::String,
                (Syntax::Json, Within::String, b'"') => Within::Plain,
                (Syntax::Json, Within::String, b'\\') => Within::Backslash,
                (Syntax::Json, Within::Backslash, _) => Within::String,
                (Syntax::Xml, Within::Plain, b'<') => Within::Tag,
                (Syntax::Xml, Within::Tag, b'>') => Within::Plain,
                (Syntax::Xml, Within::Tag, quote @ (b'"' | b'\'')) => Within::Quotes(*quote),
                (Syntax::Xml, Within::Quotes(quote), byte) if quote == *byte => Within::Tag,
                (_, place, _) => place,
            };
        }
    }

    /// Returns what a value is encoded for that is put here.
    ///
    /// # Errors
    /// No encoding is safe here.
    pub fn hole(&self) -> Result<Escaping, &'static str> {
        Ok(match (self.syntax, self.place) {
            (Syntax::Text, _) => Escaping::None,
            (Syntax::Form, _) | (Syntax::Url, Within::Query) => Escaping::QueryValue,
            (Syntax::Url, _) => Escaping::PathSegment,
            (Syntax::Json, Within::Backslash) => return Err("a value after a backslash would end the string"),
            (Syntax::Json, Within::String) => Escaping::JsonString,
            (Syntax::Json, _) => Escaping::JsonValue,
            (Syntax::Xml, Within::Tag) => return Err("a value in a tag, a comment or CDATA cannot be encoded"),
            (Syntax::Xml, _) => Escaping::Xml,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(syntax: Syntax, text: &str) -> Vec<Result<Escaping, ()>> {
        let mut scanner = Scanner::new(syntax);
        let parts: Vec<_> = text.split("${}").collect();
        let before = parts.split_last().map_or(&[][..], |(_, before)| before);
        let mut hole = |part: &&str| {
            scanner.read(part.as_bytes());
            scanner.hole().map_err(drop)
        };
        before.iter().map(&mut hole).collect()
    }

    #[test]
    fn a_value_is_encoded_for_where_it_stands() {
        use Escaping::{JsonString, JsonValue, PathSegment, QueryValue, Xml};
        for (syntax, text, expected) in [
            (
                Syntax::Url,
                "/a/${}/b${}?c=${}&d=/${}",
                vec![Ok(PathSegment), Ok(PathSegment), Ok(QueryValue), Ok(QueryValue)],
            ),
            (Syntax::Form, "a=${}&b=${}", vec![Ok(QueryValue), Ok(QueryValue)]),
            (
                Syntax::Json,
                "{\"a${}\": ${}, \"b\\\"${}\": [\"\\\\${}\", ${}]}",
                vec![Ok(JsonString), Ok(JsonValue), Ok(JsonString), Ok(JsonString), Ok(JsonValue)],
            ),
            (Syntax::Json, "{\"a\\${}\"}", vec![Err(())]),
            (Syntax::Xml, "<a b=\"${}\" c='>${}'>${}</a>", vec![Ok(Xml), Ok(Xml), Ok(Xml)]),
            (Syntax::Xml, "<a ${}><!-- ${} --><![CDATA[${}]]>", vec![Err(()), Err(()), Err(())]),
            (Syntax::Text, "{\"a\": ${}", vec![Ok(Escaping::None)]),
        ] {
            assert_eq!(holes(syntax, text), expected, "{text}");
        }
    }

    #[test]
    fn a_body_is_known_by_its_beginning() {
        for (text, expected) in [
            ("{\"a\": 1}", Syntax::Json),
            (" \n{ \"", Syntax::Json),
            ("{", Syntax::Json),
            ("[", Syntax::Json),
            ("[1]", Syntax::Json),
            ("\"", Syntax::Json),
            ("[billing] ", Syntax::Text),
            ("{name}", Syntax::Text),
            ("<a>", Syntax::Xml),
            ("<?xml", Syntax::Xml),
            ("<!DOCTYPE html>", Syntax::Xml),
            ("<- ", Syntax::Text),
            ("grant_type=password&user=", Syntax::Form),
            ("a=b c", Syntax::Text),
            ("not for ", Syntax::Text),
            ("", Syntax::Text),
        ] {
            assert_eq!(Syntax::of_text(text), expected, "{text}");
        }
        assert_eq!(Syntax::of_kind("application/problem+json; charset=utf-8"), Some(Syntax::Json));
        assert_eq!(Syntax::of_kind("application/soap+xml"), Some(Syntax::Xml));
        assert_eq!(Syntax::of_kind("text/plain"), None);
    }
}

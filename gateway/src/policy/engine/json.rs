//! JSON as it is written: in its order, with its numbers digit for digit, each key of an object once. A reader that takes the
//! first of two keys and one that takes the last would see different bodies.

use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Json {
    Null,
    Bool(bool),
    /// The number's text: it may have more digits than any type of a number holds.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Reads a text (RFC 8259), at most 127 levels deep.
///
/// # Errors
/// The text is not JSON, or has a number beyond 1e308: what is wrong and where, without anything of the text.
pub(in crate::policy) fn parse(text: &[u8]) -> Result<Json, String> {
    let mut json = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
    spell(&mut json, &mut numbers(text));
    Ok(json)
}

/// Gives the numbers of a value their texts, which come in the same order.
fn spell<'t>(json: &mut Json, texts: &mut impl Iterator<Item = &'t str>) {
    match json {
        Json::Null | Json::Bool(_) | Json::Text(_) => {}
        Json::Number(number) => texts.next().unwrap_or_default().clone_into(number),
        Json::List(items) => items.iter_mut().for_each(|item| spell(item, texts)),
        Json::Object(entries) => entries.iter_mut().for_each(|(_, value)| spell(value, texts)),
    }
}

/// Returns the texts of the numbers in a text that is JSON.
fn numbers(text: &[u8]) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = text.get(at) {
            let rest = &text[at..];
            match byte {
                b'"' => at += string(rest),
                b'-' | b'0'..=b'9' => {
                    let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                    let length = rest.iter().take_while(|byte| is_part(byte)).count();
                    at += length;
                    return std::str::from_utf8(&rest[..length]).ok();
                }
                _ => at += 1,
            }
        }
        None
    })
}

/// Returns the length of the string that begins a text.
fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

impl Json {
    /// Returns the value for a schema: without the order of its keys, and with numbers as 64-bit integers or doubles.
    pub(in crate::policy) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(holds) => Value::Bool(holds),
            Self::Number(number) => number.parse().map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::String(text),
            Self::List(items) => items.into_iter().map(Self::into_value).collect(),
            Self::Object(entries) => entries.into_iter().map(|(key, value)| (key, value.into_value())).collect(),
        }
    }
}

/// JSON on one line.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(holds) => write!(f, "{holds}"),
            Self::Number(number) => f.write_str(number),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(items) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index > 0 { "," } else { "" })?;
                }
                f.write_char(']')
            }
            Self::Object(entries) => {
                f.write_char('{')?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{}:{value}", if index > 0 { "," } else { "" }, quoted(key))?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Returns a text as a string of JSON.
pub(in crate::policy) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, holds: bool) -> Result<Json, E> {
        Ok(Json::Bool(holds))
    }

    // What a number says is taken from the text.
    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Number(String::new()))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Number(String::new()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Number(String::new()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries: Vec<(String, Json)> = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        let mut keys: Vec<_> = entries.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(A::Error::custom("an object with a key twice"));
        }
        Ok(Json::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn what_is_no_json_is_told_without_quoting_it() {
        for (text, told) in [
            ("", "not JSON: EOF while parsing a value at line 1 column 0"),
            ("secret", "not JSON: expected value at line 1 column 1"),
            ("{\"secret\": 1, \"a\": 2, \"secret\": 3}", "not JSON: an object with a key twice at line 1 column 34"),
            ("1 secret", "not JSON: trailing characters at line 1 column 3"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err(), told);
        }
        assert!(parse("[".repeat(200).as_bytes()).unwrap_err().contains("recursion limit"));
        let exact = r#"{"b":[18446744073709551616,-0,1.50,1E+2,0.1000000000000000055511151231257827],"-1\\\"2":"3\\\\","a":{"c":12}}"#;
        assert_eq!(parse(exact.as_bytes()).unwrap().to_string(), exact, "digit for digit");
        let text = r#"{"b": [1, -2, 0.5, null, true, "x"], "a": {}}"#;
        let expected = json!({"a": {}, "b": [1, -2, 0.5, null, true, "x"]});
        assert_eq!(parse(text.as_bytes()).unwrap().into_value(), expected);
    }
}

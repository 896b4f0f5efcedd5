//! JSON as it is written: in its order, each key of an object once. Who takes the first of two and who takes the last would
//! see different bodies.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::{Number, Value};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Reads a text (RFC 8259), at most 127 levels deep.
///
/// # Errors
/// It is no JSON: what is wrong and where, without anything of it.
pub(super) fn parse(text: &[u8]) -> Result<Json, String> {
    serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))
}

impl Json {
    /// Without the order of its keys.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(holds) => Value::Bool(holds),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::String(text),
            Self::List(items) => items.into_iter().map(Self::into_value).collect(),
            Self::Object(entries) => entries.into_iter().map(|(key, value)| (key, value.into_value())).collect(),
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(holds) => serializer.serialize_bool(*holds),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
        }
    }
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

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Json, E> {
        Number::from_f64(number).map(Json::Number).ok_or_else(|| E::custom("number out of range"))
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
        let text = r#"{"b": [1, -2, 0.5, null, true, "x"], "a": {}}"#;
        let expected = json!({"a": {}, "b": [1, -2, 0.5, null, true, "x"]});
        assert_eq!(parse(text.as_bytes()).unwrap().into_value(), expected);
    }
}

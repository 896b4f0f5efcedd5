//! JSON as values of expressions. A number never changes on the way: one that no type of CEL holds exactly stays a text of digits.

use std::fmt::Write as _;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map, Opaque};

use crate::policy::engine::json::{Json, quoted};

/// A number that neither an `int`, a `uint` nor a `double` holds exactly: its text. It can be copied, and be compared with nothing
/// but itself.
#[derive(Debug, PartialEq, Eq)]
struct LongNumber(String);

impl Opaque for LongNumber {
    fn runtime_type_name(&self) -> &str {
        "number"
    }
}

/// Returns the value that an expression sees.
pub(in crate::policy) fn of_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(holds) => Value::Bool(holds),
        Json::Number(text) => number(text),
        Json::Text(text) => Value::String(Arc::new(text)),
        Json::List(items) => Value::List(Arc::new(items.into_iter().map(of_json).collect())),
        Json::Object(entries) => {
            let entries = entries.into_iter().map(|(key, value)| (Key::String(Arc::new(key)), of_json(value)));
            Value::Map(Map { map: Arc::new(entries.collect()) })
        }
    }
}

/// Returns a number. A whole one is an `int`, as people write it in expressions, if it is not too large for that.
fn number(text: String) -> Value {
    if let Ok(number) = text.parse() {
        return Value::Int(number);
    }
    if let Ok(number) = text.parse() {
        return Value::UInt(number);
    }
    match text.parse::<f64>() {
        Ok(number) if digits(&text) == digits(&format!("{number:e}")) => Value::Float(number),
        _ => Value::Opaque(Arc::new(LongNumber(text))),
    }
}

/// Returns the digits of a number without zeros at their ends, and the power of ten of the last one.
fn digits(text: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{}{fraction}", whole.trim_start_matches('-'));
    let significant = all.trim_end_matches('0');
    let dropped = i64::try_from(all.len() - significant.len()).ok()?;
    let power = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(dropped)?;
    let significant = significant.trim_start_matches('0');
    Some((significant.to_owned(), if significant.is_empty() { 0 } else { power }))
}

/// Returns a value as a text: a list or a map is JSON, with the keys of the map in their order.
pub(in crate::policy) fn spelled(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Timestamp(time) => time.to_rfc3339(),
        Value::Null => String::new(),
        Value::Float(number) => number.to_string(),
        value => {
            let mut text = String::new();
            write(value, &mut text);
            text
        }
    }
}

/// Returns a value in JSON, with each digit of its numbers; what JSON cannot say is null.
pub(in crate::policy) fn in_json(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::String(_) | Value::Bytes(_) | Value::Timestamp(_) | Value::Duration(_) => text = quoted(&spelled(value)),
        value => write(value, &mut text),
    }
    if text.is_empty() { "null".to_owned() } else { text }
}

/// Adds a value in JSON to a text.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::List(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write(item, text);
            }
            text.push(']');
        }
        Value::Map(map) => {
            let mut entries: Vec<_> = map.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            text.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                let _ = write!(text, "{}{}:", if index > 0 { "," } else { "" }, quoted(&key));
                write(value, text);
            }
            text.push('}');
        }
        Value::Opaque(opaque) => {
            text.push_str(opaque.downcast_ref::<LongNumber>().map_or("null", |LongNumber(number)| number));
        }
        other => text.push_str(&other.json().map(|json| json.to_string()).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::{digits, of_json, spelled};
    use crate::policy::engine::json;

    #[test]
    fn a_number_comes_out_as_it_went_in() {
        for text in [
            "[0,-1,9223372036854775807,9223372036854775808,18446744073709551615]",
            "[18446744073709551616,-9223372036854775809,123456789012345678901234567890]",
            "[0.1,0.30000000000000004,1.5,-2.25]",
            "[0.1000000000000000055511151231257827,3.14159265358979323846]",
            r#"{"a":{"b":9007199254740993},"c":"\"","d":null}"#,
            "12345678901234567890123",
        ] {
            assert_eq!(spelled(&of_json(json::parse(text.as_bytes()).unwrap())), text);
        }
        for (text, expected) in [("1.0", "1"), ("1e2", "100"), ("1.50", "1.5"), ("-0", "0"), ("1E-7", "0.0000001")] {
            assert_eq!(spelled(&of_json(json::parse(text.as_bytes()).unwrap())), expected, "the same number");
        }
    }

    #[test]
    fn digits_are_compared_whatever_their_spelling() {
        for (one, other) in [("1.50", "1.5"), ("100", "1e2"), ("0.010", "1e-2"), ("-12.5e1", "-125"), ("0.0", "0")] {
            assert_eq!(digits(one), digits(other), "{one} {other}");
        }
        assert_ne!(digits("1.5"), digits("15"));
        assert_ne!(digits("1e1"), digits("1"));
    }
}

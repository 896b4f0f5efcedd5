//! Values of holes, encoded for where they stand.

use std::fmt::Write as _;

use cel::Value;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;

use super::super::expression::{in_json, spelled};
use super::super::query::ENCODED;
use crate::model::Escaping;

/// What is encoded in a segment of a path: all that RFC 3986 §3.3 does not allow in one, and `;`, which begins parameters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Returns a value as it is written there.
pub(in crate::policy) fn value(value: &Value, escaping: Escaping) -> String {
    match escaping {
        Escaping::JsonValue => in_json(value),
        escaping => text(&spelled(value), escaping),
    }
}

/// Returns a text as it is written there.
pub(in crate::policy) fn text(text: &str, escaping: Escaping) -> String {
    match escaping {
        Escaping::None | Escaping::Later => text.to_owned(),
        Escaping::PathSegment => utf8_percent_encode(text, SEGMENT).to_string(),
        Escaping::QueryValue => utf8_percent_encode(text, ENCODED).to_string(),
        Escaping::JsonString => {
            let quoted = Json::from(text).to_string();
            quoted[1..quoted.len() - 1].to_owned()
        }
        Escaping::JsonValue => Json::from(text).to_string(),
        Escaping::Xml => xml(text),
    }
}

fn xml(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' => drop(write!(written, "&#{};", u32::from(c))),
            '\t' | '\n' | '\r' => written.push(c),
            // XML 1.0 §2.2 has no place for them.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => written.push('\u{fffd}'),
            c => written.push(c),
        }
    }
    written
}

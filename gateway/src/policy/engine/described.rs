//! Validates the values in the head of a message by the description of the operation.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::findings::{Findings, Wrong, shortened, wrong};
use super::{json, query};
use crate::model::{Described, Parameter, Place, Reason, Schema, Style};

/// A name, and its value as it was sent: it is decoded after it has been split.
pub(in crate::policy) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Finds what is not as described in one place of the message.
pub(in crate::policy) fn check(
    place: Place,
    pairs: &[Pair<'_>],
    parameters: &[&Parameter],
    rule: &Described,
    is_known: &dyn Fn(&str) -> bool,
    (reason, findings): (Reason, &mut Findings),
) {
    for parameter in parameters {
        if let Err(fault) = is_as_described(parameter, pairs) {
            findings.add(rule.specified, reason, format!("{} {} {fault}", place.label(), parameter.name));
        }
    }
    let mut told: Vec<&str> = Vec::new();
    for (name, _) in pairs {
        let is_described = parameters.iter().any(|parameter| is_of(parameter, name));
        if is_described || is_known(name) || rule.except.iter().any(|known| **known == **name) {
            continue;
        }
        if !told.contains(&&**name) {
            told.push(name);
            let what = format!("{} {} is not described", place.label(), shortened(name));
            findings.add(rule.unspecified, reason, what);
        }
    }
}

/// Whether a name is a parameter's, or one of its properties'.
fn is_of(parameter: &Parameter, name: &str) -> bool {
    match &parameter.style {
        Style::Deep => property(parameter, name).is_some(),
        Style::Properties(names) => names.iter().any(|known| **known == *name),
        _ => *parameter.name == *name,
    }
}

/// The property in `name[property]`.
fn property<'a>(parameter: &Parameter, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(&*parameter.name)?.strip_prefix('[')?.strip_suffix(']')
}

/// Returns what is wrong with a parameter's value, or that there is none.
fn is_as_described(parameter: &Parameter, pairs: &[Pair<'_>]) -> Result<(), String> {
    let texts: Vec<_> = pairs.iter().filter(|(name, _)| **name == *parameter.name).map(|(_, text)| &**text).collect();
    let decode = |text| decoded(parameter.place, text);
    let named = |(name, text)| (decode(name), decode(text));
    let written = match &parameter.style {
        Style::Json | Style::Plain | Style::Assigned | Style::Alternating if texts.len() > 1 => {
            return Err("is there more than once".to_owned());
        }
        Style::Json => match texts.first() {
            None => None,
            Some(text) => {
                let value = json::parse(decode(text).as_bytes()).map_err(|fault| format!("is {fault}"))?;
                return is_valid(parameter.schema.as_ref(), &[value.into_value()]);
            }
        },
        Style::Plain => texts.first().map(|text| Written::Text(decode(text))),
        Style::Repeated => (!texts.is_empty()).then(|| Written::List(texts.iter().map(|text| decode(text)).collect())),
        Style::Separated(separator) => (!texts.is_empty()).then(|| {
            let items = texts.iter().flat_map(|text| items(text, *separator, parameter.place));
            Written::List(items.filter(|_| texts != [""]).map(decode).collect())
        }),
        Style::Assigned => {
            let pairs = texts.first().map(|text| text.split(',').filter_map(|pair| pair.split_once('=')));
            pairs.map(|pairs| Written::Object(pairs.map(named).collect()))
        }
        Style::Alternating => match texts.first() {
            None => None,
            Some(text) => {
                let parts: Vec<_> = text.split(',').collect();
                let entries = parts.chunks(2).map(|pair| match pair {
                    [name, value] => Ok(named((*name, *value))),
                    _ => Err("has a name without a value".to_owned()),
                });
                Some(Written::Object(entries.collect::<Result<_, _>>()?))
            }
        },
        Style::Properties(names) => {
            let own = pairs.iter().filter(|(name, _)| names.iter().any(|known| **known == **name));
            Written::object(own.map(|(name, text)| (Cow::from(&**name), decode(text))).collect())
        }
        Style::Deep => Written::object(
            pairs.iter().filter_map(|(name, text)| Some((property(parameter, name)?.into(), decode(text)))).collect(),
        ),
    };
    match written {
        None if parameter.required => Err("is missing".to_owned()),
        None => Ok(()),
        Some(written) => is_valid(parameter.schema.as_ref(), &[written.value(as_meant), written.value(as_text)]),
    }
}

/// Returns the items of a list that is one text. Spaces and pipes between items are encoded in a query, commas are not: an encoded
/// comma belongs to its item (OpenAPI 3.1 §4.8.12.3, RFC 6570 §3.2.1).
fn items(text: &str, separator: char, place: Place) -> Vec<&str> {
    let marks: &[&str] = match separator {
        ' ' => &["%20", "+", " "],
        '|' => &["%7C", "%7c", "|"],
        _ => &[","],
    };
    let (mut items, mut start, mut at) = (Vec::new(), 0, 0);
    while at < text.len() {
        match marks.iter().find(|mark| text[at..].starts_with(**mark)) {
            Some(mark) => {
                items.push(&text[start..at]);
                at += mark.len();
                start = at;
            }
            None => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    items.push(&text[start..]);
    if place == Place::Header { items.into_iter().map(str::trim).collect() } else { items }
}

/// A parameter's value as texts.
enum Written<'a> {
    Text(Cow<'a, str>),
    List(Vec<Cow<'a, str>>),
    Object(Vec<(Cow<'a, str>, Cow<'a, str>)>),
}

impl<'a> Written<'a> {
    /// Returns an object of these properties, if there are any.
    fn object(entries: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Option<Self> {
        (!entries.is_empty()).then_some(Self::Object(entries))
    }

    fn value(&self, of: fn(&str) -> Value) -> Value {
        match self {
            Self::Text(text) => of(text),
            Self::List(texts) => texts.iter().map(|text| of(text)).collect(),
            Self::Object(entries) => {
                entries.iter().map(|(name, text)| (name.to_string(), of(text))).collect::<Map<_, _>>().into()
            }
        }
    }
}

fn as_text(text: &str) -> Value {
    text.into()
}

/// The number, or the truth, that a text says; else the text.
fn as_meant(text: &str) -> Value {
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let number = is_number.then(|| serde_json::from_str::<serde_json::Number>(text).ok()).flatten();
    match (number, text) {
        (Some(number), _) if !text.ends_with(|c: char| c.is_ascii_whitespace()) => number.into(),
        (_, "true") => true.into(),
        (_, "false") => false.into(),
        _ => text.into(),
    }
}

/// Whether one of these is: a text may mean more than one value.
fn is_valid(schema: Option<&Schema>, meant: &[Value]) -> Result<(), String> {
    let Some(schema) = schema else { return Ok(()) };
    let mut all: Vec<Wrong> = Vec::new();
    for value in meant {
        let wrong = wrong(schema, value);
        if wrong.is_empty() {
            return Ok(());
        }
        all.extend(wrong.into_iter().next());
    }
    // What is of the right type is nearest to what was meant.
    let nearest = all.iter().find(|wrong| !wrong.is_type).or(all.first());
    Err(format!("is not as described: {}", nearest.map_or("", |wrong| &wrong.what)))
}

/// Returns a text without what encodes it where it stands: in a path, in a query, or in a header, which encodes nothing.
fn decoded(place: Place, text: &str) -> Cow<'_, str> {
    match place {
        Place::Header => text.into(),
        Place::Path => percent_decode_str(text).decode_utf8_lossy(),
        Place::Query => query::decoded(text),
    }
}

#[cfg(test)]
mod tests {
    use super::items;
    use crate::model::Place;

    #[test]
    fn a_value_is_split_before_it_is_decoded() {
        for (text, separator, expected) in [
            ("a,b", ',', vec!["a", "b"]),
            ("a%2Cb,c", ',', vec!["a%2Cb", "c"]),
            ("a%20b+c", ' ', vec!["a", "b", "c"]),
            ("a%7Cb|c%7cd", '|', vec!["a", "b", "c", "d"]),
            ("", ',', vec![""]),
            ("\u{e9},", ',', vec!["\u{e9}", ""]),
        ] {
            assert_eq!(items(text, separator, Place::Query), expected, "{text}");
        }
        assert_eq!(items("a, b", ',', Place::Header), ["a", "b"]);
    }
}

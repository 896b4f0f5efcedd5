//! Values in the head of a message, as an operation's contract describes them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::findings::{Findings, Wrong, shortened, wrong};
use super::json;
use crate::model::{Described, Parameter, Place, Reason, Schema, Style};

/// A name and its value, as texts.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Finds what is not as described, of one place.
pub(super) fn check(
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

/// What is wrong with its value, or that there is none.
fn is_as_described(parameter: &Parameter, pairs: &[Pair<'_>]) -> Result<(), String> {
    let texts: Vec<_> = pairs.iter().filter(|(name, _)| **name == *parameter.name).map(|(_, text)| &**text).collect();
    let written = match &parameter.style {
        Style::Json | Style::Plain | Style::Assigned | Style::Alternating if texts.len() > 1 => {
            return Err("is there more than once".to_owned());
        }
        Style::Json => match texts.first() {
            None => None,
            Some(text) => {
                let value = json::parse(text.as_bytes()).map_err(|fault| format!("is {fault}"))?;
                return is_valid(parameter.schema.as_ref(), &[value.into_value()]);
            }
        },
        Style::Plain => texts.first().map(|text| Written::Text(text)),
        Style::Repeated => (!texts.is_empty()).then_some(Written::List(texts)),
        Style::Separated(separator) => (!texts.is_empty()).then(|| {
            let items = texts.iter().flat_map(|text| text.split(*separator)).map(str::trim);
            Written::List(items.filter(|_| texts != [""]).collect())
        }),
        Style::Assigned => {
            let texts = texts.first().map(|text| text.split(',').filter_map(|pair| pair.split_once('=')).collect());
            texts.map(Written::Object)
        }
        Style::Alternating => match texts.first() {
            None => None,
            Some(text) => {
                let parts: Vec<_> = text.split(',').collect();
                let entries = parts.chunks(2).map(|pair| match pair {
                    [name, value] => Ok((*name, *value)),
                    _ => Err("has a name without a value".to_owned()),
                });
                Some(Written::Object(entries.collect::<Result<_, _>>()?))
            }
        },
        Style::Properties(names) => {
            let own = pairs.iter().filter(|(name, _)| names.iter().any(|known| **known == **name));
            Written::object(own.map(|(name, text)| (&**name, &**text)).collect())
        }
        Style::Deep => Written::object(
            pairs.iter().filter_map(|(name, text)| Some((property(parameter, name)?, &**text))).collect(),
        ),
    };
    match written {
        None if parameter.required => Err("is missing".to_owned()),
        None => Ok(()),
        Some(written) => is_valid(parameter.schema.as_ref(), &[written.value(as_meant), written.value(as_text)]),
    }
}

/// A value as texts.
enum Written<'a> {
    Text(&'a str),
    List(Vec<&'a str>),
    Object(Vec<(&'a str, &'a str)>),
}

impl<'a> Written<'a> {
    /// Of these properties, if there are any.
    fn object(entries: Vec<(&'a str, &'a str)>) -> Option<Self> {
        (!entries.is_empty()).then_some(Self::Object(entries))
    }

    fn value(&self, of: fn(&str) -> Value) -> Value {
        match self {
            Self::Text(text) => of(text),
            Self::List(texts) => texts.iter().map(|text| of(text)).collect(),
            Self::Object(entries) => {
                entries.iter().map(|(name, text)| ((*name).to_owned(), of(text))).collect::<Map<_, _>>().into()
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

/// Without what encodes it in a path.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

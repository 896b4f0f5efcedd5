//! Values as the files have them, in YAML on one line.

use std::collections::HashMap;
use std::fmt;

use serde_saphyr::{Location, Spanned};

use super::document::Node;
use crate::policy::Written;

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Integer(value) => value.fmt(f),
            Self::Text(text) => scalar(text, f),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    item.value.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    scalar(&key.value, f)?;
                    write!(f, ": {}", value.value)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Writes a text without quotes, where YAML would read it as the same text in a list or a map.
fn scalar(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let is_other = text.parse::<f64>().is_ok()
        || matches!(
            text.to_ascii_lowercase().as_str(),
            "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off"
        );
    let begins = text.starts_with(|c: char| " -?:!&*|>'\"%@`#".contains(c)) && !text.starts_with("-----");
    let has = text.contains(['[', ']', '{', '}', ',', '\n', '\t']) || text.contains(": ") || text.contains(" #");
    if !is_other && !begins && !has && !text.ends_with([' ', ':']) {
        f.write_str(text)
    } else if text.chars().any(char::is_control) || (text.contains('\'') && !text.contains(['"', '\\'])) {
        write!(f, "{}", serde_json::Value::from(text))
    } else if text.contains(['"', '\\']) || text.parse::<f64>().is_ok() {
        write!(f, "'{}'", text.replace('\'', "''"))
    } else {
        write!(f, "\"{text}\"")
    }
}

/// The policies of a configuration, as its files have them.
pub(super) struct WrittenPolicies<'a>(Sections<'a>);

/// The keys and values of each section, by the line and the column where it is defined.
type Sections<'a> = HashMap<(u64, u64), &'a [(Spanned<String>, Spanned<Node>)]>;

impl<'a> WrittenPolicies<'a> {
    /// Finds the sections of these documents.
    pub(super) fn new(documents: impl Iterator<Item = &'a Spanned<Node>>) -> Self {
        let mut found = HashMap::new();
        documents.for_each(|document| add(document, &mut found));
        Self(found)
    }

    /// Returns what the item of a list that is defined here says of its policy.
    pub(super) fn at(&self, place: Location) -> Written {
        let entries = self.0.get(&(place.line(), place.column())).copied().unwrap_or_default();
        let is_policy = |key: &str| key != "id" && key != "enabled";
        let Some((_, policy)) = entries.iter().find(|(key, _)| is_policy(&key.value)) else {
            return Written::default();
        };
        let text = |name: &str, value: &Node| (name.to_owned(), value.to_string());
        match &policy.value {
            Node::Map(keys) => Written(keys.iter().map(|(key, value)| text(&key.value, &value.value)).collect()),
            value => Written(vec![text("", value)]),
        }
    }
}

fn add<'a>(node: &'a Spanned<Node>, found: &mut Sections<'a>) {
    match &node.value {
        Node::List(items) => items.iter().for_each(|item| add(item, found)),
        Node::Map(entries) => {
            found.insert((node.defined.line(), node.defined.column()), entries.as_slice());
            entries.iter().for_each(|(_, value)| add(value, found));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_as_yaml_that_means_the_same() {
        for text in [
            "{name: X-Team, values: [a, \"{{key}}\", '1.3', \"\"]}",
            "{calls: 10, period: 1m, share: 1.5, shared: true, key: null}",
            "'\"quoted\" text'",
            "\"it's, here\"",
            "\"two\\nlines\"",
            "request.method == \"GET\"",
            "[\"*.example\", https://hooks.example/path, \"a: b\", \"true\"]",
        ] {
            let node: Spanned<Node> = serde_saphyr::from_str(text).unwrap();
            assert_eq!(node.value.to_string(), text);
        }
    }
}

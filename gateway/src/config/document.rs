//! A text as keys and values with their places; compared with the schema, it shows every key and value that does not
//! belong, where serde would stop at the first.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::diagnostic::Problem;
use super::file::policies::INSTEAD;

/// A value of a YAML text.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool,
    Float,
    Integer(i128),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
    Text(String),
}

impl Node {
    /// The keys and values, if it has such.
    pub(super) fn entries(&self) -> &[(Spanned<String>, Spanned<Node>)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool => "true or false",
            Self::Float | Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Map(_) => "keys and values",
            Self::Text(_) => "a text",
        }
    }
}

/// Compares with the schema, which describes the whole document.
pub(super) fn check(schema: &Value, document: &Spanned<Node>, problems: &mut Vec<Problem>) {
    Check { root: schema, problems }.value(schema, document);
}

struct Check<'a> {
    root: &'a Value,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn value(&mut self, schema: &Value, node: &Spanned<Node>) {
        let schema = self.resolve(schema);
        if let Node::Text(text) = &node.value
            && schema["word"] == text.as_str()
        {
            return;
        }
        match (&node.value, kind(&schema)) {
            (Node::Null, _) if allows_null(&schema) => {}
            (Node::Map(entries), "object") => self.keys(&schema, node, entries),
            (Node::List(items), "array") => items.iter().for_each(|item| self.value(&schema["items"], item)),
            // A scalar is text as it is written: `name: 42` is a name.
            (Node::Text(_) | Node::Bool | Node::Float | Node::Integer(_), "string") => {}
            (Node::Bool, "boolean") => {}
            (Node::Integer(number), "integer") => self.range(&schema, node, *number),
            (found, kind) => {
                let (expected, help) = match kind {
                    "object" => ("keys and values", "one `key: value` a line, further right than the key above them"),
                    "array" => ("a list", "in brackets, [a, b], or one a line after a dash"),
                    "integer" => ("a whole number", "without quotes or unit"),
                    "boolean" => ("true or false", "without quotes"),
                    _ => ("a text", "one value"),
                };
                self.problems.push(Problem::at(node, format!("expected {expected}, found {}", found.name()), help));
            }
        }
    }

    fn keys(&mut self, schema: &Value, node: &Spanned<Node>, entries: &[(Spanned<String>, Spanned<Node>)]) {
        let Some(known) = schema["properties"].as_object() else {
            let each = &schema["additionalProperties"];
            return entries.iter().filter(|_| each.is_object()).for_each(|(_, value)| self.value(each, value));
        };
        for (key, value) in entries {
            match known.get(&key.value) {
                Some(schema) => self.value(schema, value),
                None => {
                    let instead = INSTEAD.iter().find(|(name, _)| *name == key.value);
                    let help =
                        instead.map_or_else(|| suggestion(&key.value, known.keys()), |(_, help)| (*help).to_owned());
                    self.problems.push(Problem::at(key, "unknown key", help));
                }
            }
        }
        let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for key in missing.filter(|key| entries.iter().all(|(there, _)| there.value != *key)) {
            let meaning = known[key]["description"].as_str().unwrap_or_default();
            self.problems.push(Problem::at(node, format!("`{key}` is missing"), format!("add `{key}`: {meaning}")));
        }
    }

    fn range(&mut self, schema: &Value, node: &Spanned<Node>, number: i128) {
        let bound = |key: &str| schema[key].as_i64().map(i128::from);
        let (least, most) = (bound("minimum").unwrap_or(i128::MIN), bound("maximum").unwrap_or(i128::from(u32::MAX)));
        if !(least..=most).contains(&number) {
            self.problems.push(Problem::at(node, "out of range", format!("a number from {least} to {most}")));
        }
    }

    /// Behind references, and beside `null` or a word that stands for itself.
    fn resolve(&self, schema: &Value) -> Value {
        if let Some(path) = schema["$ref"].as_str() {
            let target = self.root.pointer(path.trim_start_matches('#'));
            return target.map(|target| self.resolve(target)).unwrap_or_default();
        }
        let Some(all) = schema["anyOf"].as_array() else { return schema.clone() };
        let choice = all.iter().find(|one| one["type"] != "null");
        let mut resolved = choice.map(|choice| self.resolve(choice)).unwrap_or_default();
        if all.iter().any(|one| one["type"] == "null") {
            resolved["nullable"] = true.into();
        }
        if let Some(word) = all.iter().map(|one| &one["const"]).find(|word| word.is_string()) {
            resolved["word"] = word.clone();
        }
        resolved
    }
}

fn kind(schema: &Value) -> &str {
    let kinds = schema["type"].as_array().into_iter().flatten();
    kinds.chain([&schema["type"]]).filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default()
}

fn allows_null(schema: &Value) -> bool {
    schema["nullable"] == true || schema["type"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"))
}

pub(super) fn suggestion<Name: AsRef<str>>(key: &str, known: impl Iterator<Item = Name>) -> String {
    let known: Vec<_> = known.collect();
    let names = || known.iter().map(AsRef::as_ref);
    let near = names().map(|name: &str| (strsim::damerau_levenshtein(key, name), name)).min();
    match near {
        Some((distance, name)) if distance <= name.len().max(key.len()) / 3 => format!("did you mean `{name}`?"),
        _ => format!("here are {}", names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Bool)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Float)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Integer(number.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Integer(number.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
}

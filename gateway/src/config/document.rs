//! A text as keys and values with their places; compared with the schema, it shows every key and value that does not
//! belong, where serde would stop at the first.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

use super::diagnostic::Problem;
use super::key::{Key, kind};
use super::unknown_key::{UnknownKeys, Within};

/// The smallest configuration.
const SMALLEST: &str = "version: 1
egress: {addresses: [192.0.2.10]}
apis: [{name: partner, hosts: [api.partner.example]}]";

/// A value of a YAML text.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Float(f64),
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
            Self::Bool(_) => "true or false",
            Self::Float(_) | Self::Integer(_) => "a number",
            Self::List(_) => "a list",
            Self::Map(_) => "keys and values",
            Self::Text(_) => "a text",
        }
    }
}

/// Compares with the schema, which describes the whole document.
pub(super) fn check(schema: &Value, document: &Spanned<Node>, problems: &mut Vec<Problem>) {
    Check { root: schema, within: Vec::new(), given: Vec::new(), problems }.value("", schema, document);
}

struct Check<'a> {
    root: &'a Value,
    /// The sections that this one is in, the outermost first.
    within: Vec<Within>,
    /// The keys of the next section that are written elsewhere, which is reported there.
    given: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    /// Compares a value with the schema of its key.
    fn value(&mut self, name: &str, property: &Value, node: &Spanned<Node>) {
        self.part(name, property, property, node);
    }

    /// Compares a value, or an item of its list, with a schema.
    fn part(&mut self, name: &str, property: &Value, schema: &Value, node: &Spanned<Node>) {
        let schema = self.resolve(schema, node);
        if let Node::Text(text) = &node.value
            && schema["word"] == text.as_str()
        {
            return;
        }
        match (&node.value, kind(&schema)) {
            (Node::Null, _) if allows_null(&schema) => {}
            (Node::Map(entries), "object") => self.keys(name, schema, node, entries),
            (Node::List(items), "array") => {
                items.iter().for_each(|item| self.part(name, property, &schema["items"], item));
            }
            // A scalar is a text as it is written: `name: 42` is a name.
            (Node::Text(_) | Node::Bool(_) | Node::Float(_) | Node::Integer(_), "string") => {}
            (Node::Bool(_), "boolean") => {}
            (Node::Float(_) | Node::Integer(_), "number") => {}
            (Node::Integer(number), "integer") => self.range(&schema, node, *number),
            (found, kind) => {
                let expected = match kind {
                    "object" => "keys and values",
                    "array" => "a list",
                    "integer" => "a whole number",
                    "number" => "a number",
                    "boolean" => "true or false",
                    _ => "a text",
                };
                let rule = format!("expected {expected}, found {}", found.name());
                self.problems.push(Problem::at(node, rule, self.shape(name, property, kind, node)));
            }
        }
    }

    /// Returns how the value of a key is written, with an example to copy.
    fn shape(&self, name: &str, property: &Value, expected: &str, node: &Spanned<Node>) -> String {
        let key = Key::new(self.root, name, property);
        match (expected, &node.value) {
            _ if name.is_empty() => format!("write keys and values, for example:\n{SMALLEST}"),
            ("array", Node::Text(text)) if !text.contains(['\n', ',']) => format!("write a list: `{name}: [{text}]`"),
            ("boolean", _) => format!("write true or false without quotes, for example `{}`", key.line()),
            ("integer" | "number", _) => format!("write a number without quotes or unit, for example `{}`", key.line()),
            _ => format!("write, for example, `{}`", key.line()),
        }
    }

    fn keys(&mut self, name: &str, schema: Value, node: &Spanned<Node>, entries: &[(Spanned<String>, Spanned<Node>)]) {
        let Some(known) = schema["properties"].as_object() else {
            let each = &schema["additionalProperties"];
            return entries
                .iter()
                .filter(|_| each.is_object())
                .for_each(|(key, value)| self.value(&key.value, each, value));
        };
        let given = std::mem::take(&mut self.given);
        let unknown = UnknownKeys { root: self.root, within: &self.within, name, schema: &schema, entries };
        let found = unknown.problems();
        let is_meant = |name: &str| found.iter().any(|(problem, _)| problem.means(name));
        let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in missing.filter(|name| entries.iter().all(|(there, _)| there.value != *name)) {
            if is_meant(name) || given.iter().any(|given| given == name) {
                continue;
            }
            let key = Key::new(self.root, name, &known[name]);
            let help = format!("add `{}`: {}", key.line(), key.meaning);
            self.problems.push(Problem::at(node, format!("`{name}` is missing"), help));
        }
        self.within.push(Within { name: name.to_owned(), schema: schema.clone() });
        for (index, (key, value)) in entries.iter().enumerate() {
            let Some(schema) = known.get(&key.value) else { continue };
            self.given = found.iter().filter(|(_, owner)| *owner == Some(index)).flat_map(|(p, _)| p.meant()).collect();
            self.value(&key.value, schema, value);
            self.given.clear();
        }
        self.within.pop();
        self.problems.extend(found.into_iter().map(|(problem, _)| problem.in_section(node)));
    }

    fn range(&mut self, schema: &Value, node: &Spanned<Node>, number: i128) {
        let bound = |key: &str| schema[key].as_i64().map(i128::from);
        let (least, most) = (bound("minimum").unwrap_or(i128::MIN), bound("maximum").unwrap_or(i128::from(u32::MAX)));
        if !(least..=most).contains(&number) {
            let help = format!("write a number from {least} to {most}");
            self.problems.push(Problem::at(node, format!("{number} is out of range"), help));
        }
    }

    /// Returns the schema behind a reference. Where a key takes several kinds of values, it is the one for this value.
    fn resolve(&self, schema: &Value, node: &Spanned<Node>) -> Value {
        if let Some(path) = schema["$ref"].as_str() {
            let target = self.root.pointer(path.trim_start_matches('#'));
            return target.map(|target| self.resolve(target, node)).unwrap_or_default();
        }
        let Some(all) = schema["anyOf"].as_array() else { return schema.clone() };
        let choices: Vec<_> = all.iter().filter(|one| one["type"] != "null" && !one["const"].is_string()).collect();
        let fits = |choice: &&&Value| {
            let is_object = kind(&self.resolve(choice, node)) == "object";
            is_object == matches!(node.value, Node::Map(_))
        };
        let choice = choices.iter().find(fits).or(choices.first());
        let mut resolved = choice.map(|choice| self.resolve(choice, node)).unwrap_or_default();
        if all.iter().any(|one| one["type"] == "null") {
            resolved["nullable"] = true.into();
        }
        if let Some(word) = all.iter().map(|one| &one["const"]).find(|word| word.is_string()) {
            resolved["word"] = word.clone();
        }
        resolved
    }
}

fn allows_null(schema: &Value) -> bool {
    schema["nullable"] == true || schema["type"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "null"))
}

/// Returns which of these names is meant, or all of them.
pub(super) fn suggestion<Name: AsRef<str>>(key: &str, known: impl Iterator<Item = Name>) -> String {
    let known: Vec<_> = known.collect();
    match nearest(key, known.iter().map(AsRef::as_ref)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let names = known.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>();
            format!("choose one of {}", names.join(", "))
        }
    }
}

/// Returns the name that differs least, if it differs little.
pub(super) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = known.map(|name| (strsim::damerau_levenshtein(key, name), name)).min()?;
    (distance <= name.len().max(key.len()) / 3).then_some(name)
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

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
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

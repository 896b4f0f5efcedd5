//! One key of the configuration, as its schema describes it: for the reference and for help lines.

use serde_json::Value;

/// A key and what its doc comment says of it. The doc comment of a key ends with the sentences `Default: …`, `Since …` and
/// `Example: …`, where they apply.
pub(super) struct Key<'a> {
    root: &'a Value,
    name: &'a str,
    property: &'a Value,
    /// What the key means.
    pub(super) meaning: String,
    /// The value that holds where the key is not written.
    pub(super) default: Option<String>,
    /// The first version that knows the key, if it is not the first of all.
    pub(super) since: Option<String>,
    example: Option<String>,
}

impl<'a> Key<'a> {
    /// Returns a key of an object, by the key's schema.
    pub(super) fn new(root: &'a Value, name: &'a str, property: &'a Value) -> Self {
        let mut key = Self { root, name, property, meaning: String::new(), default: None, since: None, example: None };
        let text = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        for sentence in sentences(&text) {
            if let Some(default) = sentence.strip_prefix("Default") {
                let default = default.trim_start_matches(':').trim().trim_end_matches('.');
                key.default = Some(default.to_owned());
            } else if let Some(since) = sentence.strip_prefix("Since ") {
                key.since = Some(since.trim_end_matches('.').to_owned());
            } else if let Some(example) = sentence.strip_prefix("Example:") {
                key.example = Some(example.trim().trim_end_matches('.').trim_matches('`').to_owned());
            } else {
                key.meaning.push_str(if key.meaning.is_empty() { "" } else { " " });
                key.meaning.push_str(sentence);
            }
        }
        key
    }

    /// Returns a value to copy, in YAML on one line.
    pub(super) fn example(&self) -> String {
        self.value(4)
    }

    /// Returns the key with a value to copy.
    pub(super) fn line(&self) -> String {
        format!("{}: {}", self.name, self.example())
    }

    fn value(&self, depth: usize) -> String {
        if let Some(example) = &self.example {
            return example.clone();
        }
        example(self.root, self.property, self.default.as_deref(), depth)
    }

    /// Returns what kind of value the key takes, for people.
    pub(super) fn kind(&self) -> String {
        label(self.root, self.property)
    }

    /// Returns the schema of the section that is the key's value, or that its list or map consists of, and what follows the
    /// key in the path of that section's keys.
    pub(super) fn section(&self) -> Option<(&'a str, &'static str)> {
        let property = self.property;
        let choices = property["anyOf"].as_array().into_iter().flatten().map(|choice| (choice, ""));
        let parts = [(property, ""), (&property["items"], "[]"), (&property["additionalProperties"], ".NAME")];
        let found = parts.into_iter().chain(choices).find_map(|(place, of)| Some((place["$ref"].as_str()?, of)));
        // A list of policies is no section: policies have a part of the reference of their own.
        found.filter(|(path, _)| !path.ends_with("/Step"))
    }
}

/// Returns the sentences of a text. A full stop ends one where a space follows and it stands between no backticks.
fn sentences(text: &str) -> Vec<&str> {
    let (mut sentences, mut start, mut is_code) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        is_code ^= c == '`';
        if c == '.' && !is_code && text[at + 1..].starts_with(' ') && begins_sentence(&text[at + 2..]) {
            sentences.push(text[start..=at].trim());
            start = at + 1;
        }
    }
    sentences.push(text[start..].trim());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

fn begins_sentence(text: &str) -> bool {
    text.starts_with(|c: char| c.is_uppercase() || c == '`')
}

/// Returns the schema behind a reference, and beside `null`.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(path) = schema["$ref"].as_str() {
        return root.pointer(path.trim_start_matches('#')).map_or(&Value::Null, |target| resolve(root, target));
    }
    let choice = schema["anyOf"].as_array().and_then(|all| all.iter().find(|one| one["type"] != "null"));
    choice.map_or(schema, |choice| resolve(root, choice))
}

/// Returns the JSON type of a schema's values, but for `null`.
pub(super) fn kind(schema: &Value) -> &str {
    let kinds = schema["type"].as_array().into_iter().flatten();
    kinds.chain([&schema["type"]]).filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default()
}

fn example(root: &Value, schema: &Value, default: Option<&str>, depth: usize) -> String {
    let written = schema["example"].as_str();
    let schema = resolve(root, schema);
    if let Some(example) = written.or(schema["example"].as_str()) {
        return example.to_owned();
    }
    match kind(schema) {
        "boolean" => (default != Some("true")).to_string(),
        "number" => default.unwrap_or("1").to_owned(),
        "integer" => {
            let default = default.and_then(|default| default.parse::<i64>().ok());
            default.or(schema["minimum"].as_i64()).unwrap_or(1).to_string()
        }
        "array" => format!("[{}]", example(root, &schema["items"], None, depth)),
        "object" if schema["additionalProperties"].is_object() => {
            format!("{{NAME: {}}}", example(root, &schema["additionalProperties"], None, depth))
        }
        "object" => object(root, schema, depth),
        _ => "TEXT".to_owned(),
    }
}

/// Returns an object with the keys that it must have; with its first key, if it need not have any.
fn object(root: &Value, schema: &Value, depth: usize) -> String {
    let Some(properties) = schema["properties"].as_object().filter(|_| depth > 0) else { return "{}".to_owned() };
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let keys = properties.iter().filter(|(name, _)| required.contains(&name.as_str()));
    let first = properties.iter().take(usize::from(required.is_empty()));
    let all = keys.chain(first).map(|(name, property)| {
        let key = Key::new(root, name, property);
        format!("{name}: {}", key.value(depth - 1))
    });
    format!("{{{}}}", all.collect::<Vec<_>>().join(", "))
}

fn label(root: &Value, schema: &Value) -> String {
    let choices = schema["anyOf"].as_array().into_iter().flatten().filter(|one| one["type"] != "null");
    let choices: Vec<_> = choices.map(|choice| label(root, choice)).collect();
    if choices.len() > 1 {
        return choices.join(" or ");
    }
    let schema = resolve(root, schema);
    match kind(schema) {
        "boolean" => "true or false".to_owned(),
        "number" => "number".to_owned(),
        "integer" => match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            (Some(least), Some(most)) if most < u64::from(u32::MAX) => format!("number, {least} to {most}"),
            (least, _) => format!("number, at least {}", least.unwrap_or_default()),
        },
        "array" if schema["items"]["$ref"].as_str().is_some_and(|path| path.ends_with("/Step")) => {
            "list of policies".to_owned()
        }
        "array" => format!("list of {}", plural(&label(root, &schema["items"]))),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of names to {}", plural(&label(root, &schema["additionalProperties"])))
        }
        "object" => "section".to_owned(),
        _ => "text".to_owned(),
    }
}

fn plural(label: &str) -> String {
    match label.split_once(',') {
        Some((label, range)) => format!("{label}s,{range}"),
        None if label.starts_with("list") => label.replacen("list", "lists", 1),
        None => format!("{label}s"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Key;

    #[test]
    fn a_doc_comment_gives_meaning_default_since_and_example() {
        let property = json!({
            "type": "string",
            "description": "Longest wait for\nthe server, e.g. a proxy. See `a. B`. Default: 10s, at least 1s. Since 0.2. Example: `30s`.",
        });
        let key = Key::new(&property, "timeout", &property);
        assert_eq!(key.meaning, "Longest wait for the server, e.g. a proxy. See `a. B`.");
        assert_eq!(key.default.as_deref(), Some("10s, at least 1s"));
        assert_eq!(key.since.as_deref(), Some("0.2"));
        assert_eq!(key.line(), "timeout: 30s");
    }

    #[test]
    fn an_example_is_made_of_the_keys_that_must_be_there() {
        let root = json!({"$defs": {"Server": {"type": "object", "required": ["url"], "properties": {
            "name": {"type": "string"},
            "url": {"type": "string", "description": "Where. Example: `https://a.example`."},
        }}}});
        for (property, example) in [
            (json!({"$ref": "#/$defs/Server"}), "{url: https://a.example}"),
            (json!({"anyOf": [{"$ref": "#/$defs/Server"}, {"type": "null"}]}), "{url: https://a.example}"),
            (json!({"type": "array", "items": {"$ref": "#/$defs/Server"}}), "[{url: https://a.example}]"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "{NAME: TEXT}"),
            (json!({"type": ["integer", "null"], "minimum": 3}), "3"),
            (json!({"type": "boolean", "description": "Whether. Default: true."}), "false"),
        ] {
            assert_eq!(Key::new(&root, "key", &property).example(), example, "{property}");
        }
    }

    /// The reference and the help lines show these examples.
    #[test]
    fn each_key_has_an_example_that_its_schema_accepts() {
        let schema = schemars::schema_for!(crate::config::file::File);
        let root = schema.as_value();
        let sections = root["$defs"].as_object().unwrap().values().chain([root]);
        for (name, property) in sections.filter_map(|section| section["properties"].as_object()).flatten() {
            let line = Key::new(root, name, property).line();
            assert!(!line.contains("TEXT"), "add `Example: ...` to the doc comment of `{name}`: {line}");
            let node = serde_saphyr::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let only = serde_json::json!({"type": "object", "properties": {name: property}, "$defs": root["$defs"]});
            let mut problems = Vec::new();
            crate::config::document::check(&only, &node, &mut problems);
            assert_eq!(problems, [], "{line}");
        }
    }
}

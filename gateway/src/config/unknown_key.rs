//! Keys that the schema does not know: renamed, removed, misspelled, or written one level too high or too low.

use serde_json::Value;
use serde_saphyr::Spanned;

use super::diagnostic::Problem;
use super::document::{Node, nearest, suggestion};
use super::key::{Key, kind, resolve};

/// A section, by the key that it is the value of.
pub(super) struct Within {
    /// The key. The document itself has none.
    pub(super) name: String,
    /// The schema of the section.
    pub(super) schema: Value,
}

/// A section as written, and the sections around it.
pub(super) struct UnknownKeys<'a> {
    pub(super) root: &'a Value,
    /// The sections around this one, the outermost first.
    pub(super) within: &'a [Within],
    /// The key that this section is the value of. The document itself has none.
    pub(super) name: &'a str,
    /// The schema of this section.
    pub(super) schema: &'a Value,
    /// The keys and values of this section.
    pub(super) entries: &'a [(Spanned<String>, Spanned<Node>)],
}

/// The longest value that a help line repeats, in bytes.
const LONGEST: usize = 60;

/// How many sections deep the right place of a key is looked for.
const DEEPEST: usize = 2;

/// Policies of other gateways that something else stands for here, and what.
const INSTEAD: &[(&str, &str)] = &[
    (
        "authentication-certificate",
        "set it for the API: backend: {tls: {client_certificate: {certificate: PATH, key: PATH}}}",
    ),
    (
        "authentication-managed-identity",
        "use authentication-oauth2 with a client and a secret of Entra ID (token_url, client_id, client_secret, scope)",
    ),
    ("get-authorization-context", "use authentication-oauth2: Egret fetches and renews a token of its own"),
    ("proxy", "write proxies: {NAME: {url: http://...}} at the top level, and egress: {proxy: NAME} in the API"),
    (
        "validate-azure-ad-token",
        "use validate-jwt: {openid_config: https://login.microsoftonline.com/TENANT/v2.0/.well-known/openid-configuration, audiences: [...]}",
    ),
];

impl UnknownKeys<'_> {
    /// Returns a problem for each mistake, and the index of the entry to whose section the unknown keys belong, if that is clear.
    pub(super) fn problems(&self) -> Vec<(Problem, Option<usize>)> {
        let mut found: Vec<(Problem, Option<usize>)> = Vec::new();
        for (index, (key, value)) in self.entries.iter().enumerate() {
            if self.schema["properties"].get(&key.value).is_some() {
                continue;
            }
            match self.owner(index) {
                Some(owner) if found.iter().any(|(_, known)| *known == Some(owner)) => {}
                Some(owner) => found.push((self.indented_too_little(owner, index), Some(owner))),
                None => {
                    let beside = self.entries.iter().position(|(other, _)| self.has_key(&other.value, &key.value));
                    found.push((self.unknown(key, value, beside), beside));
                }
            }
        }
        found
    }

    /// Returns the entry before this one whose section is empty and has this key.
    fn owner(&self, index: usize) -> Option<usize> {
        let key = &self.entries[index].0.value;
        let (owner, (name, value)) =
            self.entries[..index].iter().enumerate().rev().find(|(_, (name, _))| self.is_known(&name.value))?;
        (matches!(value.value, Node::Null) && self.has_key(&name.value, key)).then_some(owner)
    }

    fn is_known(&self, name: &str) -> bool {
        self.schema["properties"].get(name).is_some()
    }

    /// Whether the section of this key has that key.
    fn has_key(&self, section: &str, key: &str) -> bool {
        let section = self.schema["properties"].get(section);
        section.is_some_and(|section| self.properties(section).any(|(name, _)| name == key))
    }

    /// Returns the keys of a section, or of the sections that a list consists of.
    fn properties<'s>(&'s self, schema: &'s Value) -> impl Iterator<Item = (&'s str, &'s Value)> {
        let properties = resolve(self.root, schema)["properties"].as_object();
        properties.into_iter().flatten().map(|(name, property)| (name.as_str(), property))
    }

    fn indented_too_little(&self, owner: usize, first: usize) -> Problem {
        let (section, _) = &self.entries[owner];
        let (key, _) = &self.entries[first];
        let belong = self.entries[first..].iter().enumerate();
        let belong = belong.filter(|(at, _)| self.owner(first + at) == Some(owner)).map(|(_, entry)| entry);
        let mut lines = format!("indent the keys of `{0}` further than `{0}`:\n{0}:", section.value);
        let mut meant = vec![section.value.clone()];
        for (key, value) in belong {
            lines.push_str(&format!("\n  {}: {}", key.value, inline(value)));
            meant.push(key.value.clone());
        }
        let rule = format!("`{}` is not indented enough to be a key of `{}`", key.value, section.value);
        Problem::at(key, rule, lines).with_labelled(section, "this has no keys").meaning(meant)
    }

    /// Returns what is wrong with a key. It may have had another name before, or have been removed.
    fn unknown(&self, key: &Spanned<String>, value: &Spanned<Node>, beside: Option<usize>) -> Problem {
        if let Some(new) = self.schema["x-renamed"][&key.value].as_str() {
            let line = match new.split_once('.') {
                Some((section, name)) => format!("{section}: {{{name}: {}}}", inline(value)),
                None => format!("{new}: {}", inline(value)),
            };
            let rule = format!("`{}` has been renamed to `{new}`", key.value);
            let meant = new.split('.').map(str::to_owned).collect();
            return Problem::at(key, rule, format!("write `{line}`")).meaning(meant);
        }
        let removed = &self.schema["x-removed"][&key.value];
        if let (Some(rule), Some(help)) = (removed["rule"].as_str(), removed["help"].as_str()) {
            return Problem::at(key, rule, help);
        }
        let rule = format!("unknown key `{}`", key.value);
        if let Some((_, help)) = INSTEAD.iter().find(|(name, _)| *name == key.value) {
            return Problem::at(key, rule, *help);
        }
        let names = || self.properties(self.schema).map(|(name, _)| name);
        let near = nearest(&key.value, names());
        let other = match beside.and_then(|index| self.entries.get(index)) {
            Some((section, _)) => {
                Some(format!("write it in `{0}`: `{0}: {{{1}: {2}}}`", section.value, key.value, inline(value)))
            }
            None => self.elsewhere(&key.value, value),
        };
        let help = match (near, other) {
            (Some(near), Some(other)) => format!("did you mean `{near}`? Or {other}"),
            (Some(near), None) => format!("did you mean `{near}`?"),
            (None, Some(other)) => other,
            (None, None) => suggestion(&key.value, names()),
        };
        let meant = near.into_iter().chain([key.value.as_str()]).map(str::to_owned).collect();
        Problem::at(key, rule, help).meaning(meant)
    }

    /// Returns where a key with such a value belongs: in a section of this one, beside one that this one is in, or in a list of
    /// policies.
    fn elsewhere(&self, key: &str, value: &Spanned<Node>) -> Option<String> {
        if self.takes(&self.root["$defs"]["PolicyFile"], key, value) {
            let policy = format!("inbound: [{{{key}: {}}}]", inline(value));
            let line = match self.schema["properties"].get("inbound") {
                Some(_) => Some(policy),
                None => self.schema["properties"].get("policies").map(|_| format!("policies: {{{policy}}}")),
            };
            if let Some(line) = line {
                return Some(format!("write the policy as an item of a list: `{line}`"));
            }
        }
        let mut places = Vec::new();
        for depth in 1..=DEEPEST {
            places = self.below(self.schema, key, value, depth);
            if !places.is_empty() {
                break;
            }
        }
        // More than one place is no suggestion.
        let below = match places.as_slice() {
            [place] => {
                let open = place.iter().map(|section| format!("{section}: {{")).collect::<String>();
                Some(format!("write `{open}{key}: {}{}`", inline(value), "}".repeat(place.len())))
            }
            [] => self.below_in_list(key, value),
            _ => None,
        };
        let above = self.within.iter().enumerate().rev().find(|(_, section)| self.takes(&section.schema, key, value));
        let above = above.and_then(|(index, _)| {
            let beside = self.within.get(index + 1).map_or(self.name, |section| &section.name);
            (!beside.is_empty()).then(|| format!("write it beside `{beside}`, not in it"))
        });
        match (below, above) {
            (Some(below), Some(above)) => Some(format!("{below}, or {above}")),
            (below, above) => below.or(above),
        }
    }

    /// Returns the sections that lead to this key, at this depth.
    fn below<'s>(&'s self, schema: &'s Value, key: &str, value: &Spanned<Node>, depth: usize) -> Vec<Vec<&'s str>> {
        let mut places = Vec::new();
        for (name, property) in self.properties(schema) {
            // In lists and maps a key has many places.
            let is_one = Key::new(self.root, name, property).section().is_some_and(|(_, of)| of.is_empty());
            if !is_one {
                continue;
            }
            if depth > 1 {
                let inner = self.below(property, key, value, depth - 1);
                places.extend(inner.into_iter().map(|place| [vec![name], place].concat()));
            } else if self.takes(resolve(self.root, property), key, value) {
                places.push(vec![name]);
            }
        }
        places
    }

    /// Returns the one list or map of sections that have this key.
    fn below_in_list(&self, key: &str, value: &Spanned<Node>) -> Option<String> {
        let mut lists = self.properties(self.schema).filter_map(|(name, property)| {
            let (path, of) = Key::new(self.root, name, property).section().filter(|(_, of)| !of.is_empty())?;
            let section = self.root.pointer(path.trim_start_matches('#'))?;
            self.takes(section, key, value).then_some((name, of))
        });
        let place = match (lists.next()?, lists.next()) {
            ((name, "[]"), None) => format!("write it in the items of `{name}` that it is for"),
            ((name, _), None) => format!("write it in an entry of `{name}`"),
            _ => return None,
        };
        Some(place)
    }

    /// Whether a section has this key, for such values.
    fn takes(&self, section: &Value, key: &str, value: &Spanned<Node>) -> bool {
        let Some(property) = section["properties"].get(key) else { return false };
        let kind = kind(resolve(self.root, property));
        match &value.value {
            Node::Null => true,
            Node::Map(_) => kind == "object",
            Node::List(_) => kind == "array",
            Node::Text(_) => kind == "string",
            Node::Bool(_) => kind == "boolean" || kind == "string",
            Node::Integer(_) => matches!(kind, "integer" | "number" | "string"),
            Node::Float(_) => kind == "number" || kind == "string",
        }
    }
}

/// Returns a value in YAML on one line; `...` if that would be long.
fn inline(value: &Spanned<Node>) -> String {
    let text = value.value.to_string();
    if text.len() <= LONGEST { text } else { "...".to_owned() }
}

//! Each example of the reference, put where its key belongs in a configuration, compiles there.

use super::super::key::{Key, resolve};
use super::*;

/// What examples refer to.
const NAMED: &str = "version: 1
values:
  partner-key: {value: a2V5}
fragments:
  company-headers: [{set-method: GET}]
proxies:
  corporate: {url: http://proxy.acme.example:3128}
";

/// What is wrong with keys that are missing beside the one that is tried, not with its value; and files, variables and credentials,
/// which are those of the reader's machine.
const ABSENT: &[&str] = &[
    "belong together",
    "but no `then`",
    "cannot be read",
    "cannot be used: No such file",
    "does not wait for a response",
    "exactly one of",
    "has no effect",
    "has no path",
    "has no subscriptions",
    "is missing",
    "is never known",
    "is not a named value",
    "is not a private key",
    "is not one of the API's `ports`",
    "is not set",
    "needs a",
    "neither `",
    "no API is named",
    "no backend is named",
    "no egress address",
    "no fragment is named",
    "no policy sets the variable",
    "no proxy is named",
    "no response yet in inbound",
    "passed no credentials",
    "takes no `key`: it counts by workload",
    "there are no keys",
    "works only in the backend section",
    "would be sent without TLS",
];

/// A section of the configuration: the lines before its keys, and how far they are indented.
#[derive(Clone)]
struct Place<'a> {
    before: String,
    indent: usize,
    schema: &'a Value,
}

struct Examples<'a> {
    root: &'a Value,
    /// The sections that are done.
    seen: Vec<&'a str>,
    directory: PathBuf,
    count: usize,
    faults: Vec<String>,
}

impl<'a> Examples<'a> {
    /// Compiles the example of each key of a section, and those of the sections within.
    fn section(&mut self, place: &Place<'a>) {
        for (name, property) in place.schema["properties"].as_object().into_iter().flatten() {
            let key = Key::new(self.root, name, property);
            if !matches!(name.as_str(), "inbound" | "backend" | "outbound" | "on-error") {
                let before = format!("{}{}", place.before, self.beside(place, name));
                self.compiles(&before, place.indent, &key.line());
            }
            let Some((path, of)) = key.section() else { continue };
            if self.seen.contains(&path) {
                continue;
            }
            self.seen.push(path);
            let section = self.root.pointer(path.trim_start_matches('#')).unwrap();
            let inner = self.inner(place, name, of, section);
            self.section(&inner);
        }
    }

    /// Returns the section that is the value of a key.
    fn inner(&self, place: &Place<'a>, name: &str, of: &str, schema: &'a Value) -> Place<'a> {
        let spaces = " ".repeat(place.indent);
        let before = format!("{}{}{spaces}{name}:\n", place.before, self.beside(place, name));
        let (more, deeper) = match of {
            "[]" => (format!("{spaces}  -\n"), 4),
            ".NAME" => (format!("{spaces}  some-name:\n"), 4),
            _ => (String::new(), 2),
        };
        Place { before: before + &more, indent: place.indent + deeper, schema }
    }

    /// Returns the keys that a section must have, but for this one.
    fn beside(&self, place: &Place<'a>, name: &str) -> String {
        let properties = &place.schema["properties"];
        let required = place.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let required = required.filter(|other| *other != name && !place.before.contains(&format!("\n{other}: ")));
        let lines = required.map(|other| {
            let key = Key::new(self.root, other, &properties[other]);
            format!("{}{}\n", " ".repeat(place.indent), key.line())
        });
        lines.collect()
    }

    /// Compiles the example of each policy in a section in which it makes sense, and those of its keys.
    fn policies(&mut self) {
        let schema = &self.root["$defs"]["PolicyFile"];
        let item = |section: &str| {
            format!(
                "apis:\n  - name: partner\n    hosts: [api.partner.example]\n    mode: intercept\n    policies:\n      {section}:\n"
            )
        };
        for (name, property) in schema["properties"].as_object().unwrap() {
            let key = Key::new(self.root, name, property);
            let before = self.faults.len();
            for section in ["inbound", "backend", "outbound", "on-error"] {
                self.faults.truncate(before);
                let other = if matches!(name.as_str(), "id" | "enabled") { "set-method: GET\n          " } else { "" };
                self.compiles(&(NAMED.to_owned() + &item(section)), 8, &format!("- {other}{}", key.line()));
                if self.faults.len() == before {
                    break;
                }
            }
            let Some((path, of)) = key.section().filter(|(path, _)| !self.seen.contains(path)) else { continue };
            self.seen.push(path);
            let section = self.root.pointer(path.trim_start_matches('#')).unwrap();
            let place =
                Place { before: NAMED.to_owned() + &item("inbound") + "        -\n", indent: 10, schema: &Value::Null };
            let inner = self.inner(&place, name, of, section);
            self.section(&inner);
        }
    }

    /// Notes what is wrong with the example itself: its lines, not what else is missing in this place.
    fn compiles(&mut self, before: &str, indent: usize, line: &str) {
        self.count += 1;
        let path = self.directory.join(format!("{}.yaml", self.count));
        let first = before.lines().count() + 1;
        let last = first + line.lines().count() - 1;
        fs::write(&path, format!("{before}{}{line}\n", " ".repeat(indent))).unwrap();
        let Err(errors) = load(&path, Generation(1)) else { return };
        for diagnostic in &errors.diagnostics {
            let text = diagnostic.to_string();
            let place = text.split_once(".yaml:").and_then(|(_, rest)| rest.split(':').next()?.parse::<usize>().ok());
            let is_absent = ABSENT.iter().any(|absent| text.contains(absent));
            if place.is_none_or(|place| (first..=last).contains(&place)) && !is_absent {
                self.faults.push(format!("{line}\n{text}\n"));
            }
        }
    }
}

#[test]
fn each_example_of_the_reference_compiles_where_its_key_belongs() {
    let schema = schemars::schema_for!(File);
    let root = schema.as_value();
    let directory = std::env::temp_dir().join(format!("egret-examples-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let mut examples = Examples { root, seen: Vec::new(), directory, count: 0, faults: Vec::new() };
    examples.section(&Place { before: String::new(), indent: 0, schema: resolve(root, root) });
    examples.policies();
    fs::remove_dir_all(&examples.directory).unwrap();
    assert!(examples.count > 200);
    assert!(examples.faults.is_empty(), "{}", examples.faults.join("\n"));
}

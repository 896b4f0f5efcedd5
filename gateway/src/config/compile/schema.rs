//! JSON Schemas, of files and of OpenAPI documents. They are compiled when the configuration is read, and nothing is fetched
//! for them.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::{Draft, PatternOptions};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::model::{Schema, Telling};

/// What is wrong with a schema.
pub(super) type Fault = String;

/// Where a schema is in an OpenAPI document, and whose bodies or parameters it describes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bundle<'a> {
    /// The document, in which its references are found.
    pub(super) document: &'a Value,
    /// Whether it is one of OpenAPI 3.0, whose schemas are almost JSON Schemas; those of 3.1 are.
    pub(super) is_3_0: bool,
    /// What is not theirs and therefore is not asked for: `readOnly` of requests, `writeOnly` of answers.
    pub(super) not_theirs: &'static str,
}

/// The compiled schemas of a document. One that occurs in many places is compiled once.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    /// By what they say.
    by_source: BTreeMap<String, Schema>,
    /// By the place that a reference leads to, and whose they are: most are nothing but a reference.
    by_target: BTreeMap<(String, &'static str), Schema>,
}

/// A schema of its own, of the draft that it names; of 2020-12, if it names none.
pub(super) fn compile(schema: &Value) -> Result<Schema, Fault> {
    let options = jsonschema::options().offline().with_pattern_options(linear());
    let validator = options.build(schema).map_err(|error| told(&error))?;
    Ok(Schema { source: schema.to_string().into(), validator: validator.into(), telling: telling(schema) })
}

impl Compiled {
    /// A schema of an OpenAPI document, which is at this JSON pointer.
    pub(super) fn compile(&mut self, bundle: &Bundle<'_>, schema: &Value, pointer: &str) -> Result<Schema, Fault> {
        let reference = schema.as_object().filter(|object| object.len() == 1).and_then(|object| object.get("$ref"));
        let place = reference.map(|reference| target(bundle.document, reference, pointer)).transpose()?;
        let Some((_, target)) = place else { return self.compile_whole(bundle, schema, pointer) };
        let place = (target, bundle.not_theirs);
        if let Some(known) = self.by_target.get(&place) {
            return Ok(known.clone());
        }
        let schema = self.compile_whole(bundle, schema, pointer)?;
        self.by_target.insert(place, schema.clone());
        Ok(schema)
    }

    fn compile_whole(&mut self, bundle: &Bundle<'_>, schema: &Value, pointer: &str) -> Result<Schema, Fault> {
        let whole = bundle.whole(schema, pointer)?;
        let source = whole.to_string();
        if let Some(known) = self.by_source.get(&source) {
            return Ok(known.clone());
        }
        let options = jsonschema::options().offline().with_draft(Draft::Draft202012).with_pattern_options(linear());
        let validator = options.build(&whole).map_err(|error| format!("{pointer}: {}", told(&error)))?;
        let schema = Schema { source: source.as_str().into(), validator: validator.into(), telling: telling(&whole) };
        self.by_source.insert(source, schema.clone());
        Ok(schema)
    }
}

/// A body decides what a pattern is tried on: in time that grows with its length only.
fn linear() -> PatternOptions<jsonschema::Regex> {
    PatternOptions::regex()
}

/// What it costs to say what is wrong with a value; the dearest, where that is not clear.
fn telling(schema: &Value) -> Telling {
    let mut all = Seen::default();
    all.see(schema, "");
    // What is referred to, and what is referred to in it: a schema that is in itself is never done with.
    let targets: BTreeSet<&String> = all.references.iter().map(|(_, target)| target).collect();
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let own = |target: &&String| {
        let own = all.references.iter().filter(|(from, _)| within(from, target)).map(|(_, to)| to);
        own.collect::<BTreeSet<_>>()
    };
    let mut rest: BTreeMap<&String, BTreeSet<&String>> = targets.iter().map(|target| (*target, own(target))).collect();
    loop {
        let done: Vec<_> = rest.iter().filter(|(_, own)| own.iter().all(|to| !rest.contains_key(to))).collect();
        let done: Vec<_> = done.into_iter().map(|(target, _)| *target).collect();
        if done.is_empty() {
            break;
        }
        done.into_iter().for_each(|target| drop(rest.remove(target)));
    }
    match (all.odd || !rest.is_empty(), all.alternatives) {
        (true, _) => Telling::Recursive,
        (false, true) => Telling::Alternatives,
        (false, false) => Telling::Simple,
    }
}

/// What a schema is made of.
#[derive(Default)]
struct Seen {
    /// From where to where, as JSON pointers.
    references: Vec<(String, String)>,
    /// Whether there are references of another kind.
    odd: bool,
    alternatives: bool,
}

impl Seen {
    fn see(&mut self, value: &Value, pointer: &str) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    match (key.as_str(), value.as_str()) {
                        ("$ref", Some(reference)) => match reference.strip_prefix('#') {
                            Some(target) if target.is_empty() || target.starts_with('/') => {
                                let target = percent_decode_str(target).decode_utf8_lossy().into_owned();
                                self.references.push((pointer.to_owned(), target));
                            }
                            _ => self.odd = true,
                        },
                        ("$dynamicRef" | "$id" | "$recursiveRef", Some(_)) => {
                            self.odd |= !pointer.is_empty() || key != "$id"
                        }
                        ("anyOf" | "oneOf", None) => self.alternatives = true,
                        _ => {}
                    }
                    self.see(value, &format!("{pointer}/{}", escaped(key)));
                }
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, item)| self.see(item, &format!("{pointer}/{index}")));
            }
            _ => {}
        }
    }
}

fn told(error: &jsonschema::ValidationError<'_>) -> Fault {
    match error.instance_path().as_str() {
        "" => error.to_string(),
        pointer => format!("{pointer}: {error}"),
    }
}

/// Returns a value of a document, or what it refers to, with its JSON pointer.
pub(super) fn resolve<'v>(
    document: &'v Value,
    mut value: &'v Value,
    pointer: &str,
) -> Result<(&'v Value, String), Fault> {
    let mut pointer = pointer.to_owned();
    for _ in 0..MOST_REFERENCES {
        let Some(reference) = value.get("$ref") else { return Ok((value, pointer)) };
        (value, pointer) = target(document, reference, &pointer)?;
    }
    Err(at(&pointer, "this reference refers to itself"))
}

/// Returns what a reference refers to, and its JSON pointer.
fn target<'v>(document: &'v Value, reference: &Value, pointer: &str) -> Result<(&'v Value, String), Fault> {
    let written = reference.as_str().unwrap_or_default();
    let target = written.strip_prefix('#').map(|target| percent_decode_str(target).decode_utf8_lossy().into_owned());
    let Some(target) = target.filter(|target| target.starts_with('/')) else {
        return Err(at(pointer, &format!("`$ref: {written}` is not in this document (`#/components/...`)")));
    };
    let found = document.pointer(&target);
    found.map(|found| (found, target)).ok_or_else(|| at(pointer, &format!("`$ref: {written}` refers to nothing")))
}

/// Returns a fault with its place.
pub(super) fn at(pointer: &str, fault: &str) -> Fault {
    if pointer.is_empty() { fault.to_owned() } else { format!("{pointer}: {fault}") }
}

impl<'a> Bundle<'a> {
    /// Returns a value of the document, or what it refers to, with its JSON pointer.
    pub(super) fn resolve(&self, value: &'a Value, pointer: &str) -> Result<(&'a Value, String), Fault> {
        resolve(self.document, value, pointer)
    }

    /// A schema with all that it refers to.
    fn whole(&self, schema: &Value, pointer: &str) -> Result<Value, Fault> {
        let mut copy = Copy { bundle: self, found: Vec::new() };
        let mut whole = copy.schema(schema, pointer)?;
        let mut definitions = Map::new();
        while let Some(pointer) = copy.found.get(definitions.len()).cloned() {
            let target = self.document.pointer(&pointer).unwrap_or(&Value::Null);
            let name = definitions.len().to_string();
            definitions.insert(name, copy.schema(target, &pointer)?);
        }
        if let (Some(object), false) = (whole.as_object_mut(), definitions.is_empty()) {
            object.insert(DEFINITIONS.to_owned(), definitions.into());
        }
        Ok(whole)
    }
}

/// Longest chain of references to references.
const MOST_REFERENCES: usize = 32;

/// Where a copy has what it refers to.
const DEFINITIONS: &str = "$defs";

/// Makes schemas that stand alone of those of a document.
struct Copy<'a> {
    bundle: &'a Bundle<'a>,
    /// The pointers that were referred to.
    found: Vec<String>,
}

impl Copy<'_> {
    fn schema(&mut self, schema: &Value, pointer: &str) -> Result<Value, Fault> {
        let object = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(object) => object,
            _ => return Err(format!("{pointer}: not a schema")),
        };
        let reference = object.get("$ref").map(|reference| self.reference(reference, pointer)).transpose()?;
        if let (true, Some(reference)) = (self.bundle.is_3_0, &reference) {
            // OpenAPI 3.0.3 §4.7.23: what stands beside a reference is not looked at.
            return Ok(json!({"$ref": reference}));
        }
        let mut copy = Map::new();
        for (key, value) in object {
            let below = || format!("{pointer}/{}", escaped(key));
            let value = match key.as_str() {
                "$ref" => json!(reference),
                "$anchor" | "$dynamicAnchor" | "$dynamicRef" | "$id" | "$recursiveRef" | "$schema" => {
                    return Err(format!("{pointer}: `{key}` is not known in the schemas of OpenAPI documents here"));
                }
                "additionalProperties"
                | "contains"
                | "else"
                | "if"
                | "items"
                | "not"
                | "propertyNames"
                | "then"
                | "unevaluatedItems"
                | "unevaluatedProperties" => self.schema(value, &below())?,
                "allOf" | "anyOf" | "oneOf" | "prefixItems" => self.list(value, &below())?,
                "$defs" | "dependentSchemas" | "patternProperties" | "properties" => self.map(value, &below())?,
                "required" => self.required(value, object),
                _ => value.clone(),
            };
            copy.insert(key.clone(), value);
        }
        if self.bundle.is_3_0 {
            translate(&mut copy);
        }
        // What it had of its own is referred to by its pointer.
        copy.remove(DEFINITIONS);
        Ok(copy.into())
    }

    fn list(&mut self, list: &Value, pointer: &str) -> Result<Value, Fault> {
        let Some(list) = list.as_array() else { return Err(format!("{pointer}: not a list of schemas")) };
        let copies = list.iter().enumerate().map(|(index, schema)| self.schema(schema, &format!("{pointer}/{index}")));
        copies.collect()
    }

    fn map(&mut self, map: &Value, pointer: &str) -> Result<Value, Fault> {
        let Some(map) = map.as_object() else { return Err(format!("{pointer}: not schemas by name")) };
        let copies = map.iter().map(|(name, schema)| {
            let copy = self.schema(schema, &format!("{pointer}/{}", escaped(name)))?;
            Ok((name.clone(), copy))
        });
        copies.collect::<Result<Map<_, _>, Fault>>().map(Value::from)
    }

    fn reference(&mut self, reference: &Value, pointer: &str) -> Result<String, Fault> {
        let (_, target) = target(self.bundle.document, reference, pointer)?;
        let known = self.found.iter().position(|found| *found == target);
        let number = known.unwrap_or_else(|| {
            self.found.push(target);
            self.found.len() - 1
        });
        Ok(format!("#/{DEFINITIONS}/{number}"))
    }

    /// Without what is the other side's to say (OpenAPI 3.1 takes it from JSON Schema, 3.0.3 §4.7.24.2 says it itself).
    fn required(&self, required: &Value, object: &Map<String, Value>) -> Value {
        let Some(names) = required.as_array() else { return required.clone() };
        let theirs = |name: &&Value| {
            let property = name.as_str().and_then(|name| object.get("properties")?.get(name));
            let resolved = property.and_then(|property| self.bundle.resolve(property, "").ok());
            let says = |property: &Value| property.get(self.bundle.not_theirs) == Some(&Value::Bool(true));
            !property.is_some_and(says) && !resolved.is_some_and(|(property, _)| says(property))
        };
        names.iter().filter(theirs).cloned().collect()
    }
}

/// From the dialect of OpenAPI 3.0 to JSON Schema 2020-12.
fn translate(schema: &mut Map<String, Value>) {
    // OpenAPI 3.0.3 §4.7.24.1: it adds to `type`, and to nothing else.
    if schema.remove("nullable") == Some(Value::Bool(true))
        && let Some(kind) = schema.get_mut("type")
    {
        *kind = json!([kind.take(), "null"]);
    }
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match schema.get(exclusive) {
            Some(Value::Bool(true)) => {
                schema.remove(exclusive);
                if let Some(bound) = schema.remove(bound) {
                    schema.insert(exclusive.to_owned(), bound);
                }
            }
            Some(Value::Bool(false)) => drop(schema.remove(exclusive)),
            _ => {}
        }
    }
}

/// A key, in a JSON pointer (RFC 6901).
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Bundle, Compiled, Telling, compile};

    fn bundle<'a>(document: &'a Value, is_3_0: bool, not_theirs: &'static str) -> Bundle<'a> {
        Bundle { document, is_3_0, not_theirs }
    }

    fn compiled(bundle: &Bundle<'_>, pointer: &str) -> Result<crate::model::Schema, String> {
        Compiled::default().compile(bundle, bundle.document.pointer(pointer).unwrap(), pointer)
    }

    #[test]
    fn what_is_referred_to_is_found_also_in_circles() {
        let document = json!({"components": {"schemas": {
            "Tree": {"type": "object", "required": ["id"], "properties": {
                "id": {"$ref": "#/components/schemas/A~1%20name"},
                "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
            }},
            "A/ name": {"type": "integer"},
        }}});
        let tree = compiled(&bundle(&document, false, "readOnly"), "/components/schemas/Tree").unwrap();
        for (value, expected) in [
            (json!({"id": 1, "children": [{"id": 2, "children": []}]}), true),
            (json!({"id": 1, "children": [{"id": "2"}]}), false),
            (json!({"children": []}), false),
        ] {
            assert_eq!(tree.validator.is_valid(&value), expected, "{value}");
        }
    }

    #[test]
    fn the_dialect_of_3_0_is_translated() {
        let document = json!({"s": {
            "type": "object",
            "properties": {
                "nullable": {"type": "string", "nullable": true},
                "open": {"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false},
                "beside": {"$ref": "#/t", "nullable": true},
            },
        }, "t": {"type": "boolean"}});
        let schema = compiled(&bundle(&document, true, "readOnly"), "/s").unwrap();
        for (value, expected) in [
            (json!({"nullable": null}), true),
            (json!({"nullable": 1}), false),
            (json!({"open": 0}), false),
            (json!({"open": 9}), true),
            (json!({"beside": null}), false),
        ] {
            assert_eq!(schema.validator.is_valid(&value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_the_other_sides_is_not_asked_for() {
        let document = json!({"s": {"required": ["id", "secret", "name"], "properties": {
            "id": {"$ref": "#/id"},
            "secret": {"type": "string", "writeOnly": true},
            "name": {"type": "string"},
        }}, "id": {"type": "integer", "readOnly": true}});
        for (not_theirs, value, expected) in [
            ("readOnly", json!({"secret": "a", "name": "b"}), true),
            ("readOnly", json!({"id": 1, "name": "b"}), false),
            ("writeOnly", json!({"id": 1, "name": "b"}), true),
            ("writeOnly", json!({"id": 1, "secret": "a"}), false),
        ] {
            let schema = compiled(&bundle(&document, false, not_theirs), "/s").unwrap();
            assert_eq!(schema.validator.is_valid(&value), expected, "{not_theirs} {value}");
        }
    }

    #[test]
    fn what_is_not_here_is_not_fetched() {
        for reference in ["https://example.com/schema.json", "other.json#/a", "#/missing", "#anchor"] {
            let document = json!({"s": {"properties": {"a": {"$ref": reference}}}});
            let told = compiled(&bundle(&document, false, "readOnly"), "/s").unwrap_err();
            assert!(told.starts_with("/s/properties/a: `$ref: "), "{told}");
        }
        for reference in ["https://example.com/schema.json", "file:///etc/passwd", "other.json"] {
            compile(&json!({"$ref": reference})).unwrap_err();
        }
        compile(&json!({"$ref": "#/definitions/a", "definitions": {"a": true}})).unwrap();
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_known() {
        for (schema, expected) in [
            (json!({"type": "object"}), Telling::Simple),
            (json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {}}}), Telling::Simple),
            (json!({"properties": {"a": {"anyOf": [true]}}}), Telling::Alternatives),
            (json!({"properties": {"a": {"$ref": "#"}}}), Telling::Recursive),
            (
                json!({"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
                Telling::Recursive,
            ),
            (json!({"properties": {"a": {"items": {"$ref": "#/properties/a"}}}}), Telling::Recursive),
            (
                json!({"$id": "https://example.com/a", "$defs": {"a": {"$anchor": "b"}}, "$ref": "#b"}),
                Telling::Recursive,
            ),
        ] {
            assert_eq!(compile(&schema).unwrap().telling, expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_is_none_is_told() {
        let told = compile(&json!({"properties": {"a": {"type": "strin"}}})).unwrap_err();
        assert!(told.starts_with("/properties/a/type: "), "{told}");
        let told = compile(&json!({"pattern": "(?=a)b"})).unwrap_err();
        assert!(told.contains("pattern"), "{told}");
    }
}

//! OpenAPI documents (3.0, 3.1). What Egret does not understand in one is reported, never ignored.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::policies::path;
use super::schema::{Fault, resolve};
use super::{Outside, yaml};
use crate::config::diagnostic::Problem;
use crate::config::file::OpenApiFile;
use crate::model::PathTemplate;

/// An operation of a document.
pub(super) struct Imported {
    /// Its `operationId`, or its method and path.
    pub(super) name: String,
    /// The method in capital letters.
    pub(super) method: String,
    /// Its path on the server, which begins with the path of the server's URL.
    pub(super) path: PathTemplate,
    /// Its path as the document has it.
    pub(super) key: String,
}

/// An OpenAPI document.
pub(super) struct Document {
    /// All of it. References that stand for a path or an operation are replaced by their targets.
    pub(super) value: Value,
    /// Whether it is of OpenAPI 3.0; else of 3.1.
    pub(super) is_3_0: bool,
    oddities: Vec<String>,
    file: Spanned<String>,
    is_strict: bool,
}

/// The methods that a path item may have (OpenAPI 3.1 §4.8.9.1).
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// What a path item may have beside its methods (OpenAPI 3.1 §4.8.9.1).
const BESIDE: [&str; 4] = ["summary", "description", "servers", "parameters"];

/// Most oddities that a message names one by one.
const SHOWN: usize = 10;

const HELP: &str = "name an OpenAPI document of version 3.0 or 3.1, in YAML or JSON";

/// Reads a document.
pub(super) fn read(
    written: &Spanned<OpenApiFile>,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Document> {
    let file = written.value.file(written);
    let contents = outside.contents(&file).map_err(|error| error.to_string());
    let value = match contents.and_then(|bytes| yaml::read(&bytes)) {
        Ok(value) => value,
        Err(error) => {
            problems.push(Problem::at(&file, format!("`{}` cannot be read: {error}", file.value), HELP));
            return None;
        }
    };
    let version = value["openapi"].as_str().unwrap_or_default();
    let is_3_0 = version.starts_with("3.0");
    if !is_3_0 && !version.starts_with("3.1") {
        let rule = match (version, value["swagger"].as_str()) {
            (_, Some(old)) => format!("`{}` is in Swagger {old}, an older format", file.value),
            ("", None) => format!("`{}` is not an OpenAPI document: it has no key `openapi`", file.value),
            (other, None) => format!("`{}` is in OpenAPI {other}, which Egret does not know", file.value),
        };
        problems.push(Problem::at(&file, rule, HELP));
        return None;
    }
    let mut document = Document { value, is_3_0, oddities: Vec::new(), file, is_strict: written.value.strict };
    document.follow_references();
    Some(document)
}

impl Document {
    /// Returns the document's operations.
    pub(super) fn operations(&mut self, problems: &mut Vec<Problem>) -> Vec<Imported> {
        let (mut imported, mut oddities, mut seen) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (key, item) in self.value["paths"].as_object().into_iter().flatten() {
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let method = method.to_ascii_uppercase();
                match self.operation(key, &method, item, operation, &mut oddities) {
                    Ok(operation) => match seen.insert((method, shape(&operation.path)), key) {
                        Some(other) => {
                            oddities.push(format!("`{} {key}`: the same path as `{other}`", operation.method))
                        }
                        None => imported.push(operation),
                    },
                    Err(fault) => oddities.push(format!("`{method} {key}`: {fault}")),
                }
            }
        }
        oddities.dedup();
        self.oddities.extend(oddities);
        if imported.is_empty() {
            let rule = format!("`{}` has no operation that Egret understands", self.file.value);
            problems.push(Problem::at(&self.file, rule, "describe operations: paths: {/prices: {get: {...}}}"));
        }
        imported
    }

    fn operation(
        &self,
        key: &str,
        method: &str,
        item: &Value,
        operation: &Value,
        oddities: &mut Vec<String>,
    ) -> Result<Imported, Fault> {
        if !operation.is_object() {
            return Err("not an operation".to_owned());
        }
        let servers = [operation, item, &self.value].map(|scope| &scope["servers"]);
        let written = servers.into_iter().find(|servers| !servers.is_null()).unwrap_or(&Value::Null);
        let mut paths = base(written)?.into_iter();
        let base = paths.next().unwrap_or_default();
        oddities.extend(paths.next().map(|other| {
            format!("`servers`: their URLs have different paths, `{base}/` and `{other}/`; Egret matches those below the first")
        }));
        let path = format!("{base}{key}");
        let name = operation["operationId"].as_str().map_or_else(|| format!("{method} {path}"), str::to_owned);
        Ok(Imported { name, method: method.to_owned(), path: path::parse(&path)?, key: key.to_owned() })
    }

    /// Reports what is not understood in the document and in its operations' contracts: a warning, or an error if the
    /// configuration says `strict: true`.
    pub(super) fn report(&self, contracts: &[Fault], problems: &mut Vec<Problem>) {
        let all: Vec<_> = self.oddities.iter().chain(contracts).collect();
        if all.is_empty() {
            return;
        }
        let shown = all.iter().take(SHOWN).map(|oddity| format!("\n  {oddity}")).collect::<String>();
        let rest = match all.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!("\n  and {more} more"),
        };
        let rule = format!("Egret does not understand all of `{}`:{shown}{rest}", self.file.value);
        let problem = Problem::at(&self.file, rule, "correct the document");
        problems.push(match self.is_strict {
            true => problem.helped("correct the document, or write `strict: false` to work with the rest of it"),
            false => problem
                .helped("correct the document: until then these requests count as not described; `strict: true` forbids that")
                .warning(),
        });
    }

    /// Replaces each reference that stands for a path item or an operation by its target, and takes out what is not understood.
    fn follow_references(&mut self) {
        let keys: Vec<_> = self.value["paths"].as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
        if !self.value["paths"].is_object() && !self.value["paths"].is_null() {
            self.oddities.push("`paths`: not paths and what they offer".to_owned());
        }
        for key in keys.iter().filter(|key| !key.starts_with("x-")) {
            let found = self.path_item(key);
            let Some(item) = self.value["paths"].get_mut(key) else { continue };
            match found {
                Ok(None) => {}
                Ok(Some(resolved)) => *item = resolved,
                Err(fault) => {
                    *item = Value::Null;
                    self.oddities.push(format!("`{key}`: {fault}"));
                }
            }
        }
    }

    /// Returns a path item without references, if it has any; what else is odd in it is reported.
    fn path_item(&mut self, key: &str) -> Result<Option<Value>, Fault> {
        let item = &self.value["paths"][key];
        if !key.starts_with('/') {
            return Err("this path does not begin with a slash".to_owned());
        }
        let mut resolved = merged(&self.value, item)?;
        let mut oddities = Vec::new();
        for name in resolved.as_ref().unwrap_or(item).as_object().into_iter().flatten().map(|(name, _)| name) {
            let is_known = METHODS.contains(&name.as_str()) || BESIDE.contains(&name.as_str());
            if !is_known && !name.starts_with("x-") {
                oddities.push(format!("`{key}`: `{name}` is neither a method nor a key of paths"));
            }
        }
        for method in METHODS {
            let operation = &resolved.as_ref().unwrap_or(item)[method];
            match merged(&self.value, operation) {
                Ok(None) if operation.is_object() || operation.is_null() => {}
                Ok(None) => oddities.push(format!("`{key}`: `{method}` is not an operation")),
                Ok(Some(target)) => resolved.get_or_insert_with(|| item.clone())[method] = target,
                Err(fault) => {
                    oddities.push(format!("`{} {key}`: {fault}", method.to_ascii_uppercase()));
                    if let Some(item) = resolved.get_or_insert_with(|| item.clone()).as_object_mut() {
                        item.remove(method);
                    }
                }
            }
        }
        self.oddities.extend(oddities);
        Ok(resolved)
    }
}

/// Returns the target of an object that is a reference, with the keys that stand beside the reference; nothing, if it is none.
fn merged(document: &Value, value: &Value) -> Result<Option<Value>, Fault> {
    let Some(object) = value.as_object().filter(|object| object.contains_key("$ref")) else {
        return if value.is_object() || value.is_null() { Ok(None) } else { Err("not keys and values".to_owned()) };
    };
    let (target, _) = resolve(document, value, "")?;
    let Some(target) = target.as_object() else { return Err("its `$ref` is not to keys and values".to_owned()) };
    let beside = object.iter().filter(|(key, _)| *key != "$ref");
    let mut all: Map<String, Value> = target.clone();
    for (key, value) in beside {
        // OpenAPI 3.1 §4.8.9.1: what holds is not defined.
        if target.contains_key(key) && !matches!(key.as_str(), "summary" | "description") {
            return Err(format!("`{key}` stands beside `$ref` and in its target"));
        }
        all.insert(key.clone(), value.clone());
    }
    Ok(Some(all.into()))
}

/// Returns the different paths of servers' URLs, in their order: `/v1` of `https://api.partner.example/v1/`.
///
/// # Errors
/// A variable in a path has no default.
fn base(servers: &Value) -> Result<Vec<String>, Fault> {
    let mut paths = Vec::new();
    for server in servers.as_array().into_iter().flatten() {
        let path = path_of(server)?;
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn path_of(server: &Value) -> Result<String, Fault> {
    let mut url = server["url"].as_str().unwrap_or_default().to_owned();
    for (name, variable) in server["variables"].as_object().into_iter().flatten() {
        if let Some(default) = variable["default"].as_str() {
            url = url.replace(&format!("{{{name}}}"), default);
        }
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url.as_str(),
    };
    let path = path.trim_end_matches('/');
    if path.contains('{') {
        return Err(format!("the server's path `{path}` has a variable without a default"));
    }
    Ok(if path.is_empty() || path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

/// Returns a path with its parameters unnamed: two of one shape match the same requests.
fn shape(path: &PathTemplate) -> String {
    let mut shape = String::new();
    let mut is_name = false;
    for c in path.to_string().chars() {
        match c {
            '{' => is_name = true,
            '}' => {
                is_name = false;
                shape.push_str("{}");
            }
            c if !is_name => shape.push(c),
            _ => {}
        }
    }
    shape
}

//! Operations of an OpenAPI document (3.0, 3.1).

use serde_json::Value;
use serde_saphyr::Spanned;

use super::Outside;
use crate::config::diagnostic::Problem;

/// An operation as the document has it.
pub(super) struct Imported {
    /// Its `operationId`, or its method and path.
    pub(super) name: String,
    /// In capitals.
    pub(super) method: String,
    /// With what its server's address adds.
    pub(super) path: String,
    /// Its path as the document has it.
    pub(super) key: String,
}

/// A document.
pub(super) struct Document {
    /// All of it.
    pub(super) value: Value,
    /// Whether it is of OpenAPI 3.0; else of 3.1.
    pub(super) is_3_0: bool,
}

/// The methods that a path item may have (OpenAPI 3.1 §4.8.9.1).
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Reads the document.
pub(super) fn read(written: &Spanned<String>, outside: &Outside<'_>, problems: &mut Vec<Problem>) -> Option<Document> {
    let help = "an OpenAPI document of version 3, in YAML or JSON";
    let document: Value = match outside.contents(written).map_err(|error| error.to_string()).and_then(|bytes| {
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        serde_saphyr::from_str(&text).map_err(|error| error.without_snippet().to_string())
    }) {
        Ok(document) => document,
        Err(error) => {
            problems.push(Problem::at(written, format!("this document cannot be read: {error}"), help));
            return None;
        }
    };
    let version = document["openapi"].as_str().unwrap_or_default();
    if !version.starts_with("3.0") && !version.starts_with("3.1") {
        let rule = match (version, document["swagger"].as_str()) {
            (_, Some(old)) => format!("this is Swagger {old}, which is another format"),
            ("", None) => "this document has no `openapi: 3...`".to_owned(),
            (other, None) => format!("OpenAPI {other} is not known"),
        };
        problems.push(Problem::at(written, rule, help));
        return None;
    }
    let is_3_0 = version.starts_with("3.0");
    Some(Document { value: document, is_3_0 })
}

impl Document {
    /// What it offers.
    pub(super) fn operations(&self, written: &Spanned<String>, problems: &mut Vec<Problem>) -> Vec<Imported> {
        let base = base(&self.value);
        let paths = self.value["paths"].as_object().into_iter().flatten();
        let imported = paths.flat_map(|(key, item)| {
            let base = &base;
            METHODS.iter().filter_map(move |method| {
                let operation = item.get(method)?;
                let (method, path) = (method.to_ascii_uppercase(), format!("{base}{key}"));
                let name = operation["operationId"].as_str().map_or_else(|| format!("{method} {path}"), str::to_owned);
                Some(Imported { name, method, path, key: key.clone() })
            })
        });
        let imported: Vec<_> = imported.collect();
        if imported.is_empty() {
            problems.push(Problem::at(written, "this document has no operations", "paths: {/prices: {get: {...}}}"));
        }
        imported
    }
}

/// The path of the first server: `/v1` of `https://api.partner.example/v1/`.
fn base(document: &Value) -> String {
    let url = document["servers"][0]["url"].as_str().unwrap_or_default();
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    };
    let path = path.trim_end_matches('/');
    if path.is_empty() || path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

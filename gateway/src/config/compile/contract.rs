//! What an OpenAPI document says of an operation, for the policies that look at it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::openapi::{Document, Imported};
use super::schema::{Bundle, Compiled, Fault, escaped};
use crate::config::diagnostic::Problem;
use crate::config::file::ApiFile;
use crate::model::{Answer, ByProduct, Content, Contract, Parameter, Place, Schema, Statuses, Style};
use crate::policy::{NeedsDescription, Policies, Policy};

/// What the operations of an API are described to be, as far as their policies look at it.
pub(super) struct Contracts<'a> {
    file: &'a ApiFile,
    max_body: usize,
    reader: Option<Reader<'a>>,
    faults: Vec<Fault>,
}

impl<'a> Contracts<'a> {
    /// By this document, if there is one.
    pub(super) fn new(file: &'a ApiFile, max_body: usize, document: Option<&'a Document>) -> Self {
        let reader = document.map(|document| Reader {
            document: &document.value,
            is_3_0: document.is_3_0,
            compiled: Compiled::default(),
        });
        Self { file, max_body, reader, faults: Vec::new() }
    }

    /// Of an operation, if the document has it.
    pub(super) fn of(
        &mut self,
        known: Option<&Imported>,
        policies: &ByProduct,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<Contract>> {
        let looks = Looks::of(policies);
        let mut tell = |problem: Problem| {
            // What is wrong with what several operations share is told once.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        if looks.most_bytes > self.max_body {
            let rule = format!(
                "validate-content allows bodies of {} bytes, but policies of this API read at most {} (`max_body`)",
                looks.most_bytes, self.max_body
            );
            tell(Problem::at(&self.file.name, rule, "raise `max_body` of the API, or lower `max_size`"));
        }
        let by = looks.by?;
        if self.file.openapi.is_none() {
            let rule = format!("{by} needs an OpenAPI document, and this API has none");
            let help = "add `openapi: PATH`, or remove the policy (`inherit: false`, if it is one of all APIs)";
            tell(Problem::at(&self.file.name, rule, help).lacking(&["openapi"]));
            return None;
        };
        let (reader, known) = (self.reader.as_mut()?, known?);
        let contract = reader.contract(&known.key, &known.method.to_ascii_lowercase(), looks);
        let fault = |fault| self.faults.push(format!("`{} {}`: {fault}", known.method, known.key));
        contract.map_err(fault).ok().map(Arc::new)
    }

    /// Returns what is wrong with operations that therefore have no contract.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }
}

/// What of an operation its policies look at: the rest need not make sense.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    parameters: bool,
    body: bool,
    answers: bool,
    bodies_of_answers: bool,
    headers_of_answers: bool,
    /// One of the policies.
    by: Option<&'static str>,
    /// The longest body that they let through.
    most_bytes: usize,
}

impl Looks {
    fn of(policies: &ByProduct) -> Self {
        let mut looks = Self::default();
        for Policies { inbound, backend, outbound, on_error, .. } in policies.each().filter_map(Policies::of) {
            for (section, answers) in [(inbound, false), (backend, false), (outbound, true), (on_error, true)] {
                looks.list(section, answers);
            }
        }
        looks
    }

    fn list<'p>(&mut self, policies: impl IntoIterator<Item = &'p Arc<Policy>>, answers: bool) {
        for policy in policies {
            let described = policy.statement.properties().described;
            if let Some(NeedsDescription::Bodies { most, .. }) = described {
                self.most_bytes = self.most_bytes.max(most);
            }
            self.list(policy.statement.inner(), answers);
            let looks = match described {
                None | Some(NeedsDescription::Bodies { needed: false, .. }) => continue,
                Some(NeedsDescription::Bodies { needed: true, .. }) if answers => &mut self.bodies_of_answers,
                Some(NeedsDescription::Bodies { needed: true, .. }) => &mut self.body,
                Some(NeedsDescription::ResponseHeaders) => &mut self.headers_of_answers,
                Some(NeedsDescription::Parameters) => &mut self.parameters,
                Some(NeedsDescription::Statuses) => &mut self.answers,
            };
            *looks = true;
            self.by.get_or_insert(policy.statement.label());
        }
    }
}

/// A media type, and the schema of such bodies.
type Kind = (Arc<str>, Option<Schema>);

/// Reads a document.
struct Reader<'a> {
    document: &'a Value,
    is_3_0: bool,
    compiled: Compiled,
}

impl<'a> Reader<'a> {
    /// Of the operation with this method (in lower case) and path, as far as its policies look at it.
    fn contract(&mut self, path: &str, method: &str, looks: Looks) -> Result<Contract, Fault> {
        let pointer = format!("/paths/{}", escaped(path));
        let item = self.document.pointer(&pointer).unwrap_or(&Value::Null);
        let (operation, below) = (&item[method], format!("{pointer}/{method}"));
        let mut contract = Contract::default();
        if looks.parameters {
            let lists = [(&item["parameters"], &pointer), (&operation["parameters"], &below)];
            for (list, pointer) in lists {
                self.parameters(list, &format!("{pointer}/parameters"), &mut contract.parameters)?;
            }
            contract.credentials = self.credentials();
        }
        if let (true, Some(body)) = (looks.body, operation.get("requestBody")) {
            let bundle = self.bundle("readOnly");
            let (body, pointer) = bundle.resolve(body, &format!("{below}/requestBody"))?;
            if !body["content"].is_object() {
                return Err(format!("{pointer}: this body has no `content`"));
            }
            contract.body = Some(Content {
                required: body["required"] == true,
                kinds: self.kinds(&bundle, &body["content"], &format!("{pointer}/content"))?,
            });
        }
        if looks.answers || looks.bodies_of_answers || looks.headers_of_answers {
            let pointer = format!("{below}/responses");
            let answers = entries(&operation["responses"], &pointer)?;
            for (status, answer) in answers.filter(|(status, _)| !status.starts_with("x-")) {
                let pointer = format!("{pointer}/{}", escaped(status));
                contract.answers.push(self.answer(status, answer, &pointer, looks)?);
            }
        }
        Ok(contract)
    }

    fn bundle(&self, not_theirs: &'static str) -> Bundle<'a> {
        Bundle { document: self.document, is_3_0: self.is_3_0, not_theirs }
    }

    fn answer(&mut self, status: &str, answer: &'a Value, pointer: &str, looks: Looks) -> Result<Answer, Fault> {
        let statuses = match status {
            "default" => Some(Statuses::Others),
            "1XX" | "2XX" | "3XX" | "4XX" | "5XX" => status[..1].parse().ok().map(Statuses::Class),
            _ => status.parse().ok().filter(|status| (100..600).contains(status)).map(Statuses::One),
        };
        let statuses = statuses.ok_or_else(|| format!("{pointer}: neither a status, nor like 4XX, nor default"))?;
        let bundle = self.bundle("writeOnly");
        let (answer, pointer) = bundle.resolve(answer, pointer)?;
        let mut kinds = Vec::new();
        if looks.bodies_of_answers {
            kinds = self.kinds(&bundle, &answer["content"], &format!("{pointer}/content"))?;
        }
        let mut headers = Vec::new();
        let pointer = format!("{pointer}/headers");
        for (name, header) in entries(&answer["headers"], &pointer)?.filter(|_| looks.headers_of_answers) {
            let (header, pointer) = bundle.resolve(header, &format!("{pointer}/{}", escaped(name)))?;
            headers.push(self.parameter(&bundle, Place::Header, name, header, &pointer)?);
        }
        Ok(Answer { statuses, content: Content { required: false, kinds }, headers })
    }

    fn kinds(&mut self, bundle: &Bundle<'a>, content: &'a Value, pointer: &str) -> Result<Vec<Kind>, Fault> {
        let mut kinds = Vec::new();
        for (written, content) in entries(content, pointer)? {
            let kind = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let schema = content
                .get("schema")
                .filter(|_| may_be_json(&kind))
                .map(|schema| self.compiled.compile(bundle, schema, &format!("{pointer}/{}/schema", escaped(written))));
            kinds.push((kind.into(), schema.transpose()?));
        }
        Ok(kinds)
    }

    /// Those of an operation take the place of those of its path.
    fn parameters(&mut self, list: &'a Value, pointer: &str, parameters: &mut Vec<Parameter>) -> Result<(), Fault> {
        let bundle = self.bundle("readOnly");
        if !list.is_array() && !list.is_null() {
            return Err(format!("{pointer}: not a list of parameters"));
        }
        for (index, parameter) in list.as_array().into_iter().flatten().enumerate() {
            let (parameter, pointer) = bundle.resolve(parameter, &format!("{pointer}/{index}"))?;
            let Some(name) = parameter["name"].as_str() else {
                return Err(format!("{pointer}: this parameter has no name"));
            };
            let place = match parameter["in"].as_str() {
                Some("header") => Place::Header,
                Some("path") => Place::Path,
                Some("query") => Place::Query,
                Some("cookie") => continue,
                _ => return Err(format!("{pointer}: `in` is header, path, query or cookie")),
            };
            // OpenAPI 3.1 §4.8.12.1: these are none.
            let is_none =
                ["accept", "authorization", "content-type"].iter().any(|none| name.eq_ignore_ascii_case(none));
            if place == Place::Header && is_none {
                continue;
            }
            let parameter = self.parameter(&bundle, place, name, parameter, &pointer)?;
            parameters.retain(|known| (known.place, &known.name) != (parameter.place, &parameter.name));
            parameters.push(parameter);
        }
        Ok(())
    }

    fn parameter(
        &mut self,
        bundle: &Bundle<'a>,
        place: Place,
        name: &str,
        parameter: &'a Value,
        pointer: &str,
    ) -> Result<Parameter, Fault> {
        let name = if place == Place::Header { name.to_ascii_lowercase() } else { name.to_owned() };
        let (style, schema) = match (parameter.get("schema"), object(&parameter["content"])) {
            (Some(schema), _) => {
                let style = style(bundle, place, parameter, schema, pointer)?;
                (style, Some(self.compiled.compile(bundle, schema, &format!("{pointer}/schema"))?))
            }
            (None, Some(_)) => {
                let mut kinds = self.kinds(bundle, &parameter["content"], &format!("{pointer}/content"))?;
                let schema = kinds.pop().and_then(|(_, schema)| schema);
                (if schema.is_some() { Style::Json } else { Style::Plain }, schema)
            }
            (None, None) => (Style::Plain, None),
        };
        // OpenAPI 3.1 §4.8.12.2: what is in the path must be.
        let required = parameter["required"] == true || place == Place::Path;
        Ok(Parameter { place, name: name.into(), required, style, schema })
    }

    fn credentials(&self) -> Vec<(Place, Arc<str>)> {
        let bundle = self.bundle("readOnly");
        let schemes = object(&self.document["components"]["securitySchemes"]).into_iter().flatten();
        let keys = schemes.filter_map(|(_, scheme)| {
            let (scheme, _) = bundle.resolve(scheme, "").ok()?;
            let name = scheme["name"].as_str().filter(|_| scheme["type"] == "apiKey")?;
            match scheme["in"].as_str()? {
                "header" => Some((Place::Header, name.to_ascii_lowercase().into())),
                "query" => Some((Place::Query, name.into())),
                _ => None,
            }
        });
        keys.collect()
    }
}

/// How the values of a parameter are written (OpenAPI 3.1 §4.8.12.2).
fn style(bundle: &Bundle<'_>, place: Place, parameter: &Value, schema: &Value, pointer: &str) -> Result<Style, Fault> {
    let usual = if place == Place::Query { "form" } else { "simple" };
    let written = parameter["style"].as_str().unwrap_or(usual);
    let explode = parameter["explode"].as_bool().unwrap_or(written == "form");
    Ok(match (form(bundle, schema, 0), written, explode) {
        (_, "matrix" | "label", _) => {
            return Err(format!("{pointer}: `style: {written}` is not known here"));
        }
        (Form::Text, ..) => Style::Plain,
        (Form::List, "simple", _) | (Form::List, "form", false) => Style::Separated(','),
        (Form::List, "spaceDelimited", false) => Style::Separated(' '),
        (Form::List, "pipeDelimited", false) => Style::Separated('|'),
        (Form::List, "form" | "spaceDelimited" | "pipeDelimited", true) => Style::Repeated,
        (Form::Object(_), "deepObject", _) => Style::Deep,
        (Form::Object(_), "simple", true) => Style::Assigned,
        (Form::Object(_), "simple", false) | (Form::Object(_), "form", false) => Style::Alternating,
        (Form::Object(properties), "form", true) => Style::Properties(properties),
        (Form::List | Form::Object(_), ..) => {
            return Err(format!("{pointer}: `style: {written}` is not known for such a value"));
        }
    })
}

/// What values of a schema are.
enum Form {
    Text,
    List,
    /// With these properties.
    Object(Vec<Arc<str>>),
}

fn form(bundle: &Bundle<'_>, schema: &Value, depth: usize) -> Form {
    const DEEPEST: usize = 16;
    let Ok((schema, _)) = bundle.resolve(schema, "") else { return Form::Text };
    let is = |kind: &str| {
        schema["type"] == kind || schema["type"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind))
    };
    if is("array") {
        return Form::List;
    }
    if is("object") {
        return Form::Object(
            object(&schema["properties"]).into_iter().flatten().map(|(name, _)| name.as_str().into()).collect(),
        );
    }
    let parts = ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema[key].as_array()).flatten();
    let parts = parts.filter(|_| depth < DEEPEST).map(|part| form(bundle, part, depth + 1));
    parts.reduce(|one, other| if matches!(one, Form::Text) { other } else { one }).unwrap_or(Form::Text)
}

fn may_be_json(kind: &str) -> bool {
    matches!(kind, "application/json" | "application/*" | "*/*") || kind.ends_with("+json")
}

/// Returns the keys and values of an object, if there is one.
fn entries<'v>(value: &'v Value, pointer: &str) -> Result<impl Iterator<Item = (&'v String, &'v Value)>, Fault> {
    match object(value) {
        None if !value.is_null() => Err(format!("{pointer}: not keys and values")),
        found => Ok(found.into_iter().flatten()),
    }
}

fn object(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object()
}

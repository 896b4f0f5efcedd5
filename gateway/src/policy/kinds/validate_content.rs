//! `validate-content`. A body is read as a whole only where that tells something: other types are streamed.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::validate_status_code::action;
use crate::model::{Content, OnInvalid, Reason, Schema, Section, fits};
use crate::policy::engine::findings::{Findings, shortened, wrong};
use crate::policy::engine::{
    Call, Fault, Kind, NeedsDescription, Now, Outcome, Reads, Responds, Sections, Side, Site, Traits, Want,
    WhenReported, World, bodies, charset, json,
};
use crate::syntax::{Form, Reader, Text};

/// Validates the body of the message that the section is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateContent {
    /// The most bytes; as many as policies may read, if absent.
    pub max_size: Option<usize>,
    /// What happens to a longer body.
    pub size_exceeded: OnInvalid,
    /// What happens to a body of a type that is not described.
    pub unspecified_content_type: OnInvalid,
    /// The rules for types of bodies; the first that fits applies.
    pub content: Vec<ContentRule>,
    /// The variable that receives what was found.
    pub errors_variable: Option<Arc<str>>,
}

/// A rule for bodies of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRule {
    /// The media type, in lower case; `*` stands for anything.
    pub kind: Arc<str>,
    /// The schema; that of the operation's description, if absent.
    pub schema: Option<Schema>,
    /// What happens to a body that does not fit.
    pub action: OnInvalid,
}

/// Validates bodies.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ValidateContentFile {
    /// The largest body in bytes, at most `max_body`. A body of unknown length is read to measure it. Default: `max_body`.
    /// Example: `65536`.
    #[serde(default)]
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub max_size: Option<Spanned<u32>>,
    /// What happens to a larger body, which is not validated otherwise: `prevent` refuses it, `detect` records it, `ignore`
    /// lets it pass. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub size_exceeded: Option<Text>,
    /// What happens to a body of a type that `content` does not list, or that the `openapi` document does not describe for the
    /// operation: `prevent`, `detect` or `ignore`. Default: `prevent`. Example: `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub unspecified_content_type: Option<Text>,
    /// How bodies are validated, by their type. The first item that matches applies. Example: `[{type: application/json,
    /// openapi: true}]`.
    pub content: Vec<ContentFile>,
    /// A variable that receives the list of errors as texts; the list is empty if there are none. Default: none. Example:
    /// `errors`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub errors_variable: Option<Text>,
}

/// How bodies of a type are validated. It has exactly one of `schema` and `openapi: true`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ContentFile {
    /// The media type without parameters; `*` stands for anything. Example: `application/*+json`.
    #[serde(rename = "type")]
    #[schemars(with = "String")]
    pub kind: Text,
    /// Path of a JSON Schema, in JSON or YAML. Egret reads it together with the configuration and fetches no other documents.
    /// Patterns have no look-around and no back-references; `format` is checked in drafts before 2019-09. Default: none.
    /// Example: `/etc/egret/order.schema.json`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub schema: Option<Text>,
    /// Whether bodies are validated by the API's `openapi` document. JSON bodies with a schema there are validated; of other
    /// bodies, only the type. Default: false.
    #[serde(default)]
    pub openapi: bool,
    /// What happens to an invalid body: `prevent`, `detect` or `ignore`. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub action: Option<Text>,
}

impl Form for ValidateContent {
    type File = ValidateContentFile;
    type Compiled = Self;
    const ABOUT: &'static str =
        "Validates the body: of the request in inbound (400 if it is invalid), of the response in outbound (502).";

    fn compile(written: &Spanned<ValidateContentFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        Some(Self {
            max_size: file.max_size.as_ref().map(|size| usize::try_from(size.value).unwrap_or(usize::MAX)),
            size_exceeded: action(file.size_exceeded.as_ref(), OnInvalid::Prevent, reader),
            unspecified_content_type: action(file.unspecified_content_type.as_ref(), OnInvalid::Prevent, reader),
            content: file.content.iter().filter_map(|content| rule(content, reader)).collect(),
            errors_variable: file.errors_variable.as_ref().map(|name| reader.variable(name)),
        })
    }

    fn variables(file: &ValidateContentFile) -> Vec<(&Text, bool)> {
        file.errors_variable.iter().map(|name| (name, false)).collect()
    }
}

fn rule(file: &ContentFile, reader: &mut dyn Reader) -> Option<ContentRule> {
    let ContentFile { kind, schema, openapi, action: on_invalid } = file;
    let text = kind.value.trim().to_ascii_lowercase();
    if text != "*" && !text.contains('/') || text.contains([';', ',', ' ']) {
        let help = "write a type like application/json, application/*+json or *, without parameters";
        reader.wrong(kind, format!("`{}` is not a media type", kind.value), help);
    }
    let schema = match (schema, openapi) {
        (Some(path), false) => Some(reader.schema(path)?),
        (None, true) => None,
        _ => {
            let help = "write `schema: PATH` for a JSON Schema, or `openapi: true` for the API's document";
            reader.wrong(kind, "exactly one of `schema` and `openapi: true` is required", help);
            return None;
        }
    };
    Some(ContentRule { kind: text.into(), schema, action: action(on_invalid.as_ref(), OnInvalid::Prevent, reader) })
}

impl Kind for ValidateContent {
    const NAME: &'static str = "validate-content";
    const SECTIONS: Sections = Sections {
        places: &[Section::Inbound, Section::Outbound],
        rule: "works only in inbound and outbound",
        help: "move it to inbound or outbound",
    };

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::AsTheMessageSays,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: true,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: Some(NeedsDescription::Bodies {
                needed: self.content.iter().any(|rule| rule.schema.is_none()),
                most: self.max_size.unwrap_or_default(),
            }),
            names_files: true,
            when_reported: WhenReported::Evaluated,
        }
    }

    fn wants(&self, call: &Call<'_>) -> Want {
        if wants_body(self, call) { Want::Text } else { Want::Nothing }
    }
}

impl Now for ValidateContent {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

fn run(validate: &ValidateContent, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let mut findings = Findings::new("validate-content");
    match Body::of(call) {
        Some(body) => look(validate, call, &body, &mut findings),
        None => call.note(|| "no body".to_owned()),
    }
    findings.end(validate.errors_variable.as_ref(), call)
}

/// Returns whether the policy needs the whole body.
fn wants_body(validate: &ValidateContent, call: &Call<'_>) -> bool {
    let Some(body) = Body::of(call) else { return false };
    if body.length.is_some_and(|length| length > most(validate, call)) {
        return false;
    }
    let measures = body.length.is_none()
        && (validate.max_size.is_some()
            || (body.may_be_none && validate.unspecified_content_type != OnInvalid::Ignore));
    let looks = matches!(kind(validate, call, &body.kind), Described::As(Some(_), _));
    measures || (looks && body.coding.is_none() && body.charset.is_none())
}

/// What is known of a body before it is read.
struct Body {
    /// Its media type, in lower case and without parameters; empty, if it has none.
    kind: String,
    /// Its content coding, if it is compressed.
    coding: Option<String>,
    /// Its charset, if it is not UTF-8.
    charset: Option<String>,
    /// Its length in bytes.
    length: Option<usize>,
    /// Whether nothing says that there is one.
    may_be_none: bool,
}

impl Body {
    /// Returns what is known of the body of the section's message; none, if there cannot be one.
    fn of(call: &Call<'_>) -> Option<Self> {
        let (headers, whole) = match call.side() {
            Side::Request => (&call.message.request.headers, &call.message.request_body),
            Side::Response => (&call.message.response.as_ref()?.headers, &call.message.response_body),
        };
        let bare = match (call.side(), &call.message.response) {
            // RFC 9110 §9.3: what a body of theirs means is not defined.
            (Side::Request, _) => [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::TRACE]
                .contains(&call.message.request.method),
            (Side::Response, Some(response)) => {
                let status = response.status;
                // RFC 9110 §6.4.1: these have none.
                if call.message.request.method == Method::HEAD
                    || status.is_informational()
                    || [204, 304].contains(&status.as_u16())
                {
                    return None;
                }
                false
            }
            (Side::Response, None) => return None,
        };
        let said = text(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
        // Of two, the third party may take either: they are no type that is known.
        let is_one = headers.get_all(CONTENT_TYPE).iter().count() == 1;
        let kind = text(headers, &CONTENT_TYPE).filter(|_| is_one).and_then(|kind| kind.split(';').next());
        let kind = kind.unwrap_or_default();
        Some(Self {
            coding: bodies::coding(headers),
            charset: charset::other_than_utf8(headers),
            length: whole.as_ref().map(bytes::Bytes::len).or(said),
            may_be_none: bare || kind.trim().is_empty(),
            kind: kind.trim().to_ascii_lowercase(),
        })
    }
}

/// What the rules say of a media type.
enum Described<'a> {
    /// The schema of such bodies, and what happens to one that does not fit.
    As(Option<&'a Schema>, OnInvalid),
    /// The rules say nothing.
    Unspecified,
}

fn kind<'a>(validate: &'a ValidateContent, call: &Call<'a>, kind: &str) -> Described<'a> {
    let Some(rule) = validate.content.iter().find(|rule| fits(&rule.kind, kind)) else {
        return Described::Unspecified;
    };
    if let Some(schema) = &rule.schema {
        return Described::As(Some(schema), rule.action);
    }
    let described = content(call).and_then(|content| {
        let family = kind.split_once('/').map(|(family, _)| format!("{family}/*")).unwrap_or_default();
        let named = |name: &str| content.kinds.iter().find(|(known, _)| **known == *name);
        named(kind).or_else(|| named(&family)).or_else(|| named("*/*"))
    });
    described.map_or(Described::Unspecified, |(_, schema)| Described::As(schema.as_ref(), rule.action))
}

/// Returns what the description of the operation says of the body.
fn content<'a>(call: &Call<'a>) -> Option<&'a Content> {
    let contract = call.context.operation?.contract.as_deref()?;
    match (call.side(), &call.message.response) {
        (Side::Request, _) => contract.body.as_ref(),
        (Side::Response, Some(response)) => contract.answer(response.status.as_u16()).map(|answer| &answer.content),
        (Side::Response, None) => None,
    }
}

fn look(validate: &ValidateContent, call: &mut Call<'_>, body: &Body, findings: &mut Findings) {
    let most = most(validate, call);
    if let Some(length) = body.length.filter(|length| *length > most) {
        let what = format!("the body has {length} bytes, more than {most}");
        return findings.add(validate.size_exceeded, Reason::ContentTooLarge, what);
    }
    if body.length == Some(0) && body.may_be_none {
        let described = validate.content.iter().find(|rule| rule.schema.is_none());
        if let Some(rule) = described.filter(|_| content(call).is_some_and(|content| content.required)) {
            findings.add(rule.action, Reason::ContentNotValid, "there is no body, and there must be one".to_owned());
        }
        return call.note(|| "no body".to_owned());
    }
    match kind(validate, call, &body.kind) {
        Described::Unspecified => {
            let what = match (body.kind.as_str(), call.context.operation) {
                ("", _) => "the body is of no type (Content-Type)".to_owned(),
                (kind, _) => format!("bodies of type {} are not described here", shortened(kind)),
            };
            findings.add(validate.unspecified_content_type, Reason::ContentTypeNotAllowed, what);
        }
        Described::As(None, _) => call.note(|| format!("{} is not looked into", body.kind)),
        Described::As(Some(schema), action) => {
            if let Some(coding) = &body.coding {
                let what = format!("the body is encoded ({coding})");
                return findings.add(action, Reason::BodyEncoded, what);
            }
            if let Some(charset) = &body.charset {
                let what = format!("the body is in {}, not in UTF-8", shortened(charset));
                return findings.add(action, Reason::ContentNotValid, what);
            }
            let bytes = match call.side() {
                Side::Request => call.message.request_body.clone(),
                Side::Response => call.message.response_body.clone(),
            };
            let bytes = bytes.unwrap_or_default();
            if charset::looks_like_utf16(&bytes) {
                let what = "the body is in UTF-16 or UTF-32, not in UTF-8".to_owned();
                return findings.add(action, Reason::ContentNotValid, what);
            }
            let faults = match json::parse(&bytes) {
                Ok(json) => wrong(schema, &json.into_value()).into_iter().map(|wrong| wrong.what).collect(),
                Err(fault) => vec![fault],
            };
            if faults.is_empty() {
                call.note(|| format!("{} is as described", body.kind));
            }
            for fault in faults {
                findings.add(action, Reason::ContentNotValid, format!("body: {fault}"));
            }
        }
    }
}

/// Returns the most bytes that the body may have.
fn most(validate: &ValidateContent, call: &Call<'_>) -> usize {
    validate.max_size.unwrap_or(call.context.max_body).min(call.context.max_body)
}

fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

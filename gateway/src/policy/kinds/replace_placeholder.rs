use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::Template;
use crate::policy::engine::query::{ENCODED, parameters};
use crate::policy::engine::template::{self, Filled};
use crate::policy::engine::{
    Call, Change, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, bodies,
    expressions, fields, mask, paths,
};
use crate::syntax::{Form, Reader, Text, place};

/// Puts a secret in the place of a text by which callers name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacePlaceholder {
    /// The text that callers write.
    pub placeholder: Arc<str>,
    /// The secret that the third party receives.
    pub value: Template,
    /// The places in which the text is replaced; elsewhere it stays.
    pub places: Vec<PlaceholderPlace>,
}

/// A place in which a placeholder is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceholderPlace {
    /// A header field of the request.
    Header(HeaderName),
    /// The values of the query, or of this parameter in it.
    Query(Option<Arc<str>>),
    /// The body of the request.
    Body,
}

/// Replaces a placeholder that the caller sends with a secret.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ReplacePlaceholderFile {
    /// The text that callers send instead of the secret: at least 8 letters, digits, `-` and `_`. Example: `PARTNER-KEY-HERE`.
    #[schemars(with = "String")]
    pub placeholder: Text,
    /// The secret, a `{{named value}}`. Example: `"{{partner-key}}"`.
    #[schemars(with = "String")]
    pub value: Text,
    /// The places in which Egret replaces the placeholder: names of headers, `query` (all values of the query), `query.NAME` (those
    /// of one parameter) and `body` (which Egret reads as a whole, up to `max_body` bytes). Elsewhere the placeholder is sent as it
    /// is: a third party may repeat a field to its caller, like `Origin`. A secret of at least 6 bytes is masked in the head of the
    /// response, and in its body where a policy reads, buffers, stores or logs that; not in a body that is streamed or compressed.
    /// Example: `[Authorization]`.
    #[schemars(required, with = "Vec<String>", length(min = 1))]
    #[serde(default)]
    pub r#in: Vec<Text>,
}

impl Form for ReplacePlaceholder {
    type File = ReplacePlaceholderFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Puts a secret in the place of a placeholder, in the headers, the query or the body that `in` names, so that the caller never\n\
        has it.\n\
        Example: `{placeholder: PARTNER-KEY-HERE, value: \"{{partner-key}}\", in: [Authorization]}`.";

    fn compile(written: &Spanned<ReplacePlaceholderFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        let placeholder = file.placeholder.value.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if placeholder.len() < 8 || !placeholder.chars().all(plain) {
            let help = "write at least 8 letters, digits, - and _ that nobody writes by chance, like PARTNER-KEY-HERE";
            reader.wrong(&file.placeholder, "this cannot be a placeholder", help);
        }
        if file.r#in.is_empty() {
            let rule = "`in` is missing: it says where Egret replaces the placeholder".to_owned();
            let help = "add `in`, a list of header names, `query`, `query.NAME` and `body`, like in: [Authorization]";
            reader.lacking(place(&file.placeholder), rule, help.to_owned(), &["in"]);
        }
        let places = file.r#in.iter().filter_map(|written| placeholder_place(written, reader)).collect();
        Some(Self { placeholder: placeholder.into(), value: reader.template(&file.value), places })
    }
}

fn placeholder_place(written: &Text, reader: &mut dyn Reader) -> Option<PlaceholderPlace> {
    match written.value.trim() {
        "body" => Some(PlaceholderPlace::Body),
        "query" => Some(PlaceholderPlace::Query(None)),
        text => match text.strip_prefix("query.") {
            Some(name) => Some(PlaceholderPlace::Query(Some(name.into()))),
            None => reader.header_name(written).map(PlaceholderPlace::Header),
        },
    }
}

impl Kind for ReplacePlaceholder {
    const NAME: &'static str = "replace-placeholder";
    const SECTIONS: Sections = Sections::REQUEST;

    fn traits(&self) -> Traits<'_> {
        let is_in_body = self.places.contains(&PlaceholderPlace::Body);
        Traits {
            expressions: expressions([&self.value]),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: if is_in_body { Reads::RequestText } else { Reads::Nothing },
            reads_sent_request: is_in_body,
            waits_for_response: false,
            needs_every_request: false,
            changes: vec![Change::Header("authorization"), Change::Query],
            puts_secret: self.value.is_secret(),
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for ReplacePlaceholder {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Puts a secret in the place of a placeholder that the caller has written, in the places that the policy names. The caller never
/// has the secret.
///
/// # Errors
/// The secret cannot be sent there, or not without TLS.
fn run(replace: &ReplacePlaceholder, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let placeholder = &*replace.placeholder;
    let mut filled: Option<Filled<'_>> = None;
    for place in &replace.places {
        if !stands_in(place, placeholder, call) {
            continue;
        }
        let filled = match &mut filled {
            Some(filled) => filled,
            none => none.insert(template::fill(&replace.value, call)?),
        };
        filled.secrets().for_each(|secret| mask::add(call, secret));
        mask::add(call, filled.text.to_string());
        match place {
            PlaceholderPlace::Header(name) => in_header(name, placeholder, &filled.text, call)?,
            PlaceholderPlace::Query(name) => in_query(name.as_deref(), placeholder, &filled.text, call)?,
            PlaceholderPlace::Body => in_body(replace, call)?,
        }
    }
    if filled.is_none() {
        call.note(|| "the placeholder is not there".to_owned());
    }
    Ok(())
}

fn stands_in(place: &PlaceholderPlace, placeholder: &str, call: &Call<'_>) -> bool {
    match place {
        PlaceholderPlace::Header(name) => {
            call.message.request.headers.get_all(name).iter().any(|value| has(value, placeholder))
        }
        PlaceholderPlace::Query(name) => {
            query(call).split('&').any(|pair| is_in_value(pair, name.as_deref(), placeholder))
        }
        PlaceholderPlace::Body => {
            let body = call.message.request_body.as_deref().unwrap_or_default();
            mask::find(body, placeholder.as_bytes()).is_some()
        }
    }
}

fn has(value: &HeaderValue, placeholder: &str) -> bool {
    value.to_str().is_ok_and(|text| text.contains(placeholder))
}

fn query<'a>(call: &'a Call<'_>) -> &'a str {
    call.message.request.uri.query().unwrap_or_default()
}

/// Returns whether a placeholder is in the value of a parameter, of this name if there is one. A name is no place for a secret: by
/// their names parameters are known as such.
fn is_in_value(pair: &str, name: Option<&str>, placeholder: &str) -> bool {
    let is_named = || name.is_none_or(|name| parameters(pair).any(|(known, _)| known == name));
    pair.split_once('=').is_some_and(|(_, value)| value.contains(placeholder)) && is_named()
}

fn in_header(name: &HeaderName, placeholder: &str, secret: &str, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    if let http::header::Entry::Occupied(mut values) = call.message.request.headers.entry(name) {
        for value in values.iter_mut().filter(|value| has(value, placeholder)) {
            let text = value.to_str().unwrap_or_default().replace(placeholder, secret);
            *value = fields::value(name, &text)?;
            value.set_sensitive(true);
        }
    }
    call.note(|| format!("in {name}"));
    Ok(())
}

fn in_query(name: Option<&str>, placeholder: &str, secret: &str, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let query = query(call).to_owned();
    let encoded = percent_encoding::utf8_percent_encode(secret, ENCODED).to_string();
    let mut replaced = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=').filter(|_| is_in_value(pair, name, placeholder)) {
            Some((name, value)) => {
                call.message.secrecy.parameters.extend(parameters(pair).map(|(name, _)| name.as_ref().into()));
                replaced.push(format!("{name}={}", value.replace(placeholder, &encoded)));
            }
            None => replaced.push(pair.to_owned()),
        }
    }
    paths::set_target(&format!("{}?{}", call.message.request.uri.path(), replaced.join("&")), call)?;
    call.note(|| "in the query".to_owned());
    Ok(())
}

fn in_body(replace: &ReplacePlaceholder, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let replaced = bodies::replaced(&replace.placeholder, &replace.value, call)?;
    call.message.secrecy.body = true;
    bodies::put(call, replaced.body.into());
    call.note(|| "in the body".to_owned());
    Ok(())
}

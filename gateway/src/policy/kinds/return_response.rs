//! `return-response`: a response of the owner's own.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{Reply, Template};
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World, bodies, expressions,
    fields, template,
};
use crate::syntax::{Form, Reader, Text, content_type};

/// Responds to the caller, and ends the policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnResponse(pub Reply);

/// A response.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ReplyFile {
    /// The status. Default: 200. Example: `503`.
    #[serde(default)]
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// Names and values of headers. Default: none. Example: `{Retry-After: "60"}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Text>,
    /// The body, a template. Default: empty. Example: `"Closed until Monday"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Text>,
}

impl Form for ReturnResponse {
    type File = ReplyFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Responds to the caller and ends the policies.";

    fn compile(written: &Spanned<ReplyFile>, reader: &mut dyn Reader) -> Option<Self> {
        Some(Self(compile(&written.value, reader)))
    }
}

/// Compiles a response.
pub(super) fn compile(file: &ReplyFile, reader: &mut dyn Reader) -> Reply {
    let mut headers = Vec::new();
    for (name, value) in &file.headers {
        if let Some(name) = reader.header_named(name, value) {
            headers.push((name, reader.for_caller(value)));
        }
    }
    let body = file.body.as_ref().map_or_else(Template::default, |written| {
        let body = reader.body(written, content_type(&headers));
        reader.is_for_caller(&body, written);
        body
    });
    Reply { status: file.status.unwrap_or(200), headers, body }
}

impl Kind for ReturnResponse {
    const NAME: &'static str = "return-response";
    const SECTIONS: Sections = Sections::ALL;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: expressions(
                std::iter::once(&self.0.body).chain(self.0.headers.iter().map(|(_, value)| value)),
            ),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Itself,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for ReturnResponse {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        reply(&self.0, call).map(|()| Outcome::Respond)
    }
}

/// Puts this response in the place of any that there is.
pub(in crate::policy) fn reply(reply: &Reply, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let body = template::fill(&reply.body, call)?;
    call.note(|| format!("{} {}", status.as_u16(), body.shown()));
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    bodies::describe(&mut head.headers, body.text.len());
    for (name, value) in &reply.headers {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
        let value = template::fill(value, call)?;
        let value = fields::value(&name, &value.text)?;
        head.headers.append(name, value);
    }
    call.message.response_body = Some(Bytes::from(body.text.into_owned().into_bytes()));
    call.message.response = Some(head);
    Ok(())
}

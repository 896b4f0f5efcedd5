use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::validate_parameters::fields;
use super::validate_status_code::action;
use crate::model::{Described, OnInvalid, Place, Reason};
use crate::policy::engine::findings::Findings;
use crate::policy::engine::{
    Call, Fault, Kind, NeedsDescription, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
    described,
};
use crate::syntax::{Form, Reader, Text};

/// Validates the header fields of responses by the operation's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateHeaders {
    /// What happens to header fields.
    pub headers: Described,
    /// The variable that receives what was found.
    pub errors_variable: Option<Arc<str>>,
}

/// Validates the headers of responses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ValidateHeadersFile {
    /// What happens to a response with an invalid header, or without a required one: `prevent` refuses it, `detect` records
    /// it, `ignore` lets it pass. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub specified: Option<Text>,
    /// What happens to a response with a header that the document does not describe, other than Content-Type, Date and those
    /// that say how a message is sent: `prevent`, `detect` or `ignore`. Default: `prevent`. Example: `ignore`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub unspecified: Option<Text>,
    /// Names that are allowed although they are not described. Default: none. Example: `[X-Request-Id]`.
    #[serde(default)]
    pub except: Vec<String>,
    /// A variable that receives the list of errors as texts; the list is empty if there are none. Default: none. Example:
    /// `errors`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub errors_variable: Option<Text>,
}

impl Form for ValidateHeaders {
    type File = ValidateHeadersFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Validates the headers of the response by the API's `openapi` document; invalid responses are refused (502). Only in\n\
        outbound.";

    fn compile(written: &Spanned<ValidateHeadersFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        Some(Self {
            headers: Described {
                specified: action(file.specified.as_ref(), OnInvalid::Prevent, reader),
                unspecified: action(file.unspecified.as_ref(), OnInvalid::Prevent, reader),
                except: file.except.iter().map(|name| name.trim().to_ascii_lowercase().into()).collect(),
            },
            errors_variable: file.errors_variable.as_ref().map(|name| reader.variable(name)),
        })
    }

    fn variables(file: &ValidateHeadersFile) -> Vec<(&Text, bool)> {
        file.errors_variable.iter().map(|name| (name, false)).collect()
    }
}

impl Kind for ValidateHeaders {
    const NAME: &'static str = "validate-headers";
    const SECTIONS: Sections = Sections::OUTBOUND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: false,
            waits_for_response: false,
            needs_every_request: true,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: Some(NeedsDescription::ResponseHeaders),
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for ValidateHeaders {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Headers that no document describes: they say how the message is sent (RFC 9110 §6.6, §7.6.1, §8), or OpenAPI 3.1 §4.8.17.1
/// has another place for them.
const NOT_DESCRIBED: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn run(validate: &ValidateHeaders, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let mut findings = Findings::new("validate-headers");
    let Some(response) = &call.message.response else { return Ok(()) };
    let contract = call.context.operation.and_then(|operation| operation.contract.as_deref());
    let answer = contract.and_then(|contract| contract.answer(response.status.as_u16()));
    let headers: Vec<_> = answer.iter().flat_map(|answer| &answer.headers).collect();
    let found = (Reason::HeaderNotValid, &mut findings);
    let is_known = |name: &str| NOT_DESCRIBED.contains(&name);
    described::check(Place::Header, &fields(&response.headers), &headers, &validate.headers, &is_known, found);
    if answer.is_none() {
        call.note(|| "such an answer is not described".to_owned());
    }
    findings.end(validate.errors_variable.as_ref(), call)
}

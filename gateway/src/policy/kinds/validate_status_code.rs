use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{OnInvalid, Reason};
use crate::policy::engine::findings::Findings;
use crate::policy::engine::{
    Call, Fault, Kind, NeedsDescription, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
};
use crate::syntax::{Form, Reader, Text};

/// Validates the status of responses by the operation's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateStatusCode {
    /// What happens to a status that is not described.
    pub unspecified: OnInvalid,
    /// The statuses that are allowed all the same.
    pub except: Vec<u16>,
    /// The variable that receives what was found.
    pub errors_variable: Option<Arc<str>>,
}

/// Validates the statuses of responses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ValidateStatusCodeFile {
    /// What happens to a response with a status that the operation does not name (`default` and `4XX` name what they stand
    /// for): `prevent` refuses it, `detect` records it, `ignore` lets it pass. Default: `prevent`. Example: `detect`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub unspecified: Option<Text>,
    /// Statuses that are allowed although they are not named. Default: none. Example: `[503]`.
    #[serde(default)]
    pub except: Vec<u16>,
    /// A variable that receives the list of errors as texts; the list is empty if there are none. Default: none. Example:
    /// `errors`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub errors_variable: Option<Text>,
}

impl Form for ValidateStatusCode {
    type File = ValidateStatusCodeFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Validates the status of the response: one that the API's `openapi` document does not name is refused (502). Only in\n\
        outbound.";

    fn compile(written: &Spanned<ValidateStatusCodeFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        Some(Self {
            unspecified: action(file.unspecified.as_ref(), OnInvalid::Prevent, reader),
            except: file.except.clone(),
            errors_variable: file.errors_variable.as_ref().map(|name| reader.variable(name)),
        })
    }

    fn variables(file: &ValidateStatusCodeFile) -> Vec<(&Text, bool)> {
        file.errors_variable.iter().map(|name| (name, false)).collect()
    }
}

/// Compiles what happens to something invalid.
pub(super) fn action(written: Option<&Text>, default: OnInvalid, reader: &mut dyn Reader) -> OnInvalid {
    match written.map(|written| (written, written.value.trim())) {
        None => default,
        Some((_, "detect")) => OnInvalid::Detect,
        Some((_, "ignore")) => OnInvalid::Ignore,
        Some((_, "prevent")) => OnInvalid::Prevent,
        Some((written, _)) => {
            let rule = format!("`{}` is not an action", written.value);
            reader.wrong(written, rule, "write prevent, detect or ignore");
            default
        }
    }
}

impl Kind for ValidateStatusCode {
    const NAME: &'static str = "validate-status-code";
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
            described: Some(NeedsDescription::Statuses),
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for ValidateStatusCode {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

fn run(validate: &ValidateStatusCode, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let mut findings = Findings::new("validate-status-code");
    let Some(response) = &call.message.response else { return Ok(()) };
    let status = response.status.as_u16();
    let contract = call.context.operation.and_then(|operation| operation.contract.as_deref());
    let is_named = contract.is_some_and(|contract| contract.answer(status).is_some());
    if !is_named && !validate.except.contains(&status) {
        let what = format!("answers of status {status} are not described");
        findings.add(validate.unspecified, Reason::StatusNotAllowed, what);
    }
    findings.end(validate.errors_variable.as_ref(), call)
}

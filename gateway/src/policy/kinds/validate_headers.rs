use std::sync::Arc;

use super::validate_parameters::fields;
use crate::model::{Described, Place, Reason};
use crate::policy::engine::findings::Findings;
use crate::policy::engine::{
    Call, Fault, Kind, NeedsDescription, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
    described,
};

/// Validates the header fields of responses by the operation's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidateHeaders {
    /// What happens to header fields.
    pub headers: Described,
    /// The variable that receives what was found.
    pub errors_variable: Option<Arc<str>>,
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

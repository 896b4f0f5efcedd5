use std::sync::Arc;

use crate::model::{OnInvalid, Reason};
use crate::policy::engine::findings::Findings;
use crate::policy::engine::{
    Call, Fault, Kind, NeedsDescription, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
};

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

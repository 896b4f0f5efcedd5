use super::call::{Call, Fault};
use super::findings::Findings;
use crate::model::{Reason, ValidateStatusCode};

/// Looks at the status of the answer.
pub(super) fn run(validate: &ValidateStatusCode, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let mut findings = Findings::new("validate-status-code");
    let Some(response) = &call.response else { return Ok(()) };
    let status = response.status.as_u16();
    let contract = call.operation.and_then(|operation| operation.contract.as_deref());
    let is_named = contract.is_some_and(|contract| contract.answer(status).is_some());
    if !is_named && !validate.except.contains(&status) {
        let what = format!("answers of status {status} are not described");
        findings.add(validate.unspecified, Reason::StatusNotAllowed, what);
    }
    findings.end(validate.errors_variable.as_ref(), call)
}

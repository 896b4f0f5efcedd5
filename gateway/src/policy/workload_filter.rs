use super::call::{Call, Fault};
use crate::model::{Reason, Selected, WorkloadFilter, select};

/// Refuses workloads by facts that the kernel attests. Where it is not known whether a workload is forbidden, it is refused.
pub(super) fn run(filter: &WorkloadFilter, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let found = select(&filter.matches, call.workload);
    let name = &call.workload.identity.name;
    call.note(|| {
        let found = match found {
            Selected::Yes => "matches",
            Selected::No => "does not match",
            Selected::Unknown => "may match: not all facts about it are known",
        };
        format!("{name} {found}")
    });
    match (filter.allow, found) {
        (true, Selected::Yes) | (false, Selected::No) => Ok(()),
        (false, Selected::Unknown) => {
            let message = format!("it is not known whether {name} may call {}", call.api.name);
            Err(Fault::new(Reason::WorkloadNotAllowed, 403, message))
        }
        _ => {
            let message = format!("{name} may not call {}", call.api.name);
            Err(Fault::new(Reason::WorkloadNotAllowed, 403, message))
        }
    }
}

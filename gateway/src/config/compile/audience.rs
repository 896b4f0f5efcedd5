//! The workloads that an API is for.

use super::policies;
use crate::config::diagnostic::Problem;
use crate::config::file::ApiFile;
use crate::model::{Audience, Mode, Others, WorkloadFilter};

/// Compiles the key `workloads`.
pub(super) fn compile(file: &ApiFile, mode: Mode, problems: &mut Vec<Problem>) -> Option<Audience> {
    let written = file.workloads.as_ref()?;
    let others = match written.value.others.as_ref().map(|others| (others, others.value.as_str())) {
        None | Some((_, "deny")) => Others::Deny,
        Some((_, "untouched")) => Others::Untouched,
        Some((others, other)) => {
            let rule = format!("`{other}` is not an action for other workloads");
            problems.push(Problem::at(others, rule, "write deny or untouched"));
            Others::Deny
        }
    };
    if mode == Mode::Deny && others == Others::Deny {
        let rule = "`workloads` has no effect: mode deny refuses all workloads";
        problems.push(Problem::at(written, rule, "remove it, or write others: untouched"));
    }
    let (allow, files) = match (&written.value.allow, &written.value.forbid) {
        (Some(files), None) => (true, files),
        (None, Some(files)) => (false, files),
        _ => {
            let help = "write one of them, like workloads: {allow: [{unit: billing.service}]}";
            let problem = Problem::at(written, "exactly one of `allow` and `forbid` is required", help);
            problems.push(problem);
            return None;
        }
    };
    if files.is_empty() {
        let rule = "no workload is listed";
        problems.push(Problem::at(
            written,
            rule,
            "add a workload, like {unit: billing.service}, or remove `workloads`",
        ));
    }
    Some(Audience { filter: WorkloadFilter { allow, matches: policies::workloads(files, problems) }, others })
}

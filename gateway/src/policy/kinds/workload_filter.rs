use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::{Reason, Selected, WorkloadFilter, select};
use crate::policy::engine::{
    Call, Fault, Kind, Now, Outcome, Reads, Responds, Sections, Site, Traits, WhenReported, World,
};
use crate::syntax::{Form, Reader, WorkloadFile, either};

/// Allows some workloads, or forbids some.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct WorkloadFilterFile {
    /// Workloads that are allowed. Exactly one of `allow` and `forbid` is required. A workload is refused while it is not known
    /// whether it is one of them. Default: none. Example: `[{unit: billing.service}]`.
    #[serde(default)]
    pub allow: Option<Vec<WorkloadFile>>,
    /// Workloads that are forbidden. A workload is refused, too, while it is not known whether it is one of them. Default: none.
    /// Example: `[{unit: batch.service}]`.
    #[serde(default)]
    pub forbid: Option<Vec<WorkloadFile>>,
}

impl Form for WorkloadFilter {
    type File = WorkloadFilterFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Allows some workloads, or forbids some; others are refused (403).";

    fn compile(written: &Spanned<WorkloadFilterFile>, reader: &mut dyn Reader) -> Option<Self> {
        match either(written.value.allow.as_ref(), written.value.forbid.as_ref()) {
            Ok((allow, files)) => Some(Self { allow, matches: reader.workloads(files) }),
            Err(rule) => {
                let help = "write one of them, like workload-filter: {allow: [{unit: billing.service}]}";
                reader.wrong(written, rule, help);
                None
            }
        }
    }
}

impl Kind for WorkloadFilter {
    const NAME: &'static str = "workload-filter";
    const SECTIONS: Sections = Sections::INBOUND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
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
            responds: Responds::Never,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Evaluated,
        }
    }
}

impl Now for WorkloadFilter {
    fn run(&self, _: Site<'_>, call: &mut Call<'_>, _: &dyn World) -> Result<Outcome, Box<Fault>> {
        run(self, call).map(|()| Outcome::Continue)
    }
}

/// Refuses workloads by facts that the kernel attests. Where it is not known whether a workload is forbidden, it is refused.
fn run(filter: &WorkloadFilter, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let found = select(&filter.matches, call.context.workload);
    let name = &call.context.workload.identity.name;
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
            let message = format!("it is not known whether {name} may call {}", call.context.api.name);
            Err(Fault::new(Reason::WorkloadNotAllowed, 403, message))
        }
        _ => {
            let message = format!("{name} may not call {}", call.context.api.name);
            Err(Fault::new(Reason::WorkloadNotAllowed, 403, message))
        }
    }
}

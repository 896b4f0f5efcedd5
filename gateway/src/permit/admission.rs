use crate::model::{
    Admission, Api, Audience, Others, Selected, Unlisted, UnlistedAction, UnlistedClass, UnlistedRule, Workload, select,
};

/// Returns what happens to connections of a workload to destinations that no API lists, and its number in
/// [`Unlisted::classes`]. A workload that may be one that is denied is denied.
#[must_use]
pub fn unlisted_class<'a>(unlisted: &'a Unlisted, workload: &Workload) -> (usize, &'a UnlistedClass) {
    let decides = |rule: &&UnlistedRule| match select(&rule.workloads, workload) {
        Selected::Yes => true,
        Selected::Unknown => rule.class.action == UnlistedAction::Deny,
        Selected::No => false,
    };
    let decided = (1..).zip(&unlisted.rules).find(|(_, rule)| decides(rule));
    decided.map_or((0, &unlisted.otherwise), |(number, rule)| (number, &rule.class))
}

/// Returns what an API is to a workload. Where it is not known whether the API is for it, the workload may not use it, and is not let
/// past it either.
#[must_use]
pub fn admission(api: &Api, workload: &Workload) -> Admission {
    of(api.workloads.as_ref(), workload)
}

fn of(audience: Option<&Audience>, workload: &Workload) -> Admission {
    let Some(audience) = audience else { return Admission::Admitted };
    match (audience.filter.allow, select(&audience.filter.matches, workload), audience.others) {
        (true, Selected::Yes, _) | (false, Selected::No, _) => Admission::Admitted,
        (_, Selected::Unknown, _) | (_, _, Others::Deny) => Admission::Denied,
        (_, _, Others::Untouched) => Admission::Untouched,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::model::{Fact, Identity, Workload, WorkloadMatch};

    fn with(facts: &[(Fact, &str)]) -> WorkloadMatch {
        let facts = facts.iter().map(|(fact, pattern)| (*fact, (*pattern).into())).collect();
        WorkloadMatch { facts, ..WorkloadMatch::default() }
    }

    fn workload(identity: Identity) -> Workload {
        Workload { identity: Arc::new(identity), ..Workload::default() }
    }

    #[test]
    fn a_workload_that_may_be_meant_neither_uses_an_api_nor_passes_by_it() {
        use crate::model::{Admission, Others, WorkloadFilter};
        let workload = workload(Identity { unit: Some("a.service".into()), ..Identity::default() });
        let unit = |unit: &str| with(&[(Fact::Unit, unit)]);
        let runs = with(&[(Fact::Executable, "/usr/bin/curl")]);
        for (allow, pattern, deny, untouched) in [
            (true, unit("a.service"), Admission::Admitted, Admission::Admitted),
            (true, unit("b.service"), Admission::Denied, Admission::Untouched),
            (false, unit("a.service"), Admission::Denied, Admission::Untouched),
            (false, unit("b.service"), Admission::Admitted, Admission::Admitted),
            (true, runs.clone(), Admission::Denied, Admission::Denied),
            (false, runs.clone(), Admission::Denied, Admission::Denied),
        ] {
            let found = [Others::Deny, Others::Untouched].map(|others| {
                let filter = WorkloadFilter { allow, matches: vec![pattern.clone()] };
                super::of(Some(&crate::model::Audience { filter, others }), &workload)
            });
            assert_eq!(found, [deny, untouched], "{allow} {pattern:?}");
        }
        assert_eq!(super::of(None, &workload), Admission::Admitted);
    }
}

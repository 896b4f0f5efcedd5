use super::call::{Call, Fault};
use crate::model::{
    Admission, Api, Audience, Others, Reason, Unlisted, UnlistedAction, UnlistedClass, UnlistedRule, Workload,
    WorkloadFilter, WorkloadMatch,
};

/// Refuses workloads by facts that the kernel attests. Where it is not known whether a workload is forbidden, it is refused.
pub(super) fn run(filter: &WorkloadFilter, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let found = select(&filter.matches, call.workload);
    let name = &call.workload.name;
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

/// Whether a workload is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selected {
    Yes,
    No,
    /// A fact that decides is not known.
    Unknown,
}

/// Returns whether a workload surely is one of these.
#[must_use]
pub fn is_one_of(patterns: &[WorkloadMatch], workload: &Workload) -> bool {
    select(patterns, workload) == Selected::Yes
}

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

fn select(patterns: &[WorkloadMatch], workload: &Workload) -> Selected {
    let mut found = Selected::No;
    for pattern in patterns {
        match matches(pattern, workload) {
            Selected::Yes => return Selected::Yes,
            Selected::Unknown => found = Selected::Unknown,
            Selected::No => {}
        }
    }
    found
}

fn matches(pattern: &WorkloadMatch, workload: &Workload) -> Selected {
    let unknown = workload.unknown;
    let user = Some(&workload.user).filter(|_| !unknown.user);
    let cgroup = Some(&workload.cgroup).filter(|_| !unknown.cgroup);
    let texts = [
        (&pattern.cgroup, cgroup, unknown.cgroup),
        (&pattern.unit, workload.unit.as_ref(), unknown.cgroup),
        (&pattern.container, workload.container.as_ref(), unknown.cgroup),
        (&pattern.pod, workload.pod.as_ref(), unknown.cgroup),
        (&pattern.namespace, workload.namespace.as_ref(), unknown.cgroup || unknown.pod),
        (&pattern.pod_name, workload.pod_name.as_ref(), unknown.cgroup || unknown.pod),
        (&pattern.service_account, workload.service_account.as_ref(), unknown.cgroup || unknown.service_account),
        (&pattern.executable, workload.executable.as_ref(), true),
        (&pattern.user, user, unknown.user),
    ];
    let mut found = Selected::Yes;
    for (pattern, fact, unknown) in texts {
        let Some(pattern) = pattern else { continue };
        match fact {
            Some(fact) if fits(pattern, fact) => {}
            None if unknown => found = Selected::Unknown,
            _ => return Selected::No,
        }
    }
    if pattern.uid.is_some_and(|uid| uid != workload.uid) { Selected::No } else { found }
}

/// Whether a text is like a pattern, in which `*` stands for anything.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::Selected::{No, Unknown, Yes};
    use super::{fits, matches, select};
    use crate::model::{self, Workload, WorkloadMatch};

    #[test]
    fn all_facts_that_are_given_must_hold() {
        let workload = Workload { unit: Some("a.service".into()), user: "app".into(), uid: 7, ..Workload::default() };
        let any = WorkloadMatch::default;
        assert_eq!(matches(&any(), &workload), Yes);
        assert_eq!(matches(&WorkloadMatch { unit: Some("a.*".into()), uid: Some(7), ..any() }, &workload), Yes);
        assert_eq!(matches(&WorkloadMatch { unit: Some("a.*".into()), uid: Some(8), ..any() }, &workload), No);
        assert_eq!(matches(&WorkloadMatch { user: Some("root".into()), ..any() }, &workload), No);
        assert_eq!(matches(&WorkloadMatch { container: Some("*".into()), ..any() }, &workload), No, "it is in none");
    }

    #[test]
    fn facts_about_a_pod_match_only_that_pod() {
        let workload =
            Workload { namespace: Some("billing".into()), pod_name: Some("api-0".into()), ..Workload::default() };
        let any = WorkloadMatch::default;
        let billing = || WorkloadMatch { namespace: Some("billing".into()), ..any() };
        assert_eq!(matches(&WorkloadMatch { pod_name: Some("api-*".into()), ..billing() }, &workload), Yes);
        assert_eq!(matches(&WorkloadMatch { namespace: Some("bill".into()), ..any() }, &workload), No);
        assert_eq!(matches(&WorkloadMatch { service_account: Some("*".into()), ..billing() }, &workload), No);
        assert_eq!(matches(&billing(), &Workload::default()), No);
    }

    #[test]
    fn a_fact_that_is_not_known_neither_matches_nor_rules_out() {
        let any = WorkloadMatch::default;
        let [unit, executable, namespace, account, user] = [
            WorkloadMatch { unit: Some("a.service".into()), ..any() },
            WorkloadMatch { executable: Some("/usr/bin/curl".into()), ..any() },
            WorkloadMatch { namespace: Some("billing".into()), ..any() },
            WorkloadMatch { service_account: Some("invoicer".into()), ..any() },
            WorkloadMatch { user: Some("app".into()), ..any() },
        ];
        let nothing = model::Unknown::default();
        for (unknown, expected) in [
            (nothing, [No, Unknown, No, No, No]),
            (model::Unknown { cgroup: true, ..nothing }, [Unknown, Unknown, Unknown, Unknown, No]),
            (model::Unknown { pod: true, ..nothing }, [No, Unknown, Unknown, No, No]),
            (model::Unknown { service_account: true, ..nothing }, [No, Unknown, No, Unknown, No]),
            (model::Unknown { user: true, ..nothing }, [No, Unknown, No, No, Unknown]),
        ] {
            let workload = Workload { unknown, user: "7".into(), ..Workload::default() };
            let found = [&unit, &executable, &namespace, &account, &user].map(|pattern| matches(pattern, &workload));
            assert_eq!(found, expected, "{unknown:?}");
        }
        // What is known decides where it can.
        let other = Workload { uid: 8, ..Workload::default() };
        assert_eq!(matches(&WorkloadMatch { uid: Some(7), ..executable.clone() }, &other), No);
        assert_eq!(select(&[executable, any()], &other), Yes);
    }

    #[test]
    fn a_workload_that_may_be_meant_neither_uses_an_api_nor_passes_by_it() {
        use crate::model::{Admission, Others, WorkloadFilter};
        let workload = Workload { unit: Some("a.service".into()), ..Workload::default() };
        let unit = |unit: &str| WorkloadMatch { unit: Some(unit.into()), ..WorkloadMatch::default() };
        let runs = WorkloadMatch { executable: Some("/usr/bin/curl".into()), ..WorkloadMatch::default() };
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

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("billing.service", "billing.service", true),
            ("billing.service", "billing.servic", false),
            ("*", "", true),
            ("billing*", "billing.service", true),
            ("*.service", "billing.service", true),
            ("*.service", "billing.timer", false),
            ("/system.slice/*/x*", "/system.slice/a/b/xy", true),
            ("a*a", "a", false),
            ("a*b*c", "abbc", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}

use super::call::{Call, Fault};
use crate::model::{Reason, Workload, WorkloadFilter, WorkloadMatch};

/// Refuses workloads, who are known from the kernel.
pub(super) fn run(filter: &WorkloadFilter, call: &mut Call<'_>) -> Result<(), Box<Fault>> {
    let matched = filter.matches.iter().any(|pattern| matches(pattern, call.workload));
    call.note(|| format!("{} {}", call_name(call.workload), if matched { "matches" } else { "does not match" }));
    if matched == filter.allow {
        return Ok(());
    }
    let message = format!("{} may not call {}", call.workload.name, call.api.name);
    Err(Fault::new(Reason::WorkloadNotAllowed, 403, message))
}

fn call_name(workload: &Workload) -> String {
    workload.name.to_string()
}

pub(super) fn matches(pattern: &WorkloadMatch, workload: &Workload) -> bool {
    let texts = [
        (&pattern.name, Some(&workload.name)),
        (&pattern.cgroup, Some(&workload.cgroup)),
        (&pattern.unit, workload.unit.as_ref()),
        (&pattern.container, workload.container.as_ref()),
        (&pattern.pod, workload.pod.as_ref()),
        (&pattern.namespace, workload.namespace.as_ref()),
        (&pattern.pod_name, workload.pod_name.as_ref()),
        (&pattern.service_account, workload.service_account.as_ref()),
        (&pattern.executable, workload.executable.as_ref()),
        (&pattern.user, Some(&workload.user)),
    ];
    texts
        .into_iter()
        .all(|(pattern, text)| pattern.as_ref().is_none_or(|pattern| text.is_some_and(|text| fits(pattern, text))))
        && pattern.uid.is_none_or(|uid| uid == workload.uid)
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
    use super::{fits, matches};
    use crate::model::{Workload, WorkloadMatch};

    #[test]
    fn all_that_is_said_must_hold() {
        let workload = Workload { unit: Some("a.service".into()), user: "app".into(), uid: 7, ..Workload::default() };
        let any = WorkloadMatch::default;
        assert!(matches(&any(), &workload));
        assert!(matches(&WorkloadMatch { unit: Some("a.*".into()), uid: Some(7), ..any() }, &workload));
        assert!(!matches(&WorkloadMatch { unit: Some("a.*".into()), uid: Some(8), ..any() }, &workload));
        assert!(!matches(&WorkloadMatch { user: Some("root".into()), ..any() }, &workload));
        assert!(!matches(&WorkloadMatch { container: Some("*".into()), ..any() }, &workload), "it is in none");
    }

    #[test]
    fn what_is_not_known_of_a_pod_matches_nothing() {
        let workload =
            Workload { namespace: Some("billing".into()), pod_name: Some("api-0".into()), ..Workload::default() };
        let any = WorkloadMatch::default;
        let billing = || WorkloadMatch { namespace: Some("billing".into()), ..any() };
        assert!(matches(&WorkloadMatch { pod_name: Some("api-*".into()), ..billing() }, &workload));
        assert!(!matches(&WorkloadMatch { namespace: Some("bill".into()), ..any() }, &workload));
        assert!(!matches(&WorkloadMatch { service_account: Some("*".into()), ..billing() }, &workload));
        assert!(!matches(&billing(), &Workload::default()));
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

//! Which workloads are meant.

use super::{Known, Workload, WorkloadMatch};

/// Whether a workload is one that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// It surely is.
    Yes,
    /// It surely is not.
    No,
    /// A fact that decides is not known.
    Unknown,
}

/// Returns whether a workload surely is one of these.
#[must_use]
pub fn is_one_of(patterns: &[WorkloadMatch], workload: &Workload) -> bool {
    select(patterns, workload) == Selected::Yes
}

/// Returns whether a workload is like one of these patterns.
pub fn select(patterns: &[WorkloadMatch], workload: &Workload) -> Selected {
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

/// Returns whether a workload has all facts of a pattern.
fn matches(pattern: &WorkloadMatch, workload: &Workload) -> Selected {
    let facts = pattern.facts.iter().map(|(fact, pattern)| (pattern, workload.fact(*fact)));
    let labels = pattern.labels.iter().map(|(name, pattern)| (pattern, workload.label(name)));
    let mut found = Selected::Yes;
    for (pattern, known) in facts.chain(labels) {
        match known {
            Known::Is(text) if fits(pattern, text) => {}
            Known::Unknown => found = Selected::Unknown,
            Known::Is(_) | Known::Absent => return Selected::No,
        }
    }
    if pattern.uid.is_some_and(|uid| uid != workload.uid) { Selected::No } else { found }
}

/// Returns whether a text is like a pattern, in which `*` stands for anything.
pub fn fits(pattern: &str, text: &str) -> bool {
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
    use std::sync::Arc;

    use super::Selected::{No, Unknown, Yes};
    use super::{fits, matches, select};
    use crate::model::{self, Fact, Identity, Workload, WorkloadMatch};

    fn with(facts: &[(Fact, &str)]) -> WorkloadMatch {
        let facts = facts.iter().map(|(fact, pattern)| (*fact, (*pattern).into())).collect();
        WorkloadMatch { facts, ..WorkloadMatch::default() }
    }

    fn workload(identity: Identity) -> Workload {
        Workload { identity: Arc::new(identity), ..Workload::default() }
    }

    #[test]
    fn all_facts_that_are_given_must_hold() {
        let identity = Identity { unit: Some("a.service".into()), ..Identity::default() };
        let workload = Workload { user: "app".into(), uid: 7, ..workload(identity) };
        assert_eq!(matches(&with(&[]), &workload), Yes);
        assert_eq!(matches(&WorkloadMatch { uid: Some(7), ..with(&[(Fact::Unit, "a.*")]) }, &workload), Yes);
        assert_eq!(matches(&WorkloadMatch { uid: Some(8), ..with(&[(Fact::Unit, "a.*")]) }, &workload), No);
        assert_eq!(matches(&with(&[(Fact::User, "root")]), &workload), No);
        assert_eq!(matches(&with(&[(Fact::Container, "*")]), &workload), No, "it is in none");
    }

    #[test]
    fn facts_about_a_pod_match_only_that_pod() {
        let labels = [("app".into(), "billing".into())].into();
        let workload = workload(Identity {
            namespace: Some("billing".into()),
            pod_name: Some("api-0".into()),
            labels: Arc::new(labels),
            ..Identity::default()
        });
        let label = |name: &str, pattern: &str| WorkloadMatch {
            labels: vec![(name.into(), pattern.into())],
            ..WorkloadMatch::default()
        };
        assert_eq!(matches(&with(&[(Fact::Namespace, "billing"), (Fact::PodName, "api-*")]), &workload), Yes);
        assert_eq!(matches(&with(&[(Fact::Namespace, "bill")]), &workload), No);
        assert_eq!(matches(&with(&[(Fact::Namespace, "billing"), (Fact::ServiceAccount, "*")]), &workload), No);
        assert_eq!(matches(&with(&[(Fact::Namespace, "billing")]), &Workload::default()), No);
        assert_eq!(matches(&label("app", "bill*"), &workload), Yes);
        assert_eq!(matches(&label("app", "api"), &workload), No);
        assert_eq!(matches(&label("team", "*"), &workload), No);
    }

    #[test]
    fn a_fact_that_is_not_known_neither_matches_nor_rules_out() {
        let [unit, executable, namespace, account, user, controller, image] = [
            (Fact::Unit, "a.service"),
            (Fact::Executable, "/usr/bin/curl"),
            (Fact::Namespace, "billing"),
            (Fact::ServiceAccount, "invoicer"),
            (Fact::User, "app"),
            (Fact::Controller, "Deployment/api"),
            (Fact::Image, "registry.example/api:*"),
        ]
        .map(|fact| with(&[fact]));
        let label = WorkloadMatch { labels: vec![("app".into(), "api".into())], ..WorkloadMatch::default() };
        let nothing = model::Unknown::default();
        let cgroup = model::Unknown { cgroup: true, ..nothing };
        let described = model::Unknown { described: true, ..nothing };
        for (unknown, user_unknown, expected) in [
            (nothing, false, [No, Unknown, No, No, No, No, No, No]),
            (cgroup, false, [Unknown, Unknown, Unknown, Unknown, No, Unknown, Unknown, Unknown]),
            (model::Unknown { pod: true, ..nothing }, false, [No, Unknown, Unknown, No, No, No, No, No]),
            (model::Unknown { service_account: true, ..nothing }, false, [No, Unknown, No, Unknown, No, No, No, No]),
            (described, false, [No, Unknown, No, No, No, Unknown, No, Unknown]),
            (model::Unknown { container: true, ..nothing }, false, [No, Unknown, No, No, No, No, Unknown, No]),
            (nothing, true, [No, Unknown, No, No, Unknown, No, No, No]),
        ] {
            let identity = Identity { unknown, ..Identity::default() };
            let workload = Workload { user: "7".into(), user_unknown, ..workload(identity) };
            let found = [&unit, &executable, &namespace, &account, &user, &controller, &image, &label];
            assert_eq!(found.map(|pattern| matches(pattern, &workload)), expected, "{unknown:?}");
        }
        // What is known decides where it can.
        let other = Workload { uid: 8, ..Workload::default() };
        assert_eq!(matches(&WorkloadMatch { uid: Some(7), ..executable.clone() }, &other), No);
        assert_eq!(select(&[executable, with(&[])], &other), Yes);
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

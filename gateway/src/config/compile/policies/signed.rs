//! What is signed is sent as it was signed: no policy after the signature changes it, as far as that is known before.

use std::sync::Arc;

use serde_saphyr::Spanned;

use crate::config::diagnostic::Problem;
use crate::policy::{Policy, Responds, Signature};

/// Checks policies in the order in which they run until the request is sent.
pub(super) fn check<'a>(
    running: impl Iterator<Item = &'a (Arc<Policy>, Option<&'a Spanned<()>>)>,
    problems: &mut Vec<Problem>,
) {
    let mut signatures = Vec::new();
    for (policy, place) in running {
        step(policy, *place, &mut signatures, problems);
    }
}

/// Checks a policy that runs after these signatures were made.
fn step<'a>(
    policy: &'a Policy,
    place: Option<&Spanned<()>>,
    signatures: &mut Vec<Signature<'a>>,
    problems: &mut Vec<Problem>,
) {
    if policy.report {
        return;
    }
    let traits = policy.statement.properties();
    if let Some(own) = &traits.signs {
        signatures.retain(|earlier| !own.replaces(earlier));
    }
    let mut broken =
        signatures.iter().filter(|signature| traits.changes.iter().any(|change| signature.is_broken_by(*change)));
    if let (Some(signature), Some(place)) = (broken.next(), place) {
        let rule = format!("{} changes the request after {} has signed it", policy.statement.label(), signature.by);
        let problem = Problem::at(place, rule, "move it before the policy that signs");
        // Once, in however many operations.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    match traits.responds {
        Responds::Forwards => signatures.clear(),
        Responds::Repeats => policy.statement.inner().for_each(|policy| step(policy, place, signatures, problems)),
        Responds::Never | Responds::FromCache | Responds::Itself => {
            let before = signatures.clone();
            for (_, branch) in policy.statement.branches() {
                let mut own = before.clone();
                branch.iter().for_each(|policy| step(policy, place, &mut own, problems));
                signatures.extend(own.into_iter().filter(|made| !before.contains(made)));
            }
        }
    }
    signatures.extend(traits.signs);
}

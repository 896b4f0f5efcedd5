//! What policies mean, and what the configuration says of them.

use std::sync::Arc;

use crate::model::{Branch, Policy, Retry, Statement};

/// Returns what a policy means by itself: without the policies in it, and without the names under which its counts are stored,
/// which follow from its place.
pub(super) fn meaning(policy: &Policy) -> Statement {
    let mut statement = policy.statement.clone();
    let nowhere: Arc<str> = Arc::from("");
    match &mut statement {
        Statement::Choose(branches) => {
            *branches = branches.iter().map(|branch| Branch { when: branch.when.clone(), then: Vec::new() }).collect();
        }
        Statement::LimitConcurrency(limit) => limit.identity = nowhere,
        Statement::LlmTokenLimit(limit) => limit.identity = nowhere,
        Statement::Quota(quota) => quota.identity = nowhere,
        Statement::RateLimit(limit) => limit.identity = nowhere,
        Statement::Retry(Retry { policies, identity, .. }) => {
            policies.clear();
            *identity = nowhere;
        }
        _ => {}
    }
    statement
}

/// Returns the keys of a policy and their values, as written: without the policies in it. The key is empty where a policy has one
/// value only.
pub(super) fn facts(policy: &Policy) -> Vec<(String, String)> {
    if let Statement::Choose(branches) = &policy.statement {
        let when = branches.iter().map(|branch| branch.when.as_ref().map_or("otherwise", |when| &when.source));
        return when.map(|when| ("when".to_owned(), when.to_owned())).collect();
    }
    policy.written.0.iter().filter(|(key, _)| key != "policies").cloned().collect()
}

/// Returns whether a policy can name files, whose contents can differ although the policy is written in the same way. The values,
/// backends and counters that a policy names are compared by themselves.
pub(super) fn names_files(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::AuthenticationOauth2(_)
            | Statement::SendRequest(_)
            | Statement::ValidateContent(_)
            | Statement::ValidateJwt(_)
            | Statement::Wait(_)
    )
}

//! What policies mean, and what the configuration says of them.

use crate::policy::{Policy, Within};

/// Returns the keys of a policy and their values, as written: without the policies in it. The key is empty where a policy has one
/// value only.
pub(super) fn facts(policy: &Policy) -> Vec<(String, String)> {
    let when = |within: Within<'_>| match within {
        Within::When(condition) => Some(condition.source.to_string()),
        Within::Otherwise => Some("otherwise".to_owned()),
        Within::Repeated => None,
    };
    let conditions: Vec<_> = policy.statement.branches().into_iter().filter_map(|(within, _)| when(within)).collect();
    if !conditions.is_empty() {
        return conditions.into_iter().map(|condition| ("when".to_owned(), condition)).collect();
    }
    policy.written.0.iter().filter(|(key, _)| key != "policies").cloned().collect()
}

//! Secrets that would leave without TLS.

use crate::config::diagnostic::Problem;
use crate::config::file::ApiFile;
use crate::model::{Mode, Rules};
use crate::policy::{Policies, Policy, Statement};

/// Warns of policies that put secrets into requests which can only leave without TLS: Egret will refuse these requests.
pub(super) fn secrets(file: &ApiFile, mode: Mode, rules: &Rules, problems: &mut Vec<Problem>) {
    // What is invalid may be missing here.
    if rules.plain_secrets || mode != Mode::Passthrough || problems.iter().any(Problem::is_error) {
        return;
    }
    let own = file.backend.is_some();
    let sending = |policy: &Policy| {
        let label = std::cell::Cell::new(None);
        policy.statement.any(&|statement| {
            let sends = statement.properties().puts_secret;
            label.set(sends.then(|| statement.label()));
            sends
        });
        label.get()
    };
    let of_request = |policies: &'_ Policies| {
        let sections = [policies.inbound.as_slice(), policies.backend.as_slice()];
        let all = sections.into_iter().flatten();
        (!may_be_secured(policies, own)).then(|| all.filter_map(|policy| sending(policy)).next()).flatten()
    };
    if let Some(label) = super::each(rules).find_map(of_request) {
        let rule = format!(
            "`{label}` puts a secret into requests that leave without TLS: Egret refuses them (`secret_in_clear`)"
        );
        let help =
            "write backend: {scheme: https}; or plain_secrets: true, if you trust the network to the third party";
        problems.push(Problem::at(&file.name, rule, help).warning());
    }
}

/// Returns whether a request with these policies may go to a server over TLS: the API's own, unless another one always takes its
/// place, or one of those that policies choose.
fn may_be_secured(policies: &Policies, own: bool) -> bool {
    let sections = [policies.inbound.as_slice(), policies.backend.as_slice()];
    let is_always_elsewhere =
        || sections.into_iter().flatten().any(|policy| policy.statement.properties().backend.is_some());
    let is_secured = |statement: &Statement| {
        let backend = statement.properties().backend;
        backend.is_some_and(|backend| backend.members.iter().all(|member| member.endpoint.tls.is_some()))
    };
    let elsewhere = sections.into_iter().flatten().any(|policy| policy.statement.any(&is_secured));
    elsewhere || (own && !is_always_elsewhere())
}

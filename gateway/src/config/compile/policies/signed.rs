//! What is signed is sent as it was signed: no policy after the signature changes it, as far as that is known before.

use std::sync::Arc;

use serde_saphyr::Spanned;

use crate::config::diagnostic::Problem;
use crate::model::{CredentialPlace, Hmac, Policy, Statement};

/// What a policy changes of a request.
#[derive(Clone, Copy)]
enum Change<'a> {
    Body,
    Header(&'a str),
    Host,
    Method,
    Path,
    Query,
}

/// Policies in the order in which they run until the request is sent.
pub(super) fn check<'a>(
    running: impl Iterator<Item = &'a (Arc<Policy>, Option<&'a Spanned<()>>)>,
    problems: &mut Vec<Problem>,
) {
    let mut signatures = Vec::new();
    for (policy, place) in running {
        step(policy, *place, &mut signatures, problems);
    }
}

/// A policy, after these signatures.
fn step<'a>(
    policy: &'a Policy,
    place: Option<&Spanned<()>>,
    signatures: &mut Vec<&'a Statement>,
    problems: &mut Vec<Problem>,
) {
    if policy.report {
        return;
    }
    signatures.retain(|signature| !takes_the_place_of(&policy.statement, signature));
    let changes = changes(&policy.statement);
    let broken = signatures.iter().find(|signature| changes.iter().any(|change| covers(signature, *change)));
    if let (Some(signature), Some(place)) = (broken, place) {
        let rule =
            format!("{} changes the request after {} has signed it", policy.statement.label(), signature.label());
        let problem = Problem::at(place, rule, "move it before the policy that signs");
        // Once, in however many operations.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    match &policy.statement {
        Statement::AuthenticationAwsSigv4(_) | Statement::AuthenticationHmac(_) => signatures.push(&policy.statement),
        Statement::Choose(branches) => {
            let before = signatures.clone();
            for branch in branches {
                let mut own = before.clone();
                branch.then.iter().for_each(|policy| step(policy, place, &mut own, problems));
                signatures.extend(own.into_iter().filter(|made| !before.contains(made)));
            }
        }
        Statement::ForwardRequest(_) => signatures.clear(),
        Statement::Retry(retry) => retry.policies.iter().for_each(|policy| step(policy, place, signatures, problems)),
        _ => {}
    }
}

/// Whether a signature is made anew.
fn takes_the_place_of(later: &Statement, earlier: &Statement) -> bool {
    match (later, earlier) {
        (Statement::AuthenticationAwsSigv4(_), Statement::AuthenticationAwsSigv4(_)) => true,
        (Statement::AuthenticationHmac(later), Statement::AuthenticationHmac(earlier)) => later.place == earlier.place,
        _ => false,
    }
}

fn changes(statement: &Statement) -> Vec<Change<'_>> {
    fn of(place: &CredentialPlace) -> Change<'_> {
        match place {
            CredentialPlace::Header(name) => Change::Header(name.as_str()),
            CredentialPlace::QueryParameter(_) => Change::Query,
        }
    }
    match statement {
        Statement::AuthenticationApiKey(key) => vec![of(&key.place)],
        Statement::AuthenticationAwsSigv4(_)
        | Statement::AuthenticationBasic(_)
        | Statement::AuthenticationOauth2(_) => vec![Change::Header("authorization")],
        Statement::AuthenticationHmac(sign) => {
            let time = sign.time.as_ref().map(|(name, _)| Change::Header(name.as_str()));
            [of(&sign.place)].into_iter().chain(time).collect()
        }
        Statement::FindAndReplace(_) | Statement::SetBody(_) => {
            vec![Change::Body, Change::Header("content-length"), Change::Header("content-encoding")]
        }
        Statement::JsonToXml(_) | Statement::XmlToJson(_) => {
            vec![Change::Body, Change::Header("content-length"), Change::Header("content-type")]
        }
        Statement::ReplacePlaceholder(_) => vec![Change::Header("authorization"), Change::Query],
        Statement::RewriteUri(_) => vec![Change::Path, Change::Query],
        Statement::SetBackend(_) => vec![Change::Host, Change::Path],
        Statement::SetHeader(set) => vec![Change::Header(set.name.as_str())],
        Statement::SetMethod(_) => vec![Change::Method],
        Statement::SetQueryParameter(_) => vec![Change::Query],
        _ => Vec::new(),
    }
}

fn covers(signature: &Statement, change: Change<'_>) -> bool {
    match (signature, change) {
        (Statement::AuthenticationAwsSigv4(sign), Change::Body) => !sign.unsigned_payload,
        (Statement::AuthenticationAwsSigv4(_), Change::Header(name)) => {
            name.starts_with("x-amz-") || matches!(name, "authorization" | "content-md5" | "content-type")
        }
        (Statement::AuthenticationAwsSigv4(_), Change::Host | Change::Method | Change::Path | Change::Query) => true,
        (Statement::AuthenticationHmac(sign), change) => match change {
            Change::Body => says(sign, "body"),
            Change::Header(name) => {
                let own = matches!(&sign.place, CredentialPlace::Header(own) if own.as_str() == name);
                let time = sign.time.as_ref().is_some_and(|(time, _)| time.as_str() == name);
                own || time || says_header(sign, name)
            }
            Change::Host => says(sign, "host"),
            Change::Method => says(sign, "method"),
            Change::Path => says(sign, "path"),
            Change::Query => says(sign, "query"),
        },
        _ => false,
    }
}

/// Whether what is signed looks at this part of the request.
fn says(sign: &Hmac, field: &str) -> bool {
    let by_name = format!("request.{field}");
    sign.string.expressions().any(|expression| {
        let source = &expression.source;
        source.contains(&by_name) || (source.contains("request[") && source.contains(field))
    })
}

fn says_header(sign: &Hmac, name: &str) -> bool {
    // As a whole: `date` is not `x-date`.
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    sign.string.expressions().any(|expression| {
        let source = expression.source.to_ascii_lowercase();
        source.contains("headers") && source.split(|c| !is_name(c)).any(|word| word == name)
    })
}

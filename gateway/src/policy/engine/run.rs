//! The order in which policies run: inbound, backend, outbound; on-error after anything has failed.

use std::slice::Iter;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::UPGRADE;

use super::call::Call;
use super::compiled::{Compiled, Next};
use super::effects::Step;
use super::fault::{Fault, Source};
use super::kind::{Outcome, Want, WhenReported};
use super::policy::{Policies, Policy};
use super::side::Side;
use super::world::World;
use super::{bodies, counting, error, paths, subscription};
use crate::model::{Reason, Rules, Section};
use crate::route;

/// Finds the operation of a request and runs all sections. The response is in the call then.
///
/// # Errors
/// The third party gave no response and on-error has none: the caller sees what it would have seen without Egret.
pub(in crate::policy) async fn run<'a, K: Compiled>(
    call: &mut Call<'a>,
    rules: &'a Rules,
    world: &mut dyn World,
) -> Result<(), Box<Fault>> {
    let asks_for_head = call.message.request.method == Method::HEAD;
    if let Some((operation, parameters)) =
        route::operation(rules, call.message.request.method.as_str(), call.message.request.uri.path())
    {
        (call.context.operation, call.context.parameters) = (Some(operation), parameters);
    }
    (call.context.max_body, call.context.plain_secrets) = (rules.max_body, rules.plain_secrets);
    let product = subscription::find(call, rules, world.state());
    let by_product = call.context.operation.map_or(&rules.otherwise, |operation| &operation.policies);
    let Some(policies) = Policies::<K>::of(by_product.of(product.as_ref().ok().copied().flatten())) else {
        return Err(Fault::new(Reason::NotSent, 500, "no policy has sent the request"));
    };
    call.context.is_read_after_sending = policies.reads_sent_request;
    let ended = match product {
        Ok(_) => sections(call, rules, policies, world).await,
        Err(refused) => Err(refused),
    };
    if let Err(fault) = ended {
        let fault = match fault.unanswered {
            Some(_) if policies.on_error.is_empty() && fault.reason != Reason::UpstreamTimeout => {
                // Conditions on the response see what the caller would be told, if it were told anything.
                call.message.response = Some(error::answer(&fault, call).0);
                counting::decide(call, world.state());
                call.message.response = None;
                return Err(fault);
            }
            _ => fault,
        };
        failed(call, policies, world, fault).await;
    }
    counting::decide(call, world.state());
    let message = &mut call.message;
    message.slots.clear();
    if let Some(response) = &mut message.response {
        response.headers.extend(message.response_fields.drain(..));
        if bodies::has_none(asks_for_head, response) {
            message.response_body = Some(Bytes::new());
        }
    }
    Ok(())
}

async fn sections<K: Compiled>(
    call: &mut Call<'_>,
    rules: &Rules,
    policies: &Policies<K>,
    world: &mut dyn World,
) -> Result<(), Box<Fault>> {
    paths::has_one_method(call, rules)?;
    if rules.strict_paths {
        paths::is_unambiguous(call, rules)?;
    }
    if rules.every_request && is_upgrade_past_policies(call) {
        let message = "after an upgrade policies would see no further request: list the protocol in `upgrades`";
        return Err(Fault::new(Reason::UpgradeNotAllowed, 403, message));
    }
    if rules.only_operations && call.context.operation.is_none() {
        return Err(Fault::new(Reason::OperationNotFound, 404, "no operation of this API has this method and path"));
    }
    call.context.section = Section::Inbound;
    K::before(Section::Inbound, call, world.state());
    let mut outcome = list(&policies.inbound, call, world).await?;
    if outcome == Outcome::Continue {
        call.context.section = Section::Backend;
        K::before(Section::Backend, call, world.state());
        let sent = list(&policies.backend, call, world).await;
        let failed = match (&sent, &call.message.response) {
            (Err(fault), _) => fault.unanswered.is_some(),
            (Ok(_), Some(response)) => response.status.is_server_error(),
            (Ok(_), None) => false,
        };
        if K::forwarded(failed, call, world.state()) {
            return Ok(());
        }
        outcome = sent?;
        K::accepted(call, world.state());
        if outcome == Outcome::Continue && call.message.response.is_none() {
            return Err(Fault::new(Reason::NotSent, 500, "no policy has sent the request"));
        }
    }
    if outcome != Outcome::Respond {
        call.context.section = Section::Outbound;
        list(&policies.outbound, call, world).await?;
    }
    Ok(())
}

/// Returns whether a request asks for a protocol that its API does not list.
fn is_upgrade_past_policies(call: &Call<'_>) -> bool {
    let Some(wish) = call.message.request.headers.get(UPGRADE) else { return false };
    let allowed = &call.context.api.upgrades;
    !allowed.iter().any(|allowed| wish.as_bytes().trim_ascii().eq_ignore_ascii_case(allowed.as_bytes()))
}

/// Responds with the error, which on-error may change; a failure there changes nothing more.
async fn failed<K: Compiled>(call: &mut Call<'_>, policies: &Policies<K>, world: &mut dyn World, fault: Box<Fault>) {
    let (head, body) = error::answer(&fault, call);
    (call.message.response, call.message.response_body) = (Some(head), Some(body));
    call.context.error = Some(fault);
    call.context.section = Section::OnError;
    if let Err(fault) = list(&policies.on_error, call, world).await {
        let (head, body) = error::answer(&fault, call);
        (call.message.response, call.message.response_body) = (Some(head), Some(body));
    }
}

/// Runs a list of policies, and those of the branches that they choose.
///
/// # Errors
/// A policy failed.
pub(in crate::policy) async fn list<K: Compiled>(
    policies: &[Arc<Policy<K>>],
    call: &mut Call<'_>,
    world: &mut dyn World,
) -> Result<Outcome, Box<Fault>> {
    // A list in a list is a level, not a future in a future.
    let mut levels: Vec<Iter<'_, Arc<Policy<K>>>> = Vec::new();
    let mut level = policies.iter();
    loop {
        let Some(policy) = level.next() else {
            match levels.pop() {
                Some(outer) => level = outer,
                None => return Ok(Outcome::Continue),
            }
            continue;
        };
        let section = call.context.section;
        call.effects.begin(|| step(policy, section));
        let fault = |fault: Box<Fault>| fault.of(|| source(policy, section));
        let outcome = if policy.report && policy.needs.when_reported != WhenReported::Runs {
            Box::pin(reported(policy, call, world)).await.map_err(fault)?;
            Ok(Next::Ended(Outcome::Continue))
        } else {
            if policy.needs.anything {
                // Few policies need something: in a box of its own it makes the way of the others no longer.
                Box::pin(prepare(policy, call, world)).await.map_err(fault)?;
            }
            match K::now(policy, call, world) {
                // Which branch a reported policy would take may depend on what other reported policies did not do.
                Some(Err(refused)) if policy.report => {
                    would_refuse(policy, *refused, call);
                    Ok(Next::Ended(Outcome::Continue))
                }
                Some(outcome) => outcome,
                None => K::timed(policy, call, world).await.map(Next::Ended),
            }
        };
        if !call.effects.told.is_empty() {
            world.tell(std::mem::take(&mut call.effects.told));
        }
        if let Err(fault) = &outcome {
            call.note(|| format!("fails: {} ({})", fault.reason, fault.message));
        }
        match outcome {
            Ok(Next::Ended(Outcome::Continue)) => {}
            Ok(Next::Ended(ended)) => return Ok(ended),
            Ok(Next::Branch(inner)) => levels.push(std::mem::replace(&mut level, inner.iter())),
            Err(failed) => return Err(fault(failed)),
        }
    }
}

fn step<K: Compiled>(policy: &Policy<K>, section: Section) -> Step {
    Step {
        section,
        scope: Arc::clone(&policy.scope),
        policy: policy.statement.name(),
        id: policy.id.clone(),
        report: policy.report,
        did: String::new(),
    }
}

fn source<K: Compiled>(policy: &Policy<K>, section: Section) -> Source {
    let (policy_name, scope) = (policy.statement.name(), Arc::clone(&policy.scope));
    Source { policy: policy_name, id: policy.id.clone(), scope, section }
}

/// Reads what must be there before a policy runs.
async fn prepare<K: Compiled>(
    policy: &Policy<K>,
    call: &mut Call<'_>,
    world: &mut dyn World,
) -> Result<(), Box<Fault>> {
    is_readable(policy, call)?;
    while let Some(side) = missing_body(policy, call) {
        bodies::whole(side, call, world).await?;
    }
    let most = call.context.max_body;
    let broken = |reason| bodies::broken(Side::Response, reason, most);
    match wants(policy, call) {
        Want::ResponseIfShort if call.message.response_body.is_none() => {
            call.message.response_body = world.answer_up_to(most).await.map_err(broken)?;
            bodies::masked(call);
            bodies::keep_trailers(call, world);
        }
        Want::Peek(most) => call.message.peeked = Some(world.peek(most).await.map_err(broken)?),
        Want::Nothing | Want::Text | Want::Request | Want::ResponseIfShort => {}
    }
    Ok(())
}

/// Checks that the bodies which a policy looks into can be read as texts.
fn is_readable<K: Compiled>(policy: &Policy<K>, call: &Call<'_>) -> Result<(), Box<Fault>> {
    let mut sides = [Side::Request, Side::Response].into_iter().filter(|side| reads_text(policy, *side, call));
    sides.try_for_each(|side| bodies::is_plain(side, call))
}

fn wants<K: Compiled>(policy: &Policy<K>, call: &Call<'_>) -> Want {
    if policy.needs.asks { policy.statement.wants(call) } else { Want::Nothing }
}

/// Returns whether a policy looks into the body of this side.
fn reads_text<K: Compiled>(policy: &Policy<K>, side: Side, call: &Call<'_>) -> bool {
    let [request, response] = policy.needs.text;
    let looks = match side {
        Side::Request => request,
        Side::Response => response,
    };
    looks || (call.side() == side && wants(policy, call) == Want::Text)
}

/// Returns the side whose body a policy needs as a whole that is not there.
fn missing_body<K: Compiled>(policy: &Policy<K>, call: &Call<'_>) -> Option<Side> {
    let message = &call.message;
    let reads = |side| reads_text(policy, side, call);
    let takes_request = || policy.needs.request_bytes || wants(policy, call) == Want::Request;
    if message.request_body.is_none() && (reads(Side::Request) || takes_request()) {
        Some(Side::Request)
    } else if message.response_body.is_none() && message.response.is_some() && reads(Side::Response) {
        Some(Side::Response)
    } else {
        None
    }
}

/// Evaluates a policy that only reports: see the rule in [`super::effects`].
///
/// # Errors
/// A body that the policy looks into could not be read: it is lost for the third party, too.
async fn reported<K: Compiled>(
    policy: &Policy<K>,
    call: &mut Call<'_>,
    world: &mut dyn World,
) -> Result<(), Box<Fault>> {
    if policy.needs.when_reported == WhenReported::Withheld {
        call.note(|| "would run".to_owned());
        return Ok(());
    }
    if let Err(fault) = is_readable(policy, call) {
        would_refuse(policy, *fault, call);
        return Ok(());
    }
    if policy.needs.anything {
        prepare(policy, call, world).await?;
    }
    let (before, mark) = (call.message.clone(), call.effects.mark());
    let outcome = match K::now(policy, call, world) {
        Some(outcome) => outcome,
        None => K::timed(policy, call, world).await.map(Next::Ended),
    };
    call.message = before;
    call.effects.drop_records(mark);
    match outcome {
        Err(fault) => would_refuse(policy, *fault, call),
        Ok(Next::Ended(Outcome::Mocked | Outcome::Respond)) => call.note(|| "would answer".to_owned()),
        Ok(Next::Ended(Outcome::Continue) | Next::Branch(_)) => {}
    }
    Ok(())
}

fn would_refuse<K: Compiled>(policy: &Policy<K>, fault: Fault, call: &mut Call<'_>) {
    call.note(|| format!("would refuse: {} ({})", fault.reason, fault.message));
    call.effects.reports.push((policy.statement.name(), fault.reason, fault.message));
}

//! The order: inbound, backend, outbound; on-error after anything has failed.

use std::slice::Iter;
use std::sync::Arc;

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Method, StatusCode};

use super::call::{Call, Fault};
use super::conversion::Format;
use super::world::{Side, World};
use super::{
    authentication_api_key, authentication_aws_sigv4, authentication_basic, authentication_hmac, authentication_oauth2,
    bodies, cache, check_header, conversion, counting, emit_metric, error, expression, forward_request, ip_filter,
    json_to_xml, limit_concurrency, llm, log, paths, quota, rate_limit, replace_placeholder, reply, retry, rewrite_uri,
    send_request, set_header, set_query_parameter, subscription, template, trace, validate_content, validate_headers,
    validate_jwt, validate_parameters, validate_status_code, workload_filter, xml_to_json,
};
use crate::model::{CacheLookup, Pending, Policies, Policy, Reason, Retry, Rules, Section, Statement};
use crate::route;

/// How a list of policies ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// What follows runs.
    Continue,
    /// There is an answer: the third party is not asked.
    Mocked,
    /// There is an answer, and nothing else runs.
    Respond,
}

/// Finds what the request is, and runs all sections. The answer is in the call then.
///
/// # Errors
/// The third party gave no answer and on-error has none: the caller sees what it would have seen without us.
pub async fn run<'a>(call: &mut Call<'a>, rules: &'a Rules, world: &mut dyn World) -> Result<(), Box<Fault>> {
    let asks_for_head = call.request.method == Method::HEAD;
    if let Some((operation, parameters)) =
        route::operation(rules, call.request.method.as_str(), call.request.uri.path())
    {
        (call.operation, call.parameters) = (Some(operation), parameters);
    }
    (call.max_body, call.plain_secrets) = (rules.max_body, rules.plain_secrets);
    let product = subscription::find(call, rules, &world.state().subscriptions);
    let by_product = call.operation.map_or(&rules.otherwise, |operation| &operation.policies);
    let policies = by_product.of(product.as_ref().ok().copied().flatten());
    call.looks_back = policies.looks_back;
    let ended = match product {
        Ok(_) => sections(call, rules, policies, world).await,
        Err(refused) => Err(refused),
    };
    if let Err(fault) = ended {
        let fault = match fault.unanswered {
            Some(_) if policies.on_error.is_empty() && fault.reason != Reason::UpstreamTimeout => {
                // What the caller would be told, if it were told anything.
                call.response = Some(error::answer(&fault, call).0);
                counting::decide(call, world.state());
                call.response = None;
                return Err(fault);
            }
            _ => fault,
        };
        failed(call, policies, world, fault).await;
    }
    counting::decide(call, world.state());
    call.leading = None;
    if let Some(response) = &mut call.response {
        response.headers.extend(call.later.drain(..));
        if bodies::has_none(asks_for_head, response) {
            call.response_body = Some(Bytes::new());
        }
    }
    Ok(())
}

async fn sections(
    call: &mut Call<'_>,
    rules: &Rules,
    policies: &Policies,
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
    if rules.only_operations && call.operation.is_none() {
        return Err(Fault::new(Reason::OperationNotFound, 404, "no operation of this API has this method and path"));
    }
    call.section = Section::Inbound;
    let mut changed: Vec<_> = cache::changed(call, &world.state().caches).into_iter().collect();
    let mut outcome = list(&policies.inbound, call, world).await?;
    if outcome == Outcome::Continue {
        call.section = Section::Backend;
        changed.extend(cache::changed(call, &world.state().caches));
        let sent = list(&policies.backend, call, world).await;
        let failed = match (&sent, &call.response) {
            (Err(fault), _) => fault.unanswered.is_some(),
            (Ok(_), Some(response)) => response.status.is_server_error(),
            (Ok(_), None) => false,
        };
        let caches = &world.state().caches;
        if cache::instead(failed, call, caches) {
            return Ok(());
        }
        outcome = sent?;
        cache::forget(&changed, call, caches);
        if outcome == Outcome::Continue && call.response.is_none() {
            return Err(Fault::new(Reason::NotSent, 500, "no policy has sent the request"));
        }
    }
    if outcome != Outcome::Respond {
        call.section = Section::Outbound;
        list(&policies.outbound, call, world).await?;
    }
    Ok(())
}

/// Returns whether a request asks for a protocol that its API does not list.
fn is_upgrade_past_policies(call: &Call<'_>) -> bool {
    let Some(wish) = call.request.headers.get(UPGRADE) else { return false };
    !call.api.upgrades.iter().any(|allowed| wish.as_bytes().trim_ascii().eq_ignore_ascii_case(allowed.as_bytes()))
}

/// Answers with the error, which on-error may change; what fails there changes nothing any more.
async fn failed(call: &mut Call<'_>, policies: &Policies, world: &mut dyn World, fault: Box<Fault>) {
    let (head, body) = error::answer(&fault, call);
    (call.response, call.response_body) = (Some(head), Some(body));
    call.error = Some(fault);
    call.section = Section::OnError;
    if let Err(fault) = list(&policies.on_error, call, world).await {
        let (head, body) = error::answer(&fault, call);
        (call.response, call.response_body) = (Some(head), Some(body));
    }
}

/// A list, and those of its branches.
async fn list(policies: &[Arc<Policy>], call: &mut Call<'_>, world: &mut dyn World) -> Result<Outcome, Box<Fault>> {
    // A list in a list is a level, not a future in a future.
    let mut levels: Vec<Iter<'_, Arc<Policy>>> = Vec::new();
    let mut level = policies.iter();
    loop {
        let Some(policy) = level.next() else {
            match levels.pop() {
                Some(outer) => level = outer,
                None => return Ok(Outcome::Continue),
            }
            continue;
        };
        call.begins(policy);
        let section = call.section;
        let fault = |fault: Box<Fault>| fault.of(policy, section);
        if policy.needs_something {
            // Few do: in a box of its own it makes the way of the others no longer.
            Box::pin(ready(policy, call, world)).await.map_err(fault)?;
        }
        let outcome = match &policy.statement {
            Statement::Choose(branches) => {
                for branch in branches {
                    let holds = branch.when.as_ref().map_or(Ok(true), |when| expression::holds(when, call));
                    if holds.map_err(fault)? {
                        call.note(|| {
                            branch.when.as_ref().map_or("otherwise".to_owned(), |when| when.source.to_string())
                        });
                        levels.push(std::mem::replace(&mut level, branch.then.iter()));
                        break;
                    }
                }
                Ok(Outcome::Continue)
            }
            Statement::Retry(retry) => again(retry, call, world).await,
            Statement::ForwardRequest(forward) => {
                forward_request::run(forward, call, world).await.map(|()| Outcome::Continue)
            }
            Statement::SendRequest(request) if request.variable.is_some() || !policy.report => {
                Box::pin(send_request::run(request, call, world)).await.map(|()| Outcome::Continue)
            }
            Statement::CacheLookup(cache @ CacheLookup { wait: Some(wait), .. }) if !policy.report => {
                let answered = Box::pin(cache::lookup_in_turn(cache, *wait, call, world)).await;
                Ok(if answered { Outcome::Respond } else { Outcome::Continue })
            }
            Statement::Wait(wait) => Box::pin(send_request::wait(wait, call, world)).await.map(|()| Outcome::Continue),
            Statement::AuthenticationOauth2(credentials) if !policy.report => {
                Box::pin(authentication_oauth2::run(credentials, call, world)).await.map(|()| Outcome::Continue)
            }
            _ if policy.report => {
                reported(policy, call, world).await;
                Ok(Outcome::Continue)
            }
            Statement::Quota(_) | Statement::RateLimit(_) => Box::pin(counted(policy, call, world)).await,
            _ => now(policy, call, world),
        };
        if !call.told.is_empty() {
            world.tell(std::mem::take(&mut call.told));
        }
        if let Err(fault) = &outcome {
            call.note(|| format!("fails: {} ({})", fault.reason, fault.message));
        }
        match outcome.map_err(fault)? {
            Outcome::Continue => {}
            ended => return Ok(ended),
        }
    }
}

/// Gets what a policy looks at: bodies, keys.
async fn ready(policy: &Policy, call: &mut Call<'_>, world: &mut dyn World) -> Result<(), Box<Fault>> {
    for side in [Side::Request, Side::Response].into_iter().filter(|side| reads_text(policy, *side, call)) {
        bodies::is_plain(side, call)?;
    }
    while let Some(side) = reads_body(policy, call) {
        bodies::whole(side, call, world).await?;
    }
    let (most, broken) = (call.max_body, |reason| bodies::broken(Side::Response, reason, call.max_body));
    match &policy.statement {
        Statement::CacheStore(_) if call.response_body.is_none() && cache::is_wanted(call) => {
            call.response_body = world.answer_up_to(most).await.map_err(broken)?;
            bodies::masked(call);
            bodies::keep_trailers(call, world);
        }
        Statement::Log(log) => {
            if let Some(most) = log::looks_at(log, call) {
                call.peeked = Some(world.peek(most).await.map_err(broken)?);
            }
        }
        Statement::ValidateJwt(validate) => validate_jwt::fetch_keys(validate, call, world).await,
        _ => {}
    }
    Ok(())
}

/// A policy that needs no time, but where nodes count together.
async fn counted(policy: &Policy, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
    let at = |call: &Call<'_>| world.at().max(call.at);
    match &policy.statement {
        Statement::Quota(quota) => {
            let at = at(call);
            quota::run(quota, call, world.state(), at).await.map(|()| Outcome::Continue)
        }
        Statement::RateLimit(limit) => {
            let at = at(call);
            rate_limit::run(limit, call, world.state(), at).await.map(|()| Outcome::Continue)
        }
        _ => now(policy, call, world),
    }
}

/// A policy that needs no time.
fn now(policy: &Policy, call: &mut Call<'_>, world: &dyn World) -> Result<Outcome, Box<Fault>> {
    match &policy.statement {
        Statement::AuthenticationApiKey(key) => authentication_api_key::run(key, call)?,
        Statement::AuthenticationAwsSigv4(sign) => authentication_aws_sigv4::run(sign, call)?,
        Statement::AuthenticationBasic(basic) => authentication_basic::run(basic, call)?,
        Statement::AuthenticationHmac(sign) => authentication_hmac::run(sign, call)?,
        Statement::CacheLookup(lookup) => {
            if cache::lookup(lookup, call, world) {
                return Ok(Outcome::Respond);
            }
        }
        Statement::CacheLookupValue(lookup) => cache::lookup_value(lookup, call, &world.state().caches)?,
        Statement::CacheRemoveValue(remove) => cache::remove_value(remove, call, &world.state().caches)?,
        Statement::CacheStore(store) => cache::store(store, call, &world.state().caches),
        Statement::CacheStoreValue(store) => cache::store_value(store, call, &world.state().caches)?,
        Statement::CheckHeader(check) => check_header::run(check, call)?,
        Statement::EmitMetric(emit) => emit_metric::run(emit, call)?,
        Statement::FindAndReplace(replace) => bodies::replace(replace, call)?,
        Statement::IpFilter(filter) => ip_filter::run(filter, call)?,
        Statement::JsonToXml(convert) => json_to_xml::run(convert, call)?,
        Statement::LimitConcurrency(limit) => limit_concurrency::run(limit, call, &world.state().concurrency)?,
        Statement::LlmEmitTokenMetric(metric) => llm::emit(metric, call)?,
        Statement::LlmTokenLimit(limit) => llm::limit(limit, call, &world.state().spent, &world.state().quotas)?,
        Statement::Log(log) => log::run(log, policy, call)?,
        Statement::MockResponse(answer) => return reply::run(answer, call).map(|()| Outcome::Mocked),
        Statement::ReturnResponse(answer) => return reply::run(answer, call).map(|()| Outcome::Respond),
        Statement::ReplacePlaceholder(replace) => replace_placeholder::run(replace, call)?,
        Statement::RewriteUri(rewrite) => rewrite_uri::run(rewrite, call)?,
        Statement::SetBackend(set) => {
            call.note(|| set.service.name.to_string());
            call.may_be_secret =
                call.plain_secrets || set.service.members.iter().all(|member| member.endpoint.tls.is_some());
            (call.service, call.tried) = (Some(Arc::clone(&set.service)), Vec::new());
        }
        Statement::SetBody(body) => bodies::set(body, call)?,
        Statement::SetHeader(set) => set_header::run(set, call)?,
        Statement::SetMethod(method) => {
            let filled = template::fill(method, call)?;
            call.note(|| filled.shown().to_owned());
            let new = Method::from_bytes(filled.text.as_bytes())
                .map_err(|_| Fault::new(Reason::Expression, 500, "the new method is not valid"))?;
            if method.expressions().next().is_some() {
                paths::may_have_method(call, &new)?;
            }
            call.request.method = new;
        }
        Statement::SetQueryParameter(set) => set_query_parameter::run(set, call)?,
        Statement::SetStatus(set) => {
            call.note(|| set.code.to_string());
            if let (Some(response), Ok(status)) = (&mut call.response, StatusCode::from_u16(set.code)) {
                response.status = status;
            }
        }
        Statement::SetVariable(set) => {
            let value = expression::value(&set.value, call)?;
            call.set_variable(&set.name, value, set.secret);
        }
        Statement::Trace(trace) => trace::run(trace, policy, call)?,
        Statement::ValidateContent(validate) => validate_content::run(validate, call)?,
        Statement::ValidateHeaders(validate) => validate_headers::run(validate, call)?,
        Statement::ValidateParameters(validate) => validate_parameters::run(validate, call)?,
        Statement::ValidateStatusCode(validate) => validate_status_code::run(validate, call)?,
        Statement::ValidateJwt(validate) => validate_jwt::run(validate, call)?,
        Statement::WorkloadFilter(filter) => workload_filter::run(filter, call)?,
        Statement::XmlToJson(convert) => xml_to_json::run(convert, call)?,
        Statement::AuthenticationOauth2(_)
        | Statement::Choose(_)
        | Statement::ForwardRequest(_)
        | Statement::Quota(_)
        | Statement::RateLimit(_)
        | Statement::Retry(_)
        | Statement::SendRequest(_)
        | Statement::Wait(_) => {}
    }
    Ok(Outcome::Continue)
}

/// What a policy would do: its counts are kept, also of what is on its way, and the call stays as it was.
async fn reported(policy: &Policy, call: &mut Call<'_>, world: &dyn World) {
    let (request, request_body) = (call.request.clone(), call.request_body.clone());
    let (response, response_body) = (call.response.clone(), call.response_body.clone());
    let (later, variables) = (call.later.len(), call.variables.len());
    let told = call.told.len();
    let (secret_body, secret_target, secrets) = (call.secret_body, call.secret_target, call.secret_parameters.len());
    let (in_target, injected) = (call.secrets_of_target.len(), call.injected.clone());
    let (cached_under, stale) = (call.cached_under.clone(), call.stale.clone());
    let (service, may_be_secret) = (call.service.clone(), call.may_be_secret);
    let outcome = counted(policy, call, world).await;
    (call.request, call.request_body) = (request, request_body);
    (call.response, call.response_body) = (response, response_body);
    call.later.truncate(later);
    call.variables.truncate(variables);
    call.told.truncate(told);
    (call.secret_body, call.secret_target) = (secret_body, secret_target);
    call.secret_parameters.truncate(secrets);
    call.secrets_of_target.truncate(in_target);
    call.injected = injected;
    (call.cached_under, call.stale) = (cached_under, stale);
    (call.service, call.may_be_secret) = (service, may_be_secret);
    match outcome {
        Err(fault) => {
            call.note(|| format!("would refuse: {} ({})", fault.reason, fault.message));
            call.reports.push((policy.statement.label(), fault.reason, fault.message));
        }
        Ok(Outcome::Mocked | Outcome::Respond) => call.note(|| "would answer".to_owned()),
        Ok(Outcome::Continue) => {}
    }
}

/// Does its policies until they need not be done again.
fn again<'a>(
    retry: &'a Retry,
    call: &'a mut Call<'_>,
    world: &'a mut dyn World,
) -> Pending<'a, Result<Outcome, Box<Fault>>> {
    Box::pin(async move {
        // What is streamed can be sent once.
        bodies::whole(Side::Request, call, world).await?;
        world.state().budgets.earn(retry);
        for times in 0.. {
            let outcome = list(&retry.policies, call, world).await;
            match retry::pause(retry, call, outcome.as_ref().err().map(|fault| &**fault), times)? {
                None => return outcome,
                Some(_) if !world.state().budgets.spend(retry) => {
                    call.note(|| "not again: too many requests were sent again lately".to_owned());
                    return outcome;
                }
                Some(pause) => {
                    call.note(|| format!("again after {pause:?}"));
                    world.pause(pause).await;
                }
            }
        }
        Ok(Outcome::Continue)
    })
}

/// Whether a policy looks into the body of this side.
fn reads_text(policy: &Policy, side: Side, call: &Call<'_>) -> bool {
    let [request, response] = policy.reads_bodies;
    let whole = match &policy.statement {
        Statement::FindAndReplace(_) => true,
        Statement::JsonToXml(convert) => conversion::applies(convert.when, Format::Xml, call).is_ok(),
        Statement::ValidateContent(validate) => validate_content::wants_body(validate, call),
        Statement::XmlToJson(convert) => conversion::applies(convert.when, Format::Json, call).is_ok(),
        _ => false,
    };
    let looked_at = match side {
        Side::Request => request,
        Side::Response => response,
    };
    looked_at || (whole && call.side() == side)
}

/// Whose body a policy needs that may not be there as a whole.
fn reads_body(policy: &Policy, call: &Call<'_>) -> Option<Side> {
    let reads = |side| reads_text(policy, side, call);
    let logs = matches!(&policy.statement, Statement::Log(log) if log::reads_request(log, call));
    if (reads(Side::Request) || logs || policy.reads_request_bytes) && call.request_body.is_none() {
        Some(Side::Request)
    } else if reads(Side::Response) && call.response_body.is_none() && call.response.is_some() {
        Some(Side::Response)
    } else {
        None
    }
}

use std::sync::Arc;

use http::{Method, StatusCode, response};

use super::call::{Call, Fault};
use super::world::{Asked, Side, Unanswerable, World};
use super::{authentication_oauth2, bodies, mask, paths, redirect, retry};
use crate::model::{Forward, Member, Reason};

/// Sends the request, and what its answers ask for, as far as they are followed.
pub(super) async fn run(forward: &Forward, call: &mut Call<'_>, world: &mut dyn World) -> Result<(), Box<Fault>> {
    let mut base = send(forward, call, world, true).await?;
    for _ in 0..forward.follow_redirects {
        if !redirect::follow(call, base.as_deref().unwrap_or_default()) {
            break;
        }
        base = send(forward, call, world, false).await?;
    }
    redirect::hide(call);
    if let Some(response) = &mut call.response {
        mask::fields(&mut response.headers, &call.injected);
    }
    let status = call.response.as_ref().map(|response| response.status);
    match status.filter(|status| forward.fail_on_error_status && status.as_u16() >= 400) {
        Some(status) => Err(Fault::new(Reason::UpstreamStatus, 502, format!("the third party answered {status}"))),
        None => Ok(()),
    }
}

/// Sends the request, and waits for the head of the answer: below which path, if it went to a server of `set-backend`. The first
/// time it asks only for another answer than one that is kept.
async fn send(
    forward: &Forward,
    call: &mut Call<'_>,
    world: &mut dyn World,
    first: bool,
) -> Result<Option<Arc<str>>, Box<Fault>> {
    if forward.buffer_request {
        bodies::whole(Side::Request, call, world).await?;
    }
    // RFC 9110 §9.3.8: its answer is the request.
    if call.request.method == Method::TRACE && call.has_secret() {
        let message = "TRACE would show the caller a secret that is in the request";
        return Err(Fault::new(Reason::SecretInClear, 405, message));
    }
    let chosen = chosen(call, world)?;
    mask::remember(call);
    // A copy is as dear as some policies together.
    let mut head = if call.looks_back || call.steps.is_some() { call.request.clone() } else { call.take_request() };
    let stale = call.stale.as_ref().filter(|_| first);
    let asks = stale.is_some_and(|stale| stale.ask(&mut head.headers));
    let (to, base) = match chosen.and_then(|index| member(call, index)) {
        Some(member) => {
            head.uri = paths::below(&member.base, &head.uri)?;
            (Some(Arc::clone(&member.endpoint)), Some(Arc::clone(&member.base)))
        }
        None => (None, None),
    };
    let count = (!call.meters.is_empty()).then(|| call.meters.sent());
    let asked = Asked { head, body: call.request_body.clone(), to, count };
    (call.response_body, call.response) = (None, None);
    let mut buffered = None;
    let answered = match world.ask(asked, forward.timeout).await {
        Ok(head) if forward.buffer_response => match world.peek(call.max_body).await {
            Ok(peeked) => {
                buffered = mask::body(&peeked.bytes, &call.injected).filter(|_| peeked.whole);
                Ok(head)
            }
            Err(reason) => Err(Unanswerable { reason, error: reason.into() }),
        },
        answered => answered,
    };
    if let Some(index) = chosen {
        came_of_it(answered.as_ref().ok(), index, call, world);
    }
    match answered {
        Ok(head) => {
            if head.status == StatusCode::UNAUTHORIZED {
                authentication_oauth2::forget(call, world.at());
            }
            let status = head.status;
            call.still_so = asks && status == StatusCode::NOT_MODIFIED;
            call.note(|| status.to_string());
            call.came = call.cached_under.as_ref().map(|_| Box::new(head.headers.clone()));
            call.response = Some(head);
            if let Some(masked) = buffered {
                bodies::put_response(call, masked);
            }
            Ok(base)
        }
        Err(Unanswerable { reason, error }) => {
            let message = format!("no answer of {}: {reason}", call.host);
            let status = if reason == Reason::UpstreamTimeout { 504 } else { 502 };
            let mut fault = Fault::new(reason, status, message);
            fault.unanswered = Some(Unanswerable { reason, error });
            Err(fault)
        }
    }
}

/// The server that it goes to, where it does not go to the third party's own.
fn chosen(call: &mut Call<'_>, world: &dyn World) -> Result<Option<usize>, Box<Fault>> {
    let Some(service) = call.service.clone() else { return Ok(None) };
    // Before one is chosen: a request that is not sent must not be the one that decides whether a server is well.
    for member in &service.members {
        paths::below(&member.base, &call.request.uri)?;
    }
    let index = world.state().backends.choose(&service, &call.workload.identity.owner, &call.tried, world.at())?;
    if let Some(member) = service.members.get(index) {
        call.note(|| format!("to {}{}", member.endpoint, member.base));
        if member.endpoint.tls.is_none() && !call.plain_secrets && call.has_secret() {
            return Err(Fault::secret_in_clear());
        }
    }
    Ok(Some(index))
}

fn member<'a>(call: &'a Call<'_>, index: usize) -> Option<&'a Member> {
    call.service.as_ref()?.members.get(index)
}

fn came_of_it(answer: Option<&response::Parts>, index: usize, call: &mut Call<'_>, world: &dyn World) {
    let Some(service) = &call.service else { return };
    let status = answer.map(|head| head.status.as_u16());
    let wait = answer.and_then(|head| retry::told(&head.headers, call.now));
    world.state().backends.outcome(service, &call.workload.identity.owner, index, (status, wait), world.at());
    if status.is_none_or(|status| status >= 500) {
        call.tried.push(index);
    }
}

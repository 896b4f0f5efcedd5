//! `forward-request`: sends the request to the third party, or to a server of a backend.

pub(in crate::policy) mod backends;
mod redirect;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use self::backends::Backends;
use super::{authentication_oauth2, cache};
use crate::model::{Member, Reason};
use crate::policy::engine::{
    Asked, Call, Fault, Kind, Reads, Responds, Sections, Side, Traits, Unanswerable, WhenReported, World, bodies,
    fields, mask, paths,
};
use crate::syntax::{Form, Reader, Text};

/// Forwards the request to the third party.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// The longest wait for the head of the response.
    pub timeout: Option<Duration>,
    /// Whether a response of 400 or more is a failure.
    pub fail_on_error_status: bool,
    /// How many redirects to the third party itself are followed.
    pub follow_redirects: u32,
    /// Whether the body of the request is read as a whole before it is sent.
    pub buffer_request: bool,
    /// Whether the body of the response is read as a whole first, if it is not too long.
    pub buffer_response: bool,
}

/// Forwards the request to the third party.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ForwardFile {
    /// The longest time to wait for the head of the response; after that, the error is `upstream_timeout` (504). Default:
    /// none. Example: `30s`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Text>,
    /// Whether a response with a status of 400 or more is a failure, for on-error. Default: false.
    #[serde(default)]
    pub fail_on_error_status: bool,
    /// How many redirects to the third party itself Egret follows. Redirects to other servers go to the caller. A request with
    /// a body is only sent again if a policy reads the body. Default: 0. Example: `3`.
    #[serde(default)]
    #[schemars(range(max = 20))]
    pub follow_redirects: u32,
    /// Whether Egret reads the whole body, of at most `max_body` bytes, before it forwards the request: a slow caller does not
    /// hold a connection to the third party. Default: false.
    #[serde(default)]
    pub buffer_request: bool,
    /// Whether Egret reads the whole response before it responds to the caller. One that breaks off is a failure, for
    /// on-error, `retry` and `stale_if_error`. A response of more than `max_body` bytes is streamed. Do not use it for
    /// server-sent events. Default: false.
    #[serde(default)]
    pub buffer_response: bool,
}

impl Form for Forward {
    type File = ForwardFile;
    type Compiled = Self;
    const ABOUT: &'static str = "Forwards the request to the third party. Only in backend.";

    fn compile(written: &Spanned<ForwardFile>, reader: &mut dyn Reader) -> Option<Self> {
        let file = &written.value;
        Some(Self {
            timeout: reader.optional_duration(file.timeout.as_ref()),
            fail_on_error_status: file.fail_on_error_status,
            follow_redirects: file.follow_redirects,
            buffer_request: file.buffer_request,
            buffer_response: file.buffer_response,
        })
    }
}

impl Kind for Forward {
    const NAME: &'static str = "forward-request";
    const SECTIONS: Sections = Sections::BACKEND;

    fn traits(&self) -> Traits<'_> {
        Traits {
            expressions: Vec::new(),
            conditions: Vec::new(),
            endpoints: Vec::new(),
            backend: None,
            reads: Reads::Nothing,
            reads_sent_request: self.follow_redirects > 0,
            waits_for_response: false,
            needs_every_request: false,
            changes: Vec::new(),
            puts_secret: false,
            signs: None,
            responds: Responds::Forwards,
            counts_by: Vec::new(),
            described: None,
            names_files: false,
            when_reported: WhenReported::Runs,
        }
    }
}

/// Sends the request, and follows the redirects that the policy allows. Its future is a part of the caller's: nearly every request has one.
///
/// # Errors
/// There is no response, or its status is an error where that counts as a failure.
pub(in crate::policy) async fn run(
    forward: &Forward,
    call: &mut Call<'_>,
    world: &mut dyn World,
) -> Result<(), Box<Fault>> {
    let mut base = send(forward, call, world, true).await?;
    for _ in 0..forward.follow_redirects {
        if !redirect::follow(call, base.as_deref().unwrap_or_default()) {
            break;
        }
        base = send(forward, call, world, false).await?;
    }
    redirect::hide(call);
    if let Some(response) = &mut call.message.response {
        mask::fields(&mut response.headers, &call.message.secrecy.sent);
    }
    let status = call.message.response.as_ref().map(|response| response.status);
    match status.filter(|status| forward.fail_on_error_status && status.as_u16() >= 400) {
        Some(status) => Err(Fault::new(Reason::UpstreamStatus, 502, format!("the third party answered {status}"))),
        None => Ok(()),
    }
}

/// Sends the request and waits for the head of the response. Returns the path below which the server of a backend is. The first time,
/// the request is conditional where a stored response may be confirmed.
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
    if call.message.request.method == Method::TRACE && call.message.has_secret() {
        let message = "TRACE would show the caller a secret that is in the request";
        return Err(Fault::new(Reason::SecretInClear, 405, message));
    }
    let chosen = chosen(call, world)?;
    mask::remember(call);
    // A copy is as dear as some policies together.
    let mut head = if call.context.is_read_after_sending || call.effects.steps.is_some() {
        call.message.request.clone()
    } else {
        call.message.take_request()
    };
    let is_conditional = first && cache::revalidate(call, &mut head.headers);
    let (to, base) = match chosen.and_then(|index| member(call, index)) {
        Some(member) => {
            head.uri = paths::below(&member.base, &head.uri)?;
            (Some(Arc::clone(&member.endpoint)), Some(Arc::clone(&member.base)))
        }
        None => (None, None),
    };
    let count = (!call.effects.meters.is_empty()).then(|| call.effects.meters.sent());
    let asked = Asked { head, body: call.message.request_body.clone(), to, count };
    (call.message.response_body, call.message.response) = (None, None);
    let mut buffered = None;
    let answered = match world.ask(asked, forward.timeout).await {
        Ok(head) if forward.buffer_response => match world.peek(call.context.max_body).await {
            Ok(peeked) => {
                buffered = mask::body(&peeked.bytes, &call.message.secrecy.sent).filter(|_| peeked.whole);
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
                authentication_oauth2::refused(call, world.at());
            }
            let status = head.status;
            cache::received(is_conditional, &head, call);
            call.note(|| status.to_string());
            call.message.response = Some(head);
            if let Some(masked) = buffered {
                bodies::put_response(call, masked);
            }
            Ok(base)
        }
        Err(Unanswerable { reason, error }) => {
            let message = format!("no answer of {}: {reason}", call.context.host);
            let status = if reason == Reason::UpstreamTimeout { 504 } else { 502 };
            let mut fault = Fault::new(reason, status, message);
            fault.unanswered = Some(Unanswerable { reason, error });
            Err(fault)
        }
    }
}

/// Chooses a server of the backend, where the request goes to one.
fn chosen(call: &mut Call<'_>, world: &dyn World) -> Result<Option<usize>, Box<Fault>> {
    let Some(service) = call.message.backend.clone() else { return Ok(None) };
    // Before one is chosen: a request that is not sent must not be the one that decides whether a server is well.
    for member in &service.members {
        paths::below(&member.base, &call.message.request.uri)?;
    }
    let index = world.state().of::<Backends>().choose(
        &service,
        &call.context.workload.identity.owner,
        &call.message.tried,
        world.at(),
    )?;
    if let Some(member) = service.members.get(index) {
        call.note(|| format!("to {}{}", member.endpoint, member.base));
        if member.endpoint.tls.is_none() && !call.context.plain_secrets && call.message.has_secret() {
            return Err(Fault::secret_in_clear());
        }
    }
    Ok(Some(index))
}

fn member<'a>(call: &'a Call<'_>, index: usize) -> Option<&'a Member> {
    call.message.backend.as_ref()?.members.get(index)
}

fn came_of_it(answer: Option<&response::Parts>, index: usize, call: &mut Call<'_>, world: &dyn World) {
    let Some(service) = &call.message.backend else { return };
    let status = answer.map(|head| head.status.as_u16());
    let wait = answer.and_then(|head| fields::retry_after(&head.headers, call.context.time));
    world.state().of::<Backends>().outcome(
        service,
        &call.context.workload.identity.owner,
        index,
        (status, wait),
        world.at(),
    );
    if status.is_none_or(|status| status >= 500) {
        call.message.tried.push(index);
    }
}

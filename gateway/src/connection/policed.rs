//! A request of an API with policies: they are run, and what they need of the world is done.

use std::error::Error;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Request, Response};
use tokio::time::{sleep, timeout};

use super::requests::Body;
use super::third_party::{Rulebook, ThirdParty};
use crate::model::Reason;
use crate::policy::{self, Asked, Call, Pending, Side, State, Unanswerable, World};
use crate::route;
use crate::upstream::Outgoing;

/// Why there is no answer.
pub(super) type Unanswered = Box<dyn Error + Send + Sync>;

/// Sends a request to the third party.
pub(super) trait Ask: Send + Sync {
    /// The answer, when it has begun.
    fn ask(&self, request: Request<Outgoing>) -> Pending<'_, Result<Response<Body>, Unanswered>>;
}

/// For counting: any time before the first request.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Answers a request as its API's policies say.
pub(super) async fn answer(
    third_party: &ThirdParty,
    rulebook: Rulebook,
    request: Request<Outgoing>,
    ask: &dyn Ask,
) -> Result<Response<Body>, Unanswered> {
    let Some((api, rules)) = rulebook.read() else { return ask.ask(request).await };
    let (head, body) = request.into_parts();
    let matched = route::operation(rules, head.method.as_str(), head.uri.path());
    let (operation, parameters) = matched.map_or((None, Vec::new()), |(operation, found)| (Some(operation), found));
    let policies = operation.map_or(&rules.otherwise, |operation| &operation.policies);
    let start = *START;
    let mut call = Call::new(head, third_party.caller(), api, third_party.name(), SystemTime::now(), start.elapsed());
    call.scheme = third_party.scheme();
    call.may_be_secret = rules.plain_secrets || third_party.is_secured();
    call.operation = operation;
    call.parameters = parameters;
    call.id = third_party.request_id();
    let mut wire = Wire { ask, body: Some(body), answer: None, state: third_party.policy_state() };
    if let Err(fault) = policy::run(&mut call, rules, policies, &mut wire).await {
        return Err(fault.unanswered.map_or_else(|| fault.reason.into(), |unanswered| unanswered.error));
    }
    let Call { response, response_body, held, .. } = call;
    let body = match (response_body, wire.answer) {
        (Some(whole), _) => Body::whole(whole),
        (None, Some(streamed)) => streamed,
        (None, None) => Body::whole(Bytes::new()),
    };
    let head = response.ok_or(Reason::NotSent)?;
    Ok(Response::from_parts(head, body.holding(held)))
}

/// The world of one request.
struct Wire<'a> {
    ask: &'a dyn Ask,
    /// The caller's, as it comes.
    body: Option<Outgoing>,
    /// The third party's, as it comes.
    answer: Option<Body>,
    state: &'a State,
}

impl World for Wire<'_> {
    fn body(&mut self, side: Side, most: usize) -> Pending<'_, Result<Bytes, Reason>> {
        match side {
            Side::Request => {
                let body = self.body.take().map(Outgoing::wanted);
                Box::pin(async move { collected(body, most, Reason::ClientReset).await })
            }
            Side::Response => {
                let body = self.answer.take();
                Box::pin(async move { collected(body, most, Reason::UpstreamReset).await })
            }
        }
    }

    fn ask(
        &mut self,
        Asked { head, body }: Asked,
        within: Option<Duration>,
    ) -> Pending<'_, Result<hyper::http::response::Parts, Unanswerable>> {
        let body = body.map(Outgoing::from).or_else(|| self.body.take()).unwrap_or(Outgoing::Empty);
        // An answer that is not wanted gives up its connection before another one is taken.
        self.answer = None;
        Box::pin(async move {
            let asked = self.ask.ask(Request::from_parts(head, body));
            let answered = match within {
                None => asked.await,
                Some(within) => timeout(within, asked).await.unwrap_or(Err(Reason::UpstreamTimeout.into())),
            };
            let response = answered.map_err(|error| {
                let reason = error.downcast_ref::<Reason>().copied().unwrap_or(Reason::UpstreamReset);
                Unanswerable { reason, error }
            })?;
            let (head, body) = response.into_parts();
            self.answer = Some(body);
            Ok(head)
        })
    }

    fn pause(&mut self, time: Duration) -> Pending<'_, ()> {
        Box::pin(sleep(time))
    }

    fn state(&self) -> &State {
        self.state
    }
}

async fn collected<B>(body: Option<B>, most: usize, broken: Reason) -> Result<Bytes, Reason>
where
    B: hyper::body::Body<Data = Bytes, Error = hyper::Error>,
{
    let Some(body) = body else { return Ok(Bytes::new()) };
    let whole = Limited::new(body, most).collect().await;
    whole
        .map(|whole| whole.to_bytes())
        .map_err(|error| if error.is::<LengthLimitError>() { Reason::BodyTooLarge } else { broken })
}

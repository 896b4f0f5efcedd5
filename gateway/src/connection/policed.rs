//! A request of an API with policies: they are run, and what they need of the world is done.

use std::error::Error;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Request, Response};
use tokio::time::{sleep, timeout};

use super::requests::{Body, Record};
use super::third_party::{Rulebook, ThirdParty};
use crate::model::{Reason, Told};
use crate::policy::{self, Asked, Call, Peeked, Pending, Side, State, Unanswerable, World};
use crate::route;
use crate::telemetry::Teller;
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

/// The time by which policies count.
pub fn counting_time() -> Duration {
    START.elapsed()
}

/// Answers a request as its API's policies say.
pub(super) async fn answer(
    third_party: &ThirdParty,
    rulebook: Rulebook,
    request: Request<Outgoing>,
    ask: &dyn Ask,
    record: &mut Record,
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
    let mut wire = Wire {
        ask,
        body: Some(body),
        answer: None,
        third_party,
        teller: Teller { request: call.id, api: &api.name, workload: &third_party.caller().name },
        record,
        waited: Duration::ZERO,
    };
    let outcome = policy::run(&mut call, rules, policies, &mut wire).await;
    let fault = outcome.as_ref().err().or(call.error.as_ref());
    let reason = fault.map_or("ok", |fault| fault.reason.label());
    third_party.metrics().request(&api.name, reason);
    for (policy, reason, _) in &call.reports {
        third_party.metrics().report(&api.name, policy, reason.label());
    }
    if let Some(record) = wire.record {
        let facts = &mut record.facts;
        facts.operation = operation.map(|operation| Arc::clone(&operation.name));
        facts.outcome = reason;
        facts.policy = fault.and_then(|fault| fault.source.as_ref()).map(|source| source.policy);
        let report = |(policy, _, message): &(&str, Reason, String)| format!("{policy}: {message}");
        facts.reports = call.reports.iter().map(report).collect();
        facts.upstream = wire.waited;
        facts.policies = start.elapsed().saturating_sub(call.at).saturating_sub(wire.waited);
    }
    if let Err(fault) = outcome {
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
    third_party: &'a ThirdParty,
    /// Who tells something.
    teller: Teller<'a>,
    record: &'a mut Record,
    /// For the third party, in all.
    waited: Duration,
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

    fn answer_up_to(&mut self, most: usize) -> Pending<'_, Result<Option<Bytes>, Reason>> {
        Box::pin(async move {
            let Some(answer) = &mut self.answer else { return Ok(Some(Bytes::new())) };
            answer.read_ahead(most).await.map_err(|_| Reason::UpstreamReset)
        })
    }

    fn peek(&mut self, most: usize) -> Pending<'_, Result<Peeked, Reason>> {
        Box::pin(async move {
            let Some(answer) = &mut self.answer else { return Ok(Peeked { bytes: Bytes::new(), whole: true }) };
            let (bytes, whole) = answer.peek(most).await.map_err(|_| Reason::UpstreamReset)?;
            Ok(Peeked { bytes, whole })
        })
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
            let since = Instant::now();
            let asked = self.ask.ask(Request::from_parts(head, body));
            let answered = match within {
                None => asked.await,
                Some(within) => timeout(within, asked).await.unwrap_or(Err(Reason::UpstreamTimeout.into())),
            };
            self.waited += since.elapsed();
            let response = answered.map_err(|error| {
                let reason = error.downcast_ref::<Reason>().copied().unwrap_or(Reason::UpstreamReset);
                Unanswerable { reason, error }
            })?;
            let (head, body) = response.into_parts();
            self.answer = Some(body);
            Ok(head)
        })
    }

    fn tell(&mut self, told: Vec<Told>) {
        if let Some(record) = self.record {
            record.told(&told);
        }
        self.third_party.telemetry().told(told, self.teller);
    }

    fn pause(&mut self, time: Duration) -> Pending<'_, ()> {
        Box::pin(sleep(time))
    }

    fn state(&self) -> &State {
        self.third_party.policy_state()
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

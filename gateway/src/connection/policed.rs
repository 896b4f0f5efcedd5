//! A request of an API with policies: they are run, and what they need of the world is done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, TRAILER};
use hyper::{Request, Response};
use tokio::time::{sleep, timeout};

use super::buffered::{self, Buffered};
use super::clock::clock;
use super::elsewhere::Elsewhere;
use super::requests::{Body, Record, Unanswered};
use super::third_party::{Rulebook, ThirdParty, WELL};
use super::trailers;
use crate::flow::Bound;
use crate::model::{Endpoint, Reason, Told};
use crate::policy::{self, Account, Asked, Call, Peeked, Pending, Side, State, Unanswerable, World};
use crate::telemetry::Teller;
use crate::upstream::Outgoing;

/// Sends a request to the third party.
pub(super) trait Ask: Send + Sync {
    /// The answer, when it has begun.
    fn ask(&self, request: Request<Outgoing>) -> Pending<'_, Result<Response<Body>, Unanswered>>;
}

/// Requests at once that nobody waits for, of all and of one owner; beyond, they are not sent.
const AWAY: Bound = Bound { all: 1000, each: 250 };

/// Most bytes of their answers that are read.
const LARGEST_AWAY: usize = 1 << 20;

/// Answers a request as its API's policies say; with an account of it, where somebody wants one.
pub(super) async fn answer(
    third_party: &ThirdParty,
    rulebook: Rulebook,
    request: Request<Outgoing>,
    ask: &dyn Ask,
    record: &mut Record,
    account: Option<&mut Account>,
) -> Result<Response<Body>, Unanswered> {
    let Some((api, rules)) = rulebook.read() else { return ask.ask(request).await };
    let (mut head, body) = request.into_parts();
    head.headers.remove(TRAILER);
    let mut call = Call::new(head, third_party.caller(), api, third_party.name(), SystemTime::now(), clock());
    call.original_dst = Some(third_party.original_dst());
    call.scheme = third_party.scheme();
    call.may_be_secret = rules.plain_secrets || third_party.is_secured();
    call.id = third_party.request_id();
    call.steps = account.is_some().then(Vec::new);
    let mut wire = Wire {
        ask,
        body: Some(body.without_trailers()),
        answer: None,
        third_party,
        elsewhere: &|| third_party.elsewhere(&rulebook, api),
        teller: Teller { request: call.id, api: &api.name, workload: &third_party.caller().name },
        record,
        asked: false,
        waited: Duration::ZERO,
        before: third_party.buffered(),
        after: third_party.buffered(),
    };
    let outcome = policy::run(&mut call, rules, &mut wire).await;
    let fault = outcome.as_ref().err().or(call.error.as_ref());
    let reason = fault.map_or(WELL, |fault| fault.reason.label());
    third_party.count(&api.name, reason);
    for (policy, reason, _) in &call.reports {
        third_party.metrics().report(&api.name, policy, reason.label());
    }
    if let Some(record) = wire.record {
        let facts = &mut record.facts;
        facts.operation = call.operation.map(|operation| Arc::clone(&operation.name));
        facts.outcome = reason;
        facts.policy = fault.and_then(|fault| fault.source.as_ref()).map(|source| source.policy);
        let report = |(policy, _, message): &(&str, Reason, String)| format!("{policy}: {message}");
        facts.reports = call.reports.iter().map(report).collect();
        facts.upstream = wire.waited;
        facts.policies = clock().saturating_sub(call.at).saturating_sub(wire.waited);
    }
    if let Some(account) = account {
        *account = Account::of(&mut call, wire.asked);
    }
    if let Err(fault) = outcome {
        return Err(fault.unanswered.map_or_else(|| fault.reason.into(), |unanswered| unanswered.error));
    }
    let Call { response, response_body, held, mut meters, .. } = call;
    let body = match (response_body, wire.answer) {
        (Some(whole), _) => Body::whole(whole),
        (None, Some(streamed)) => streamed,
        (None, None) => Body::whole(Bytes::new()),
    };
    let mut head = response.ok_or(Reason::NotSent)?;
    trailers::announce_those_of_grpc(&mut head.headers);
    let body = body.holding(held).taking(wire.after.into_share()).policed();
    if meters.is_empty() {
        return Ok(Response::from_parts(head, body));
    }
    meters.begins(head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default());
    Ok(Response::from_parts(head, body.metered(meters, third_party.later_told(call.id, api), third_party.buffered())))
}

/// The world of one request.
struct Wire<'a> {
    ask: &'a dyn Ask,
    /// The caller's, as it comes.
    body: Option<Outgoing>,
    /// The third party's, as it comes.
    answer: Option<Body>,
    elsewhere: &'a (dyn Fn() -> Elsewhere + Send + Sync),
    third_party: &'a ThirdParty,
    /// Who tells something.
    teller: Teller<'a>,
    record: &'a mut Record,
    /// Whether anybody was asked to answer the request.
    asked: bool,
    /// For the third party, in all.
    waited: Duration,
    /// The room for the request's body, and for what policies get of others; and that for the response's.
    before: Buffered,
    after: Buffered,
}

impl World for Wire<'_> {
    fn body(&mut self, side: Side, most: usize) -> Pending<'_, Result<Bytes, Reason>> {
        match side {
            Side::Request => {
                let body = self.body.take().map(Outgoing::wanted);
                Box::pin(async move { collected(body, most, Reason::ClientReset, &self.before).await })
            }
            Side::Response => {
                let body = self.answer.take();
                Box::pin(async move { collected(body, most, Reason::UpstreamReset, &self.after).await })
            }
        }
    }

    fn has_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !hyper::body::Body::is_end_stream(body))
    }

    fn answer_up_to(&mut self, most: usize) -> Pending<'_, Result<Option<Bytes>, Reason>> {
        Box::pin(async move {
            let Some(answer) = &mut self.answer else { return Ok(Some(Bytes::new())) };
            answer.read_ahead(most, &self.after).await.map_err(|_| Reason::UpstreamReset)
        })
    }

    fn peek(&mut self, most: usize) -> Pending<'_, Result<Peeked, Reason>> {
        Box::pin(async move {
            let Some(answer) = &mut self.answer else { return Ok(Peeked { bytes: Bytes::new(), whole: true }) };
            let (bytes, whole) = answer.peek(most, &self.after).await.map_err(|_| Reason::UpstreamReset)?;
            Ok(Peeked { bytes, whole })
        })
    }

    fn ask(
        &mut self,
        Asked { head, body, to, count }: Asked,
        within: Option<Duration>,
    ) -> Pending<'_, Result<hyper::http::response::Parts, Unanswerable>> {
        let length = body.as_ref().map_or(0, Bytes::len) as u64;
        let body = match (body, self.body.take(), count) {
            (Some(whole), _, count) => {
                if let Some(count) = count {
                    count.fetch_add(length, Ordering::Relaxed);
                }
                Outgoing::from(whole)
            }
            (None, Some(streamed), Some(count)) => streamed.counted(count),
            (None, Some(streamed), None) => streamed,
            (None, None, _) => Outgoing::Empty,
        };
        self.asked = true;
        // An answer that is not wanted gives up its connection before another one is taken.
        self.answer = None;
        Box::pin(async move {
            // Only records say how long it was.
            let since = self.record.is_some().then(Instant::now);
            let request = Request::from_parts(head, body);
            let elsewhere = to.map(|to| (to, (self.elsewhere)()));
            let asked = match &elsewhere {
                None => self.ask.ask(request),
                Some((to, elsewhere)) => Box::pin(elsewhere.send(to, request)),
            };
            let answered = match within {
                None => asked.await,
                Some(within) => timeout(within, asked).await.unwrap_or(Err(Reason::UpstreamTimeout.into())),
            };
            self.waited += since.map_or(Duration::ZERO, |since| since.elapsed());
            let response = answered.map_err(|error| {
                let reason = error.downcast_ref::<Reason>().copied().unwrap_or(Reason::UpstreamReset);
                Unanswerable { reason, error }
            })?;
            let (head, body) = response.into_parts();
            self.answer = Some(body);
            Ok(head)
        })
    }

    fn fetch(
        &self,
        to: &Arc<Endpoint>,
        request: Request<Bytes>,
        most: usize,
        within: Duration,
    ) -> Pending<'_, Result<Response<Bytes>, Reason>> {
        let (to, elsewhere) = (Arc::clone(to), (self.elsewhere)());
        Box::pin(async move { elsewhere.fetch(&to, request, most, within, &self.before).await })
    }

    fn send_away(&self, to: &Arc<Endpoint>, request: Request<Bytes>, within: Duration) {
        let (to, elsewhere) = (Arc::clone(to), (self.elsewhere)());
        let Some(place) = self.third_party.sent_away(AWAY) else {
            tracing::warn!(%to, "a request that nobody waits for was not sent: too many are on their way");
            return;
        };
        let buffered = self.third_party.buffered();
        tokio::spawn(async move {
            let _place = place;
            if let Err(reason) = elsewhere.fetch(&to, request, LARGEST_AWAY, within, &buffered).await {
                tracing::warn!(%to, %reason, "no answer to a request that nobody waits for");
            }
        });
    }

    fn at(&self) -> Duration {
        clock()
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

async fn collected<B>(body: Option<B>, most: usize, broken: Reason, buffered: &Buffered) -> Result<Bytes, Reason>
where
    B: hyper::body::Body<Data = Bytes, Error = hyper::Error>,
{
    match body {
        Some(body) => buffered::whole(body, most, broken, buffered).await,
        None => Ok(Bytes::new()),
    }
}

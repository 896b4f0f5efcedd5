//! A request of an API with policies: evaluates them, and does the IO that they ask for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TRAILER};
use hyper::{Request, Response, Version};
use tokio::time::{sleep, timeout};

use super::buffered::{self, Buffered};
use super::clock::clock;
use super::elsewhere::Elsewhere;
use super::requests::{Body, Record, Unanswered};
use super::sender::Sender;
use super::third_party::{Rulebook, WELL};
use super::trailers::Filter;
use crate::flow::Bound;
use crate::model::{Endpoint, Pending, Reason, Told};
use crate::policy::{self, Account, Asked, Call, Effects, Peeked, Side, State, Trailers, Unanswerable, World};
use crate::telemetry::Teller;
use crate::upstream::{Held, Outgoing};

/// Concurrent requests whose responses nobody waits for, of all and of one owner; beyond it they are not sent.
const AWAY: Bound = Bound { all: 1000, each: 250 };

/// Most bytes of their responses that are read.
const LARGEST_AWAY: usize = 1 << 20;

/// Answers a request as its API's policies say, and fills in an account of it where one is wanted.
pub(super) async fn answer(
    sender: &Sender,
    rulebook: Rulebook,
    request: Request<Outgoing>,
    upgrade: Option<&HeaderValue>,
    record: &mut Record,
    account: Option<&mut Account>,
) -> Result<Response<Body>, Unanswered> {
    let Some((api, rules)) = rulebook.read() else { return sender.send(request, upgrade).await };
    let third_party = sender.third_party();
    let (mut head, body) = request.into_parts();
    head.headers.remove(TRAILER);
    let version = head.version;
    let mut call = Call::new(head, third_party.caller(), api, third_party.name(), SystemTime::now(), clock());
    call.context.original_dst = Some(third_party.original_dst());
    call.context.scheme = third_party.scheme();
    call.message.secrecy.allowed = rules.plain_secrets || third_party.is_secured();
    call.context.id = third_party.request_id();
    call.effects.steps = account.is_some().then(Vec::new);
    let mut wire = Wire {
        sender,
        upgrade,
        body: Some(body.without_trailers()),
        answer: None,
        trailers: None,
        elsewhere: &|| third_party.elsewhere(&rulebook, api),
        teller: Teller { request: call.context.id, api: &api.name, workload: &third_party.caller().identity.name },
        record,
        asked: false,
        waited: Duration::ZERO,
        before: Arc::new(third_party.buffered()),
        after: third_party.buffered(),
    };
    let outcome = policy::run(&mut call, rules, &mut wire).await;
    let fault = outcome.as_ref().err().or(call.context.error.as_ref());
    let reason = fault.map_or(WELL, |fault| fault.reason.label());
    third_party.count(&api.name, reason);
    for (policy, reason, _) in &call.effects.reports {
        third_party.metrics().report(&api.name, policy, reason.label());
    }
    if let Some(record) = wire.record {
        let facts = &mut record.facts;
        facts.operation = call.context.operation.map(|operation| Arc::clone(&operation.name));
        facts.outcome = reason;
        facts.policy = fault.and_then(|fault| fault.source.as_ref()).map(|source| source.policy);
        let report = |(policy, _, message): &(&str, Reason, String)| format!("{policy}: {message}");
        facts.reports = call.effects.reports.iter().map(report).collect();
        facts.upstream = wire.waited;
        facts.policies = clock().saturating_sub(call.context.at).saturating_sub(wire.waited);
    }
    if let Some(account) = account {
        *account = Account::of(&mut call, wire.asked);
    }
    if let Err(fault) = outcome {
        return Err(fault.unanswered.map_or_else(|| fault.reason.into(), |unanswered| unanswered.error));
    }
    let mut head = call.message.response.take().ok_or(Reason::NotSent)?;
    // A third party may repeat a secret in its reason phrase, too, which nobody needs (RFC 9112 §4).
    head.extensions.remove::<ReasonPhrase>();
    let response_body = call.message.response_body.take();
    let body = match (response_body, wire.answer, head.extensions.remove()) {
        (Some(whole), _, None) => Body::whole(whole),
        (Some(whole), _, Some(Trailers(trailers))) => {
            announce(&trailers, version, &mut head.headers);
            Body::whole_with(whole, trailers)
        }
        (None, Some(streamed), _) => streamed,
        (None, None, _) => Body::whole(Bytes::new()),
    };
    let filter = Filter::of(&mut head.headers, call.decided(), call.sent_secrets());
    let Effects { held, mut meters, .. } = call.effects;
    let body = body.holding(held).taking(wire.after.into_share().map(Arc::new)).filtering(filter);
    if meters.is_empty() {
        return Ok(Response::from_parts(head, body));
    }
    meters.begins(head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default());
    Ok(Response::from_parts(
        head,
        body.metered(meters, third_party.later_told(call.context.id, api), third_party.buffered()),
    ))
}

/// Describes a body that has trailers: HTTP/1.1 frames it in chunks then, and names them (RFC 9110 §6.6.2).
fn announce(trailers: &HeaderMap, version: Version, headers: &mut HeaderMap) {
    if version == Version::HTTP_2 {
        return;
    }
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRAILER);
    for name in trailers.keys() {
        headers.append(TRAILER, HeaderValue::from_str(name.as_str()).expect("a name is a value"));
    }
}

/// The world of one request.
struct Wire<'a> {
    sender: &'a Sender,
    /// The protocol that the caller may change its connection to.
    upgrade: Option<&'a HeaderValue>,
    /// The caller's body, as it comes.
    body: Option<Outgoing>,
    /// The third party's response body, as it comes.
    answer: Option<Body>,
    /// The trailers of a response whose body was read.
    trailers: Option<HeaderMap>,
    elsewhere: &'a (dyn Fn() -> Elsewhere + Send + Sync),
    /// Who tells something.
    teller: Teller<'a>,
    record: &'a mut Record,
    /// Whether anybody was asked to answer the request.
    asked: bool,
    /// For the third party, in all.
    waited: Duration,
    /// The room for the request's body, and for what policies get of others; and that for the response's.
    before: Arc<Buffered>,
    after: Buffered,
}

impl World for Wire<'_> {
    fn body(&mut self, side: Side, most: usize) -> Pending<'_, Result<Bytes, Reason>> {
        match side {
            Side::Request => {
                let body = self.body.take().map(Outgoing::wanted);
                // Trailers that policies do not see do not get past them (RFC 9110 §6.5.1 lets an intermediary drop them).
                Box::pin(async move { Ok(collected(body, most, Reason::ClientReset, &self.before).await?.0) })
            }
            Side::Response => {
                let body = self.answer.take();
                Box::pin(async move {
                    let (bytes, trailers) = collected(body, most, Reason::UpstreamReset, &self.after).await?;
                    self.trailers = trailers;
                    Ok(bytes)
                })
            }
        }
    }

    fn has_body(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !hyper::body::Body::is_end_stream(body))
    }

    fn answer_up_to(&mut self, most: usize) -> Pending<'_, Result<Option<Bytes>, Reason>> {
        Box::pin(async move {
            let Some(answer) = &mut self.answer else { return Ok(Some(Bytes::new())) };
            let whole = answer.read_ahead(most, &self.after).await.map_err(|_| Reason::UpstreamReset)?;
            Ok(whole.map(|(bytes, trailers)| {
                self.trailers = trailers;
                bytes
            }))
        })
    }

    fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
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
                // It takes room until it has been sent, which may be after the response.
                Outgoing::from(whole).holding(Arc::clone(&self.before) as Held)
            }
            (None, Some(streamed), Some(count)) => streamed.counted(count),
            (None, Some(streamed), None) => streamed,
            (None, None, _) => Outgoing::Empty,
        };
        self.asked = true;
        // A response that is not wanted gives up its connection before another one is taken.
        self.answer = None;
        self.trailers = None;
        Box::pin(async move {
            // Only records say how long it was.
            let since = self.record.is_some().then(Instant::now);
            let request = Request::from_parts(head, body);
            let elsewhere = to.map(|to| (to, (self.elsewhere)()));
            let asked = async {
                match &elsewhere {
                    None => self.sender.send(request, self.upgrade).await,
                    Some((to, elsewhere)) => Box::pin(elsewhere.send(to, request)).await,
                }
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
        let Some(place) = self.sender.third_party().sent_away(AWAY) else {
            tracing::warn!(%to, "a request that nobody waits for was not sent: too many are on their way");
            return;
        };
        let buffered = self.sender.third_party().buffered();
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
        self.sender.third_party().telemetry().told(told, self.teller);
    }

    fn pause(&mut self, time: Duration) -> Pending<'_, ()> {
        Box::pin(sleep(time))
    }

    fn state(&self) -> &State {
        self.sender.third_party().policy_state()
    }
}

/// Reads a body to its end, and its trailers.
async fn collected<B>(
    body: Option<B>,
    most: usize,
    broken: Reason,
    buffered: &Buffered,
) -> Result<(Bytes, Option<HeaderMap>), Reason>
where
    B: hyper::body::Body<Data = Bytes, Error = hyper::Error>,
{
    match body {
        Some(body) => buffered::whole(body, most, broken, buffered).await,
        None => Ok((Bytes::new(), None)),
    }
}

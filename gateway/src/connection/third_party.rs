use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};

use super::Rooms;
use super::buffered::Buffered;
use super::elsewhere::Elsewhere;
use super::requests::{Counted, Tell};
use crate::flow::{Bound, Share};
use crate::model::{
    Alpn, Api, ApiId, Flow, Host, Limits, Model, OriginalDst, Pool as PoolSettings, Reason, Rules, Workload,
};
use crate::permit::{self, Permit};
use crate::policy::State;
use crate::route::{Carriage, Route};
use crate::telemetry::{
    Bytes, Counter, FlowRecord, Metrics, RequestRecord, Responses, Telemetry, Teller, TraceContext,
};
use crate::upstream::{Http1, Http2, Key, Lease, Leased, Outgoing, PoolEntry, Reuse, SendError, Windows};

/// How long a permit holds for further requests: addresses of names and of the node are looked at no more often.
const PERMITTED: Duration = Duration::from_millis(500);

/// The owner of idle connections to original destinations. They cannot be taken for an API's.
const STRANGER: &str = "(stranger)";

/// The fields of W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The outcome of a request that went well.
pub(super) const WELL: &str = "ok";

/// The third party of a flow, as its requests see it: any connection that the flow's permit allows at the moment.
pub(super) struct ThirdParty {
    rooms: Arc<Rooms>,
    model: Arc<Model>,
    flow: Flow,
    /// Absent for what goes to its original destination.
    api: Option<ApiId>,
    /// The API that leaves the caller's workload untouched, if that is why.
    untouched: Option<ApiId>,
    carriage: Carriage,
    name: Host,
    offered: Alpn,
    /// The windows of HTTP/2 with the caller and with the third party, and the room that they take.
    windows: Windows,
    _room: Option<Arc<Share>>,
    pool_entry: Arc<PoolEntry>,
    permit: Mutex<Option<(Instant, Arc<Permit>)>>,
    /// How many requests there were.
    requests: AtomicU64,
    /// The counts of the flow.
    counts: Arc<Bytes>,
    /// Where those that went well are counted.
    well: OnceLock<Counter>,
    /// Where the responses of its API are counted.
    responses: Option<Arc<Responses>>,
}

/// What is done with a request: it ends under the configuration that it began with.
pub(super) struct Rulebook {
    model: Arc<Model>,
    api: usize,
}

impl Rulebook {
    pub(super) fn read(&self) -> Option<(&Api, &Rules)> {
        let api = self.model.apis.get(self.api)?;
        Some((api, api.rules.as_deref()?))
    }
}

impl ThirdParty {
    pub(super) fn new(
        rooms: Arc<Rooms>,
        model: Arc<Model>,
        flow: Flow,
        route: &Route<'_>,
        carriage: Carriage,
        name: Host,
        counts: Arc<Bytes>,
    ) -> Self {
        let secured = match &carriage {
            Carriage::Http | Carriage::Passthrough => None,
            Carriage::Intercept(backend, alpn) => Some((Arc::clone(backend), *alpn)),
            Carriage::Originate(backend) => Some((Arc::clone(backend), Alpn::HTTP1)),
        };
        let (api, owner, pool) = match route {
            Route::Api(id, api) => (Some(*id), Arc::clone(&api.name), api.pool),
            // Nobody has agreed to share connections.
            Route::Stranger | Route::Untouched(..) => {
                (None, STRANGER.into(), PoolSettings { isolate_workloads: true, ..Default::default() })
            }
        };
        let untouched = match route {
            Route::Untouched(id, _) => Some(*id),
            Route::Api(..) | Route::Stranger => None,
        };
        let chosen = flow.original_dst.0;
        let offered = secured.as_ref().map_or(Alpn::HTTP1, |(_, alpn)| *alpn);
        let (windows, room) = match offered.http2 {
            true => rooms.wide_windows(&flow.workload.identity.owner, &model.limits),
            false => (Windows::Wide, None),
        };
        let pool_entry = rooms.pool.entry(Key {
            api: owner,
            host: name.clone(),
            chosen: SocketAddr::new(chosen.ip(), carriage.port().unwrap_or(chosen.port())),
            secured,
            windows,
            idle: pool.idle,
            workload: pool.isolate_workloads.then(|| Arc::clone(&flow.workload.identity.owner)),
        });
        let counted = api.and_then(|id| model.api(id)).map(|api| rooms.telemetry.metrics().responses(&api.name));
        Self {
            responses: counted,
            rooms,
            model,
            flow,
            api,
            untouched,
            carriage,
            name,
            offered,
            windows,
            _room: room,
            pool_entry,
            permit: Mutex::default(),
            requests: AtomicU64::new(0),
            counts,
            well: OnceLock::new(),
        }
    }

    /// A connection, of the protocol that caller and third party agree on; none if there is no getting to the third party
    /// and there are policies, which may know an answer without it.
    pub(super) async fn first(&self, record: &FlowRecord) -> Result<Option<Lease>, Reason> {
        match self.lease(self.offered, Reuse::Any).await {
            Ok(lease) => {
                record.connected(lease.path().local, lease.path().remote, self.permit()?.proxy());
                Ok(Some(lease))
            }
            Err(reason) if self.rulebook().is_some() => {
                tracing::debug!(%reason, name = %self.name, "its policies may have an answer");
                Ok(None)
            }
            Err(reason) => Err(reason),
        }
    }

    /// Returns the windows of HTTP/2 with the caller.
    pub(super) fn windows(&self) -> Windows {
        self.windows
    }

    /// Gives back the room of windows: the connection turned out to be one of HTTP/1.1.
    pub(super) fn without_windows(self) -> Self {
        Self { _room: None, ..self }
    }

    /// What the caller offered to speak.
    pub(super) fn offered(&self) -> Alpn {
        self.offered
    }

    /// Sends a request over HTTP/1.1, over this connection if there is one that can take it, and returns the response, whose
    /// body is still to come. A request that a dead connection swallowed is sent again over a new one, if it may be.
    pub(super) async fn send(
        &self,
        connection: Option<Leased<Box<Http1>>>,
        mut request: Request<Outgoing>,
    ) -> Result<(Leased<Box<Http1>>, Response<Incoming>), Reason> {
        let reuse = Reuse::of(&request);
        let usable = |connection: &mut Leased<Box<Http1>>| connection.is_bound() || connection.is_usable(reuse);
        let mut connection = match connection.and_then(|mut connection| usable(&mut connection).then_some(connection)) {
            Some(connection) => connection,
            None => self.http1(reuse).await?,
        };
        loop {
            match connection.send(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(SendError { again: Some(again), .. }) => request = *again,
                Err(_) => return Err(Reason::UpstreamReset),
            }
            connection = self.http1(Reuse::Never).await?;
        }
    }

    async fn http1(&self, reuse: Reuse) -> Result<Leased<Box<Http1>>, Reason> {
        match self.lease(Alpn::HTTP1, reuse).await? {
            Lease::Http1(leased) => Ok(leased),
            Lease::Http2(_) => Err(Reason::UpstreamTls),
        }
    }

    /// Returns an HTTP/2 connection.
    pub(super) async fn http2(&self, reuse: Reuse) -> Result<Leased<Http2>, Reason> {
        match self.lease(Alpn::HTTP2, reuse).await? {
            Lease::Http2(leased) => Ok(leased),
            // The third party has changed its mind.
            Lease::Http1(_) => Err(Reason::UpstreamTls),
        }
    }

    /// What its callers may use up.
    pub(super) fn limits(&self) -> &Limits {
        &self.model.limits
    }

    /// Returns the hosts that requests may be for: the one of the connection, and those that its API lists by name. Other names
    /// below a wildcard may have other servers.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        let listed = self.api().map_or(&[][..], |api| &api.hosts);
        std::iter::once(&self.name).chain(listed)
    }

    fn api(&self) -> Option<&Api> {
        self.api.and_then(|id| self.model.api(id))
    }

    /// Returns where its flow belongs.
    fn route(&self) -> Result<Route<'_>, Reason> {
        let api = |id| self.model.api(id).ok_or(Reason::NoOrigin);
        Ok(match (self.api, self.untouched) {
            (Some(id), _) => Route::Api(id, api(id)?),
            (None, Some(id)) => Route::Untouched(id, api(id)?),
            (None, None) => Route::Stranger,
        })
    }

    /// Returns the protocols, beside WebSocket, to which callers may change a connection. A stranger's connection may become nothing
    /// else either: its requests may be for a listed host, each of them.
    pub(super) fn upgrades(&self) -> &[Arc<str>] {
        self.api().map_or(&[], |api| &api.upgrades)
    }

    /// The name that the caller asked for.
    pub(super) fn name(&self) -> &Host {
        &self.name
    }

    /// Returns the workload that calls.
    pub(super) fn caller(&self) -> &Workload {
        &self.flow.workload
    }

    /// The address that it connected to.
    pub(super) fn original_dst(&self) -> OriginalDst {
        self.flow.original_dst
    }

    /// What is done with a request that comes now, if anything.
    pub(super) fn rulebook(&self) -> Option<Rulebook> {
        // That there is something to be done is a matter of the connection: it ends when that changes.
        let own = self.api().filter(|api| api.rules.is_some())?;
        let newest = self.rooms.changes.borrow();
        let (model, api) = match newest.apis.iter().position(|api| api.name == own.name) {
            Some(index) if newest.apis[index].rules.is_some() => (Arc::clone(&newest), index),
            _ => (Arc::clone(&self.model), usize::try_from(self.api?.0).ok()?),
        };
        Some(Rulebook { model, api })
    }

    /// What policies remember.
    pub(super) fn policy_state(&self) -> &State {
        &self.rooms.policies
    }

    /// Where what is known at the end of a request's answer is told.
    pub(super) fn later_told(&self, request: (u64, u64), api: &Api) -> Tell {
        let (rooms, api, workload) =
            (Arc::clone(&self.rooms), Arc::clone(&api.name), Arc::clone(&self.flow.workload.identity.name));
        Box::new(move |told| rooms.telemetry.told(told, Teller { request, api: &api, workload: &workload }))
    }

    /// How its API's policies send requests to others.
    pub(super) fn elsewhere(&self, rulebook: &Rulebook, api: &Api) -> Elsewhere {
        Elsewhere {
            rooms: Arc::clone(&self.rooms),
            owner: Arc::clone(&api.name),
            egress: rulebook.model.egress_of(api).clone(),
            fail: api.fail,
            pool: api.pool,
            workload: api.pool.isolate_workloads.then(|| Arc::clone(&self.flow.workload.identity.owner)),
        }
    }

    /// Returns room for bodies that are held for a request.
    pub(super) fn buffered(&self) -> Buffered {
        Buffered::new(&self.rooms.buffers, &self.flow.workload.identity.owner, self.model.limits.buffered_bytes)
    }

    /// Takes the place of a connection of HTTP/2, if there is one: an owner may have an eighth of its connections.
    pub(super) fn http2_place(&self) -> Option<Share> {
        let Bound { all, each } = super::connections_of_one(&self.model);
        self.rooms.http2.take(&self.flow.workload.identity.owner, 1, Bound { all, each: (each / 8).max(1) })
    }

    /// Takes the place of a request of HTTP/2, if there is one.
    pub(super) fn stream(&self) -> Option<Share> {
        self.rooms.streams.take(&self.flow.workload.identity.owner, 1, super::connections_of_one(&self.model))
    }

    /// Takes the place of a request that nobody waits for, if there is one.
    pub(super) fn sent_away(&self, bound: Bound) -> Option<Share> {
        self.rooms.sent_away.take(&self.flow.workload.identity.owner, 1, bound)
    }

    /// What callers speak.
    pub(super) fn scheme(&self) -> &'static str {
        if matches!(self.carriage, Carriage::Intercept(..)) { "https" } else { "http" }
    }

    /// Whether the third party is spoken to in TLS.
    pub(super) fn is_secured(&self) -> bool {
        matches!(self.carriage, Carriage::Intercept(..) | Carriage::Originate(_))
    }

    /// For a request, its caller and the log: the number of the flow and of its request.
    pub(super) fn request_id(&self) -> (u64, u64) {
        (self.flow.id, self.requests.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Counts a request, and tells the third party its trace if the configuration says so. Returns the record of it, if somebody watches.
    pub(super) fn record<B>(&self, request: &mut Request<B>) -> Option<Box<RequestRecord>> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let api = self.api()?;
        let trace = self.trace(request.headers_mut());
        let target = || format!("{}{}", self.name, request.uri().path());
        let called = (self.scheme(), self.flow.original_dst.0.port());
        let (caller, method) = (&self.flow.workload, request.method().as_str());
        self.rooms.telemetry.request((self.flow.id, trace), &api.name, caller, called, method, target)
    }

    /// Counts the response to a request that begins now.
    pub(super) fn counted(&self) -> Counted {
        Counted::new(self.responses.as_ref())
    }

    /// Returns the place of a request in a trace, which is in its header fields from now on if the configuration says so.
    fn trace(&self, headers: &mut HeaderMap) -> Option<TraceContext> {
        let (parents, states) = (headers.get_all(TRACEPARENT), headers.get_all(TRACESTATE));
        let exports = self.rooms.telemetry.exports();
        let (parents, states) =
            (|| parents.iter().map(HeaderValue::as_bytes), || states.iter().map(HeaderValue::as_bytes));
        let (trace, propagate) = exports.trace(parents, states)?;
        if propagate && let Ok(value) = HeaderValue::try_from(trace.header()) {
            headers.insert(TRACEPARENT, value);
            if trace.parent.is_none() {
                // It belongs to a trace that is not continued (W3C Trace Context §4.3).
                headers.remove(TRACESTATE);
            }
        }
        Some(trace)
    }

    /// Where things are put on record.
    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.rooms.telemetry
    }

    /// Returns the metrics of the gateway.
    pub(super) fn metrics(&self) -> &Metrics {
        self.rooms.telemetry.metrics()
    }

    /// Counts a request of its API with policies.
    pub(super) fn count(&self, api: &Arc<str>, outcome: &'static str) {
        let counter = || self.metrics().requests(api, outcome);
        // Finding the counter is as dear as a policy.
        if outcome == WELL {
            self.well.get_or_init(counter).inc()
        } else {
            counter().inc()
        };
    }

    /// Waits until the configuration has other rules for this flow's API than those that it began with.
    pub(super) async fn rules_changed(&self) {
        let mut newest = self.rooms.changes.clone();
        let changed = |now: &Arc<Model>| now.generation > self.model.generation && !self.is_ruled_the_same_by(now);
        if newest.wait_for(changed).await.is_err() {
            std::future::pending().await
        }
    }

    fn is_ruled_the_same_by(&self, newest: &Model) -> bool {
        match self.api.or(self.untouched) {
            Some(id) => self.model.same_rules(id, newest),
            // An API may list its host now, or its address may belong to APIs that refuse strangers.
            None => newest.same_strangers(&self.model, &self.name, self.flow.original_dst.0.port()),
        }
    }

    async fn lease(&self, alpn: Alpn, reuse: Reuse) -> Result<Lease, Reason> {
        let permit = self.permit()?;
        self.rooms.pool.lease(&self.pool_entry, &permit, alpn, reuse).await
    }

    fn permit(&self) -> Result<Arc<Permit>, Reason> {
        let now = Instant::now();
        let mut kept = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, permit)) = kept.as_ref().filter(|(since, _)| now - *since < PERMITTED) {
            return Ok(Arc::clone(permit));
        }
        let (route, known) = (self.route()?, self.rooms.known());
        let permit = permit::admit(&self.model, &self.flow, &route, &self.carriage, Some(&self.name), known)
            .map_err(|refusal| refusal.reason)?;
        let permit = Arc::new(permit);
        *kept = Some((now, Arc::clone(&permit)));
        Ok(permit)
    }
}

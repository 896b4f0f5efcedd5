use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Rooms;
use crate::model::{Alpn, Api, ApiId, Flow, Host, Limits, Model, Reason, Workload};
use crate::policy::{self, Permit};
use crate::route::{Carriage, Route};
use crate::telemetry::FlowRecord;
use crate::upstream::{Http1, Http2, Key, Lease, Leased, Shelf};

/// How long a permit holds for further requests: addresses of names and of the node are looked at no more often.
const PERMITTED: Duration = Duration::from_millis(500);

/// The third party of a flow, as its requests see it: any connection that the flow's permit allows at the moment.
pub(super) struct ThirdParty {
    rooms: Arc<Rooms>,
    model: Arc<Model>,
    flow: Flow,
    api: ApiId,
    carriage: Carriage,
    name: Host,
    offered: Alpn,
    shelf: Arc<Shelf>,
    permit: Mutex<Option<(Instant, Arc<Permit>)>>,
}

/// Where a connection to it may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// An idle one will do.
    Idle,
    /// A new one: an idle one was dead.
    New,
}

impl ThirdParty {
    pub(super) fn new(
        rooms: Arc<Rooms>,
        model: Arc<Model>,
        flow: Flow,
        (api, rules): (ApiId, &Api),
        carriage: Carriage,
        name: Host,
    ) -> Self {
        let secured = match &carriage {
            Carriage::Http | Carriage::Passthrough => None,
            Carriage::Intercept(backend, alpn) => Some((Arc::clone(backend), *alpn)),
            Carriage::Originate(backend) => Some((Arc::clone(backend), Alpn::HTTP1)),
        };
        let chosen = flow.original_dst.0;
        let offered = secured.as_ref().map_or(Alpn::HTTP1, |(_, alpn)| *alpn);
        let shelf = rooms.pool.shelf(Key {
            api: Arc::clone(&rules.name),
            host: name.clone(),
            chosen: SocketAddr::new(chosen.ip(), carriage.port().unwrap_or(chosen.port())),
            secured,
            idle: rules.pool.idle,
            workload: rules.pool.isolate_workloads.then(|| Arc::clone(&flow.workload.cgroup)),
        });
        Self { rooms, model, flow, api, carriage, name, offered, shelf, permit: Mutex::default() }
    }

    /// A connection, of the protocol that caller and third party agree on.
    pub(super) async fn first(&self, record: &FlowRecord) -> Result<Lease, Reason> {
        let lease = self.lease(self.offered, Kept::Idle).await?;
        record.connected(lease.path().local, lease.path().remote);
        Ok(lease)
    }

    pub(super) async fn http1(&self, kept: Kept) -> Result<Leased<Box<Http1>>, Reason> {
        match self.lease(Alpn::HTTP1, kept).await? {
            Lease::Http1(leased) => Ok(leased),
            Lease::Http2(_) => Err(Reason::UpstreamTls),
        }
    }

    pub(super) async fn http2(&self, kept: Kept) -> Result<Leased<Http2>, Reason> {
        match self.lease(Alpn::HTTP2, kept).await? {
            Lease::Http2(leased) => Ok(leased),
            // It has changed its mind.
            Lease::Http1(_) => Err(Reason::UpstreamTls),
        }
    }

    /// What its callers may use up.
    pub(super) fn limits(&self) -> &Limits {
        &self.model.limits
    }

    /// Whom requests may be for.
    pub(super) fn hosts(&self) -> &[Host] {
        self.model.api(self.api).map_or(&[], |api| &api.hosts)
    }

    /// The name that the caller asked for.
    pub(super) fn name(&self) -> &Host {
        &self.name
    }

    /// Who calls.
    pub(super) fn caller(&self) -> &Workload {
        &self.flow.workload
    }

    /// Waits until the configuration has other rules for this flow's API than those that it began with.
    pub(super) async fn rules_changed(&self) {
        let mut newest = self.rooms.changes.clone();
        let changed =
            |now: &Arc<Model>| now.generation > self.model.generation && !self.model.same_rules(self.api, now);
        if newest.wait_for(changed).await.is_err() {
            std::future::pending().await
        }
    }

    async fn lease(&self, alpn: Alpn, kept: Kept) -> Result<Lease, Reason> {
        let permit = self.permit()?;
        match kept {
            Kept::Idle => self.rooms.pool.lease(&self.shelf, &permit, alpn).await,
            Kept::New => self.rooms.pool.dial(&self.shelf, &permit, alpn).await,
        }
    }

    fn permit(&self) -> Result<Arc<Permit>, Reason> {
        let now = Instant::now();
        let mut kept = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, permit)) = kept.as_ref().filter(|(since, _)| now - *since < PERMITTED) {
            return Ok(Arc::clone(permit));
        }
        let api = self.model.api(self.api).ok_or(Reason::NoOrigin)?;
        let (route, addresses, on_node) = (Route::Api(self.api, api), &self.rooms.addresses, &self.rooms.on_node);
        let permit =
            policy::admit(&self.model, &self.flow, &route, &self.carriage, Some(&self.name), addresses, on_node)?;
        let permit = Arc::new(permit);
        *kept = Some((now, Arc::clone(&permit)));
        Ok(permit)
    }
}

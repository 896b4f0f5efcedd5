use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::http1::Http1;
use super::http2::Http2;
use super::idle_limit::IdleLimit;
use super::request::{Outgoing, Reuse, SendError};
use super::tls::Tls;
use super::transport::{Metered, Transport};
use super::{Dialer, Upstream, Windows};
use crate::model::{Alpn, Backend, Host, Reason};
use crate::permit::Permit;

/// How long a connection is kept without a request.
const IDLE: Duration = Duration::from_secs(60);

/// A connection that fails a request within this time was dead before; one that is as new as this was not.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Of a connection that was in use, or open, so short a time ago, the runtime has heard of an end as soon as the kernel has, but for the
/// events of a moment.
const JUST_NOW: Duration = Duration::from_millis(100);

/// What requests must have in common to be sent over the same connection, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The API's name.
    pub api: Arc<str>,
    /// The third party's name.
    pub host: Host,
    /// The address that the caller chose of those that it has.
    pub chosen: SocketAddr,
    /// TLS settings, and the protocols that the caller offered inside.
    pub secured: Option<(Arc<Backend>, Alpn)>,
    /// The workload, where the API keeps its callers apart.
    pub workload: Option<Arc<str>>,
    /// The windows of its connections of HTTP/2.
    pub windows: Windows,
    /// How many idle connections are pooled; beyond it the longest idle one ends.
    pub idle: usize,
}

// The TLS settings differ where the rest does, almost always.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.api, &self.host, self.chosen, &self.workload).hash(state);
    }
}

/// Connections to third parties that have no request at the moment.
pub struct Pool {
    dialer: Arc<Dialer>,
    tls: Tls,
    entries: Mutex<HashMap<Key, Arc<PoolEntry>>>,
}

/// The idle connections of one key; a flow looks it up once.
pub struct PoolEntry {
    key: Key,
    pooled: Mutex<Pooled>,
}

#[derive(Default)]
struct Pooled {
    idle: Vec<Idle>,
    limit: IdleLimit,
}

struct Idle {
    connection: Connection,
    path: Path,
    since: Instant,
}

enum Connection {
    Http1(Box<Http1>),
    Http2(Http2),
}

/// From where to where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The egress address and port.
    pub local: SocketAddr,
    /// The third party's address.
    pub remote: SocketAddr,
}

/// A connection to a third party, for one user at a time.
pub enum Lease {
    /// For one request at a time.
    Http1(Leased<Box<Http1>>),
    /// An HTTP/2 connection, which many requests share.
    Http2(Leased<Http2>),
}

/// A connection that goes back to the pool when its user leaves it in order.
pub struct Leased<C: Reusable> {
    /// Present until it is dropped.
    connection: Option<C>,
    path: Path,
    entry: Arc<PoolEntry>,
    /// Since when it has had no request; none while it has one, or may have.
    since: Option<Instant>,
    /// When it was last found to be open.
    seen: Instant,
}

impl Pool {
    /// Creates a pool that has no connections yet.
    pub fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, tls: Tls::new(), entries: Mutex::default() }
    }

    /// Returns the entry of a key.
    pub fn entry(&self, key: Key) -> Arc<PoolEntry> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(&key) {
            return Arc::clone(entry);
        }
        let entry = Arc::new(PoolEntry { key: key.clone(), pooled: Mutex::default() });
        entries.insert(key, Arc::clone(&entry));
        entry
    }

    /// Returns a connection that the permit allows and that speaks one of these protocols: a pooled one, as far as `reuse`
    /// allows it, or a new one.
    ///
    /// # Errors
    /// Why no new one could be made.
    pub async fn lease(
        &self,
        entry: &Arc<PoolEntry>,
        permit: &Permit,
        alpn: Alpn,
        reuse: Reuse,
    ) -> Result<Lease, Reason> {
        match entry.take(permit, alpn, reuse) {
            Some(lease) => Ok(lease),
            None => self.dial(entry, permit, alpn).await,
        }
    }

    async fn dial(&self, entry: &Arc<PoolEntry>, permit: &Permit, alpn: Alpn) -> Result<Lease, Reason> {
        let key = &entry.key;
        let secured = key.secured.as_ref().map(|(backend, _)| (backend, alpn));
        let (transport, path) = self.connect(permit, &key.host, secured).await?;
        let connection = if transport.is_http2() {
            Connection::Http2(Http2::new(transport, key.windows).await?)
        } else {
            Connection::Http1(Box::new(Http1::new(transport).await?))
        };
        Ok(entry.leased(path, connection, Instant::now()))
    }

    /// A new connection for what is not HTTP, which is its user's alone.
    ///
    /// # Errors
    /// Why it could not be made.
    pub(super) async fn open(
        &self,
        permit: &Permit,
        host: &Host,
        tls: Option<&Arc<Backend>>,
    ) -> Result<Transport, Reason> {
        const NO_OFFER: Alpn = Alpn { http1: false, http2: false };
        let (transport, _) = self.connect(permit, host, tls.map(|tls| (tls, NO_OFFER))).await?;
        Ok(transport)
    }

    async fn connect(
        &self,
        permit: &Permit,
        host: &Host,
        secured: Option<(&Arc<Backend>, Alpn)>,
    ) -> Result<(Transport, Path), Reason> {
        let Upstream { stream, local, remote } = self.dialer.connect(permit).await?;
        let stream = Metered::new(stream);
        let transport = match secured {
            None => Transport::Tcp(stream),
            Some((backend, alpn)) => Transport::Tls(Box::new(self.tls.connect(backend, host, alpn, stream).await?)),
        };
        Ok((transport, Path { local, remote }))
    }

    /// Ends connections that have been idle for too long, and notes which the third party has ended.
    pub fn sweep(&self) {
        let mut ended = Vec::new();
        self.entries().retain(|_, entry| {
            let mut pooled = entry.pooled();
            let Pooled { idle, limit } = &mut *pooled;
            ended.extend(idle.extract_if(.., |idle| !idle.is_usable(limit, Connection::is_idle)));
            !pooled.idle.is_empty() || Arc::strong_count(entry) > 1
        });
        ended.into_iter().for_each(Idle::end);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Arc<PoolEntry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolEntry {
    fn take(self: &Arc<Self>, permit: &Permit, alpn: Alpn, reuse: Reuse) -> Option<Lease> {
        if reuse == Reuse::Never {
            return None;
        }
        let mut pooled = self.pooled();
        let Pooled { idle, limit } = &mut *pooled;
        loop {
            // The newest: the oldest may end in peace.
            let at = idle.iter().rposition(|idle| idle.connection.speaks(alpn))?;
            // The others have been idle for longer.
            if reuse == Reuse::Fresh && !idle[at].is_fresh(limit) {
                return None;
            }
            let mut found = idle.remove(at);
            let looks = if asks_kernel(reuse, found.since) { Connection::is_open } else { Connection::is_idle };
            if found.is_usable(limit, looks) && permit.allows(found.path.local, found.path.remote) {
                return Some(self.leased(found.path, found.connection, found.since));
            }
            found.end();
        }
    }

    fn leased(self: &Arc<Self>, path: Path, connection: Connection, since: Instant) -> Lease {
        let entry = Arc::clone(self);
        match connection {
            Connection::Http1(connection) => Lease::Http1(Leased::new(connection, path, entry, Some(since))),
            Connection::Http2(connection) => Lease::Http2(Leased::new(connection, path, entry, None)),
        }
    }

    fn put(&self, connection: Idle) {
        if self.key.idle == 0 {
            return connection.end();
        }
        let mut pooled = self.pooled();
        if pooled.idle.len() == self.key.idle {
            pooled.idle.remove(0).end();
        }
        pooled.idle.push(connection);
    }

    fn pooled(&self) -> MutexGuard<'_, Pooled> {
        self.pooled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Idle {
    fn end(self) {
        if let Connection::Http1(mut connection) = self.connection {
            connection.end();
        }
    }

    /// Whether the connection can take a request, as far as `looks` sees; what is seen of its end is learnt.
    fn is_usable(&mut self, limit: &mut IdleLimit, looks: fn(&mut Connection) -> bool) -> bool {
        let idle = self.since.elapsed();
        if looks(&mut self.connection) {
            limit.saw_open(idle);
        } else if let Some(silence) = self.connection.silence() {
            limit.saw_closed(idle.saturating_sub(silence), Instant::now());
        } else {
            return false;
        }
        idle < IDLE
    }

    fn is_fresh(&self, limit: &IdleLimit) -> bool {
        match &self.connection {
            Connection::Http1(connection) => is_fresh(connection, self.since, limit),
            // Its task notices an end at once, and a third party says which requests it did not process.
            Connection::Http2(_) => true,
        }
    }
}

/// Whether the kernel is asked if a connection is open that was open at this time: not if a failure costs nothing but a second attempt.
fn asks_kernel(reuse: Reuse, open: Instant) -> bool {
    reuse != Reuse::Any || open.elapsed() >= JUST_NOW
}

fn is_fresh(connection: &Http1, since: Instant, limit: &IdleLimit) -> bool {
    let (announced, round_trip) = connection.timing();
    limit.is_fresh(since.elapsed(), announced, round_trip, Instant::now())
}

impl Connection {
    fn speaks(&self, alpn: Alpn) -> bool {
        match self {
            Self::Http1(_) => alpn.http1,
            Self::Http2(_) => alpn.http2,
        }
    }

    fn is_idle(&mut self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_idle(),
            Self::Http2(connection) => connection.is_alive(),
        }
    }

    fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_open(),
            Self::Http2(connection) => connection.is_alive(),
        }
    }

    /// For how long the third party has been silent, if it has ended the connection.
    fn silence(&self) -> Option<Duration> {
        match self {
            Self::Http1(connection) => connection.silence(),
            Self::Http2(_) => None,
        }
    }
}

impl Lease {
    /// From where to where it goes.
    pub fn path(&self) -> Path {
        match self {
            Self::Http1(leased) => leased.path,
            Self::Http2(leased) => leased.path,
        }
    }
}

/// What can be used again.
pub trait Reusable {
    /// For the pool, if it can be used again.
    fn reusable(self) -> Option<Reused>;
}

/// A connection that can be used again.
pub struct Reused(Connection);

impl Reusable for Box<Http1> {
    fn reusable(mut self) -> Option<Reused> {
        (!self.is_bound() && self.is_idle()).then_some(Reused(Connection::Http1(self)))
    }
}

impl Reusable for Http2 {
    fn reusable(self) -> Option<Reused> {
        self.is_alive().then_some(Reused(Connection::Http2(self)))
    }
}

impl<C: Reusable> Leased<C> {
    fn new(connection: C, path: Path, entry: Arc<PoolEntry>, since: Option<Instant>) -> Self {
        Self { connection: Some(connection), path, entry, since, seen: Instant::now() }
    }

    /// From where to where it goes.
    pub fn path(&self) -> Path {
        self.path
    }
}

impl Leased<Box<Http1>> {
    /// Whether the connection, which may have been idle since it was leased, can take a request.
    pub fn is_usable(&mut self, reuse: Reuse) -> bool {
        let Some(since) = self.since.filter(|_| reuse != Reuse::Never) else { return false };
        let is_open = if asks_kernel(reuse, self.seen) { self.is_open() } else { self.is_idle() };
        is_open && (reuse == Reuse::Any || is_fresh(self, since, &self.entry.pooled().limit))
    }

    /// Sends a request and returns its response, whose body is still to come.
    pub async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, SendError> {
        let idle = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let may_be_dead = self.was_used() || idle > AT_ONCE;
        let began = Instant::now();
        let sent = Http1::send(self, request, may_be_dead).await;
        if matches!(&sent, Err(error) if error.again.is_some()) && began.elapsed() < AT_ONCE {
            self.entry.pooled().limit.saw_closed(idle, Instant::now());
        }
        sent
    }

    /// The response has ended, and the connection waits for the next request of the same user.
    pub fn rests(&mut self) {
        self.seen = Instant::now();
        self.since = Some(self.seen);
    }
}

impl Leased<Http2> {
    /// Sends a request and returns its response, whose body is still to come. Nobody else gets the connection before the request's
    /// own body has ended, too, which takes one of the streams that the third party allows.
    pub async fn send(self: &Arc<Self>, request: Request<Outgoing>) -> Result<Response<Incoming>, SendError> {
        let held = Arc::clone(self);
        Http2::send(self, request, held).await
    }
}

impl<C: Reusable> Deref for Leased<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.connection.as_ref().expect("present until dropped")
    }
}

impl<C: Reusable> DerefMut for Leased<C> {
    fn deref_mut(&mut self) -> &mut C {
        self.connection.as_mut().expect("present until dropped")
    }
}

impl<C: Reusable> Drop for Leased<C> {
    fn drop(&mut self) {
        if let Some(Reused(connection)) = self.connection.take().and_then(Reusable::reusable) {
            let since = self.since.unwrap_or_else(Instant::now);
            self.entry.put(Idle { connection, path: self.path, since });
        }
    }
}

#[cfg(test)]
mod properties;

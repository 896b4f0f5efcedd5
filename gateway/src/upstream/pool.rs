use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::http1::Http1;
use super::http2::Http2;
use super::tls::Tls;
use super::transport::{Metered, Transport};
use super::{Dialer, Upstream};
use crate::model::{Alpn, Backend, Host, Reason};
use crate::policy::Permit;

/// How long a connection is kept without a request.
const IDLE: Duration = Duration::from_secs(60);

/// What requests must have in common to go over the same connection, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The API's name.
    pub api: Arc<str>,
    /// The third party's.
    pub host: Host,
    /// The address that the caller chose of those that it has.
    pub chosen: SocketAddr,
    /// TLS with it, and what the caller would speak inside.
    pub secured: Option<(Arc<Backend>, Alpn)>,
    /// The workload, where the API keeps its callers apart.
    pub workload: Option<Arc<str>>,
    /// How many connections are kept; beyond, the longest idle one ends.
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
    shelves: Mutex<HashMap<Key, Arc<Shelf>>>,
}

/// The idle connections of a key; a flow looks for it once.
pub struct Shelf {
    key: Key,
    idle: Mutex<Vec<Idle>>,
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
    /// For many.
    Http2(Leased<Http2>),
}

/// A connection that goes back to the pool when its user leaves it in order.
pub struct Leased<C: Reusable> {
    /// Present until it is dropped.
    connection: Option<C>,
    path: Path,
    shelf: Arc<Shelf>,
}

impl Pool {
    /// Creates a pool that has no connections yet.
    pub fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, tls: Tls::new(), shelves: Mutex::default() }
    }

    /// Where the connections of a key are.
    pub fn shelf(&self, key: Key) -> Arc<Shelf> {
        let mut shelves = self.shelves();
        if let Some(shelf) = shelves.get(&key) {
            return Arc::clone(shelf);
        }
        let shelf = Arc::new(Shelf { key: key.clone(), idle: Mutex::default() });
        shelves.insert(key, Arc::clone(&shelf));
        shelf
    }

    /// A connection that the permit allows and that speaks one of these protocols: an idle one, or a new one.
    ///
    /// # Errors
    /// Why no new one could be made.
    pub async fn lease(&self, shelf: &Arc<Shelf>, permit: &Permit, alpn: Alpn) -> Result<Lease, Reason> {
        match shelf.take(permit, alpn) {
            Some(lease) => Ok(lease),
            None => self.dial(shelf, permit, alpn).await,
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why it could not be made.
    pub async fn dial(&self, shelf: &Arc<Shelf>, permit: &Permit, alpn: Alpn) -> Result<Lease, Reason> {
        let key = &shelf.key;
        let secured = key.secured.as_ref().map(|(backend, _)| (backend, alpn));
        let (transport, path) = self.connect(permit, &key.host, secured).await?;
        let connection = if transport.is_http2() {
            Connection::Http2(Http2::new(transport).await?)
        } else {
            Connection::Http1(Box::new(Http1::new(transport).await?))
        };
        Ok(shelf.leased(path, connection))
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

    /// Ends what has been idle for too long or has broken.
    pub fn sweep(&self) {
        let mut ended = Vec::new();
        self.shelves().retain(|_, shelf| {
            let mut idle = shelf.idle();
            ended.extend(idle.extract_if(.., |idle| !idle.is_usable()));
            !idle.is_empty() || Arc::strong_count(shelf) > 1
        });
        ended.into_iter().for_each(Idle::end);
    }

    fn shelves(&self) -> MutexGuard<'_, HashMap<Key, Arc<Shelf>>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn take(self: &Arc<Self>, permit: &Permit, alpn: Alpn) -> Option<Lease> {
        let mut all = self.idle();
        loop {
            // The newest: the oldest may end in peace.
            let at = all.iter().rposition(|idle| idle.connection.speaks(alpn))?;
            let mut found = all.remove(at);
            if found.is_usable() && permit.allows(found.path.local, found.path.remote) {
                return Some(self.leased(found.path, found.connection));
            }
            found.end();
        }
    }

    fn leased(self: &Arc<Self>, path: Path, connection: Connection) -> Lease {
        let shelf = Arc::clone(self);
        match connection {
            Connection::Http1(connection) => Lease::Http1(Leased::new(connection, path, shelf)),
            Connection::Http2(connection) => Lease::Http2(Leased::new(connection, path, shelf)),
        }
    }

    fn put(&self, idle: Idle) {
        if self.key.idle == 0 {
            return idle.end();
        }
        let mut all = self.idle();
        if all.len() == self.key.idle {
            all.remove(0).end();
        }
        all.push(idle);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn is_usable(&mut self) -> bool {
        self.since.elapsed() < IDLE
            && match &mut self.connection {
                Connection::Http1(connection) => connection.is_idle(),
                Connection::Http2(connection) => connection.is_alive(),
            }
    }
}

impl Connection {
    fn speaks(&self, alpn: Alpn) -> bool {
        match self {
            Self::Http1(_) => alpn.http1,
            Self::Http2(_) => alpn.http2,
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
    fn new(connection: C, path: Path, shelf: Arc<Shelf>) -> Self {
        Self { connection: Some(connection), path, shelf }
    }

    /// From where to where it goes.
    pub fn path(&self) -> Path {
        self.path
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
            self.shelf.put(Idle { connection, path: self.path, since: Instant::now() });
        }
    }
}

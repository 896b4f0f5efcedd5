use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};

use crate::connection::downstream::Handle;
use crate::connection::requests::{Body, CLOSE, From, closes, hop_by_hop};
use crate::connection::third_party::ThirdParty;
use crate::connection::upgrade;
use crate::model::Reason;
use crate::upstream::{Http1, Leased, Outgoing, Transport};

type Connection = Leased<Box<Http1>>;

/// A connection that has changed its protocol, and what was read of the new one.
pub(in crate::connection) type Tunnel = (Transport, Bytes);

/// Requests of HTTP/1.1 go one by one, each over a connection of the pool.
pub(in crate::connection) struct Kept {
    /// The connection for the next request, if it is not to come from the pool: the one that was made before the first
    /// request, or the one by which the third party knows its caller.
    next: Arc<Mutex<Option<Connection>>>,
    /// The third party's side of a connection that changes its protocol.
    tunnel: Mutex<Option<Tunnel>>,
}

impl Kept {
    /// Sends the first request over `first`, if there is one.
    pub(in crate::connection) fn new(first: Option<Connection>) -> Self {
        Self { next: Arc::new(Mutex::new(first)), tunnel: Mutex::default() }
    }

    pub(super) async fn send(
        &self,
        third_party: &ThirdParty,
        caller: &Handle,
        request: Request<Outgoing>,
        upgrade: Option<&HeaderValue>,
    ) -> Result<Response<Body>, Reason> {
        let next = lock(&self.next).take();
        let (mut connection, mut response) = third_party.send(next, request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let granted = upgrade.is_some_and(|wanted| upgrade::is_granted(&response, wanted));
            let tunnel = if granted { connection.upgraded().await } else { None };
            // If nobody asked for this protocol, no response can be made of what follows.
            *lock(&self.tunnel) = Some(tunnel.ok_or(Reason::UpstreamReset)?);
            *response.version_mut() = Version::HTTP_11;
            return Ok(response.map(Body::ended));
        }
        let ends = caller.upload().is_coming() && closes(&response);
        hop_by_hop(response.headers_mut());
        if ends {
            // The third party wants no more of the body, and the caller should know (RFC 9112 §9.6).
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        *response.version_mut() = Version::HTTP_11;
        let source = if connection.is_bound() {
            let next = Arc::clone(&self.next);
            From::Bound(connection, Box::new(move |connection| *lock(&next) = Some(connection)))
        } else {
            From::Http1(connection)
        };
        Ok(response.map(|body| Body::streamed(body, source)))
    }

    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        lock(&self.tunnel).take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Requests to other servers than the third party: those that policies send, and callers' that policies send elsewhere. From
//! the API's egress IP, as everything.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONNECTION, HOST, HeaderValue, TE, UPGRADE};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, StatusCode, Uri, Version};
use tokio::time::timeout;

use super::Rooms;
use super::buffered::{self, Buffered};
use super::requests::{Body, From, Unanswered, hop_by_hop};
use crate::model::{Alpn, Egress, Endpoint, FailMode, Pool, Reason};
use crate::permit;
use crate::upstream::{Key, Lease, Outgoing, Reuse, SendError, Windows};

/// On whose behalf.
#[derive(Clone)]
pub struct Elsewhere {
    /// What it needs.
    pub rooms: Arc<Rooms>,
    /// The API's name, or what else connections are kept apart by.
    pub owner: Arc<str>,
    /// The addresses to leave from.
    pub egress: Egress,
    /// What happens while they are not there.
    pub fail: FailMode,
    /// How connections are kept.
    pub pool: Pool,
    /// The workload, where callers are kept apart.
    pub workload: Option<Arc<str>>,
}

impl Elsewhere {
    /// Returns the room for what is read on nobody's behalf.
    pub fn own_room(&self) -> Buffered {
        let limits = self.rooms.changes.borrow().limits;
        Buffered::new(&self.rooms.buffers, &self.owner, limits.buffered_bytes)
    }

    /// Sends a request of a path and a query, and reads the whole answer.
    ///
    /// # Errors
    /// There is none, it has more than `most` bytes, or takes longer than this; or there is no room for it.
    pub async fn fetch(
        &self,
        to: &Arc<Endpoint>,
        request: Request<Bytes>,
        most: usize,
        within: Duration,
        buffered: &Buffered,
    ) -> Result<Response<Bytes>, Reason> {
        let fetching = async {
            let answer = self.send(to, request.map(Outgoing::from)).await;
            let answer = answer.map_err(|error| error.downcast_ref().copied().unwrap_or(Reason::UpstreamReset))?;
            let (head, body) = answer.into_parts();
            let (whole, _) = buffered::whole(body, most, Reason::UpstreamReset, buffered).await?;
            Ok(Response::from_parts(head, whole))
        };
        timeout(within, fetching).await.unwrap_or(Err(Reason::UpstreamTimeout))
    }

    /// Sends a request; the answer has begun then.
    pub(super) async fn send(
        &self,
        to: &Arc<Endpoint>,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Body>, Unanswered> {
        let addresses = (&self.rooms.addresses, &self.rooms.on_node);
        let permit = permit::admit_endpoint((&self.egress, self.fail), to, addresses.0, addresses.1)?;
        // What came as HTTP/2 may need it: gRPC does.
        let alpn = if request.version() == Version::HTTP_2 { Alpn::BOTH } else { Alpn::HTTP1 };
        let (windows, room) = match to.tls.is_some() && alpn.http2 {
            true => self.rooms.wide_windows(&self.owner, &self.rooms.changes.borrow().limits),
            false => (Windows::Wide, None),
        };
        let entry = self.rooms.pool.entry(Key {
            api: Arc::clone(&self.owner),
            host: to.host.clone(),
            chosen: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), to.port),
            secured: to.tls.as_ref().map(|tls| (Arc::clone(tls), alpn)),
            workload: self.workload.clone(),
            windows,
            idle: self.pool.idle,
        });
        let came_as = request.version();
        let mut reuse = Reuse::of(&request);
        loop {
            let (sent, source) = match self.rooms.pool.lease(&entry, &permit, alpn, reuse).await? {
                Lease::Http1(mut connection) => {
                    let sent = connection.send(over_http1(request, to)?).await;
                    (sent, From::Http1(connection))
                }
                Lease::Http2(connection) => {
                    let connection = Arc::new(connection);
                    let sent = connection.send(over_http2(request, to)?).await;
                    (sent, From::Http2(connection))
                }
            };
            match sent {
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(Reason::UpstreamReset.into());
                }
                Ok(mut response) => {
                    *response.version_mut() = came_as;
                    hop_by_hop(response.headers_mut());
                    return Ok(response.map(|body| Body::streamed(body, source).taking(room)));
                }
                Err(SendError { again: Some(again), .. }) if reuse != Reuse::Never => request = *again,
                Err(SendError { cause, .. }) => return Err(cause),
            }
            reuse = Reuse::Never;
        }
    }
}

/// RFC 9112 §3.2.1: a path and a query, and whose they are in a field.
fn over_http1(mut request: Request<Outgoing>, to: &Endpoint) -> Result<Request<Outgoing>, Reason> {
    *request.uri_mut() = target(&request).into();
    for name in [CONNECTION, UPGRADE] {
        request.headers_mut().remove(name);
    }
    if request.headers().contains_key(TE) {
        // RFC 9110 §10.1.4.
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    let authority = HeaderValue::try_from(to.authority()).map_err(|_| Reason::Unresolved)?;
    request.headers_mut().insert(HOST, authority);
    Ok(request)
}

/// RFC 9113 §8.3.1: all of it in the target.
fn over_http2(mut request: Request<Outgoing>, to: &Endpoint) -> Result<Request<Outgoing>, Reason> {
    let authority = Authority::try_from(to.authority()).map_err(|_| Reason::Unresolved)?;
    let uri = Uri::builder()
        .scheme(if to.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP })
        .authority(authority)
        .path_and_query(target(&request));
    *request.uri_mut() = uri.build().map_err(|_| Reason::Unresolved)?;
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(HOST);
    Ok(request)
}

fn target(request: &Request<Outgoing>) -> PathAndQuery {
    // A target that is empty reads as a slash, but is not sent as one.
    let target = request.uri().path_and_query().filter(|target| target.as_str() != "/");
    target.cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

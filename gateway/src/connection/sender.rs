//! Sends the requests of one caller's connection to the third party, in the version of HTTP that both sides speak.

mod http1;
mod http2;

use std::sync::{Mutex, PoisonError};

use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};

pub(super) use self::http1::{Kept, Tunnel};
pub(super) use self::http2::Shared;
use super::downstream::Handle;
use super::requests::{Body, From, Unanswered, hop_by_hop};
use super::third_party::ThirdParty;
use crate::model::Reason;
use crate::upstream::{Outgoing, Path};

/// The third party, and the connections to it that one caller's connection has.
pub(super) struct Sender {
    third_party: ThirdParty,
    /// The caller's connection.
    caller: Handle,
    connections: Connections,
}

/// The connections to the third party.
pub(super) enum Connections {
    /// HTTP/1.1: one request at a time.
    Http1(Kept),
    /// HTTP/2: many requests at a time.
    Http2(Shared),
    /// HTTP/1.1 for one request of `egret explain --send`, and the path that it took.
    Sample(Mutex<Option<Path>>),
}

impl Sender {
    pub(super) fn new(third_party: ThirdParty, caller: Handle, connections: Connections) -> Self {
        Self { third_party, caller, connections }
    }

    /// Returns the third party that requests go to.
    pub(super) fn third_party(&self) -> &ThirdParty {
        &self.third_party
    }

    /// Returns the state of the caller's connection.
    pub(super) fn caller(&self) -> &Handle {
        &self.caller
    }

    /// Whether many requests are sent at a time.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.connections, Connections::Http2(_))
    }

    /// Sends a request and returns the response, whose body is still to come. `upgrade` is the protocol that the caller may change its
    /// connection to.
    ///
    /// # Errors
    /// Why there is no response: a [`Reason`], or what the third party reset the stream with.
    pub(super) async fn send(
        &self,
        request: Request<Outgoing>,
        upgrade: Option<&HeaderValue>,
    ) -> Result<Response<Body>, Unanswered> {
        match &self.connections {
            Connections::Http1(kept) => {
                kept.send(&self.third_party, &self.caller, request, upgrade).await.map_err(Into::into)
            }
            Connections::Http2(shared) => shared.send(&self.third_party, request).await,
            Connections::Sample(path) => self.send_sample(request, path).await.map_err(Into::into),
        }
    }

    async fn send_sample(
        &self,
        request: Request<Outgoing>,
        path: &Mutex<Option<Path>>,
    ) -> Result<Response<Body>, Reason> {
        let (connection, mut response) = self.third_party.send(None, request).await?;
        *path.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.path());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Reason::UpstreamReset);
        }
        hop_by_hop(response.headers_mut());
        Ok(response.map(|body| Body::streamed(body, From::Http1(connection))))
    }

    /// Returns the third party's side of a connection that changes its protocol, once.
    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        match &self.connections {
            Connections::Http1(kept) => kept.tunnel(),
            Connections::Http2(_) | Connections::Sample(_) => None,
        }
    }

    /// Returns the path that the request of a sample took, if it was sent.
    pub(super) fn path(&self) -> Option<Path> {
        match &self.connections {
            Connections::Sample(path) => *path.lock().unwrap_or_else(PoisonError::into_inner),
            Connections::Http1(_) | Connections::Http2(_) => None,
        }
    }
}

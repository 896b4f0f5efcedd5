use std::sync::{Arc, Weak};

use hyper::{Request, Response};
use tokio::sync::Mutex;

use crate::connection::requests::{Body, From, Unanswered};
use crate::connection::third_party::ThirdParty;
use crate::model::Reason;
use crate::upstream::{Http2, Leased, Outgoing, Reuse, SendError};

type Connection = Leased<Http2>;

/// Requests of HTTP/2 share a connection to the third party, which no other caller uses meanwhile.
pub(in crate::connection) struct Shared(Mutex<Current>);

/// The connection to the third party, which lives as long as requests need it.
struct Current {
    connection: Weak<Connection>,
    /// The connection that was made before the first request.
    first: Option<Arc<Connection>>,
}

impl Shared {
    /// Sends the first request over `first`, if there is one.
    pub(in crate::connection) fn new(first: Option<Connection>) -> Self {
        let first = first.map(Arc::new);
        let connection = first.as_ref().map(Arc::downgrade).unwrap_or_default();
        Self(Mutex::new(Current { connection, first }))
    }

    pub(super) async fn send(
        &self,
        third_party: &ThirdParty,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Body>, Unanswered> {
        let mut connection = self.connection(third_party).await?;
        for first in [true, false] {
            match connection.send(request).await {
                Ok(response) => return Ok(response.map(|body| Body::streamed(body, From::Http2(connection)))),
                Err(SendError { again: Some(again), .. }) if first => request = *again,
                // The stream is reset with the error code that the third party gave.
                Err(SendError { cause, .. }) => return Err(cause),
            }
            connection = self.instead_of(&connection, third_party).await?;
        }
        Err(Reason::UpstreamReset.into())
    }

    async fn connection(&self, third_party: &ThirdParty) -> Result<Arc<Connection>, Reason> {
        let mut current = self.0.lock().await;
        if let Some(connection) = current.first.take().or_else(|| current.connection.upgrade())
            && connection.is_alive()
        {
            return Ok(connection);
        }
        current.renew(third_party, Reuse::Any).await
    }

    /// Returns another connection than this one.
    async fn instead_of(&self, old: &Arc<Connection>, third_party: &ThirdParty) -> Result<Arc<Connection>, Reason> {
        let mut current = self.0.lock().await;
        match current.connection.upgrade().filter(|connection| !Arc::ptr_eq(connection, old)) {
            Some(connection) => Ok(connection),
            None => current.renew(third_party, Reuse::Never).await,
        }
    }
}

impl Current {
    async fn renew(&mut self, third_party: &ThirdParty, reuse: Reuse) -> Result<Arc<Connection>, Reason> {
        let connection = Arc::new(third_party.http2(reuse).await?);
        self.connection = Arc::downgrade(&connection);
        Ok(connection)
    }
}

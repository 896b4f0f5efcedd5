//! Requests of Egret's own that belong to no API, to a server that identifies nobody by address.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::pool::Pool;
use crate::model::{Endpoint, Host, Reason};
use crate::permit;

/// Maximum number of bytes of a response that are read.
const LARGEST: usize = 64 << 10;

type AddressesOf = Box<dyn Fn(&Host) -> Vec<IpAddr> + Send + Sync>;

/// A client that keeps one connection (HTTP/1.1) to the server that it has last sent to.
pub struct Own {
    pool: Arc<Pool>,
    addresses: AddressesOf,
    kept: Mutex<Option<Kept>>,
}

/// A connection, and the server that it leads to.
type Kept = (Arc<Endpoint>, SendRequest<Full<Bytes>>);

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").finish_non_exhaustive()
    }
}

impl Own {
    /// Creates a client that connects as the pool does, to what names come to.
    pub fn new(pool: Arc<Pool>, addresses: impl Fn(&Host) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self { pool, addresses: Box::new(addresses), kept: Mutex::default() }
    }

    /// Sends a request of a path, and reads the whole response. A request that meets the end of a kept connection is sent once more.
    ///
    /// # Errors
    /// Why there is no response within this time.
    pub async fn send(
        &self,
        to: &Arc<Endpoint>,
        request: Request<Bytes>,
        within: Duration,
    ) -> Result<Response<Bytes>, Reason> {
        timeout(within, self.sent(to, request)).await.unwrap_or(Err(Reason::UpstreamTimeout))
    }

    async fn sent(&self, to: &Arc<Endpoint>, mut request: Request<Bytes>) -> Result<Response<Bytes>, Reason> {
        let authority = hyper::header::HeaderValue::try_from(to.authority()).map_err(|_| Reason::Unresolved)?;
        request.headers_mut().insert(HOST, authority);
        let mut kept = self.kept.lock().await;
        if let Some((_, mut sender)) = kept.take().filter(|(known, sender)| known == to && !sender.is_closed())
            && let Ok(response) = exchange(&mut sender, request.clone()).await
        {
            *kept = Some((Arc::clone(to), sender));
            return Ok(response);
        }
        let mut sender = self.connect(to).await?;
        let response = exchange(&mut sender, request).await?;
        *kept = Some((Arc::clone(to), sender));
        Ok(response)
    }

    async fn connect(&self, to: &Endpoint) -> Result<SendRequest<Full<Bytes>>, Reason> {
        let permit = permit::admit_own(to, &self.addresses)?;
        let transport = self.pool.open(&permit, &to.host, to.tls.as_ref()).await?;
        let made = Builder::new().handshake(TokioIo::new(transport)).await;
        let (sender, connection) = made.map_err(|_| Reason::UpstreamReset)?;
        tokio::spawn(async move {
            // Whoever sends learns of its end.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

async fn exchange(sender: &mut SendRequest<Full<Bytes>>, request: Request<Bytes>) -> Result<Response<Bytes>, Reason> {
    sender.ready().await.map_err(|_| Reason::UpstreamReset)?;
    let response = sender.send_request(request.map(Full::new)).await.map_err(|_| Reason::UpstreamReset)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LARGEST).collect().await.map_err(|_| Reason::UpstreamReset)?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

//! Plain HTTP/1.1, request by request: one upstream connection for each downstream one, bodies streamed, headers as
//! sent. Each request must be for the flow's API; upgrades become a tunnel.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::sync::Mutex as Turn;
use tokio_util::task::AbortOnDropHandle;

use super::requests::{Body, is_for, misdirected};
use crate::model::{Host, Reason};

/// Longest wait for a request's head once it has begun.
const HEAD: Duration = Duration::from_secs(30);

/// Header fields of a request or an answer; a request with more gets 431.
const HEADERS: usize = 256;

/// What the requests of a connection share.
struct Exchange {
    hosts: Vec<Host>,
    sender: Turn<client::SendRequest<Incoming>>,
    /// Both sides of a connection that changes its protocol.
    upgrade: Mutex<Option<(OnUpgrade, OnUpgrade)>>,
    /// Why the connection ends, if not by its two ends.
    reason: Mutex<Option<Reason>>,
    /// The caller's.
    socket: OwnedFd,
}

/// Carries the requests of one connection.
pub(super) async fn carry(
    downstream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    socket: OwnedFd,
    upstream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    hosts: Vec<Host>,
) -> Result<(), Reason> {
    let (sender, connection) = client::Builder::new()
        .preserve_header_case(true)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(upstream))
        .await
        .map_err(|_| Reason::UpstreamReset)?;
    let mut upstream = AbortOnDropHandle::new(tokio::spawn(connection.with_upgrades()));
    let exchange = Arc::new(Exchange {
        hosts,
        sender: Turn::new(sender),
        upgrade: Mutex::default(),
        reason: Mutex::default(),
        socket,
    });
    let served = {
        let exchange = Arc::clone(&exchange);
        server::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .preserve_header_case(true)
            .max_headers(HEADERS)
            .auto_date_header(false)
            .half_close(true)
            .serve_connection(
                TokioIo::new(downstream),
                service_fn(move |request| Arc::clone(&exchange).answer(request)),
            )
            .with_upgrades()
    };
    let mut served = std::pin::pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        // The third party has closed: the workload may have an answer to read still, but no further request to send.
        _ = &mut upstream => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    let upgrade = exchange.upgrade.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((downstream, upstream)) = upgrade {
        return tunnel(downstream, upstream).await;
    }
    let reason = exchange.reason.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (reason, outcome) {
        (Some(reason), _) => Err(reason),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_parse() => Ok(()),
        (None, Err(_)) => Err(Reason::ClientReset),
    }
}

impl Exchange {
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
        if !is_for(&self.hosts, &request) {
            self.because(Reason::Misdirected);
            return Ok(misdirected());
        }
        let wants_upgrade = request.headers().contains_key(header::UPGRADE);
        let downstream = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
        let mut response = match self.sender.lock().await.send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                self.because(Reason::UpstreamReset);
                // Nothing of an answer was sent: the caller sees a broken connection, as it would without us.
                super::reset(&self.socket);
                return Err(error);
            }
        };
        if let Some(downstream) = downstream.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
            let upstream = hyper::upgrade::on(&mut response);
            *self.upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some((downstream, upstream));
        }
        Ok(response.map(BodyExt::boxed))
    }

    fn because(&self, reason: Reason) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }
}

async fn tunnel(downstream: OnUpgrade, upstream: OnUpgrade) -> Result<(), Reason> {
    let downstream = downstream.await.map_err(|_| Reason::ClientReset)?;
    let upstream = upstream.await.map_err(|_| Reason::UpstreamReset)?;
    let (mut downstream, mut upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
    copy_bidirectional(&mut downstream, &mut upstream).await.map(drop).map_err(|_| Reason::ClientReset)
}

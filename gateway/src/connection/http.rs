//! HTTP/1.1, request by request: bodies streamed, headers as sent, each request over a connection that the pool has.
//! Each must be for the flow's API; upgrades become a tunnel.

use std::convert::Infallible;
use std::error::Error;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};

use super::downstream::Broken;
use super::requests::{Body, From, hop_by_hop, is_for, misdirected, nameless, no_connect};
use super::third_party::{Kept, ThirdParty};
use crate::model::Reason;
use crate::upstream::{Http1, Leased, MAX_FIELDS, Outgoing, Transport, Unanswered};

/// Longest wait for a request's head once it has begun.
const HEAD: Duration = Duration::from_secs(30);

type Connection = Leased<Box<Http1>>;

/// What the requests of a connection share.
struct Exchange {
    third_party: ThirdParty,
    /// What the next request goes over: the connection that was made before the first one, and the one by which the
    /// third party knows its caller.
    kept: Mutex<Option<Connection>>,
    /// Both sides of a connection that changes its protocol.
    upgrade: Mutex<Option<(OnUpgrade, (Transport, Bytes))>>,
    /// Why the connection ends, if not by its two ends.
    reason: Mutex<Option<Reason>>,
    /// The caller's.
    broken: Broken,
}

/// Carries the requests of one connection, the first of them over this one.
pub(super) async fn carry(
    downstream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    broken: Broken,
    first: Connection,
    third_party: ThirdParty,
) -> Result<(), Reason> {
    let exchange = Arc::new(Exchange {
        third_party,
        kept: Mutex::new(Some(first)),
        upgrade: Mutex::default(),
        reason: Mutex::default(),
        broken,
    });
    let served = {
        let exchange = Arc::clone(&exchange);
        server()
            .serve_connection(
                TokioIo::new(downstream),
                service_fn(move |request| Arc::clone(&exchange).answer(request)),
            )
            .with_upgrades()
    };
    let mut served = std::pin::pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = exchange.third_party.rules_changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    let upgrade = lock(&exchange.upgrade).take();
    if let Some((downstream, upstream)) = upgrade {
        return tunnel(downstream, upstream).await;
    }
    let reason = lock(&exchange.reason).take();
    match (reason, outcome) {
        (Some(reason), _) => Err(reason),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_parse() => Ok(()),
        (None, Err(_)) => Err(Reason::ClientReset),
    }
}

/// Answers a request that names no host, and ends.
pub(super) async fn refuse(downstream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<(), Reason> {
    let refusal = |_| ready(Ok::<_, Infallible>(nameless()));
    // Whatever comes of it: the caller's affair.
    let _ = server().keep_alive(false).serve_connection(TokioIo::new(downstream), service_fn(refusal)).await;
    Err(Reason::NoName)
}

fn server() -> Builder {
    let mut server = Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .preserve_header_case(true)
        .max_headers(MAX_FIELDS)
        .auto_date_header(false)
        .half_close(true);
    server
}

impl Exchange {
    async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
        if request.method() == Method::CONNECT {
            return Ok(no_connect());
        }
        if !is_for(self.third_party.hosts(), &request) {
            self.because(Reason::Misdirected);
            return Ok(misdirected());
        }
        let upgrade = hop_by_hop(request.headers_mut()).then(|| hyper::upgrade::on(&mut request));
        let known = binds(request.headers(), header::AUTHORIZATION);
        let answered = self.send(request.map(Outgoing::from)).await;
        let (mut connection, mut response) = answered.inspect_err(|reason| {
            self.because(*reason);
            // Nothing of an answer was sent: the caller sees a broken connection, as it would without us.
            self.broken.set();
        })?;
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(downstream), Some(upstream)) = (upgrade, connection.upgraded().await) else {
                // Nobody asked for it: no answer can be made of what follows.
                self.because(Reason::UpstreamReset);
                self.broken.set();
                return Err(Reason::UpstreamReset.into());
            };
            *lock(&self.upgrade) = Some((downstream, upstream));
            return Ok(response.map(|body| Body::Streamed(body, None)));
        }
        hop_by_hop(response.headers_mut());
        if known || binds(response.headers(), header::WWW_AUTHENTICATE) {
            connection.bind();
        }
        let after = if connection.is_bound() {
            From::Bound(connection, Box::new(move |connection| *lock(&self.kept) = Some(connection)))
        } else {
            From::Http1(connection)
        };
        Ok(response.map(|body| Body::streamed(body, after)))
    }

    async fn send(&self, mut request: Request<Outgoing>) -> Result<(Connection, Response<Incoming>), Reason> {
        let kept = lock(&self.kept).take();
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.third_party.http1(Kept::Idle).await?,
        };
        loop {
            let reused = connection.was_used();
            match connection.send(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(Unanswered { unsent: Some(unsent), .. }) if reused => {
                    request = *unsent;
                    connection = self.third_party.http1(Kept::New).await?;
                }
                Err(_) => return Err(Reason::UpstreamReset),
            }
        }
    }

    fn because(&self, reason: Reason) {
        *lock(&self.reason) = Some(reason);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the third party knows, or will know, its caller by the connection (RFC 4559; NTLM): then nobody else's requests
/// may go over it.
fn binds(headers: &HeaderMap, name: HeaderName) -> bool {
    let scheme = |value: &HeaderValue| {
        let scheme = value.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"NTLM") || scheme.eq_ignore_ascii_case(b"Negotiate")
    };
    headers.get_all(name).iter().any(scheme)
}

async fn tunnel(downstream: OnUpgrade, (mut upstream, read): (Transport, Bytes)) -> Result<(), Reason> {
    let mut downstream = TokioIo::new(downstream.await.map_err(|_| Reason::ClientReset)?);
    downstream.write_all(&read).await.map_err(|_| Reason::ClientReset)?;
    copy_bidirectional(&mut downstream, &mut upstream).await.map(drop).map_err(|_| Reason::ClientReset)
}

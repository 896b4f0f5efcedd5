//! HTTP/1.1 with a caller, request by request: bodies are streamed, header fields keep their spelling, and each request is
//! sent over a pooled connection. Each must be for the flow's API; an upgrade becomes a tunnel.

use std::convert::Infallible;
use std::error::Error;
use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1::{self, Builder};
use hyper::service::{HttpService, service_fn};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::select;
use tokio::time::{Instant, Sleep, sleep};

use super::downstream::Handle;
use super::farewell::farewell;
use super::judged::{judge, no_connect, refusal, unknown_coding};
use super::policed::{self, Ask};
use super::requests::{Body, From, Record, Unanswered, closes, ended, hop_by_hop, noted};
use super::rewound::Rewound;
use super::third_party::ThirdParty;
use super::upgrade;
use crate::model::{Pending, Reason};
use crate::upstream::{Http1, Leased, MAX_BUFFER, MAX_FIELDS, Outgoing, Transport, has_unknown_coding, outgoing};

/// Time without a request after which a connection gives up its buffers.
const REST: Duration = Duration::from_secs(1);

/// Longest wait for the head of a request that Egret will refuse.
const PATIENCE: Duration = Duration::from_secs(10);

const CLOSE: HeaderValue = HeaderValue::from_static("close");

type Connection = Leased<Box<Http1>>;

/// What the requests of one connection share.
struct Exchange {
    third_party: ThirdParty,
    /// The connection for the next request, if it is not to come from the pool: the one that was made before the first
    /// request, or the one by which the third party knows its caller.
    kept: Mutex<Option<Connection>>,
    /// The third party's side of a connection that changes its protocol.
    upgrade: Mutex<Option<(Transport, Bytes)>>,
    /// Why Egret ends the connection, if it does.
    reason: Mutex<Option<Reason>>,
    /// The caller's connection.
    handle: Handle,
}

/// Carries the requests of one caller's connection, the first of them over `first`.
pub(super) async fn carry<D>(
    downstream: D,
    handle: Handle,
    first: Option<Connection>,
    third_party: ThirdParty,
) -> Result<(), Reason>
where
    D: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = Arc::new(Exchange {
        third_party,
        kept: Mutex::new(first),
        upgrade: Mutex::default(),
        reason: Mutex::default(),
        handle,
    });
    let mut changed = pin!(exchange.third_party.rules_changed());
    let mut downstream = Rewound::new(downstream);
    loop {
        let (turn, stream, read) = {
            let answering = Arc::clone(&exchange);
            // In a box: hyper gives the stream back only of what can be moved.
            let service = service_fn(move |request| Box::pin(Arc::clone(&answering).answer(request)));
            let mut served = Box::new(server().serve_connection(TokioIo::new(downstream), service));
            let turn = serve(&mut served, &exchange, changed.as_mut()).await;
            let parts = served.into_parts();
            (turn, parts.io.into_inner(), parts.read_buf)
        };
        downstream = stream;
        if read.is_empty() {
            // Empty, it holds the buffer that it was read into.
            drop(read);
        } else {
            // The beginning of a request that came together with the one before.
            exchange.handle.hears();
            downstream.rewind(read);
        }
        match turn {
            Turn::Rests => {
                // A connection at rest, for hours perhaps, needs no room for requests.
                let more = select! {
                    more = downstream.hears() => more,
                    () = changed.as_mut() => false,
                };
                if more {
                    continue;
                }
                let _ = downstream.shutdown().await;
                return Ok(());
            }
            Turn::Ended(outcome) => {
                let upgrade = lock(&exchange.upgrade).take();
                if let Some(upstream) = upgrade {
                    return tunnel(downstream, upstream).await;
                }
                if !exchange.handle.is_reset() && matches!(outcome, Ok(()) | Err(Reason::BadRequest)) {
                    let is_sending = outcome.is_err() || exchange.handle.upload().is_cut() || downstream.has_more();
                    farewell(&mut downstream, is_sending).await;
                }
                let reason = lock(&exchange.reason).take();
                return reason.map_or(outcome, Err);
            }
        }
    }
}

/// How a series of requests ends.
enum Turn {
    /// The connection has ended, or was upgraded.
    Ended(Result<(), Reason>),
    /// No request has come for a while.
    Rests,
}

/// Serves requests until the connection ends or rests.
async fn serve<D, S>(
    served: &mut http1::Connection<TokioIo<D>, S>,
    exchange: &Exchange,
    mut changed: Pin<&mut impl Future<Output = ()>>,
) -> Turn
where
    D: AsyncRead + AsyncWrite + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Body, Error = Box<dyn Error + Send + Sync>> + Unpin,
    S::Future: Unpin,
{
    let mut patience: Option<Pin<Box<Sleep>>> = None;
    let (mut tick, mut before) = (Box::pin(sleep(REST)), None);
    let mut ending = false;
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = served.poll_without_shutdown(cx) {
            return Poll::Ready(Turn::Ended(outcome.map_err(|error| ended(&error))));
        }
        if !ending && changed.as_mut().poll(cx).is_ready() {
            ending = true;
            Pin::new(&mut *served).graceful_shutdown();
            cx.waker().wake_by_ref();
        }
        // A timer only for heads that come in pieces.
        if !exchange.handle.is_in_head() {
            patience = None;
        } else if patience
            .get_or_insert_with(|| Box::pin(sleep(exchange.third_party.limits().request_head)))
            .as_mut()
            .poll(cx)
            .is_ready()
        {
            return Poll::Ready(Turn::Ended(Err(Reason::SlowRequest)));
        }
        // One timer a while, however many requests there are meanwhile.
        while !ending && tick.as_mut().poll(cx).is_ready() {
            let now = exchange.handle.rests();
            if now.is_some() && now == before {
                return Poll::Ready(Turn::Rests);
            }
            before = now;
            tick.as_mut().reset(Instant::now() + REST);
        }
        Poll::Pending
    })
    .await
}

/// Refuses a request because of the host that it names, and ends the connection.
pub(super) async fn refuse(
    downstream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    reason: Reason,
) -> Result<(), Reason> {
    let refusal = |_| ready(Ok::<_, Infallible>(refusal(reason)));
    let mut server = server();
    server.keep_alive(false).header_read_timeout(PATIENCE);
    let mut served = server.serve_connection(TokioIo::new(downstream), service_fn(refusal));
    // What the caller makes of it is its own affair.
    let _ = poll_fn(|cx| served.poll_without_shutdown(cx)).await;
    farewell(&mut served.into_parts().io.into_inner(), true).await;
    Err(reason)
}

fn server() -> Builder {
    let mut server = Builder::new();
    server
        .timer(TokioTimer::new())
        // Its own begins before the head does: it would end connections that are kept alive.
        .header_read_timeout(None)
        .preserve_header_case(true)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_BUFFER)
        .auto_date_header(false)
        .half_close(true);
    server
}

/// Sends a request of one caller to the third party.
struct Asking<'a> {
    exchange: &'a Arc<Exchange>,
    upgrade: Option<&'a HeaderValue>,
}

impl Ask for Asking<'_> {
    fn ask(&self, request: Request<Outgoing>) -> Pending<'_, Result<Response<Body>, Unanswered>> {
        Box::pin(async move { self.exchange.ask(request, self.upgrade).await.map_err(Into::into) })
    }
}

impl Exchange {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
        let answering = self.handle.answering();
        let mut record = self.third_party.record(&request);
        let mut response = Arc::clone(&self).forward(request, &mut record).await?;
        if self.handle.upload().ends_connection() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        Ok(noted(response, record).map(|body| body.with(answering)))
    }

    async fn forward(
        self: Arc<Self>,
        request: Request<Incoming>,
        record: &mut Record,
    ) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
        let mut request = outgoing(request, self.handle.upload());
        if request.method() == Method::CONNECT {
            return Ok(no_connect());
        }
        if let Err(reason) = judge(self.third_party.hosts(), &request) {
            self.because(reason);
            return Ok(refusal(reason));
        }
        if has_unknown_coding(request.headers()) {
            return Ok(unknown_coding());
        }
        let asks = hop_by_hop(request.headers_mut());
        let upgrade = upgrade::wanted(&mut request, asks, self.third_party.upgrades());
        let answered = match self.third_party.rulebook() {
            Some(rulebook) => {
                let asking = Asking { exchange: &self, upgrade: upgrade.as_ref() };
                let answered =
                    Box::pin(policed::answer(&self.third_party, rulebook, request, &asking, record, None)).await;
                if !matches!(&answered, Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS) {
                    // The caller does not learn of the upgrade.
                    lock(&self.upgrade).take();
                }
                answered
            }
            None => self.ask(request, upgrade.as_ref()).await.map_err(Into::into),
        };
        answered.inspect_err(|error| {
            let reason = error.downcast_ref::<Reason>().copied().unwrap_or(Reason::UpstreamReset);
            self.because(reason);
            if let Some(record) = record {
                record.failed(reason);
            }
            // Nothing of a response was sent: the caller sees a broken connection, as it would without Egret.
            self.handle.reset();
        })
    }

    /// Sends a request and returns the response, whose body is still to come.
    async fn ask(
        self: &Arc<Self>,
        request: Request<Outgoing>,
        upgrade: Option<&HeaderValue>,
    ) -> Result<Response<Body>, Reason> {
        let kept = lock(&self.kept).take();
        let (mut connection, mut response) = self.third_party.send(kept, request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let granted = upgrade.is_some_and(|wanted| upgrade::is_granted(&response, wanted));
            let upstream = if granted { connection.upgraded().await } else { None };
            // If nobody asked for this protocol, no response can be made of what follows.
            *lock(&self.upgrade) = Some(upstream.ok_or(Reason::UpstreamReset)?);
            *response.version_mut() = Version::HTTP_11;
            return Ok(response.map(Body::ended));
        }
        let ends = self.handle.upload().is_coming() && closes(&response);
        hop_by_hop(response.headers_mut());
        if ends {
            // The third party wants no more of the body, and the caller should know (RFC 9112 §9.6).
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        *response.version_mut() = Version::HTTP_11;
        let after = if connection.is_bound() {
            let exchange = Arc::clone(self);
            From::Bound(connection, Box::new(move |connection| *lock(&exchange.kept) = Some(connection)))
        } else {
            From::Http1(connection)
        };
        Ok(response.map(|body| Body::streamed(body, after)))
    }

    fn because(&self, reason: Reason) {
        *lock(&self.reason) = Some(reason);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn tunnel(
    mut downstream: impl AsyncRead + AsyncWrite + Unpin,
    (mut upstream, read): (Transport, Bytes),
) -> Result<(), Reason> {
    downstream.write_all(&read).await.map_err(|_| Reason::ClientReset)?;
    copy_bidirectional(&mut downstream, &mut upstream).await.map(drop).map_err(|_| Reason::ClientReset)
}

//! HTTP/1.1 with a caller, request by request: bodies are streamed, header fields keep their spelling, and each request is
//! sent over a pooled connection. Each must be for the flow's API; an upgrade becomes a tunnel.

use std::convert::Infallible;
use std::error::Error;
use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Builder};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::select;
use tokio::time::{Instant, Sleep, sleep};

use super::downstream::Handle;
use super::exchange::Exchange;
use super::farewell::farewell;
use super::judged::refusal;
use super::requests::{Body, ended};
use super::rewound::Rewound;
use super::sender::{Connections, Kept, Tunnel};
use super::third_party::ThirdParty;
use crate::model::Reason;
use crate::upstream::{Http1, Leased, MAX_BUFFER};

/// Time without a request after which a connection gives up its buffers.
const REST: Duration = Duration::from_secs(1);

/// Longest wait for the head of a request that Egret will refuse.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries the requests of one caller's connection, the first of them over `first`.
pub(super) async fn carry<D>(
    downstream: D,
    handle: Handle,
    first: Option<Leased<Box<Http1>>>,
    third_party: ThirdParty,
) -> Result<(), Reason>
where
    D: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = Arc::new(Exchange::new(third_party, handle, Connections::Http1(Kept::new(first))));
    let mut changed = pin!(exchange.third_party().rules_changed());
    let mut downstream = Rewound::new(downstream);
    loop {
        let (turn, stream, read) = {
            let answering = Arc::clone(&exchange);
            // In a box: hyper gives the stream back only of what can be moved.
            let service = service_fn(move |request| Box::pin(Arc::clone(&answering).respond(request)));
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
            exchange.caller().hears();
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
                if let Some(upstream) = exchange.tunnel() {
                    return tunnel(downstream, upstream).await;
                }
                if !exchange.caller().is_reset() && matches!(outcome, Ok(()) | Err(Reason::BadRequest)) {
                    let is_sending = outcome.is_err() || exchange.caller().upload().is_cut() || downstream.has_more();
                    farewell(&mut downstream, is_sending).await;
                }
                return exchange.caller().reason().map_or(outcome, Err);
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
        if !exchange.caller().is_in_head() {
            patience = None;
        } else if patience
            .get_or_insert_with(|| Box::pin(sleep(exchange.third_party().limits().request_head)))
            .as_mut()
            .poll(cx)
            .is_ready()
        {
            return Poll::Ready(Turn::Ended(Err(Reason::SlowRequest)));
        }
        // One timer a while, however many requests there are meanwhile.
        while !ending && tick.as_mut().poll(cx).is_ready() {
            let now = exchange.caller().rests();
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

/// A head has at most 100 fields, hyper's default, and so has one of a third party: for more it would allocate room for each message.
fn server() -> Builder {
    let mut server = Builder::new();
    server
        .timer(TokioTimer::new())
        // Its own begins before the head does: it would end connections that are kept alive.
        .header_read_timeout(None)
        .preserve_header_case(true)
        .max_buf_size(MAX_BUFFER)
        .auto_date_header(false)
        .half_close(true);
    server
}

async fn tunnel(
    mut downstream: impl AsyncRead + AsyncWrite + Unpin,
    (mut upstream, read): Tunnel,
) -> Result<(), Reason> {
    downstream.write_all(&read).await.map_err(|_| Reason::ClientReset)?;
    copy_bidirectional(&mut downstream, &mut upstream).await.map(drop).map_err(|_| Reason::ClientReset)
}

#[cfg(test)]
mod fuzz;

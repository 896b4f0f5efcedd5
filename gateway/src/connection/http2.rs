//! HTTP/2 with a caller, request by request: bodies and trailers are streamed, and resets are passed on. The requests of a
//! caller share a connection to the third party, which no other caller uses meanwhile. Each must be for the flow's API.

use std::sync::Arc;

use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::downstream::Handle;
use super::exchange::Exchange;
use super::requests::ended;
use super::sender::{Connections, Shared};
use super::third_party::ThirdParty;
use crate::model::Reason;
use crate::upstream::{Http2, Leased, MAX_BUFFER, MAX_HEADER_BYTES};

/// Concurrent requests on a connection.
const STREAMS: u32 = 250;

/// Carries the requests of one caller's connection, the first of them over `first`.
pub(super) async fn carry(
    downstream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handle: Handle,
    first: Option<Leased<Http2>>,
    third_party: ThirdParty,
) -> Result<(), Reason> {
    let _place = third_party.http2_place().ok_or(Reason::TooManyConnections)?;
    let windows = third_party.windows();
    let exchange = Arc::new(Exchange::new(third_party, handle, Connections::Http2(Shared::new(first))));
    let served = {
        let exchange = Arc::clone(&exchange);
        Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(windows.stream())
            .initial_connection_window_size(windows.connection())
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_send_buf_size(MAX_BUFFER)
            .max_concurrent_streams(STREAMS)
            .auto_date_header(false)
            .serve_connection(
                TokioIo::new(downstream),
                service_fn(move |request| Arc::clone(&exchange).respond(request)),
            )
    };
    let mut served = std::pin::pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = exchange.third_party().rules_changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    outcome.map_err(|error| ended(&error))
}

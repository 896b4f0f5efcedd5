//! HTTP/2, request by request: one upstream connection for each downstream one, bodies and trailers streamed, resets
//! passed on. Each request must be for the flow's API.

use hyper::body::Incoming;
use hyper::client::conn::http2 as client;
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::requests::{Body, answer, is_for, misdirected};
use crate::model::{Host, Reason};

/// Bytes that a stream, and a connection, may be ahead of its reader: what a slow one makes us hold.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Bytes of the headers of a request or an answer, as HTTP/2 counts them (RFC 9113 §6.5.2).
const HEADERS: u32 = 64 << 10;

/// Requests at once on a connection.
const STREAMS: u32 = 250;

/// Carries the requests of one connection.
pub(super) async fn carry(
    downstream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    upstream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    hosts: Vec<Host>,
) -> Result<(), Reason> {
    let (sender, connection) = client::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS)
        .handshake(TokioIo::new(upstream))
        .await
        .map_err(|_| Reason::UpstreamReset)?;
    let mut upstream = AbortOnDropHandle::new(tokio::spawn(connection));
    let hosts: Arc<[Host]> = hosts.into();
    let served = server::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS)
        .max_concurrent_streams(STREAMS)
        .auto_date_header(false)
        .serve_connection(
            TokioIo::new(downstream),
            service_fn(move |request| forward(Arc::clone(&hosts), sender.clone(), request)),
        );
    let mut served = std::pin::pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        // The third party has closed: running answers end, further requests need another connection (GOAWAY).
        _ = &mut upstream => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    outcome.map_err(|_| Reason::ClientReset)
}

async fn forward(
    hosts: Arc<[Host]>,
    mut upstream: client::SendRequest<Incoming>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    if request.method() == Method::CONNECT {
        return Ok(answer(StatusCode::METHOD_NOT_ALLOWED, "egret: CONNECT is not carried\n"));
    }
    if !is_for(&hosts, &request) {
        return Ok(misdirected());
    }
    upstream.ready().await?;
    // An error resets the stream, for the reason that the third party gave.
    upstream.send_request(request).await.map(|response| response.map(http_body_util::BodyExt::boxed))
}

//! HTTP/2 with a caller, request by request: bodies and trailers are streamed, and resets are passed on. The requests of a
//! caller share a connection to the third party, which no other caller uses meanwhile. Each must be for the flow's API.

use std::error::Error;
use std::sync::{Arc, Weak};

use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;

use super::downstream::Handle;
use super::judged::{judge, no_connect, refusal};
use super::policed::{self, Ask};
use super::requests::{Body, From, Unanswered, ended, join_cookies, no_room, noted};
use super::third_party::ThirdParty;
use crate::model::{Pending, Reason};
use crate::upstream::{Http2, Leased, MAX_BUFFER, MAX_HEADER_BYTES, Outgoing, Reuse, SendError, has_blank_edges};

/// Concurrent requests on a connection.
const STREAMS: u32 = 250;

type Connection = Leased<Http2>;

/// What the requests of one connection share.
struct Exchange {
    third_party: ThirdParty,
    /// The caller's connection.
    handle: Handle,
    current: Mutex<Current>,
}

/// The connection to the third party, which lives as long as requests need it.
struct Current {
    connection: Weak<Connection>,
    /// The connection that was made before the first request.
    first: Option<Arc<Connection>>,
}

/// Carries the requests of one caller's connection, the first of them over `first`.
pub(super) async fn carry(
    downstream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handle: Handle,
    first: Option<Connection>,
    third_party: ThirdParty,
) -> Result<(), Reason> {
    let _place = third_party.http2_place().ok_or(Reason::TooManyConnections)?;
    let windows = third_party.windows();
    let first = first.map(Arc::new);
    let current = Current { connection: first.as_ref().map(Arc::downgrade).unwrap_or_default(), first };
    let exchange = Arc::new(Exchange { third_party, handle, current: Mutex::new(current) });
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
                service_fn(move |request| Arc::clone(&exchange).answer(request)),
            )
    };
    let mut served = std::pin::pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = exchange.third_party.rules_changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    outcome.map_err(|error| ended(&error))
}

/// Bytes of a request's head: of hundreds of requests at once on a connection they are many.
fn head_size(request: &Request<Incoming>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    fields + request.uri().path_and_query().map_or(0, |target| target.as_str().len())
}

impl Ask for Exchange {
    fn ask(&self, request: Request<Outgoing>) -> Pending<'_, Result<Response<Body>, Unanswered>> {
        Box::pin(self.send(request))
    }
}

impl Exchange {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Box<dyn Error + Send + Sync>> {
        self.handle.is_asked();
        if request.method() == Method::CONNECT {
            return Ok(no_connect());
        }
        if has_blank_edges(request.headers()) {
            return Err(Box::new(h2::Error::from(h2::Reason::PROTOCOL_ERROR)));
        }
        if let Err(reason) = judge(self.third_party.hosts(), &request) {
            return Ok(refusal(reason));
        }
        let Some(place) = self.third_party.stream().map(Arc::new) else {
            return Err(Box::new(h2::Error::from(h2::Reason::REFUSED_STREAM)));
        };
        let room = self.third_party.buffered();
        if room.take(head_size(&request)).is_err() {
            return Ok(no_room());
        }
        let mut record = self.third_party.record(&request);
        // Its body may go on after the response.
        let held = Arc::clone(&place);
        let mut request = request.map(|body| Outgoing::from(body).holding(held));
        let answered = match self.third_party.rulebook() {
            Some(rulebook) => {
                join_cookies(request.headers_mut());
                Box::pin(policed::answer(&self.third_party, rulebook, request, &*self, &mut record, None)).await
            }
            None => self.send(request).await,
        };
        if let (Err(error), Some(record)) = (&answered, &mut record) {
            record.failed(error.downcast_ref::<Reason>().copied().unwrap_or(Reason::UpstreamReset));
        }
        answered.map(|response| noted(response, record).map(|body| body.taking(Some(place))))
    }

    /// Sends a request and returns the response, whose body is still to come.
    async fn send(&self, mut request: Request<Outgoing>) -> Result<Response<Body>, Unanswered> {
        let mut connection = self.connection().await?;
        for first in [true, false] {
            match connection.send(request).await {
                Ok(response) => return Ok(response.map(|body| Body::streamed(body, From::Http2(connection)))),
                Err(SendError { again: Some(again), .. }) if first => request = *again,
                // The stream is reset with the error code that the third party gave.
                Err(SendError { cause, .. }) => return Err(cause),
            }
            connection = self.instead_of(&connection).await?;
        }
        Err(Reason::UpstreamReset.into())
    }

    async fn connection(&self) -> Result<Arc<Connection>, Reason> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.first.take().or_else(|| current.connection.upgrade())
            && connection.is_alive()
        {
            return Ok(connection);
        }
        self.renew(&mut current, Reuse::Any).await
    }

    /// Returns another connection than this one.
    async fn instead_of(&self, old: &Arc<Connection>) -> Result<Arc<Connection>, Reason> {
        let mut current = self.current.lock().await;
        match current.connection.upgrade().filter(|connection| !Arc::ptr_eq(connection, old)) {
            Some(connection) => Ok(connection),
            None => self.renew(&mut current, Reuse::Never).await,
        }
    }

    async fn renew(&self, current: &mut Current, reuse: Reuse) -> Result<Arc<Connection>, Reason> {
        let connection = Arc::new(self.third_party.http2(reuse).await?);
        current.connection = Arc::downgrade(&connection);
        Ok(connection)
    }
}

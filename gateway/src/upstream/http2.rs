use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinHandle;

use super::replay::Again;
use super::request::{Held, Outgoing, SendError, has_blank_edges};
use super::transport::Transport;
use super::{MAX_BUFFER, MAX_HEADER_BYTES, Windows};
use crate::model::Reason;

/// A connection that carries many requests at once; a task of its own moves it.
pub struct Http2 {
    sender: SendRequest<Outgoing>,
    /// The task, which ends when the last sender and the last request have.
    driver: JoinHandle<()>,
}

impl Http2 {
    pub(super) async fn new(transport: Transport, windows: Windows) -> Result<Self, Reason> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(windows.stream())
            .initial_connection_window_size(windows.connection())
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_send_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(transport))
            .await
            .map_err(|_| Reason::UpstreamReset)?;
        let driver = tokio::spawn(async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP/2 connection has broken");
            }
        });
        Ok(Self { sender, driver })
    }

    /// Sends a request, whose body holds this, and returns its response, whose body is still to come.
    pub(super) async fn send(
        &self,
        mut request: Request<Outgoing>,
        held: Held,
    ) -> Result<Response<Incoming>, SendError> {
        let mut sender = self.sender.clone();
        if sender.ready().await.is_err() {
            return Err(SendError { again: Some(Box::new(request)), cause: refused() });
        }
        let again = Again::of(&mut request);
        let request = request.map(|body| body.holding(held));
        let response = sender.try_send_request(request).await.map_err(|mut error| {
            let unsent = error.take_message();
            let unprocessed = unsent.is_some() || was_refused(error.error());
            let repeats = unprocessed || (again.is_idempotent() && has_broken(error.error()));
            let again = unsent.or_else(|| repeats.then_some(again).and_then(Again::request));
            tracing::debug!(error = %error.error(), again = again.is_some(), "a request got no response");
            SendError {
                again: again.map(Box::new),
                cause: if unprocessed { refused() } else { error.into_error().into() },
            }
        })?;
        if has_blank_edges(response.headers()) {
            return Err(SendError { again: None, cause: Box::new(h2::Error::from(h2::Reason::PROTOCOL_ERROR)) });
        }
        Ok(response)
    }

    /// Whether the connection can take a request.
    pub fn is_alive(&self) -> bool {
        !self.driver.is_finished() && !self.sender.is_closed()
    }
}

/// Whether the third party says that it did not process the request (RFC 9113 §8.7): it has ended the connection at an
/// earlier one (GOAWAY), or refused it (`REFUSED_STREAM`).
fn was_refused(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// The connection has broken, with all requests on it (RFC 9113 §8.7 leaves to the client what it repeats).
fn has_broken(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(h2::Error::is_io)
}

/// Returns the error that tells the caller, too, that it may repeat the request.
fn refused() -> Box<h2::Error> {
    Box::new(h2::Reason::REFUSED_STREAM.into())
}

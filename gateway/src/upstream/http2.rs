use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinHandle;

use super::request::{Outgoing, Unanswered, copy};
use super::transport::Transport;
use super::{CONNECTION_WINDOW, MAX_BUFFER, MAX_HEADER_BYTES, STREAM_WINDOW};
use crate::model::Reason;

/// Many requests at once; a task of its own moves it.
pub struct Http2 {
    sender: SendRequest<Outgoing>,
    /// It ends when the last sender and the last request have.
    driver: JoinHandle<()>,
}

impl Http2 {
    pub(super) async fn new(transport: Transport) -> Result<Self, Reason> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_send_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(transport))
            .await
            .map_err(|_| Reason::UpstreamReset)?;
        let driver = tokio::spawn(async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of HTTP/2 has broken");
            }
        });
        Ok(Self { sender, driver })
    }

    /// Sends a request; the answer has begun then.
    pub async fn send(&self, request: Request<Outgoing>) -> Result<Response<Incoming>, Unanswered> {
        let again = copy(&request);
        let mut sender = self.sender.clone();
        if sender.ready().await.is_err() {
            return Err(Unanswered { unsent: Some(Box::new(request)), error: refused() });
        }
        sender.try_send_request(request).await.map_err(|mut error| {
            let unsent = error.take_message();
            let untouched = unsent.is_some() || was_refused(error.error());
            tracing::debug!(error = %error.error(), untouched, "no answer to a request");
            Unanswered {
                unsent: unsent.or_else(|| again.filter(|_| untouched)).map(Box::new),
                error: if untouched { refused() } else { error.into_error().into() },
            }
        })
    }

    /// Whether it can take a request.
    pub fn is_alive(&self) -> bool {
        !self.driver.is_finished() && !self.sender.is_closed()
    }
}

/// The third party says that it did nothing with the request (RFC 9113 §8.7): it has ended the connection at an earlier
/// one (GOAWAY), or refused it (`REFUSED_STREAM`).
fn was_refused(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote() && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// The caller may repeat it, too.
fn refused() -> Box<h2::Error> {
    Box::new(h2::Reason::REFUSED_STREAM.into())
}

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

/// Maximum number of connections at once, since every process of the node can connect. A further one closes the oldest.
const CONNECTIONS: usize = 64;

/// Maximum size of the head of a request, in bytes.
const LARGEST: usize = 8192;

/// Serves `/metrics`, `/healthz` and `/readyz`. Does not return. `ready` returns why the process is not ready, if it is not.
pub async fn serve(
    listener: &TcpListener,
    metrics: impl Fn() -> String + Send + Sync + 'static,
    ready: impl Fn() -> Result<(), &'static str> + Send + Sync + 'static,
) {
    let pages = Arc::new(Pages { metrics: Mutex::new(Arc::new(metrics)), ready: Box::new(ready) });
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the telemetry address");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let pages = Arc::clone(&pages);
        let connection = tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let pages = Arc::clone(&pages);
                async move { Ok::<_, Infallible>(pages.page(request.uri().path()).await) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).max_buf_size(LARGEST);
            // A client that closes the connection early is no error here.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        connections.push_back(connection.abort_handle());
    }
}

/// Responses by path.
struct Pages {
    /// Collects metrics one request at a time and on no worker of the data path, so that frequent scrapes slow down only themselves.
    metrics: Mutex<Arc<dyn Fn() -> String + Send + Sync>>,
    ready: Box<dyn Fn() -> Result<(), &'static str> + Send + Sync>,
}

impl Pages {
    async fn page(&self, path: &str) -> Response<Full<Bytes>> {
        let (status, text) = match path {
            "/metrics" => (StatusCode::OK, self.metrics().await),
            "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => match (self.ready)() {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
            },
            _ => (StatusCode::NOT_FOUND, "the paths are /metrics, /healthz and /readyz\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    async fn metrics(&self) -> String {
        let metrics = self.metrics.lock().await;
        let text = Arc::clone(&metrics);
        tokio::task::spawn_blocking(move || text()).await.unwrap_or_else(|error| format!("# {error}\n"))
    }
}

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::server;
use crate::connection::judged::judge;
use crate::detect::{self, Detection};
use crate::model::{Host, Protocol, Reason};

/// Returns the first request that the server of callers reads.
fn first_request(runtime: &Runtime, bytes: &[u8]) -> Option<Request<()>> {
    let first = Mutex::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        first.lock().unwrap().get_or_insert(request.map(drop));
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    runtime.block_on(async {
        let (mut caller, gateway) = tokio::io::duplex(1 << 20);
        caller.write_all(bytes).await.unwrap();
        caller.shutdown().await.unwrap();
        // It ends in an error if the bytes are no requests.
        let served = server().serve_connection(TokioIo::new(gateway), service);
        let _ = timeout(Duration::from_secs(2), served).await.expect("a connection whose caller has ended it ends");
    });
    first.into_inner().unwrap()
}

/// Returns the name in the text of an authority.
fn without_port(authority: &str) -> &str {
    authority.split_once(':').map_or(authority, |(name, _)| name)
}

/// Whoever decides by detection where a connection goes, and whoever reads its requests, see the same host.
#[test]
fn detection_and_the_server_read_the_same_host() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    detect::fuzz::HTTP_HEAD.check(|bytes| {
        let Some(request) = first_request(&runtime, bytes) else { return };
        match detect::protocol(bytes) {
            Detection::Done(Protocol::Http1 { host: Some(host) }) => {
                let judged = judge([&host], &request);
                assert_ne!(judged, Err(Reason::Misdirected), "detected {host}, the request is {request:?}");
            }
            Detection::Done(Protocol::Http1 { host: None }) => {
                let field = request.headers().get("host").and_then(|field| field.to_str().ok());
                let name = request.uri().authority().map(|authority| authority.as_str()).or(field).map(without_port);
                let is_named = judge([], &request) == Err(Reason::Misdirected);
                let names = is_named && name.is_some_and(|name| Host::parse(name).is_ok());
                assert!(!names, "no host is detected, the request is {request:?}");
            }
            // Such connections get past no policies: an API that has some refuses what is not HTTP.
            detection => {
                let is_method = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
                let is_usual =
                    request.method().as_str().bytes().all(is_method) && request.method().as_str().len() <= 24;
                let has_begun = bytes.first().is_some_and(|byte| !matches!(byte, b'\r' | b'\n'));
                assert!(!(is_usual && has_begun), "{detection:?}, and the request is {request:?}");
            }
        }
    });
}

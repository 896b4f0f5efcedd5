//! The response to a caller whose request has failed, in the protocol that it speaks.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode, response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

use super::bodies;
use super::call::Call;
use super::fault::Fault;

/// The characters that messages of gRPC encode (gRPC over HTTP/2, `Percent-Encoded`).
const GRPC: &AsciiSet = &CONTROLS.add(b'%');

/// Returns the response, before on-error changes it.
pub(in crate::policy) fn answer(fault: &Fault, call: &Call<'_>) -> (response::Parts, Bytes) {
    let (mut head, ()) = Response::new(()).into_parts();
    if let Some(wait) = fault.retry_after {
        head.headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    let grpc =
        call.message.request.headers.get(CONTENT_TYPE).filter(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if let Some(kind) = grpc {
        // An answer of nothing but trailers: they are its head.
        head.headers.insert(CONTENT_TYPE, kind.clone());
        head.headers.insert("grpc-status", HeaderValue::from(grpc_status(fault.status)));
        let message = utf8_percent_encode(&fault.message, GRPC).to_string();
        if let Ok(message) = HeaderValue::try_from(message) {
            head.headers.insert("grpc-message", message);
        }
        return (head, Bytes::new());
    }
    head.status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let source = fault.source.as_ref();
    let body = json!({
        "error": {
            "by": "egret",
            "reason": fault.reason.label(),
            "message": fault.message,
            "api": &*call.context.api.name,
            "policy": source.map(|source| source.policy),
            "policy_id": source.and_then(|source| source.id.as_deref()),
            "request_id": call.request_id(),
        }
    });
    let body = Bytes::from(format!("{body}\n"));
    bodies::describe(&mut head.headers, body.len());
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (head, body)
}

/// Returns the wait in whole seconds, rounded up so that nobody comes too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// Returns the code of gRPC for a status of HTTP, by gRPC's own mapping where that has one.
fn grpc_status(status: u16) -> u16 {
    match status {
        400 | 413 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        429 => 8,
        500 => 13,
        502 | 503 => 14,
        504 => 4,
        _ => 2,
    }
}

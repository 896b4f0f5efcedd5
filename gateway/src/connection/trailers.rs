//! Trailers of APIs with policies. No policy sees them, so none reach the other side but those that gRPC ends a response with.

use hyper::header::{HeaderMap, HeaderName, HeaderValue, TRAILER};

/// Without these a gRPC call has no outcome (gRPC over HTTP/2, `Trailers`).
const OF_GRPC: [&str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

/// Drops the trailers of a response that are not gRPC's.
pub(super) fn keep_those_of_grpc(trailers: &mut HeaderMap) {
    let others: Vec<HeaderName> = trailers.keys().filter(|name| !OF_GRPC.contains(&name.as_str())).cloned().collect();
    others.iter().for_each(|name| drop(trailers.remove(name)));
}

/// Announces no other trailers of a response than gRPC's.
pub(super) fn announce_those_of_grpc(head: &mut HeaderMap) {
    if !head.contains_key(TRAILER) {
        return;
    }
    let announced =
        head.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let kept = announced.map(|name| name.trim().to_ascii_lowercase()).filter(|name| OF_GRPC.contains(&name.as_str()));
    let kept = kept.collect::<Vec<_>>().join(", ");
    match HeaderValue::try_from(kept) {
        Ok(kept) if !kept.is_empty() => drop(head.insert(TRAILER, kept)),
        _ => drop(head.remove(TRAILER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trailers_of_grpc_are_kept() {
        let mut trailers = HeaderMap::new();
        for name in ["grpc-status", "grpc-message", "x-policed", "grpc-status-details-bin", "set-cookie"] {
            trailers.append(name, HeaderValue::from_static("0"));
        }
        keep_those_of_grpc(&mut trailers);
        let mut kept: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["grpc-message", "grpc-status", "grpc-status-details-bin"]);
        let mut head = HeaderMap::from_iter([(TRAILER, HeaderValue::from_static("X-Policed, Grpc-Status"))]);
        announce_those_of_grpc(&mut head);
        assert_eq!(head[TRAILER], "grpc-status");
        let mut head = HeaderMap::from_iter([(TRAILER, HeaderValue::from_static("X-Policed"))]);
        announce_those_of_grpc(&mut head);
        assert!(head.is_empty());
    }
}

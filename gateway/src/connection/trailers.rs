//! Trailers of responses of APIs with policies. Policies see the head only, so a trailer must not stand for a field of it.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue, TRAILER};

use crate::policy;

/// Fields that decide how a message is framed, routed, authenticated, cached or read. They are not allowed in trailers
/// (RFC 9110 §6.5.1).
const FORBIDDEN: [HeaderName; 26] = [
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::HOST,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::PROXY_AUTHENTICATE,
    header::RETRY_AFTER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::VARY,
    header::VIA,
    header::WWW_AUTHENTICATE,
];

/// Decides which trailers of a response reach the caller: those that are neither forbidden, nor a field of the head, which
/// policies have seen, nor one that policies have set or removed. Secrets in them are masked.
pub(super) struct Filter {
    decided: Box<[HeaderName]>,
    secrets: Box<[String]>,
}

impl Filter {
    /// Creates the filter for a response with this head, of which policies have decided about these fields, to a request with these
    /// secrets. Announces only the trailers that pass it.
    pub(super) fn of(head: &mut HeaderMap, decided: &[HeaderName], secrets: &[String]) -> Self {
        let decided = head.keys().chain(decided).filter(|name| **name != TRAILER).cloned().collect();
        let filter = Self { decided, secrets: secrets.into() };
        if head.contains_key(TRAILER) {
            filter.announce(head);
        }
        filter
    }

    /// Drops the trailers that must not pass.
    pub(super) fn apply(&self, trailers: &mut HeaderMap) {
        let dropped: Vec<HeaderName> = trailers.keys().filter(|name| !self.passes(name)).cloned().collect();
        dropped.iter().for_each(|name| drop(trailers.remove(name)));
        policy::mask_fields(trailers, &self.secrets);
    }

    fn passes(&self, name: &HeaderName) -> bool {
        !FORBIDDEN.contains(name) && !self.decided.contains(name)
    }

    fn announce(&self, head: &mut HeaderMap) {
        let announced =
            head.get_all(TRAILER).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let kept = announced
            .map(str::trim)
            .filter(|name| HeaderName::try_from(*name).is_ok_and(|name| self.passes(&name)))
            .collect::<Vec<_>>()
            .join(", ");
        match HeaderValue::try_from(kept) {
            Ok(kept) if !kept.is_empty() => drop(head.insert(TRAILER, kept)),
            _ => drop(head.remove(TRAILER)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_stands_for_no_field_of_the_head() {
        let mut head = HeaderMap::new();
        for (name, value) in [("x-policed", "owner"), ("trailer", "X-Policed, X-Gone, X-Sum, Set-Cookie, Grpc-Status")]
        {
            head.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let filter = Filter::of(&mut head, &[HeaderName::from_static("x-gone")], &["correct horse".to_owned()]);
        assert_eq!(head[TRAILER], "X-Sum, Grpc-Status");
        let mut trailers = HeaderMap::new();
        for name in ["grpc-status", "x-policed", "x-gone", "x-sum", "set-cookie", "content-length"] {
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("0"));
        }
        trailers.append("x-echo", HeaderValue::from_static("a correct horse"));
        filter.apply(&mut trailers);
        assert!(!trailers.remove("x-echo").unwrap().to_str().unwrap().contains("horse"), "secrets are masked");
        let mut kept: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["grpc-status", "x-sum"]);
    }

    #[test]
    fn trailers_that_must_not_pass_are_not_announced() {
        let mut head = HeaderMap::from_iter([(TRAILER, HeaderValue::from_static("Set-Cookie"))]);
        Filter::of(&mut head, &[], &[]);
        assert!(head.is_empty());
    }
}

//! Upgrades: what a caller may change its connection to. After one, nobody sees what is said: it is a tunnel.

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response};

/// Only for an upgrade that is never done (RFC 9113 §3.1).
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Returns the protocol that a request asks for, if it may change its connection to that: WebSocket (RFC 6455 §4.1), and what the
/// API's `upgrades` lists. Other wishes are taken out of the request, as a server may ignore any (RFC 9110 §7.8).
pub(super) fn wanted<B>(request: &mut Request<B>, asks: bool, allowed: &[impl AsRef<str>]) -> Option<HeaderValue> {
    request.headers_mut().remove(HTTP2_SETTINGS);
    let wish = request.headers().get(UPGRADE).filter(|_| asks).cloned();
    let is_one = request.headers().get_all(UPGRADE).iter().count() == 1;
    let granted = wish.filter(|wish| {
        let name = wish.to_str().unwrap_or_default().trim();
        let is_listed = allowed.iter().any(|allowed| allowed.as_ref().eq_ignore_ascii_case(name));
        let is_websocket = name.eq_ignore_ascii_case("websocket");
        is_one && if is_websocket { opens_websocket(request) } else { is_listed }
    });
    if granted.is_none() {
        ignore(request.headers_mut());
    }
    granted
}

/// Returns whether a response switches to the protocol that was asked for.
pub(super) fn is_granted<B>(response: &Response<B>, wanted: &HeaderValue) -> bool {
    let mut fields = response.headers().get_all(UPGRADE).iter();
    let same = |field: &HeaderValue| field.as_bytes().trim_ascii().eq_ignore_ascii_case(wanted.as_bytes().trim_ascii());
    fields.next().is_some_and(same) && fields.next().is_none()
}

fn opens_websocket<B>(request: &Request<B>) -> bool {
    let one = |name: HeaderName| {
        let mut values = request.headers().get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
    };
    // 16 bytes in Base64.
    let is_key = |key: &[u8]| key.len() == 24 && key.ends_with(b"==");
    request.method() == Method::GET
        && one(SEC_WEBSOCKET_KEY).is_some_and(is_key)
        && one(SEC_WEBSOCKET_VERSION).is_some_and(|version| version.trim_ascii() == b"13")
}

fn ignore(headers: &mut HeaderMap) {
    headers.remove(UPGRADE);
    let keeps = |name: &str| !name.trim().eq_ignore_ascii_case("upgrade") && !name.trim().is_empty();
    let kept: Vec<_> = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).collect();
    let kept = kept.iter().flat_map(|value| value.split(',')).filter(|name| keeps(name)).collect::<Vec<_>>().join(",");
    match HeaderValue::try_from(kept) {
        Ok(kept) if !kept.is_empty() => drop(headers.insert(CONNECTION, kept)),
        _ => drop(headers.remove(CONNECTION)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    const WEBSOCKET: [(&str, &str); 4] = [
        ("connection", "Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    #[test]
    fn websocket_and_what_is_listed_may_be_changed_to() {
        let is_wanted = |fields: &[(&'static str, &'static str)], allowed: &[&str]| {
            let mut request = request(fields);
            let wanted = wanted(&mut request, true, allowed).is_some();
            assert_eq!(wanted, request.headers().contains_key(UPGRADE), "{fields:?}");
            assert!(!request.headers().contains_key(HTTP2_SETTINGS));
            wanted
        };
        assert!(is_wanted(&WEBSOCKET, &[]));
        for left_out in 1..4 {
            let fields: Vec<_> =
                WEBSOCKET.iter().enumerate().filter(|(index, _)| *index != left_out).map(|(_, field)| *field).collect();
            assert!(!is_wanted(&fields, &["websocket"]), "{fields:?}");
        }
        assert!(!is_wanted(&[&WEBSOCKET[..], &[("upgrade", "h2c")]].concat(), &[]));
        let h2c = [("connection", "Upgrade"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__")];
        assert!(!is_wanted(&h2c, &[]));
        assert!(!is_wanted(&[("connection", "Upgrade"), ("upgrade", "websocket, h2c")], &[]));
        let echo = [("connection", "Upgrade"), ("upgrade", "Echo")];
        assert!(is_wanted(&echo, &["echo"]) && !is_wanted(&echo, &[]));
    }

    #[test]
    fn only_what_was_asked_for_is_granted() {
        let response = |upgrade: &'static str| Response::builder().header(UPGRADE, upgrade).body(()).unwrap();
        let wanted = HeaderValue::from_static("websocket");
        assert!(is_granted(&response("WebSocket"), &wanted));
        assert!(!is_granted(&response("h2c"), &wanted) && !is_granted(&Response::new(()), &wanted));
    }

    #[test]
    fn what_else_the_connection_says_stays() {
        let mut request = request(&[("connection", "TE, Upgrade"), ("upgrade", "h2c"), ("te", "trailers")]);
        assert!(wanted(&mut request, true, &[] as &[&str]).is_none());
        assert_eq!(request.headers()[CONNECTION], "TE");
    }
}

//! Detects the protocol of a connection from its first bytes: TLS, HTTP/1, HTTP/2 or opaque.
//!
//! A connection that cannot be one of the known protocols is opaque from its first wrong byte on: Egret does not wait for more.

mod http1;

mod tls;

use crate::model::Protocol;

/// Most bytes that Egret looks at.
pub const MAX_PREFIX: usize = 16 * 1024;

/// HTTP/2's connection preface (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the bytes so far tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    /// The connection speaks this protocol.
    Done(Protocol),
    /// More bytes are needed.
    Incomplete,
}

/// Detects the protocol from the first bytes of a connection.
pub fn protocol(prefix: &[u8]) -> Detection {
    if prefix.is_empty() {
        return Detection::Incomplete;
    }
    if prefix.starts_with(HTTP2_PREFACE) {
        return Detection::Done(Protocol::Http2);
    }
    let detection = if HTTP2_PREFACE.starts_with(prefix) {
        Detection::Incomplete
    } else if tls::may_be(prefix) {
        tls::client_hello(prefix)
    } else {
        http1::request(prefix)
    };
    match detection {
        Detection::Incomplete if prefix.len() >= MAX_PREFIX => Detection::Done(Protocol::Opaque),
        detection => detection,
    }
}

/// Returns what a caller is told whose first bytes are TLS and a malformed ClientHello, if they are: an alert.
pub fn alert(prefix: &[u8]) -> Option<Vec<u8>> {
    tls::may_be(prefix).then(|| tls::alert(prefix)).flatten()
}

#[cfg(test)]
pub(crate) mod fuzz;

#[cfg(test)]
mod tests;

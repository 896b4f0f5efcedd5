use std::io::Cursor;

use rustls::server::Acceptor;

use super::Detection;
use crate::model::{Alpn, Host, Protocol};

/// Returns whether the bytes may begin a handshake record of any TLS version: type 22, major version 3 (RFC 8446 §5.1).
pub(super) fn may_be(prefix: &[u8]) -> bool {
    prefix.iter().zip([22, 3]).all(|(byte, expected)| *byte == expected)
}

/// Reads the server name and the protocols of a ClientHello, which may span records and segments.
pub(super) fn client_hello(prefix: &[u8]) -> Detection {
    let mut acceptor = Acceptor::default();
    let mut bytes = Cursor::new(prefix);
    loop {
        match acceptor.read_tls(&mut bytes) {
            Err(_) => return Detection::Done(Protocol::Opaque),
            Ok(read) => match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let sni = hello.server_name().and_then(|name| Host::parse(name).ok());
                    return Detection::Done(Protocol::Tls { sni, alpn: Alpn::offered(hello.alpn()) });
                }
                Ok(None) if read == 0 => return Detection::Incomplete,
                Ok(None) => {}
                // The caller speaks TLS, but its hello cannot be read: its name is not known.
                Err(_) => return Detection::Done(Protocol::Tls { sni: None, alpn: Alpn::HTTP1 }),
            },
        }
    }
}

use std::io::Cursor;

use rustls::AlertDescription;
use rustls::server::{Accepted, AcceptedAlert, Acceptor};

use super::Detection;
use crate::model::{Alpn, Host, Protocol};

/// Returns whether the bytes may begin a handshake record of any TLS version: type 22, major version 3 (RFC 8446 §5.1).
pub(super) fn may_be(prefix: &[u8]) -> bool {
    prefix.iter().zip([22, 3]).all(|(byte, expected)| *byte == expected)
}

/// Reads the server name of a ClientHello, which may span records and segments.
pub(super) fn client_hello(prefix: &[u8]) -> Detection {
    match read(prefix) {
        Hello::Incomplete => Detection::Incomplete,
        Hello::Overlong => Detection::Done(Protocol::Opaque),
        // TLS all the same, whose name is not known.
        Hello::Malformed(_) => Detection::Done(Protocol::Tls { sni: None, alpn: Alpn::HTTP1 }),
        Hello::Accepted(accepted) => {
            let hello = accepted.client_hello();
            let sni = hello.server_name().and_then(|name| Host::parse(name).ok());
            Detection::Done(Protocol::Tls { sni, alpn: Alpn::offered(hello.alpn()) })
        }
    }
}

/// Returns the record with the alert that a malformed ClientHello gets (RFC 8446 §6.2).
pub(super) fn alert(prefix: &[u8]) -> Option<Vec<u8>> {
    let Hello::Malformed(mut alert) = read(prefix) else { return None };
    if matches!(prefix, [_, _, _, high, low, ..] if u16::from_be_bytes([*high, *low]) > MAX_RECORD) {
        return Some(fatal(AlertDescription::RecordOverflow));
    }
    let mut record = Vec::new();
    alert.write_all(&mut record).ok()?;
    // rustls has none for another handshake message.
    Some(if record.is_empty() { fatal(AlertDescription::UnexpectedMessage) } else { record })
}

/// Most bytes of a record in the clear (RFC 8446 §5.1).
const MAX_RECORD: u16 = 1 << 14;

/// A record of two bytes: level and description (RFC 8446 §6).
fn fatal(alert: AlertDescription) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, alert.into()]
}

enum Hello {
    Accepted(Box<Accepted>),
    Incomplete,
    Malformed(AcceptedAlert),
    Overlong,
}

fn read(prefix: &[u8]) -> Hello {
    let mut acceptor = Acceptor::default();
    let mut bytes = Cursor::new(prefix);
    loop {
        let Ok(read) = acceptor.read_tls(&mut bytes) else { return Hello::Overlong };
        match acceptor.accept() {
            Ok(Some(accepted)) => return Hello::Accepted(Box::new(accepted)),
            Ok(None) if read == 0 => return Hello::Incomplete,
            Ok(None) => {}
            Err((_, alert)) => return Hello::Malformed(alert),
        }
    }
}

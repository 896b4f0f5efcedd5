use super::*;
use crate::model::{Alpn, Host};

fn host(name: &str) -> Option<Host> {
    Some(Host::parse(name).unwrap())
}

/// A ClientHello of TLS 1.2 with one suite, split into records of this size.
fn client_hello(sni: Option<&str>, record: usize) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(name) = sni {
        let length = u16::try_from(name.len()).unwrap();
        extensions.extend([0, 0]);
        extensions.extend((length + 5).to_be_bytes());
        extensions.extend((length + 3).to_be_bytes());
        extensions.push(0);
        extensions.extend(length.to_be_bytes());
        extensions.extend(name.as_bytes());
    }
    // signature_algorithms: ecdsa_secp256r1_sha256
    extensions.extend([0, 13, 0, 4, 0, 2, 4, 3]);
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    let mut message = vec![1, 0];
    message.extend(u16::try_from(hello.len()).unwrap().to_be_bytes());
    message.extend(hello);
    let records = message.chunks(record).flat_map(|chunk| {
        let mut bytes = vec![22, 3, 1];
        bytes.extend(u16::try_from(chunk.len()).unwrap().to_be_bytes());
        bytes.extend(chunk);
        bytes
    });
    records.collect()
}

#[test]
fn first_bytes_have_a_protocol() {
    let http = |host| Protocol::Http1 { host };
    for (bytes, expected) in [
        (
            client_hello(Some("api.partner.example"), 16384),
            Protocol::Tls { sni: host("api.partner.example"), alpn: Alpn::HTTP1 },
        ),
        (
            client_hello(Some("api.partner.example"), 20),
            Protocol::Tls { sni: host("api.partner.example"), alpn: Alpn::HTTP1 },
        ),
        (client_hello(None, 16384), Protocol::Tls { sni: None, alpn: Alpn::HTTP1 }),
        (b"GET / HTTP/1.1\r\nHost: API.example:8080\r\n\r\n".to_vec(), http(host("api.example"))),
        (b"GET http://api.example/x HTTP/1.1\r\nHost: other.example\r\n\r\n".to_vec(), http(host("api.example"))),
        (b"GET /?to=https://other.example/x HTTP/1.1\r\nHost: api.example\r\n\r\n".to_vec(), http(host("api.example"))),
        (b"GET a/b://other.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n".to_vec(), http(host("api.example"))),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), http(None)),
        (b"GET / HTTP/1.1\r\nHost: 203.0.113.7\r\n\r\n".to_vec(), http(None)),
        // Malformed requests are requests.
        (b"GET / HTTP/1.1\r\nHost : api.example\r\n\r\n".to_vec(), http(None)),
        (b"GET  / HTTP/1.1\r\nX: a\r\n b\r\nHost: api.example\r\n".to_vec(), http(host("api.example"))),
        (b"GET\t/ HTTP/9\nX: \0\nHOST:api.example\n".to_vec(), http(host("api.example"))),
        (b"GET a file\r\n".to_vec(), Protocol::Opaque),
        (b"AAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\nHost: api.example\r\n\r\n".to_vec(), Protocol::Opaque),
        (HTTP2_PREFACE.to_vec(), Protocol::Http2),
        (b"*1\r\n$4\r\nPING\r\n".to_vec(), Protocol::Opaque),
        (b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec(), Protocol::Opaque),
        (b"SSH-2.0-client\r\n".to_vec(), Protocol::Opaque),
    ] {
        assert_eq!(protocol(&bytes), Detection::Done(expected), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn byte_by_byte_says_the_same() {
    for bytes in [
        client_hello(Some("api.partner.example"), 50),
        b"POST /x HTTP/1.1\r\nHost: api.example\r\n".to_vec(),
        HTTP2_PREFACE.to_vec(),
    ] {
        for end in 1..bytes.len() {
            assert_eq!(protocol(&bytes[..end]), Detection::Incomplete, "after {end} bytes");
        }
        assert!(matches!(protocol(&bytes), Detection::Done(_)));
    }
}

#[test]
fn endless_beginnings_end() {
    let mut bytes = b"GET / HTTP/1.1\r\nX: ".to_vec();
    bytes.resize(MAX_PREFIX, b'a');
    assert_eq!(protocol(&bytes), Detection::Done(Protocol::Http1 { host: None }));
    bytes.fill(b'A');
    assert_eq!(protocol(&bytes), Detection::Done(Protocol::Opaque));
}

#[test]
fn a_malformed_client_hello_gets_the_alert_for_its_fault() {
    let whole = client_hello(Some("api.partner.example"), 16384);
    assert_eq!(alert(&whole), None);
    assert_eq!(alert(&whole[..whole.len() - 1]), None, "more may come");
    // The type of the handshake message: unexpected_message.
    let mut other = whole.clone();
    other[5] = 20;
    assert_eq!(alert(&other).as_deref(), Some(&[21, 3, 3, 0, 2, 2, 10][..]));
    // The length of the session ID, which may have 32 bytes: decode_error.
    let mut long = whole;
    long[43] = 33;
    assert_eq!(alert(&long).as_deref(), Some(&[21, 3, 3, 0, 2, 2, 50][..]));
    // The length of the record: record_overflow.
    assert_eq!(alert(b"\x16\x03\x01\xff\xff\x01").as_deref(), Some(&[21, 3, 3, 0, 2, 2, 22][..]));
    assert_eq!(alert(b"GET / HTTP/1.1\r\n\r\n"), None);
}

use super::*;
use crate::fuzz::Target;

/// The lengths of some beginnings of an input: all short ones, and some of the others.
fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let step = (bytes.len() / 24).max(1);
    (1..bytes.len().min(12))
        .chain((12..bytes.len()).step_by(step))
        .chain(bytes.len().checked_sub(1))
        .filter(|end| *end > 0)
}

/// What is once detected stays so, however the bytes arrive.
fn arrives_in_parts(bytes: &[u8]) {
    let whole = protocol(bytes);
    for end in ends(bytes) {
        let part = protocol(&bytes[..end]);
        assert!(part == Detection::Incomplete || part == whole, "after {end} bytes {part:?}, at the end {whole:?}");
        if let Some(told) = alert(&bytes[..end]) {
            assert_eq!(alert(bytes), Some(told), "after {end} bytes");
        }
    }
    let is_nameless = matches!(whole, Detection::Done(Protocol::Tls { sni: None, .. }));
    assert!(is_nameless || alert(bytes).is_none(), "an alert to what is understood");
}

/// Returns the contents of handshake records, if the bytes are such records and nothing else.
fn contents(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut contents = Vec::new();
    while !bytes.is_empty() {
        let [22, 3, 1..=4, high, low, rest @ ..] = bytes else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        contents.extend_from_slice(rest.get(..length).filter(|part| !part.is_empty())?);
        bytes = &rest[length..];
    }
    Some(contents)
}

fn in_records(contents: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
    contents.chunks(size).flat_map(record).collect()
}

const CLIENT_HELLO: Target = Target {
    corpus: "client-hello",
    words: &["api.partner.example", "\u{16}\u{3}\u{1}", "h2", "http/1.1", "\0\0\0\u{18}\0\u{16}\0\0\u{13}", "\0", "."],
    cases: 400,
    longest: 2048,
};

#[test]
fn a_client_hello_split_anywhere_is_detected_as_the_whole() {
    CLIENT_HELLO.check(|bytes| {
        arrives_in_parts(bytes);
        // A name is the same, however the handshake message is cut into records (RFC 8446 §5.1).
        if let (Detection::Done(Protocol::Tls { sni: Some(_), .. }), Some(contents)) =
            (protocol(bytes), contents(bytes))
        {
            for size in [1, 5, 100, 4096] {
                assert_eq!(protocol(&in_records(&contents, size)), protocol(bytes), "records of {size} bytes");
            }
        }
    });
}

#[test]
fn a_head_split_anywhere_is_detected_as_the_whole() {
    HTTP_HEAD.check(arrives_in_parts);
}

/// Heads of HTTP/1.
pub(crate) const HTTP_HEAD: Target = Target {
    corpus: "http-head",
    words: &[
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        "Host: api.partner.example\r\n",
        "host:other.example\r\n",
        "://",
        "http://",
        "other.example",
        "https://other.example/",
        "?u=http://other.example/",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "GET ",
        "POST ",
        "OPTIONS * ",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0",
        "\u{b}",
        "\u{a0}",
        "\u{85}",
        ":80",
        "@",
        "#",
        "/",
        ".",
        "Content-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "[2001:db8::7]",
        "192.0.2.1",
    ],
    cases: 1000,
    longest: 1024,
};

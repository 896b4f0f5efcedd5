//! Third parties that answer strangely: the caller sees a right answer or a broken connection, and nothing in between.

use egret_tests::{Behaviour, Lab, Then, wire};

use crate::PARTNER;

/// Asks an address, and says all that came back, in hexadecimal.
const CALLER: &str = r#"
import socket, sys
for line in sys.stdin:
    address, method = line.split()
    s = socket.create_connection((address, 80), timeout=10)
    said = b""
    try:
        s.sendall(method.encode() + b" / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
        while chunk := s.recv(65536):
            said += chunk
    except ConnectionError:
        pass
    print(said.hex(), flush=True)
"#;

/// Becomes LF; an LF becomes CRLF.
const BARE_LF: char = '¶';

/// What a caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// An answer of this status and body.
    See(&'static str, &'static str),
    /// The same, or no answer.
    SeeOrBreak(&'static str, &'static str),
    /// No answer.
    Break,
}
use May::{Break, See, SeeOrBreak};

/// Asks for each of these answers, by this method.
fn callers(cases: &[(&str, &str, &str, May)]) {
    let lab = Lab::new();
    let addresses: Vec<_> = (1..=cases.len()).map(|number| format!("203.0.113.{number}")).collect();
    lab.hosts(&addresses.iter().map(|address| (address.as_str(), "api.partner.example")).collect::<Vec<_>>());
    let _partners: Vec<_> = std::iter::zip(&addresses, cases)
        .map(|(address, (_, _, answer, _))| {
            let answer = Box::leak(answer.replace('\n', "\r\n").replace(BARE_LF, "\n").into_boxed_str());
            lab.third_party(address, 80, Behaviour::Answer(answer.as_bytes(), Then::Ends))
        })
        .collect();
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    let mut caller = lab.converse(CALLER);
    let before = egret.peak_memory();
    for (address, (what, method, _, may)) in std::iter::zip(addresses, cases) {
        caller.tell(&format!("{address} {method}"));
        let said = bytes(&caller.line());
        let answer = wire::answer(&said, method)
            .map(|answer| (answer.status().to_owned(), String::from_utf8_lossy(&answer.body).into_owned()));
        let right = match (may, &answer) {
            (See(status, body) | SeeOrBreak(status, body), Ok((seen, said))) => status == seen && body == said,
            (SeeOrBreak(..) | Break, Err(wire::Fault::Cut)) => true,
            _ => false,
        };
        assert!(right, "{what}: {answer:?}: {}", String::from_utf8_lossy(&said));
    }
    let grown = egret.peak_memory() - before;
    assert!(grown < 32 << 20, "{grown} bytes more");
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks(2).map(byte).collect()
}

#[test]
fn interim_answers_come_before_the_right_one() {
    let hello = "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello";
    let hints = "HTTP/1.1 103 Early Hints\nLink: </a>; rel=preload\n\n";
    let with = |interim: &str| format!("{interim}{hello}");
    callers(&[
        ("early hints", "GET", &with(hints), See("200", "hello")),
        ("early hints, often", "GET", &with(&hints.repeat(100)), See("200", "hello")),
        ("early hints, and no body", "HEAD", &with(hints).replace("hello", ""), See("200", "")),
        ("100, unasked", "GET", &with("HTTP/1.1 100 Continue\n\n"), See("200", "hello")),
        ("102", "GET", &with("HTTP/1.1 102 Processing\n\n"), See("200", "hello")),
        (
            "all of them",
            "GET",
            &with(&format!("HTTP/1.1 100 Continue\n\n{hints}HTTP/1.1 199 X\n\n")),
            See("200", "hello"),
        ),
        ("with a length", "GET", &with("HTTP/1.1 103 Early Hints\nContent-Length: 3\n\n"), SeeOrBreak("200", "hello")),
        ("only", "GET", hints, Break),
    ]);
}

#[test]
fn answers_whose_lengths_contradict() {
    let with = |fields: &str| format!("HTTP/1.1 200 OK\n{fields}\n\nhello");
    let chunked = |fields: &str| format!("HTTP/1.1 200 OK\n{fields}\n\n5\nhello\n0\n\n");
    callers(&[
        (
            "length, chunks",
            "GET",
            &chunked("Content-Length: 3\nTransfer-Encoding: chunked"),
            SeeOrBreak("200", "hello"),
        ),
        (
            "chunks, length",
            "GET",
            &chunked("Transfer-Encoding: chunked\nContent-Length: 3"),
            SeeOrBreak("200", "hello"),
        ),
        (
            "chunks, a larger length",
            "GET",
            &chunked("Transfer-Encoding: chunked\nContent-Length: 99"),
            SeeOrBreak("200", "hello"),
        ),
        ("two lengths", "GET", &with("Content-Length: 5\nContent-Length: 3"), Break),
        ("two equal lengths", "GET", &with("Content-Length: 5\nContent-Length: 5"), SeeOrBreak("200", "hello")),
        ("a list of lengths", "GET", &with("Content-Length: 5, 3"), Break),
        ("a sign", "GET", &with("Content-Length: -5"), Break),
        ("a plus", "GET", &with("Content-Length: +5"), Break),
        ("more than 64 bits", "GET", &with("Content-Length: 18446744073709551621"), Break),
        ("too short", "GET", &with("Content-Length: 3"), SeeOrBreak("200", "hel")),
        ("too long", "GET", &with("Content-Length: 50"), Break),
        (
            "too long a chunk",
            "GET",
            &chunked("Transfer-Encoding: chunked").replace("5\n", "FFFFFFFFFFFFFFFF5\n"),
            Break,
        ),
        ("no last chunk", "GET", &chunked("Transfer-Encoding: chunked").replace("0\n\n", ""), Break),
        ("no end behind the last chunk", "GET", &chunked("Transfer-Encoding: chunked").replace("0\n\n", "0\n"), Break),
        ("no size", "GET", &chunked("Transfer-Encoding: chunked").replace("5\n", "x\n"), Break),
    ]);
}

#[test]
fn bodies_where_none_may_be() {
    let with = |head: &str| format!("HTTP/1.1 {head}\n\nHTTP/1.1 200 OK\nContent-Length: 6\n\npoison");
    callers(&[
        ("HEAD", "HEAD", &with("200 OK\nContent-Length: 44"), See("200", "")),
        ("HEAD, chunks", "HEAD", &with("200 OK\nTransfer-Encoding: chunked"), See("200", "")),
        ("HEAD, no length", "HEAD", &with("200 OK"), See("200", "")),
        ("204", "GET", &with("204 No Content"), See("204", "")),
        ("204, a length", "GET", &with("204 No Content\nContent-Length: 44"), See("204", "")),
        ("204, chunks", "GET", &with("204 No Content\nTransfer-Encoding: chunked"), See("204", "")),
        ("304, a length", "GET", &with("304 Not Modified\nContent-Length: 44"), See("304", "")),
        ("304", "GET", &with("304 Not Modified"), See("304", "")),
        ("a second answer", "GET", &with("200 OK\nContent-Length: 0"), See("200", "")),
    ]);
}

#[test]
fn heads_that_are_none() {
    let with = |line: &str| format!("HTTP/1.1 200 OK\nContent-Length: 5\n{line}\n\nhello");
    let first = |line: &str| with("X: a").replace("HTTP/1.1 200 OK", line);
    callers(&[
        ("a NUL", "GET", &with("X: a\0b"), Break),
        ("a control character", "GET", &with("X: a\x01b"), Break),
        ("a fold", "GET", &with("X: a\n b"), SeeOrBreak("200", "hello")),
        ("a bare LF", "GET", &with("X: a¶Y: b"), SeeOrBreak("200", "hello")),
        ("a bare CR", "GET", &with("X: a\rContent-Length: 3"), Break),
        ("a space before the colon", "GET", &with("X : a"), SeeOrBreak("200", "hello")),
        ("no colon", "GET", &with("X"), Break),
        ("a long field", "GET", &with(&format!("X: {}", "a".repeat(2_000_000))), Break),
        ("many fields", "GET", &with(&"X: a\n".repeat(100_000)), Break),
        ("a status of two digits", "GET", &first("HTTP/1.1 99 OK"), Break),
        ("a status of four digits", "GET", &first("HTTP/1.1 2000 OK"), Break),
        ("no status", "GET", &first("HTTP/1.1"), Break),
        ("HTTP/2.0", "GET", &first("HTTP/2.0 200 OK"), Break),
        ("HTTP/0.9", "GET", "hello", Break),
        ("HTTP/1.0", "GET", &first("HTTP/1.0 200 OK"), See("200", "hello")),
        ("nothing", "GET", "", Break),
    ]);
}

#[test]
fn what_nobody_asked_for_is_not_passed_on() {
    let hello = "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello";
    let switching = format!("HTTP/1.1 101 Switching Protocols\nConnection: upgrade\nUpgrade: x\n\n{hello}");
    let chunks = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n";
    callers(&[
        ("101, unasked", "GET", &switching, Break),
        ("chunked twice", "GET", chunks, SeeOrBreak("200", "hello")),
    ]);
}

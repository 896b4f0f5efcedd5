//! A ClientHello that Egret cannot accept gets the alert that RFC 8446 §6.2 asks for, not a reset.

use egret_tests::{Behaviour, EGRESS, Lab, eventually};

use crate::PARTNER;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";

/// Sends one ClientHello after the other and prints what each gets.
const CALLER: &str = r#"
import os, socket, struct
def ext(kind, data): return struct.pack(">HH", kind, len(data)) + data
def vec(size, data): return len(data).to_bytes(size, "big") + data
def hello(exts, version=b"\3\3", suites=b"\x13\x01\x13\x02\xc0\x2b", compression=b"\0", kind=b"\1"):
    body = version + os.urandom(32) + vec(1, os.urandom(32)) + vec(2, suites) + vec(1, compression) + vec(2, b"".join(exts))
    return b"\x16\3\1" + vec(2, kind + len(body).to_bytes(3, "big") + body)
sni = ext(0, vec(2, b"\0" + vec(2, b"api.partner.example")))
groups, signatures = ext(10, vec(2, b"\0\x1d\0\x17")), ext(13, vec(2, b"\4\3\x08\4"))
versions, share = ext(43, vec(1, b"\3\4")), ext(51, vec(2, b"\0\x1d" + vec(2, os.urandom(32))))
usual = [sni, groups, signatures, versions, share]
for what, said in {
    "usual": hello(usual),
    "empty key_share": hello([sni, groups, signatures, versions, ext(51, b"")]),
    "twice the same extension": hello(usual + [signatures]),
    "trailing byte": hello([sni, groups, ext(13, vec(2, b"\4\3\x08\4") + b"x"), versions, share]),
    "length beyond the end": hello(usual + [struct.pack(">HH", 99, 50)]),
    "no signature_algorithms": hello([sni, groups, versions, share]),
    "compression alone": hello(usual, compression=b"\1"),
    "NUL in the name": hello([ext(0, vec(2, b"\0" + vec(2, b"api.partner.example\0")))] + usual[1:]),
    "TLS 1.1": hello([sni, groups, signatures, ext(43, vec(1, b"\3\2"))], version=b"\3\2"),
    "TLS 1.0": hello([sni, groups], version=b"\3\1", suites=b"\xc0\x09\xc0\x13"),
    "no suite in common": hello(usual, suites=b"\x00\x2f"),
    "no ClientHello": hello(usual, kind=b"\x14"),
    "record too long": b"\x16\3\1\xff\xff" + hello(usual)[5:] + bytes(16384),
}.items():
    s = socket.create_connection(("203.0.113.7", 443), timeout=10)
    heard = b""
    try:
        s.sendall(said)
        while len(heard) < 7 and (more := s.recv(100)):
            heard += more
        end = "" if heard[:1] == b"\x16" else " " + repr(s.recv(100))
    except OSError as error:
        end = " " + type(error).__name__
    print(what + ":", {21: "alert", 22: "hello"}.get(heard[0] if heard else 0), heard[6] if heard[:1] == b"\x15" else "", end)
    s.close()
"#;

#[test]
fn a_malformed_client_hello_gets_an_alert_and_an_orderly_end() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let https = Behaviour::Https(pki.identity(&[NAME], &["http/1.1"]), vec![EGRESS.parse().unwrap()]);
    let partner = lab.third_party(ADDRESS, 443, https);
    let api = format!("{PARTNER}    mode: intercept\n    backend: {{scheme: https, tls: {{ca: {}}}}}\n", pki.ca());
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let heard = lab.python(CALLER, &[]);
    let expected = [
        "usual: hello  ",
        "empty key_share: alert 50  b''",
        "twice the same extension: alert 50  b''",
        "trailing byte: alert 50  b''",
        "length beyond the end: alert 50  b''",
        "no signature_algorithms: alert 40  b''",
        "compression alone: alert 47  b''",
        "NUL in the name: alert 47  b''",
        "TLS 1.1: alert 70  b''",
        "TLS 1.0: alert 40  b''",
        "no suite in common: alert 40  b''",
        "no ClientHello: alert 10  b''",
        "record too long: alert 22  b''",
    ];
    assert_eq!(heard.lines().collect::<Vec<_>>().join("\n"), expected.join("\n").trim());
    eventually("the records say why", || {
        let log = std::fs::read_to_string(lab.access_log()).unwrap_or_default();
        log.matches("\"downstream_tls\"").count() >= expected.len() - 1
    });
    assert!(partner.seen().len() <= 4, "only of what could be read is the third party asked");
}

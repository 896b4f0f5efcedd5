//! Third parties whose HTTP/2 is malformed (RFC 9113 §8), or that respond before a request has ended.

use egret_tests::{Egret, Lab, Service};

use crate::PARTNER;
use crate::hostile_http2::CALLER;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";
/// The libraries are installed for the system's Python.
const PYTHON: &str = "/usr/bin/python3";

/// A third party that responds to the head of a request with the frames that its path names. It allows two requests at once.
const PARTY: &str = r#"
import hpack, socket, ssl, struct, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
context.set_alpn_protocols(["h2"])
DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING = 0, 1, 3, 4, 5, 6
def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
def plain(fields):
    # Literals that are not indexed: nothing depends on what went before.
    def text(t):
        t = t.encode("latin-1")
        return bytes([len(t)]) + t
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)
ok = (":status", "200")
def answer(fields, end=5):
    return lambda s: frame(HEADERS, end, s, plain(fields))
def body(fields, data):
    return lambda s: frame(HEADERS, 4, s, plain(fields)) + frame(DATA, 1, s, data)
ANSWERS = {
    "/well": answer([ok]),
    "/early": lambda s: frame(HEADERS, 4, s, plain([ok])) + frame(DATA, 1, s, b"enough") + frame(RST_STREAM, 0, s, bytes(4)),
    "/open": body([ok], b"enough"),
    "/no-status": answer([("x", "a")]),
    "/two-statuses": answer([ok, (":status", "201")]),
    "/short-status": answer([(":status", "20")]),
    "/odd-status": answer([(":status", "2x0")]),
    "/status-behind": answer([("x", "a"), ok]),
    "/path": answer([ok, (":path", "/")]),
    "/unknown-pseudo": answer([ok, (":egret", "1")]),
    "/upper-case": answer([ok, ("X-Upper", "a")]),
    "/connection": answer([ok, ("connection", "close")]),
    "/keep-alive": answer([ok, ("keep-alive", "timeout=5")]),
    "/transfer-encoding": answer([ok, ("transfer-encoding", "chunked")]),
    "/upgrade": answer([ok, ("upgrade", "h2c")]),
    "/line": answer([ok, ("x", "a\r\ny: b")]),
    "/nul": answer([ok, ("x", "a\0b")]),
    "/space": answer([ok, ("x", " a")]),
    "/tab": answer([ok, ("x", "a\t")]),
    "/name": answer([ok, ("x a", "a")]),
    "/colon": answer([ok, ("x:a", "a")]),
    "/length": answer([ok, ("content-length", "+5")]),
    "/length-and-no-body": answer([ok, ("content-length", "5")]),
    "/switching": answer([(":status", "101")]),
    "/interim-end": answer([(":status", "103")]),
    "/promise": lambda s: frame(PUSH_PROMISE, 4, s, struct.pack(">I", 2) + plain([(":method", "GET"), (":scheme", "https"), (":authority", "api.partner.example"), (":path", "/pushed")])) + frame(HEADERS, 5, s, plain([ok])),
    "/less": body([ok, ("content-length", "5")], b"abc"),
    "/more": body([ok, ("content-length", "2")], b"abc"),
    "/two-lengths": body([ok, ("content-length", "3"), ("content-length", "5")], b"abc"),
    "/pseudo-trailer": lambda s: frame(HEADERS, 4, s, plain([ok])) + frame(DATA, 0, s, b"abc") + frame(HEADERS, 5, s, plain([(":status", "500")])),
    "/trailer-without-end": lambda s: frame(HEADERS, 4, s, plain([ok])) + frame(HEADERS, 4, s, plain([("x", "a")])) + frame(DATA, 1, s, b"abc"),
}
def serve(s):
    s = context.wrap_socket(s, server_side=True)
    decoder = hpack.Decoder()
    s.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 2)) + frame(SETTINGS, 1, 0))
    heard = s.recv(65536)
    heard = heard[24:]
    while True:
        while len(heard) >= 9 and len(heard) >= (size := 9 + int.from_bytes(heard[:3], "big")):
            kind, flags, stream, payload = heard[3], heard[4], int.from_bytes(heard[5:9], "big"), heard[9:size]
            heard = heard[size:]
            if kind == HEADERS:
                path = dict(decoder.decode(payload))[":path"]
                s.sendall(ANSWERS[path](stream))
            if kind == PING and not flags & 1:
                s.sendall(frame(PING, 1, 0, payload))
        more = s.recv(65536)
        if not more:
            return
        heard += more
listener = socket.create_server(("203.0.113.7", 443))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

struct Scene {
    _egret: Egret,
    _party: Service,
    lab: Lab,
}

impl Scene {
    fn new(policies: &str) -> Self {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let pki = lab.pki();
        let (certificate, key) = pki.identity(&[NAME], &[]).write(lab.directory());
        let paths = [&certificate, &key].map(|path| path.to_str().unwrap());
        let party = lab.service(443, PYTHON, &[&["-c", PARTY], &paths[..]].concat());
        let api = format!("{PARTNER}    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n{policies}", pki.ca());
        let egret = lab.egret(&lab.configure(&api), &[]);
        Self { _egret: egret, _party: party, lab }
    }

    /// What a caller said in the end, in lines.
    fn call(&self, program: &str) -> Vec<String> {
        let ca = self.lab.directory().join("egret-ca.pem");
        let output = self.lab.run(PYTHON, &["-c", &format!("{CALLER}{program}"), ca.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

#[test]
fn malformed_responses_do_not_reach_the_caller_as_whole_ones() {
    for policies in ["", "    policies: {outbound: [set-header: {name: X-Seen, value: 'yes'}]}\n"] {
        let said = Scene::new(policies).call(
            r#"
for path in ("well no-status two-statuses short-status odd-status status-behind unknown-pseudo upper-case connection keep-alive "
             "transfer-encoding upgrade line nul space tab name colon length length-and-no-body switching interim-end promise less more "
             "two-lengths trailer-without-end").split():
    caller = Caller()
    caller.send(caller.headers(1, GET[:3] + [(":path", "/" + path)]))
    verdict = caller.verdict(1)
    print(path, verdict if verdict == "waits" else caller.outcome(1) + " " + verdict, sep=": ")
    caller.s.close()
"#,
        );
        assert_eq!((said.len(), said[0].as_str()), (27, "well: complete 200"));
        let whole: Vec<_> = said[1..].iter().filter(|line| !line.contains(": broken ")).collect();
        // With policies, a response that cannot be read is one of Egret's own.
        let is_own = |line: &&&String| !policies.is_empty() && line.contains("complete 502");
        assert_eq!(whole.iter().filter(|line| !is_own(line)).count(), 0, "{policies}: {whole:?}");
    }
}

/// The library drops pseudo-header fields that do not belong where they are.
#[test]
fn pseudo_header_fields_of_requests_and_in_trailers_do_not_reach_the_caller() {
    let said = Scene::new("").call(
        r#"
for path in ("/path", "/pseudo-trailer"):
    caller = Caller()
    caller.send(caller.headers(1, GET[:3] + [(":path", path)]))
    caller.outcome(1)
    print(*(field for field in caller.fields if field[0].startswith(":")))
"#,
    );
    assert_eq!(said, ["(':status', '200')"; 2]);
}

#[test]
fn a_response_before_the_end_of_its_request_is_heard() {
    let scene = Scene::new("");
    let said = scene.call(
        r#"
caller = Caller()
caller.send(caller.headers(1, GET[:3] + [(":path", "/early")], END_HEADERS) + frame(DATA, 0, 1, b"a" * 1000))
print(caller.verdict(1), caller.outcome(1))
print(caller.get(3))
"#,
    );
    assert_eq!(said, ["200 complete", "200"]);
}

#[test]
fn uploads_that_go_on_after_their_responses_take_no_streams_from_other_callers() {
    let scene = Scene::new("");
    let said = scene.call(
        r#"
slow = Caller()
for stream in (1, 3):
    slow.send(slow.headers(stream, GET[:3] + [(":path", "/open")], END_HEADERS) + frame(DATA, 0, stream, b"a"))
    print(slow.verdict(stream), slow.outcome(stream))
print(Caller().get(1))
"#,
    );
    assert_eq!(said, ["200 complete", "200 complete", "200"]);
}

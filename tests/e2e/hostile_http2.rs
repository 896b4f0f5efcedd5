//! Callers that attack by HTTP/2, through `intercept`: they are refused, work is bounded, others are served.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use egret_tests::{Egret, Lab, Service, eventually};

use crate::PARTNER;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";
/// The libraries are installed for the system's Python.
const PYTHON: &str = "/usr/bin/python3";

/// A third party that lets anything pass: it writes down each request, its trailers and its end, and
/// each end of a connection.
const PARTY: &str = r#"
import h2.config, h2.connection, h2.events, h2.exceptions, socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
context.set_alpn_protocols(["h2"])
log = open(sys.argv[3], "a", buffering=1)
lenient = dict(client_side=False, validate_inbound_headers=False, normalize_inbound_headers=False, header_encoding="latin-1")
def converse(s, source):
    s = context.wrap_socket(s, server_side=True)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(**lenient))
    connection.initiate_connection()
    s.sendall(connection.data_to_send())
    while data := s.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                log.write("request " + ascii(event.headers) + "\n")
                if (":path", "/leave") in event.headers:
                    # GOAWAY without an error: this request was not taken.
                    s.sendall(b"\0\0\x08\x07\0\0\0\0\0" + max(event.stream_id - 2, 0).to_bytes(4, "big") + bytes(4))
                    while s.recv(65536):
                        pass
                    return
            if isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if isinstance(event, h2.events.TrailersReceived):
                log.write("trailers " + ascii(event.headers) + "\n")
            if isinstance(event, h2.events.StreamEnded):
                log.write("complete\n")
                try:
                    connection.send_headers(event.stream_id, [(":status", "200")])
                    connection.send_data(event.stream_id, source.encode(), end_stream=True)
                except h2.exceptions.ProtocolError:
                    pass
        s.sendall(connection.data_to_send())
def serve(s, source):
    log.write("begin\n")
    try:
        converse(s, source)
    finally:
        log.write("end\n")
listener = socket.create_server(("203.0.113.7", 443))
while True:
    s, (source, _) = listener.accept()
    threading.Thread(target=serve, args=(s, source), daemon=True).start()
"#;

/// A caller that says any frame, and reads while it speaks.
pub(crate) const CALLER: &str = r#"
import hpack, select, socket, ssl, struct, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.set_alpn_protocols(["h2"])
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload
GET = [(":method", "GET"), (":scheme", "https"), (":authority", "api.partner.example"), (":path", "/well")]
class Caller:
    def __init__(self):
        self.s = context.wrap_socket(socket.create_connection(("203.0.113.7", 443), 20), server_hostname="api.partner.example")
        assert self.s.selected_alpn_protocol() == "h2"
        self.s.setblocking(False)
        self.decoder = hpack.Decoder()
        self.heard, self.verdicts, self.end = b"", {}, None
        self.complete, self.reset, self.settings, self.fields = set(), set(), {}, []
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
    def headers(self, stream, fields=GET, flags=END_HEADERS | END_STREAM):
        return frame(HEADERS, flags, stream, hpack.Encoder().encode(fields))
    def send(self, data, reads=True):
        data = memoryview(data)
        while data and not self.end:
            try:
                data = data[self.s.send(data[:65536]):]
            except ssl.SSLWantWriteError:
                if not select.select([self.s] if reads else [], [self.s], [], 20 if reads else 1)[1] and not reads:
                    return
            except OSError:
                self.end = "closed"
            if reads:
                self.read()
    def read(self):
        try:
            data = self.s.recv(65536)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        self.heard += data
        if not data:
            self.end = self.end or "closed"
        while len(self.heard) >= 9 and len(self.heard) >= (size := 9 + int.from_bytes(self.heard[:3], "big")):
            flags = self.heard[4]
            kind, stream, payload = self.heard[3], int.from_bytes(self.heard[5:9], "big"), self.heard[9:size]
            self.heard = self.heard[size:]
            if kind == HEADERS:
                fields = self.decoder.decode(payload)
                self.fields += fields
                self.verdicts.setdefault(stream, dict(fields).get(":status"))
            if kind == SETTINGS and not flags & ACK:
                self.settings.update(struct.iter_unpack(">HI", payload))
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                self.complete.add(stream)
            if kind == RST_STREAM:
                self.reset.add(stream)
                self.verdicts.setdefault(stream, "REFUSED_STREAM" if payload[3] == 7 else "RST_STREAM")
            if kind == GOAWAY and payload[4:8] != bytes(4):
                self.end = "GOAWAY"
    def verdict(self, stream):
        while stream not in self.verdicts and not self.end:
            if not self.s.pending() and not select.select([self.s], [], [], 20)[0]:
                return "waits"
            self.read()
        return self.verdicts.get(stream) or self.end
    def outcome(self, stream):
        while stream not in self.complete | self.reset and not self.end:
            if not self.s.pending() and not select.select([self.s], [], [], 20)[0]:
                return "waits"
            self.read()
        return "complete" if stream in self.complete else "broken"
    def get(self, stream):
        self.send(self.headers(stream))
        return self.verdict(stream)
"#;

/// A lab with both, and what the third party has written down so far.
struct Scene {
    egret: Egret,
    _party: Service,
    lab: Lab,
}

impl Scene {
    fn new() -> Self {
        Self::limited("")
    }

    /// A scene with these limits in its configuration.
    fn limited(limits: &str) -> Self {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let pki = lab.pki();
        let (certificate, key) = pki.identity(&[NAME], &[]).write(lab.directory());
        let log = lab.directory().join("party.log");
        let paths = [&certificate, &key, &log].map(|path| path.to_str().unwrap());
        let party = lab.service(443, PYTHON, &[&["-c", PARTY], &paths[..]].concat());
        let api = format!("{PARTNER}    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n", pki.ca());
        let egret = lab.egret(&lab.configure(&format!("{api}{limits}")), &[]);
        Self { egret, _party: party, lab }
    }

    /// What this caller said in the end, in lines.
    fn call(&self, program: &str) -> Vec<String> {
        let ca = self.lab.directory().join("egret-ca.pem");
        let output = self.lab.run(PYTHON, &["-c", &format!("{CALLER}{program}"), ca.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// What the third party has written down of requests, when Egret and all connections to it have ended.
    fn seen(self) -> Vec<String> {
        self.egret.stop();
        let log = || std::fs::read_to_string(self.lab.directory().join("party.log")).unwrap();
        let count = |what| log().lines().filter(|line| *line == what).count();
        eventually("the third party has heard all", || count("end") == count("begin"));
        log().lines().filter(|line| *line != "begin" && *line != "end").map(str::to_owned).collect()
    }
}

/// Lines of what was said and how it ended.
fn are_refused(said: &[String]) {
    for line in said {
        let (_, verdict) = line.rsplit_once(": ").unwrap();
        assert!(["RST_STREAM", "REFUSED_STREAM", "GOAWAY", "closed", "400", "405", "421"].contains(&verdict), "{line}");
    }
}

#[test]
fn connections_and_requests_at_once_of_one_owner_are_bounded_and_others_are_served() {
    let scene = Scene::limited("limits: {connections_per_workload: 16}\n");
    let ca = scene.lab.directory().join("egret-ca.pem");
    let program = r#"
callers = [Caller() for _ in range(3)]
print(*(caller.get(1) for caller in callers), flush=True)
first = callers[0]
for stream in range(3, 3 + 2 * 17, 2):
    first.send(first.headers(stream, GET, END_HEADERS))
while len(first.verdicts) < 2 and not first.end:
    select.select([first.s], [], [], 20)
    first.read()
refused = [stream for stream in first.verdicts if stream != 1]
print(*(first.verdicts[stream] for stream in refused), flush=True)
running = 3 if 3 not in refused else 5
first.send(frame(DATA, END_STREAM, running))
print(first.verdict(running), flush=True)
stream = 37
while first.get(stream) == "REFUSED_STREAM":
    stream += 2
print(first.verdict(stream), flush=True)
sys.stdin.readline()
"#;
    let mut hostile = scene.lab.workload(PYTHON, &["-c", &format!("{CALLER}{program}"), ca.to_str().unwrap()]);
    let mut hostile = hostile.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(hostile.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "200 200 closed", "two of sixteen connections may speak HTTP/2");
    assert_eq!(lines.next().unwrap(), "REFUSED_STREAM", "one of seventeen requests at once is refused");
    assert_eq!(lines.next().unwrap(), "200");
    assert_eq!(lines.next().unwrap(), "200", "one that has ended makes room");
    let victim = scene.lab.pod("shop", "victim");
    let called = { victim.command(PYTHON, &["-c", &format!("{CALLER}print(Caller().get(1))"), ca.to_str().unwrap()]) };
    assert_eq!(String::from_utf8_lossy(&{ called }.output().unwrap().stdout).trim(), "200");
    hostile.kill().unwrap();
    hostile.wait().unwrap();
}

#[test]
fn wide_windows_are_for_as_many_connections_as_fit_into_the_budget_of_bodies() {
    // One connection in a quarter of it.
    let scene = Scene::limited("limits: {buffered_bytes: 16777216}\n");
    let said = scene.call(
        r#"
def served():
    caller = Caller()
    return caller, caller.get(1), caller.settings[4]
first, second = served(), served()
print(*first[1:], *second[1:])
first[0].s.close()
for _ in range(100):
    third = served()
    if third[2] == 1 << 20:
        break
    third[0].s.close()
print(*third[1:])
"#,
    );
    assert_eq!(said, ["200 1048576 200 65536", "200 1048576"]);
}

#[test]
fn malformed_requests_do_not_reach_the_third_party() {
    let scene = Scene::new();
    let said = scene.call(
        r#"
method, scheme, authority, path = (":method", "GET"), (":scheme", "https"), (":authority", "api.partner.example"), (":path", "/malformed")
head = [method, scheme, authority, path]
for what, fields in [
    ("two paths", head + [path]),
    ("two other paths", [method, scheme, authority, (":path", "/"), path]),
    ("two methods", [method, method, scheme, authority, path]),
    ("two authorities", [method, scheme, authority, (":authority", "stranger.example"), path]),
    ("no path", [method, scheme, authority]),
    ("an empty path", [method, scheme, authority, (":path", "")]),
    ("no method", [scheme, authority, path]),
    ("no scheme", [method, authority, path]),
    ("no authority", [method, scheme, path]),
    ("an unknown pseudo header", head + [(":protocol", "x")]),
    ("another unknown pseudo header", head + [(":egret", "x")]),
    ("one of an answer", head + [(":status", "200")]),
    ("a pseudo header behind", [method, scheme, authority, ("x", "a"), path]),
    ("upper case", head + [("X-Upper", "a")]),
    ("an empty name", head + [("", "a")]),
    ("a space in a name", head + [("x a", "a")]),
    ("a colon in a name", head + [("x:a", "a")]),
    ("a line in a name", head + [("x: a\r\ny", "a")]),
    ("a line in a value", head + [("x", "a\r\ny: b")]),
    ("an LF in a value", head + [("x", "a\nb")]),
    ("a CR in a value", head + [("x", "a\rb")]),
    ("a NUL in a value", head + [("x", "a\0b")]),
    ("a space before a value", head + [("x", " a")]),
    ("a tab behind a value", head + [("x", "a\t")]),
    ("a line in the path", [method, scheme, authority, (":path", "/malformed HTTP/1.1\r\nx: a")]),
    ("a space in the path", [method, scheme, authority, (":path", "/malformed /")]),
    ("a path without a slash", [method, scheme, authority, (":path", "malformed")]),
    ("a line in the method", [(":method", "GET /malformed HTTP/1.1\r\nx: a\r\n"), scheme, authority, path]),
    ("a space in the method", [(":method", "GET /"), scheme, authority, path]),
    ("a line in the authority", [method, scheme, (":authority", "api.partner.example\r\nx: a"), path]),
    ("a user in the authority", [method, scheme, (":authority", "stranger.example@api.partner.example"), path]),
    ("another authority", [method, scheme, (":authority", "stranger.example"), path]),
    ("another host", head + [("host", "stranger.example")]),
    ("two hosts", head + [("host", "api.partner.example"), ("host", "stranger.example")]),
    ("another host alone", [method, scheme, path, ("host", "stranger.example")]),
    ("connection", head + [("connection", "close")]),
    ("keep-alive", head + [("keep-alive", "timeout=5")]),
    ("proxy-connection", head + [("proxy-connection", "keep-alive")]),
    ("transfer-encoding", head + [("transfer-encoding", "chunked")]),
    ("upgrade", head + [("upgrade", "h2c")]),
    ("te", head + [("te", "gzip")]),
    ("a length, and no body", head + [("content-length", "10")]),
    ("a length that is none", head + [("content-length", "+0")]),
    ("two lengths", head + [("content-length", "0"), ("content-length", "5")]),
    ("CONNECT", [(":method", "CONNECT"), authority]),
    ("CONNECT with a path", [(":method", "CONNECT"), scheme, authority, path]),
    ("CONNECT for WebSocket", [(":method", "CONNECT"), (":protocol", "websocket"), scheme, authority, path]),
]:
    caller = Caller()
    caller.send(caller.headers(1, fields))
    print(what, caller.verdict(1), sep=": ")
    caller.s.close()
"#,
    );
    assert_eq!(said.len(), 47);
    are_refused(&said);
    assert_eq!(scene.seen(), [""; 0]);
}

#[test]
fn bodies_of_another_length_and_pseudo_trailers_do_not_get_through() {
    let scene = Scene::new();
    let said = scene.call(
        r#"
for what, length, body in [("less", "10", b"hello"), ("more", "3", b"hello")]:
    caller = Caller()
    caller.send(caller.headers(1, GET + [("content-length", length)], END_HEADERS))
    caller.send(frame(DATA, END_STREAM, 1, body))
    print(what, caller.verdict(1), sep=": ")
    caller.s.close()
caller = Caller()
caller.send(caller.headers(1, GET, END_HEADERS) + frame(DATA, 0, 1, b"hello"))
caller.send(caller.headers(1, [(":path", "/smuggled")]))
print(caller.verdict(1))
caller.s.close()
"#,
    );
    are_refused(&said[..2]);
    assert!(["200", "RST_STREAM", "GOAWAY"].contains(&said[2].as_str()), "{said:?}");
    let seen = scene.seen();
    assert!(seen.iter().filter(|line| *line == "complete").count() <= 1, "{seen:?}");
    assert!(!seen.iter().any(|line| line.contains("smuggled")), "{seen:?}");
}

#[test]
fn frames_that_are_not_allowed_end_the_connection() {
    let scene = Scene::new();
    let said = scene.call(
        r#"
for what, frames in [
    ("data on no stream", frame(DATA, 0, 0, b"a")),
    ("data on an idle stream", frame(DATA, 0, 1, b"a")),
    ("headers on no stream", frame(HEADERS, 5, 0, b"\x82")),
    ("headers on an even stream", frame(HEADERS, 5, 2, b"\x82\x87\x84")),
    ("headers that are not HPACK", frame(HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff")),
    ("an index beyond the table", frame(HEADERS, 5, 1, b"\xfe")),
    ("a table beyond what is allowed", frame(HEADERS, 5, 1, b"\x3f\xff\xff\xff\x07\x82")),
    ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, b"\x82")),
    ("a ping within headers", frame(HEADERS, 1, 1, b"\x82") + frame(PING, 0, 0, bytes(8))),
    ("a continuation of another stream", frame(HEADERS, 1, 1, b"\x82") + frame(CONTINUATION, 4, 3, b"\x82")),
    ("a ping of seven bytes", frame(PING, 0, 0, bytes(7))),
    ("a ping on a stream", frame(PING, 0, 1, bytes(8))),
    ("settings of five bytes", frame(SETTINGS, 0, 0, bytes(5))),
    ("settings on a stream", frame(SETTINGS, 0, 1)),
    ("an acknowledgement with settings", frame(SETTINGS, ACK, 0, bytes(6))),
    ("too large a window", frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31))),
    ("too small a frame size", frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1))),
    ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fffffff)) * 2),
    ("a window update of nothing", frame(WINDOW_UPDATE, 0, 0, bytes(4))),
    ("a reset of an idle stream", frame(RST_STREAM, 0, 1, bytes(4))),
    ("a reset of three bytes", frame(RST_STREAM, 0, 1, bytes(3))),
    ("a promise", frame(PUSH_PROMISE, 4, 1, struct.pack(">I", 2) + b"\x82")),
    ("more padding than frame", frame(HEADERS, 5 | PADDED, 1, b"\xff\x82")),
    ("too long a frame", frame(HEADERS, 5, 1, bytes(20000))),
    ("not the preface", b"GET / HTTP/1.1\r\n\r\n"),
]:
    caller = Caller()
    caller.send(frames)
    print(what, caller.verdict(1), sep=": ")
    caller.s.close()
"#,
    );
    assert_eq!(said.len(), 25);
    are_refused(&said);
    assert_eq!(scene.seen(), [""; 0]);
}

#[test]
fn heavy_floods_are_bounded_and_others_are_served() {
    let scene = Scene::new();
    let before = scene.egret.peak_memory();
    let said = scene.call(
        r#"
other, stream = Caller(), 1
def resets(caller, each):
    return b"".join(caller.headers(stream) + each(stream) for stream in range(3, 20003, 2))
zero = struct.pack(">I", 0)
# A field of 4,000 bytes is remembered, then named by one byte each time.
def bomb(caller):
    large = hpack.Encoder().encode(GET) + b"\x40\x01x\x7f\xa1\x1e" + b"a" * 4000
    return frame(HEADERS, END_STREAM, 3, large) + frame(CONTINUATION, 0, 3, b"\xbe" * 16000) + frame(CONTINUATION, END_HEADERS, 3, b"\xbe" * 16000)
for what, flood in [
    ("continuations", lambda caller: frame(HEADERS, END_STREAM, 3) + frame(CONTINUATION, 0, 3, b"\x00\x01x\x7f\xe9\x06" + b"a" * 1000) * 20000),
    ("empty continuations", lambda caller: frame(HEADERS, END_STREAM, 3) + frame(CONTINUATION, 0, 3) * 200000),
    ("a bomb of indexed fields", bomb),
    ("settings", lambda caller: frame(SETTINGS, 0, 0) * 100000),
    ("settings of tables", lambda caller: (frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0)) + frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 4096))) * 50000),
    ("pings", lambda caller: frame(PING, 0, 0, bytes(8)) * 100000),
    ("priorities", lambda caller: frame(PRIORITY, 0, 3, struct.pack(">IB", 0, 1)) * 100000),
    ("window updates", lambda caller: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 100000),
    ("unknown frames", lambda caller: frame(0xee, 0, 0, bytes(100)) * 100000),
    ("empty data", lambda caller: caller.headers(3, GET, END_HEADERS) + frame(DATA, 0, 3) * 100000),
    ("padding", lambda caller: caller.headers(3, GET, END_HEADERS) + frame(DATA, PADDED, 3, b"\xff" + bytes(255)) * 200),
    ("rapid resets", lambda caller: resets(caller, lambda stream: frame(RST_STREAM, 0, stream, zero))),
    ("resets that Egret is made to send", lambda caller: resets(caller, lambda stream: frame(WINDOW_UPDATE, 0, stream, zero))),
]:
    caller = Caller()
    caller.send(flood(caller))
    print(what, caller.end or caller.get(20005), sep=": ")
    caller.s.close()
    assert other.get(stream) == "200", what
    stream += 2
for what, flood in [("settings", frame(SETTINGS, 0, 0)), ("pings", frame(PING, 0, 0, bytes(8)))]:
    caller = Caller()
    caller.send(flood * 1000000, reads=False)
    print(what, "unread", caller.end or "waits for a reader", sep=": ")
    caller.s.close()
    assert other.get(stream) == "200", what
    stream += 2
other.s.close()
"#,
    );
    assert_eq!(said.len(), 15);
    assert!(said.iter().all(|line| !line.ends_with(": waits")), "{said:?}");
    let grown = scene.egret.peak_memory() - before;
    assert!(grown < 32 << 20, "{grown} bytes more");
    let requests = scene.seen().iter().filter(|line| line.starts_with("request")).count();
    assert!(requests < 1000, "{requests} requests of 20,000 that were taken back");
}

#[test]
fn more_streams_or_headers_than_allowed_are_refused_alone() {
    let scene = Scene::new();
    let said = scene.call(
        r#"
caller = Caller()
caller.send(b"".join(caller.headers(stream, GET, END_HEADERS) for stream in range(1, 801, 2)))
caller.send(b"".join(frame(DATA, END_STREAM, stream, b"") for stream in range(1, 501, 2)))
verdicts = [caller.verdict(stream) for stream in range(1, 801, 2)]
print({verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))})
print(caller.get(1001))
block = hpack.Encoder().encode(GET + [("x%d" % number, "a" * 1000) for number in range(75)])
parts = [block[at:at + 16384] for at in range(0, len(block), 16384)]
caller.send(frame(HEADERS, END_STREAM, 1003, parts[0]) + b"".join(
    frame(CONTINUATION, 0, 1003, part) for part in parts[1:]) + frame(CONTINUATION, END_HEADERS, 1003))
print(caller.verdict(1003), caller.get(1005))
caller.s.close()
"#,
    );
    assert_eq!(said, ["{'200': 250, 'REFUSED_STREAM': 150}", "200", "431 200"]);
    let seen = scene.seen();
    assert_eq!(seen.iter().filter(|line| *line == "complete").count(), 252);
}

#[test]
fn a_request_that_a_leaving_third_party_did_not_take_is_sent_elsewhere_or_may_be() {
    let scene = Scene::new();
    let said = scene.call(
        r#"
caller = Caller()
print(caller.get(1))
caller.send(caller.headers(3, GET[:3] + [(":path", "/leave")]))
print(caller.verdict(3))
print(caller.get(5))
"#,
    );
    assert_eq!(said, ["200", "REFUSED_STREAM", "200"]);
    let leaves = scene.seen().iter().filter(|line| line.contains("/leave")).count();
    assert_eq!(leaves, 2, "once more on another connection, where it was not taken either");
}

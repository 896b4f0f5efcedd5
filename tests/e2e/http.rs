//! Plain HTTP/1.1 is carried request by request.

use egret_tests::{Behaviour, EGRESS, Lab, Then, ThirdParty, eventually};

use crate::{PARTNER, partner};

#[test]
fn a_connection_is_kept_alive_and_headers_arrive_as_sent() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import http.client
c = http.client.HTTPConnection("api.partner.example", timeout=10)
for i in range(3):
    c.request("GET", "/a%20b?x=" + str(i), headers={"X-MiXeD-CaSe": "1"})
    r = c.getresponse()
    print(r.status, r.read().decode().strip(), end=" ")
"#;
    assert_eq!(lab.python(program, &[]), format!("200 {EGRESS} 200 {EGRESS} 200 {EGRESS}"));
    let seen = partner.seen();
    assert_eq!(seen.len(), 1, "one connection");
    let first = String::from_utf8_lossy(&seen[0].first).into_owned();
    assert!(first.starts_with("GET /a%20b?x=0 HTTP/1.1\r\n") && first.contains("X-MiXeD-CaSe: 1"), "{first}");
}

#[test]
fn a_request_for_another_host_on_the_connection_is_misdirected() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import http.client
c = http.client.HTTPConnection("api.partner.example", timeout=10)
for host in ("api.partner.example", "stranger.example"):
    c.putrequest("GET", "/", skip_host=True)
    c.putheader("Host", host)
    c.endheaders()
    r = c.getresponse()
    r.read()
    print(r.status, end=" ")
c.close()
"#;
    assert_eq!(lab.python(program, &[]), "200 421");
    assert_eq!(partner.seen().len(), 1);
    eventually("the record says why", || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains("\"misdirected\"")
    });
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _partner = lab.third_party("203.0.113.7", 80, Behaviour::Upgrade);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}    upgrades: [echo]\n")), &[]);
    let program = r#"
import socket
for wish in (b"Upgrade: echo", b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"):
    s = socket.create_connection(("203.0.113.7", 80), timeout=10)
    s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: Upgrade\r\n" + wish + b"\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += s.recv(1)
    s.sendall(b"through the tunnel")
    print(head.split()[1].decode(), s.recv(100).decode(), end="; ")
"#;
    assert_eq!(lab.python(program, &[]), "101 through the tunnel; 101 through the tunnel;");
}

#[test]
fn requests_go_on_after_a_rest() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    // Longer than connections are idle before they rest; the second time in the middle of a head.
    let program = r#"
import socket, time
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
request = b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n"
for said in (request, request + request[:20], request[20:]):
    s.sendall(said)
    time.sleep(2.5)
    print(s.recv(65536).split()[-1].decode(), end=" ")
"#;
    assert_eq!(lab.python(program, &[]), [EGRESS; 3].join(" "));
}

const ADDRESS: &str = "203.0.113.7";

/// Sends these bytes to the third party's port 80, ends, and returns all that comes back; `!` at the end if it was a
/// reset.
fn exchange(lab: &Lab, request: &str) -> String {
    let program = r#"
import socket, sys
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
s.sendall(bytes.fromhex(sys.argv[1]))
said, end = b"", ""
try:
    while chunk := s.recv(65536):
        said += chunk
except ConnectionResetError:
    end = "!"
sys.stdout.write(said.decode() + end)
"#;
    let hex: String = request.bytes().map(|byte| format!("{byte:02x}")).collect();
    let output = lab.run("python3", &["-c", program, &hex]);
    String::from_utf8(output.stdout).unwrap()
}

fn answering(lab: &Lab, answer: &'static [u8], then: Then) -> ThirdParty {
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    lab.third_party(ADDRESS, 80, Behaviour::Answer(answer, then))
}

const HOST: &str = "Host: api.partner.example\r\n";

#[test]
fn answers_arrive_as_they_were_sent() {
    for (request, answer, then, expected) in [
        // An answer without a length ends with the connection.
        ("GET", &b"HTTP/1.1 200 OK\r\nX-CaSe: 1\r\n\r\nuntil the end"[..], Then::Ends, "until the end"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", Then::Ends, "204 No Content"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n", Then::Ends, "ETag: \"1\""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", Then::Ends, "Content-Length: 1000"),
        (
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n3\r\nabc\r\n0\r\nSum: 6\r\n\r\n",
            Then::Ends,
            // Names of trailers lose their case, as RFC 9110 §5.1 allows.
            "0\r\nsum: 6\r\n\r\n",
        ),
        ("GET", b"HTTP/1.1 429 Slow Down Please\r\nContent-Length: 0\r\n\r\n", Then::Ends, "429 Slow Down Please"),
    ] {
        let lab = Lab::new();
        let _partner = answering(&lab, answer, then);
        let _egret = lab.egret(&lab.configure(PARTNER), &[]);
        let said =
            exchange(&lab, &format!("{request} / HTTP/1.1\r\n{HOST}TE: trailers\r\nConnection: close, TE\r\n\r\n"));
        assert!(said.contains(expected) && !said.ends_with('!'), "{request} {answer:?}: {said:?}");
    }
}

#[test]
fn a_head_has_at_most_a_hundred_fields() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let head = |fields: usize| {
        let others = "X-Field: a\r\n".repeat(fields - 2);
        format!("GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n{others}\r\n")
    };
    assert!(exchange(&lab, &head(100)).starts_with("HTTP/1.1 200 "));
    assert!(exchange(&lab, &head(101)).starts_with("HTTP/1.1 431 "));
    assert_eq!(partner.seen().len(), 1);
}

#[test]
fn a_third_party_that_dies_in_an_answer_is_no_orderly_end() {
    let lab = Lab::new();
    let _partner = answering(&lab, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nnot all of it", Then::Resets);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import http.client
c = http.client.HTTPConnection("api.partner.example", timeout=10)
c.request("GET", "/")
try:
    print(c.getresponse().read())
except (http.client.IncompleteRead, ConnectionResetError) as error:
    print("broken")
"#;
    assert_eq!(lab.python(program, &[]), "broken");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let lab = Lab::new();
    let partner = answering(&lab, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Then::GoesOn);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let said = exchange(
        &lab,
        &format!(
            "GET /1 HTTP/1.1\r\n{HOST}\r\nGET /2 HTTP/1.1\r\n{HOST}\r\nGET /3 HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"
        ),
    );
    assert_eq!(said.matches("\r\n\r\nok").count(), 3, "{said:?}");
    let seen = String::from_utf8(partner.seen()[0].all.clone()).unwrap();
    let order: Vec<_> = seen.lines().filter(|line| line.starts_with("GET ")).collect();
    assert_eq!(order, ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /3 HTTP/1.1"]);
}

#[test]
fn an_http_1_0_client_gets_its_answer_and_its_end() {
    let lab = Lab::new();
    let _partner = answering(&lab, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Then::GoesOn);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let said = exchange(&lab, &format!("GET / HTTP/1.0\r\n{HOST}\r\n"));
    assert!(said.ends_with("\r\n\r\nok"), "{said:?}");
}

/// A third party that streams 200 MB either way, in chunks.
const STREAMS: &str = r#"
import http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(3200):
            self.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")
    def do_PUT(self):
        count = 0
        while size := int(self.rfile.readline(), 16):
            count += len(self.rfile.read(size + 2)) - 2
        self.rfile.readline()
        body = b"%d from %s" % (count, self.client_address[0].encode())
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    pass
Server(("203.0.113.7", 80), Handler).serve_forever()
"#;

#[test]
fn heavy_bodies_stream_both_ways_in_bounded_memory() {
    const BYTES: u64 = 3200 * 65536;
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _server = lab.service(80, "python3", &["-c", STREAMS]);
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    let before = egret.peak_memory();
    let output = lab
        .run("curl", &["-s", "-m", "60", "-o", "/dev/null", "-w", "%{size_download}", "http://api.partner.example/"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), BYTES.to_string());
    let upload = lab.directory().join("upload");
    std::fs::File::create(&upload).unwrap().set_len(BYTES).unwrap();
    let upload = upload.to_str().unwrap();
    // As chunks, and with `Expect: 100-continue`, as curl does for large bodies.
    let headers = ["-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"];
    let arguments = [&["-s", "-m", "60", "-T", upload, "http://api.partner.example/"], &headers[..]].concat();
    let output = lab.run("curl", &arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{BYTES} from {EGRESS}"));
    let grown = egret.peak_memory() - before;
    assert!(grown < 32 << 20, "{grown} bytes more");
}

#[test]
fn an_expectation_is_the_third_partys_to_answer() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let third_party = format!(
        r#"
import socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        if b"/refuse" in head:
            self.wfile.write(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
            # What comes after the refusal is the next request's: nothing.
            print("after the refusal:", self.rfile.read(), flush=True)
            return
        if b"/go" in head:
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(4)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n" + body)
socketserver.ThreadingTCPServer(("{ADDRESS}", 80), Handler).serve_forever()
"#
    );
    let _partner = lab.service(80, "python3", &["-c", &third_party]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = format!(
        r#"
import socket
for path in ("refuse", "go", "silent"):
    s = socket.create_connection(("{ADDRESS}", 80), timeout=10)
    s.sendall(f"PUT /{{path}} HTTP/1.1\r\nHost: api.partner.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n".encode())
    said = s.recv(65536)
    if said.startswith(b"HTTP/1.1 100"):
        s.sendall(b"body")
        said += s.recv(65536)
    print(path, [line for line in said.decode().split("\r\n") if line.startswith("HTTP")], end=" ")
    s.close()
"#
    );
    assert_eq!(
        lab.python(&program, &[]),
        "refuse ['HTTP/1.1 417 Expectation Failed'] go ['HTTP/1.1 100 Continue', 'HTTP/1.1 200 OK'] \
         silent ['HTTP/1.1 100 Continue', 'HTTP/1.1 200 OK']"
    );
}

/// Sends as many bytes as the path says.
const SIZED: &str = r#"
import http.server
class Sized(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        size = int(self.path[1:])
        self.send_response(200); self.send_header("Content-Length", str(size)); self.end_headers()
        self.wfile.write(b"x" * size)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 80), Sized).serve_forever()
"#;

/// Callers that pause before they read a large response, and ask again meanwhile. Prints those whose response was not whole.
const PAUSING: &str = r#"
import socket, threading, time
broken = []
def one(size):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192); s.settimeout(20)
    s.connect(("203.0.113.7", 80))
    s.sendall(f"GET /{size} HTTP/1.1\r\nHost: api.partner.example\r\n\r\n".encode()); time.sleep(2.5)
    s.sendall(b"GET /5 HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
    heard = b""
    while not heard.endswith(b"\r\n\r\nxxxxx"):
        more = s.recv(65536)
        if not more: break
        heard += more
    body = heard.split(b"\r\n\r\n", 1)[1]
    if body[:size] != b"x" * size or not body[size:].startswith(b"HTTP/1.1 200"): broken.append(size)
threads = [threading.Thread(target=one, args=(3200000 + number * 16384,)) for number in range(16)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
print(broken)
"#;

#[test]
fn heavy_a_response_that_a_caller_reads_late_is_whole() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _partner = lab.service(80, "python3", &["-c", SIZED]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(lab.python(PAUSING, &[]), "[]");
}

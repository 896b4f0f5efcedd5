//! Responses that come before the request has been sent: the upload goes on where the third party reads on, and a refusal
//! reaches the caller.

use egret_tests::{Egret, Lab, Pki, Service, eventually};

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";

/// A third party that answers each request when it has read the head, and writes down how many bytes of the body came. With
/// `/refuse` it ends the connection as RFC 9112 §9.6 says, with `/reset` as it should not. With `/late` it reads the body when
/// another request has come over another connection.
const SERVER: &str = r#"
import socket, ssl, sys, threading
context = None
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    context.set_alpn_protocols(["http/1.1"])
gate = threading.Event()
def serve(s):
    if context:
        s = context.wrap_socket(s, server_side=True)
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = s.recv(65536)
            if not more:
                return
            data += more
        head, data = data.split(b"\r\n\r\n", 1)
        length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        left = (length or [0])[0]
        if b"/refuse" in head or b"/reset" in head:
            s.sendall(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nmuch")
            if b"/reset" in head:
                return s.close()
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
            return
        s.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok")
        if b"/late" in head:
            gate.wait()
        gate.set()
        read = 0
        while read < left:
            if not data:
                data = s.recv(65536)
                if not data:
                    break
            taken = min(len(data), left - read)
            data, read = data[taken:], read + taken
        with open(sys.argv[1], "a") as log:
            log.write(f"{read} of {left}\n")
listener = socket.create_server(("203.0.113.7", 443 if context else 80))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// A caller in the clear, or in TLS: `connect()`, `response(s)` reads one.
const CALLER: &str = r#"
import socket, ssl, sys
def connect():
    s = socket.create_connection(("203.0.113.7", 443 if len(sys.argv) > 1 else 80), timeout=20)
    if len(sys.argv) > 1:
        s = ssl.create_default_context(cafile=sys.argv[1]).wrap_socket(s, server_hostname="api.partner.example")
    return s
def response(s):
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(1)
        if not more:
            return "ended after " + repr(data)
        data += more
    head = data.decode().lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    body = b""
    while len(body) < length:
        body += s.recv(length - len(body))
    return head.split(" ")[1] + (" close" if "connection: close" in head else "") + " " + body.decode().strip()
def head(path, length, fields=""):
    return f"POST {path} HTTP/1.1\r\nHost: api.partner.example\r\nContent-Length: {length}\r\n{fields}\r\n".encode()
"#;

struct Scene {
    lab: Lab,
    secured: bool,
    _server: Service,
    _egret: Egret,
    _pki: Pki,
}

/// In the clear, and intercepted.
fn scenes(policies: &str) -> [Scene; 2] {
    [false, true].map(|secured| {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let pki = lab.pki();
        let (certificate, key) = pki.identity(&[NAME], &["http/1.1"]).write(lab.directory());
        let log = lab.directory().join("read");
        let arguments = [&log, &certificate, &key].map(|path| path.to_str().unwrap());
        let (port, used) = if secured { (443, 3) } else { (80, 1) };
        let server = lab.service(port, "python3", &[&["-c", SERVER], &arguments[..used]].concat());
        let how = if secured {
            format!("ports: [443]\n    mode: intercept\n    backend: {{scheme: https, tls: {{ca: {}}}}}", pki.ca())
        } else {
            "ports: [80]".to_owned()
        };
        let api = format!("  - name: partner\n    hosts: [{NAME}]\n    {how}\n{policies}");
        let egret = lab.egret(&lab.configure(&api), &[]);
        Scene { lab, secured, _server: server, _egret: egret, _pki: pki }
    })
}

impl Scene {
    /// The third party has read these bodies, in turn.
    fn has_read(&self, bodies: &[&str]) {
        let log = || std::fs::read_to_string(self.lab.directory().join("read")).unwrap_or_default();
        eventually("the third party has read all", || log().lines().count() == bodies.len());
        assert_eq!(log().lines().collect::<Vec<_>>(), bodies, "secured: {}", self.secured);
    }

    fn call(&self, program: &str) -> String {
        let ca = self.lab.directory().join("egret-ca.pem");
        let ca = [ca.to_str().unwrap()];
        let arguments = if self.secured { &ca[..] } else { &[] };
        self.lab.python(&format!("{CALLER}{program}"), arguments)
    }
}

#[test]
fn an_early_response_does_not_cut_the_upload() {
    for scene in scenes("") {
        let heard = scene.call(
            r#"
s = connect()
for path in ("/first", "/second"):
    s.sendall(head(path, 400000) + b"y" * 1000)
    print(response(s), end=" ")
    for i in range(399):
        s.sendall(b"y" * 1000)
"#,
        );
        assert_eq!(heard, "202 ok 202 ok");
        scene.has_read(&["400000 of 400000"; 2]);
    }
}

#[test]
fn an_early_response_does_not_cut_the_upload_where_policies_read_it() {
    let policies = "    policies:\n      outbound: [find-and-replace: {from: ok, to: fine}]\n";
    for scene in scenes(policies) {
        let heard = scene.call(
            r#"
s = connect()
s.sendall(head("/", 400000) + b"y" * 1000)
print(response(s))
for i in range(399):
    s.sendall(b"y" * 1000)
"#,
        );
        assert_eq!(heard, "202 fine");
        scene.has_read(&["400000 of 400000"]);
    }
}

/// Sends 8 MB before it reads, as most clients do.
const LARGE: &str = r#"
s = connect()
s.sendall(head(PATH, 8000000))
for i in range(800):
    s.sendall(b"y" * 10000)
print(response(s), s.recv(1))
"#;

#[test]
fn a_third_partys_refusal_of_a_large_upload_reaches_the_caller() {
    for scene in scenes("") {
        for path in ["/refuse", "/reset"] {
            let heard = scene.call(&LARGE.replace("PATH", &format!("{path:?}")));
            assert_eq!(heard, "413 close much b''", "{path}, secured: {}", scene.secured);
        }
    }
}

#[test]
fn egrets_own_refusal_of_a_large_upload_reaches_the_caller() {
    let policies = "    policies:\n      inbound:\n        - check-header: {name: X-Need, failed_status: 401}\n        \
                    - find-and-replace: {from: a, to: b}\n";
    for scene in scenes(policies) {
        let heard = scene.call(&LARGE.replace("PATH", "\"/\""));
        assert!(heard.starts_with("401 close ") && heard.ends_with(" b''"), "{heard}");
        // A body that is larger than policies may read.
        let heard = scene.call(&LARGE.replace("PATH, 8000000", "\"/\", 8000000, \"X-Need: 1\\r\\n\""));
        assert!(heard.starts_with("413 close ") && heard.ends_with(" b''"), "{heard}");
        if scene.secured {
            // In the clear another name is another third party's.
            let other = LARGE.replace("head(PATH, 8000000)", "head(\"/\", 8000000).replace(b\"partner\", b\"other\")");
            let heard = scene.call(&other);
            assert!(heard.starts_with("421 close ") && heard.ends_with(" b''"), "{heard}");
        }
    }
}

#[test]
fn a_refused_request_with_a_small_body_leaves_the_connection_open() {
    let policies = "    policies:\n      inbound: [check-header: {name: X-Need, failed_status: 401}]\n";
    for scene in scenes(policies) {
        let heard = scene.call(
            r#"
s = connect()
for need in ("", "X-Need: 1\r\n"):
    s.sendall(head("/", 1000, need) + b"y" * 1000)
    print(response(s).split("{")[0].strip(), end=" ")
"#,
        );
        assert_eq!(heard, "401 202 ok", "secured: {}", scene.secured);
    }
}

#[test]
fn a_refusal_of_an_expected_body_says_that_the_connection_ends() {
    let policies = "    policies:\n      inbound: [check-header: {name: X-Need, failed_status: 401}]\n";
    for scene in scenes(policies) {
        let heard = scene.call(
            r#"
s = connect()
s.sendall(head("/", 1000, "Expect: 100-continue\r\n"))
print(response(s).split("{")[0].strip(), s.recv(1))
"#,
        );
        assert_eq!(heard, "401 close b''", "secured: {}", scene.secured);
    }
}

#[test]
fn a_connection_that_still_holds_bytes_of_a_body_carries_no_other_request() {
    // More than the kernel's buffers take.
    let policies =
        "    max_body: 16777216\n    policies:\n      inbound: [find-and-replace: {from: absent, to: present}]\n";
    for scene in scenes(policies) {
        let heard = scene.call(
            r#"
first, second = connect(), connect()
first.sendall(head("/late", 12000000))
for i in range(1200):
    first.sendall(b"y" * 10000)
print(response(first), end=" ")
second.sendall(b"GET /second HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
print(response(second))
"#,
        );
        assert_eq!(heard, "202 ok 202 ok", "secured: {}", scene.secured);
        let log = || std::fs::read_to_string(scene.lab.directory().join("read")).unwrap_or_default();
        eventually("all of the first body has come", || log().lines().any(|line| line == "12000000 of 12000000"));
    }
}

#[test]
fn a_caller_that_trickles_after_an_early_response_holds_no_connection_for_ever() {
    let [scene, _] = scenes("");
    let heard = scene.call(
        r#"
import time
s = connect()
s.sendall(head("/", 400000) + b"y" * 1000)
print(response(s), end=" ")
end = time.monotonic() + 120
try:
    while time.monotonic() < end:
        s.sendall(b"y")
        time.sleep(0.1)
    print("for ever")
except OSError:
    print("ended")
"#,
    );
    assert_eq!(heard, "202 ok ended");
    let log = || std::fs::read_to_string(scene.lab.directory().join("read")).unwrap_or_default();
    eventually("the third party's connection has ended", || log().ends_with(" of 400000\n"));
}

#[test]
fn a_body_takes_room_until_the_third_party_has_read_it() {
    let policies = "    max_body: 16777216\n    policies:\n      inbound: [find-and-replace: {from: absent, to: present}]\n\
                    limits: {buffered_bytes: 67108864}\n";
    for scene in scenes(policies) {
        let heard = scene.call(
            r#"
def post(path):
    s = connect()
    s.sendall(head(path, 12000000))
    for i in range(1200):
        s.sendall(b"y" * 10000)
    return response(s).split()[0]
print(post("/late"), post("/second"), end=" ")
s = connect()
s.sendall(b"GET /third HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
print(response(s).split()[0], end=" ")
for _ in range(100):
    if (status := post("/fourth")) != "503":
        break
print(status)
"#,
        );
        assert_eq!(heard, "202 503 202 202", "secured: {}", scene.secured);
    }
}

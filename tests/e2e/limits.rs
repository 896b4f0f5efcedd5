//! What a caller may use up.

use egret_tests::{Behaviour, EGRESS, Egret, Lab, eventually};

use crate::{PARTNER, partner};

const ADDRESS: &str = "203.0.113.7";

/// Egret with these limits.
fn limited(lab: &Lab, limits: &str) -> Egret {
    let config = lab.configure(&format!("{PARTNER}limits: {{{limits}}}\n"));
    lab.egret(&config, &[])
}

fn told(lab: &Lab, outcome: &str) {
    eventually(outcome, || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains(&format!("\"outcome\":\"{outcome}\""))
    });
    let metrics = lab
        .python("import urllib.request as r; print(r.urlopen('http://127.0.0.1:9464/metrics').read().decode())", &[]);
    assert!(metrics.contains(&format!("outcome=\"{outcome}\"}} 1")), "{metrics}");
}

/// Connects to a port, says this, and waits for the end; what came until then.
const WAITS: &str = r#"
import socket, sys
s = socket.create_connection(("203.0.113.7", int(sys.argv[1])), timeout=20)
s.sendall(sys.argv[2].encode().decode("unicode_escape").encode())
said = b""
try:
    while chunk := s.recv(65536):
        said += chunk
except ConnectionResetError:
    pass
print(said[-20:].split(b"\n")[-1].decode() or said.decode())
"#;

#[test]
fn a_head_that_does_not_end() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = limited(&lab, "request_head: 500ms");
    let head = r"GET / HTTP/1.1\r\nHost: api.partner.example\r\nX: ";
    assert_eq!(lab.python(WAITS, &["80", head]), "");
    told(&lab, "slow_request");
}

#[test]
fn a_connection_that_is_kept_alive_is_not_a_slow_head() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = limited(&lab, "request_head: 300ms");
    let program = r#"
import http.client, time
c = http.client.HTTPConnection("api.partner.example", timeout=10)
for i in range(3):
    c.request("GET", "/")
    print(c.getresponse().read().decode().strip(), end=" ")
    port = c.sock.getsockname()
    time.sleep(0.6)
    assert c.sock.getsockname() == port
"#;
    assert_eq!(lab.python(program, &[]), [EGRESS; 3].join(" "));
}

#[test]
fn silence() {
    for (port, said, heard) in
        [("7000", "opaque", "opaque"), ("80", r"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n", EGRESS)]
    {
        let lab = Lab::new();
        let _partner = partner(&lab);
        let _echo = lab.third_party(ADDRESS, 7000, Behaviour::Echo);
        let _egret = limited(&lab, "idle: 1s");
        assert!(lab.python(WAITS, &[port, said]).trim().ends_with(heard), "{port}");
        told(&lab, "idle");
    }
}

#[test]
fn a_life() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _echo = lab.third_party(ADDRESS, 7000, Behaviour::Echo);
    let _egret = limited(&lab, "total: 1s");
    assert_eq!(lab.python(WAITS, &["7000", "opaque"]), "opaque");
    told(&lab, "too_old");
}

#[test]
fn connections_of_a_workload() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _echo = lab.third_party(ADDRESS, 7000, Behaviour::Echo);
    let _egret = limited(&lab, "connections_per_workload: 2");
    let program = r#"
import socket
def connection():
    s = None
    try:
        s = socket.create_connection(("203.0.113.7", 7000), timeout=10)
        s.sendall(b"x")
        return s, s.recv(1).decode()
    except ConnectionResetError:
        return s, "reset"
held = [connection() for _ in range(3)]
print(*(heard for _, heard in held), end=" ")
held[0][0].close()
while (again := connection())[1] == "reset":
    pass
print(again[1])
"#;
    assert_eq!(lab.python(program, &[]), "x x reset x");
    eventually("the record", || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains("too_many_connections")
    });
}

//! Callers that go around, or try to.

use std::os::unix::fs::PermissionsExt;

use egret_tests::{Behaviour, EGRESS, Lab, NODE, Then, eventually};

use crate::{PARTNER, partner};

const ADDRESS: &str = "203.0.113.7";

#[test]
fn a_connection_to_the_listener_itself_is_refused() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let listener = lab.json(&["status"])["listeners"][0].as_str().unwrap().to_owned();
    let port = listener.rsplit_once(':').unwrap().1;
    let program = r#"
import socket, sys
try:
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10)
    s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
    print(s.recv(100))
except ConnectionRefusedError:
    print("refused")
"#;
    assert_eq!(lab.python(program, &[port]), "refused");
    assert_eq!(partner.seen(), []);
    eventually("the refusal is in the access log", || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains("\"listener_refused\"")
    });
}

#[test]
fn another_user_cannot_talk_to_the_daemon() {
    let lab = Lab::new();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
    s.sendall(b'"status"\n')
    print(s.recv(100) or "closed")
except PermissionError:
    print("denied")
except (BrokenPipeError, ConnectionResetError):
    print("closed")
"#;
    let socket = lab.socket();
    let socket = socket.to_str().unwrap();
    assert_eq!(lab.python(program, &[socket]), "denied", "by its mode");
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(lab.python(program, &[socket]), "closed", "by the peer's credentials");
}

#[test]
fn a_reused_source_port_does_not_inherit_an_origin() {
    let lab = Lab::new();
    let addresses = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];
    lab.hosts(&addresses.map(|address| (address, "api.partner.example")));
    let _mirrors = addresses.map(|address| lab.third_party(address, 7000, Behaviour::Mirror));
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, struct
wrong = []
for i in range(300):
    address = "203.0.113.%d" % (i % 3 + 1)
    s = socket.socket()
    s.settimeout(10)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", 5555))
    s.connect((address, 7000))
    if i % 5 == 0:
        # Gone before Egret accepted, perhaps: its record must not be the next one's.
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
        continue
    s.sendall(b"\0")
    said = s.recv(100).decode().strip()
    if said != address:
        wrong.append((address, said))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
print(len(wrong), wrong[:3])
"#;
    assert_eq!(lab.python(program, &[]), "0 []");
}

#[test]
fn a_hung_process_is_given_up_and_taken_back() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let egret = lab.egret(&lab.configure(PARTNER), &["--persist"]);
    egret.pause();
    let program = "import socket\ntry:\n socket.create_connection(('203.0.113.7', 80), 5)\n print('connected')\nexcept ConnectionRefusedError:\n print('refused')";
    eventually("callers are refused", || lab.python(program, &[]) == "refused");
    egret.resume();
    eventually("it serves again", || lab.curl("http://api.partner.example/") == (200, EGRESS.to_owned()));
    assert!(!partner.sources().contains(&NODE.parse().unwrap()));
}

/// A third party must never see two requests where Egret saw one.
#[test]
fn ambiguous_requests_are_refused_or_passed_on_unambiguously() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let partner =
        lab.third_party(ADDRESS, 80, Behaviour::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Then::GoesOn));
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, sys
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
s.sendall(bytes.fromhex(sys.argv[1]))
s.shutdown(socket.SHUT_WR)
said = b""
try:
    while True:
        chunk = s.recv(1000)
        if not chunk:
            break
        said += chunk
except ConnectionResetError:
    pass
print(said[:12].decode())
"#;
    const HOST: &str = "Host: api.partner.example\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: api.partner.example\r\n\r\n";
    for (what, request) in [
        (
            "length and chunks",
            format!(
                "POST / HTTP/1.1\r\n{HOST}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        ("two lengths", format!("POST / HTTP/1.1\r\n{HOST}Content-Length: 0\r\nContent-Length: 50\r\n\r\n{smuggled}")),
        ("a strange encoding", format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n{smuggled}")),
        (
            "chunked, but not last",
            format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        ("a space before the colon", format!("POST / HTTP/1.1\r\n{HOST}Content-Length : 50\r\n\r\n{smuggled}")),
        ("a folded line", format!("POST / HTTP/1.1\r\n{HOST}X: a\r\n Content-Length: 50\r\n\r\n{smuggled}")),
        ("a plus in the length", format!("POST / HTTP/1.1\r\n{HOST}Content-Length: +50\r\n\r\n{smuggled}")),
    ] {
        let before = partner.seen().len();
        let hex: String = request.bytes().map(|byte| format!("{byte:02x}")).collect();
        let answer = lab.python(program, &[&hex]);
        let seen: Vec<u8> = partner.seen()[before..].iter().flat_map(|seen| seen.all.clone()).collect();
        let seen = String::from_utf8_lossy(&seen).into_owned();
        // Refused; or seen once, with one way to know where the body ends.
        let lengths = seen.to_lowercase().matches("content-length").count();
        let chunks = seen.to_lowercase().matches("transfer-encoding").count();
        let refused = answer.contains(" 400") && !seen.contains("/smuggled");
        assert!(refused || lengths + chunks <= 1, "{what}: {answer:?}, third party saw {seen:?}");
    }
}

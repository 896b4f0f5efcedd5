//! Plain HTTP/1.1 is carried request by request.

use egret_tests::{Behaviour, EGRESS, Lab, eventually};

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
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
head = b""
while not head.endswith(b"\r\n\r\n"):
    head += s.recv(1)
s.sendall(b"through the tunnel")
print(head.split()[1].decode(), s.recv(100).decode())
"#;
    assert_eq!(lab.python(program, &[]), "101 through the tunnel");
}

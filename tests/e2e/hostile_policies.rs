//! What a hostile workload makes of policies: what the third party saw, and what the caller was given.

use egret_tests::wire::{self, Message};
use egret_tests::{Behaviour, EGRESS, Lab, Then, ThirdParty, eventually};

const PARTNER: &str = "203.0.113.7";

fn seen(party: &ThirdParty) -> Vec<Message> {
    party.seen().into_iter().flat_map(|seen| wire::requests(&seen.all).0).collect()
}

fn curl(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.run("curl", &[&["-s", "-i", "-m", "10", "--path-as-is"], arguments].concat());
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

#[test]
fn dot_segments_do_not_leave_the_path_of_a_backend() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, "api.partner.example"), ("203.0.113.8", "backend.partner.example")]);
    let backend = lab.third_party("203.0.113.8", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let config = lab.configure(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies: {inbound: [set-backend: tenant]}\n\
         backends: {tenant: {url: \"http://backend.partner.example/tenant-a\"}}\n",
    );
    let _egret = lab.egret(&config, &[]);
    for path in [
        "/../tenant-b/x",
        "/%2e%2e/tenant-b/x",
        "/a/../../tenant-b/x",
        "/.%2E/tenant-b",
        "/..;/tenant-b",
        "/%252e%252e/b",
    ] {
        let heard = curl(&lab, &[&format!("http://api.partner.example{path}")]);
        assert!(heard.starts_with("HTTP/1.1 400 ") && heard.contains("path_not_allowed"), "{path}: {heard}");
    }
    assert!(curl(&lab, &["http://api.partner.example/x?y"]).starts_with("HTTP/1.1 200 "));
    let starts: Vec<_> = seen(&backend).into_iter().map(|request| request.start).collect();
    assert_eq!(starts, ["GET /tenant-a/x?y HTTP/1.1"]);
}

#[test]
fn no_spelling_of_a_path_gets_past_the_policies_of_its_operation() {
    let lab = Lab::new();
    let partner = super::partner(&lab);
    let config = lab.configure(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    operations:\n      \
         - {name: admin, path: \"/admin/*\", policies: {inbound: [return-response: {status: 403}]}}\n",
    );
    let _egret = lab.egret(&config, &[]);
    for path in [
        "/admin/x",
        "/ADMIN/x",
        "/admin;a=b/x",
        "/x/..;/admin/x",
        "/x%2f..%2fadmin/x",
        "/\\admin/x",
        "/admin%00/x",
        "/%2561dmin/x",
    ] {
        let heard = curl(&lab, &[&format!("http://api.partner.example{path}")]);
        assert!(heard.starts_with("HTTP/1.1 400 ") || heard.starts_with("HTTP/1.1 403 "), "{path}: {heard}");
    }
    assert!(curl(&lab, &["http://api.partner.example/open"]).starts_with("HTTP/1.1 200 "));
    assert_eq!(seen(&partner).len(), 1);
}

/// What follows an upgrade to h2c would be HTTP that no policy sees.
#[test]
fn an_upgrade_to_h2c_is_ignored_and_later_requests_meet_the_policies() {
    let lab = Lab::new();
    let partner = super::partner(&lab);
    let config = lab.configure(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    only_operations: true\n    \
         operations: [{name: up, method: GET, path: /up}]\n",
    );
    let _egret = lab.egret(&config, &[]);
    let program = r#"
import socket
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
s.sendall(b"GET /up HTTP/1.1\r\nHost: api.partner.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
print(s.recv(4000).split()[1].decode(), end=" ")
s.sendall(b"DELETE /accounts/1 HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
print(s.recv(4000).split()[1].decode())
"#;
    assert_eq!(lab.python(program, &[]), "200 404");
    let request = seen(&partner).remove(0);
    assert_eq!(seen(&partner).len(), 1);
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(request.values(name), [""; 0], "{name}");
    }
}

#[test]
fn a_websocket_past_policies_that_count_is_refused_unless_its_owner_allows_it() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, "api.partner.example")]);
    let partner = lab.third_party(PARTNER, 80, Behaviour::Upgrade);
    let api = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies: {inbound: [rate-limit: {calls: 9, period: 1m}]}\n";
    let program = r#"
import socket
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
print(s.recv(4000).split()[1].decode())
"#;
    let _egret = lab.egret(&lab.configure(api), &[]);
    assert_eq!(lab.python(program, &[]), "403");
    assert_eq!(partner.seen().into_iter().flat_map(|seen| seen.all).count(), 0);
    lab.configure(&format!("{api}    upgrades: [websocket]\n"));
    eventually("the change is live", || lab.python(program, &[]) == "101");
}

/// `Origin` comes back as `Access-Control-Allow-Origin`, a query in an error.
#[test]
fn a_secret_does_not_come_back_to_its_caller() {
    const ECHO: &[u8] =
        b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://correct horse\r\nLocation: /?key=correct%20horse\r\n\
                          Content-Length: 13\r\n\r\ncorrect horse";
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, "api.partner.example")]);
    let partner = lab.third_party(PARTNER, 80, Behaviour::Answer(ECHO, Then::GoesOn));
    let config = lab.configure_like("policy-replace-placeholder", |text| {
        let text = text.replace("backend: {scheme: https}", "plain_secrets: true");
        text + "      backend:\n        - forward-request: {buffer_response: true}\n"
    });
    let egret = lab.egret(&config, &[]);
    let fields = ["-H", "Origin: https://PARTNER-KEY-HERE", "-H", "Authorization: Bearer PARTNER-KEY-HERE"];
    let heard = curl(&lab, &[&fields[..], &["http://api.partner.example/?q=PARTNER-KEY-HERE"]].concat());
    assert!(
        !heard.contains("horse") && heard.to_ascii_lowercase().contains("access-control-allow-origin: https://***\n"),
        "{heard}"
    );
    let request = seen(&partner).remove(0);
    assert_eq!(request.start, "GET /?q=PARTNER-KEY-HERE HTTP/1.1");
    assert_eq!(request.values("origin"), ["https://PARTNER-KEY-HERE"]);
    assert_eq!(request.values("authorization"), ["Bearer correct horse"]);
    let log = std::fs::read_to_string(lab.access_log()).unwrap_or_default();
    assert!(!log.contains("horse") && !egret.log().contains("horse"));
}

#[test]
fn trailers_stand_for_nothing_that_policies_have_decided() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Verdict, X-Internal, Set-Cookie\r\nX-Internal: 1\r\n\r\n\
          2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Verdict: third party\r\nX-Internal: 2\r\nSet-Cookie: a=b\r\n\r\n";
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, "api.partner.example")]);
    let partner = lab.third_party(PARTNER, 80, Behaviour::Answer(ANSWER, Then::GoesOn));
    let config = lab.configure(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    \
         policies:\n      inbound: [{set-header: {name: X-Policed, value: owner}}, {set-header: {name: X-Removed, exists_action: delete}}]\n      \
         outbound: [{set-header: {name: X-Verdict, value: owner}}, {set-header: {name: X-Internal, exists_action: delete}}]\n",
    );
    let _egret = lab.egret(&config, &[]);
    let program = r#"
import socket
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
s.sendall(b"POST / HTTP/1.1\r\nHost: api.partner.example\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\nTrailer: X-Policed, X-Removed\r\nX-Removed: caller\r\n\r\n"
          b"2\r\nhi\r\n0\r\nX-Policed: caller\r\nX-Removed: caller\r\n\r\n")
heard = b""
while not heard.endswith(b"\r\n\r\n") or b"\r\n0\r\n" not in heard:
    heard += s.recv(4000)
print(heard.lower().split(b"\r\n0\r\n")[1].decode().strip())
"#;
    assert_eq!(lab.python(program, &[]), "x-sum: 1");
    eventually("the request is there", || partner.seen().iter().any(|seen| seen.all.ends_with(b"0\r\n\r\n")));
    let all = String::from_utf8_lossy(&partner.seen()[0].all).to_ascii_lowercase();
    assert!(all.contains("x-policed: owner") && !all.contains("caller") && !all.contains("trailer:"), "{all}");
}

//! Connections to third parties are used again, by whom they may be.

use egret_tests::{Behaviour, EGRESS, Lab, Then, eventually};

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";
const ADDRESS: &str = "203.0.113.7";

#[test]
fn callers_use_a_connection_one_after_the_other() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    for _ in 0..5 {
        assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    }
    assert_eq!(partner.seen().len(), 1);
}

/// A third party that ends each connection after an answer: at once, or when the next request comes.
const CLOSES: &str = r#"
import socket, sys, threading
listener = socket.create_server(("203.0.113.7", 80))
count = 0
def serve(s):
    global count
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(65536)
    count += 1
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nCount: %d\r\n\r\n" % count)
    if sys.argv[1] == "waits":
        s.recv(1)
    s.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

#[test]
fn a_connection_that_has_ended_meanwhile_costs_nobody_a_request() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _server = lab.service(80, "python3", &["-c", CLOSES, "at once"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import http.client
for i in range(200):
    c = http.client.HTTPConnection("api.partner.example", timeout=10)
    c.request(("GET", "HEAD", "OPTIONS")[i % 3], "/")
    print(c.getresponse().getheader("Count"), end=" ")
    c.close()
"#;
    let expected: Vec<_> = (1..=200).map(|number| number.to_string()).collect();
    assert_eq!(lab.python(program, &[]), expected.join(" "));
}

#[test]
fn a_request_that_may_have_arrived_is_not_sent_again() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _server = lab.service(80, "python3", &["-c", CLOSES, "waits"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let post = || lab.run("curl", &["-s", "-m", "10", "-X", "POST", "-w", "%{http_code} %header{count}", URL]).stdout;
    assert_eq!(post(), b"200 1");
    // It reads of the second request, and ends: what it did with it, nobody knows.
    assert_eq!(post(), b"000 ");
    assert_eq!(post(), b"200 2");
}

/// The same, of one that reads each request before it ends.
#[test]
fn an_idempotent_request_that_may_have_arrived_is_sent_again_with_its_body() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _server = lab.service(80, "python3", &["-c", CLOSES, "waits"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    for count in 1..10 {
        for arguments in [
            &["-X", "PUT", "-d", "a small body"][..],
            &["-X", "DELETE"],
            &["-H", "Transfer-Encoding: chunked", "-X", "PUT", "-d", "chunks"],
        ] {
            let arguments = [&["-s", "-m", "10", "-w", "%{http_code}", URL], arguments].concat();
            assert_eq!(String::from_utf8_lossy(&lab.run("curl", &arguments).stdout), "200", "{arguments:?} {count}");
        }
    }
}

#[test]
fn what_cannot_be_sent_again_goes_only_where_the_third_party_surely_listens() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let program = CLOSES.replace("Content-Length: 0", "Keep-Alive: timeout=0\\r\\nContent-Length: 0");
    let _server = lab.service(80, "python3", &["-c", &program, "waits"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    for count in 1..20 {
        let post = lab.run("curl", &["-s", "-m", "10", "-d", "order", "-w", "%{http_code} %header{count}", URL]);
        assert_eq!(String::from_utf8_lossy(&post.stdout), format!("200 {count}"));
    }
}

#[test]
fn a_body_too_large_to_be_copied_goes_where_the_third_party_surely_listens() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let program = CLOSES.replace("Content-Length: 0", "Keep-Alive: timeout=0\\r\\nContent-Length: 0");
    let program = program
        .replace("    count += 1", "    while len(data) < 100000:\n        data += s.recv(65536)\n    count += 1");
    let _server = lab.service(80, "python3", &["-c", &program, "waits"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let large = "x".repeat(100_000);
    for count in 1..10 {
        let put = lab.run(
            "curl",
            &["-s", "-m", "10", "-X", "PUT", "-H", "Expect:", "-d", &large, "-w", "%{http_code} %header{count}", URL],
        );
        assert_eq!(String::from_utf8_lossy(&put.stdout), format!("200 {count}"));
    }
}

/// A third party that knows its caller by the connection, as with NTLM.
const KNOWS: &str = r#"
import http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    user = None
    def do_GET(self):
        claim = self.headers.get("Authorization")
        if claim:
            self.user = claim.split()[1]
        body = (self.user or "nobody").encode()
        self.send_response(200 if self.user else 401)
        if not self.user:
            self.send_header("WWW-Authenticate", "NTLM")
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
fn a_connection_that_stands_for_a_caller_is_nobody_elses() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _server = lab.service(80, "python3", &["-c", KNOWS]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import http.client
def get(c, **headers):
    c.request("GET", "/", headers=headers)
    return c.getresponse().read().decode()
connect = lambda: http.client.HTTPConnection("api.partner.example", timeout=10)
known, other = connect(), connect()
print(get(known), get(known, Authorization="NTLM someone"), get(known), get(other), get(known), end=" ")
known.close()
print(get(other), get(connect()))
"#;
    assert_eq!(lab.python(program, &[]), "nobody someone someone nobody someone nobody nobody");
}

#[test]
fn so_is_one_to_a_server_that_policies_chose() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.8", "api.partner.example"), (ADDRESS, "site.partner.example")]);
    let _server = lab.service(80, "python3", &["-c", KNOWS]);
    let api = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies:\n      inbound: [set-backend: site]\nbackends:\n  site: {url: \"http://site.partner.example\"}\n";
    let _egret = lab.egret(&lab.configure(api), &[]);
    let get = |arguments: &[&str]| {
        let output = lab.run("curl", &[&["-s", "-m", "10", URL], arguments].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(get(&["-H", "Authorization: NTLM someone"]), "someone");
    assert_eq!(get(&[]), "nobody");
}

#[test]
fn what_is_for_one_connection_stays_on_it() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nKeep-Alive: timeout=1\r\nX-Hop: 1\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok";
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Answer(answer, Then::Ends));
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import http.client
c = http.client.HTTPConnection("api.partner.example", timeout=10)
for i in range(2):
    c.request("GET", "/", headers={"Connection": "X-Own, keep-alive", "X-Own": "1", "Keep-Alive": "5", "X-End": "2"})
    r = c.getresponse()
    r.read()
    print(sorted(name for name, _ in r.getheaders()), end=" ")
"#;
    assert_eq!(lab.python(program, &[]), "['Content-Length', 'X-End'] ['Content-Length', 'X-End']");
    eventually("both requests", || partner.seen().len() == 2);
    for seen in partner.seen() {
        let head = String::from_utf8(seen.all).unwrap().to_lowercase();
        assert!(head.contains("x-end: 2") && !head.contains("x-own") && !head.contains("keep-alive"), "{head}");
    }
}

#[test]
fn changed_rules_end_connections_in_order_and_only_theirs() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import http.client, sys
c = http.client.HTTPConnection("api.partner.example", timeout=10)
c.connect()
for line in sys.stdin:
    c.request("GET", "/")
    print(c.getresponse().read().decode().strip(), flush=True)
    if line.strip() == "wait":
        print(c.sock.recv(1), flush=True)
"#;
    let mut caller = lab.converse(program);
    caller.tell("go");
    assert_eq!(caller.line(), EGRESS);
    let generation = || lab.json(&["status"])["generation"].as_u64().unwrap();
    let before = generation();
    lab.configure(&format!("{PARTNER}  - name: another\n    hosts: [another.example]\n"));
    eventually("the change is in force", || generation() > before);
    caller.tell("wait");
    assert_eq!(caller.line(), EGRESS);
    lab.configure(&format!("{PARTNER}    fail: open\n"));
    assert_eq!(caller.line(), "b''", "an orderly end");
}

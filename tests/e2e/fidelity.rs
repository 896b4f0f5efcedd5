//! Messages mean the same on both sides, whatever the versions (RFC 9110 §7.6, RFC 9113 §8).

use egret_tests::{Behaviour, EGRESS, Lab, Then, eventually, wire};

use crate::PARTNER;
use crate::policies::PLAIN;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";
/// The libraries are installed for the system's Python.
const PYTHON: &str = "/usr/bin/python3";

/// A caller that speaks HTTP/2: two cookies, trailers wanted, a body in two frames and an empty one.
const CALLER: &str = r#"
import h2.connection, h2.config, h2.events, socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.set_alpn_protocols(["h2"])
s = context.wrap_socket(socket.create_connection(("203.0.113.7", 443), timeout=10), server_hostname="api.partner.example")
c = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
c.initiate_connection()
c.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":authority", "api.partner.example"), (":path", "/a?b=c"),
    ("cookie", "a=1"), ("te", "trailers"), ("cookie", "b=2"), ("cookie", "c=3")])
for data in (b"one ", b"", b"two"):
    c.send_data(1, data)
c.end_stream(1)
s.sendall(c.data_to_send())
done = False
while not done:
    for event in c.receive_data(s.recv(65536)):
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            print(type(event).__name__, sorted(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            print(event.data)
        done = done or isinstance(event, h2.events.StreamEnded)
    s.sendall(c.data_to_send())
"#;

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=9\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-End: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n";

#[test]
fn an_http_2_request_to_an_http_1_backend_keeps_its_meaning_and_so_does_the_response() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME), ("203.0.113.8", "site.partner.example")]);
    let pki = lab.pki();
    let https = Behaviour::Https(pki.identity(&[NAME], &["h2"]), vec![EGRESS.parse().unwrap()]);
    let _partner = lab.third_party(ADDRESS, 443, https);
    let backend = lab.third_party("203.0.113.8", 80, Behaviour::Answer(CHUNKED, Then::Ends));
    let api = format!(
        "{PARTNER}    mode: intercept\n    backend: {{scheme: https, tls: {{ca: {}}}}}\n    policies:\n      inbound: \
         [set-backend: site]\nbackends:\n  site: {{url: \"http://site.partner.example\"}}\n",
        pki.ca()
    );
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let ca = lab.directory().join("egret-ca.pem");
    let output = lab.run(PYTHON, &["-c", CALLER, ca.to_str().unwrap()]);
    let heard = String::from_utf8_lossy(&output.stdout);
    let expected = "ResponseReceived [(':status', '200'), ('x-end', '1')]\nb'abc'\nTrailersReceived [('x-sum', '42')]";
    assert_eq!(heard.trim(), expected, "{}", String::from_utf8_lossy(&output.stderr));
    eventually("the backend has heard all", || {
        backend.seen().first().is_some_and(|seen| seen.all.ends_with(b"0\r\n\r\n"))
    });
    let (requests, fault) = wire::requests(&backend.seen()[0].all);
    assert_eq!((requests.len(), fault), (1, None));
    let request = &requests[0];
    assert_eq!(request.start, "POST /a?b=c HTTP/1.1");
    assert_eq!(request.values("host"), ["site.partner.example"]);
    assert_eq!(request.values("cookie"), ["a=1; b=2; c=3"]);
    assert_eq!((request.values("te"), request.values("connection")), (vec!["trailers"], vec!["TE"]));
    assert_eq!(request.body, b"one two");
}

/// Sends a request and prints what comes back.
const SENDER: &str = r#"
import socket, sys
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
s.sendall(bytes.fromhex(sys.argv[1]))
said = b""
try:
    while chunk := s.recv(65536):
        said += chunk
except ConnectionResetError:
    said += b"!"
sys.stdout.write(said.decode())
"#;

fn exchange(lab: &Lab, request: &str) -> String {
    let hex: String = request.bytes().map(|byte| format!("{byte:02x}")).collect();
    lab.python(SENDER, &[&hex])
}

const RULES: &str = "    policies:\n      outbound: [find-and-replace: {from: b, to: bb}]\n";

#[test]
fn a_request_with_an_unknown_transfer_coding_is_not_implemented() {
    for policies in ["", RULES] {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
        let _egret = lab.egret(&lab.configure(&format!("{PLAIN}{policies}")), &[]);
        for codings in ["foo, chunked", "gzip, chunked", "chunked, foo, chunked"] {
            let request = format!(
                "POST / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\nTransfer-Encoding: {codings}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            );
            let heard = exchange(&lab, &request);
            assert!(heard.starts_with("HTTP/1.1 501 ") && !heard.ends_with('!'), "{codings}: {heard}");
        }
        assert!(partner.seen().iter().all(|seen| seen.all.is_empty()), "nothing of it");
    }
}

#[test]
fn a_response_with_an_unknown_transfer_coding_is_not_forwarded_in_half() {
    const ANSWERS: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, foo\r\n\r\nbody",
    ];
    for policies in ["", RULES] {
        let lab = Lab::new();
        let addresses: Vec<_> = (7..11).map(|number| format!("203.0.113.{number}")).collect();
        lab.hosts(&addresses.iter().map(|address| (address.as_str(), NAME)).collect::<Vec<_>>());
        let _partners: Vec<_> = std::iter::zip(&addresses, ANSWERS)
            .map(|(address, answer)| lab.third_party(address, 80, Behaviour::Answer(answer, Then::Ends)))
            .collect();
        let _egret = lab.egret(&lab.configure(&format!("{PLAIN}{policies}")), &[]);
        for address in &addresses {
            let url = format!("http://{NAME}/");
            let resolve = format!("{NAME}:80:{address}");
            let output = lab.run("curl", &["-s", "-i", "-m", "10", "--resolve", &resolve, &url]);
            let heard = String::from_utf8_lossy(&output.stdout);
            // As any other malformed response: a broken connection.
            assert_eq!(heard, "", "{policies} {address}");
        }
    }
}

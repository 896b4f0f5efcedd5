//! Trailers of responses that policies let pass survive what policies do with the body.

use egret_tests::{Behaviour, Lab, Then, wire};

use crate::PARTNER;
use crate::policies::PLAIN;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";
/// The libraries are installed for the system's Python.
const PYTHON: &str = "/usr/bin/python3";

/// Policies that read a response's body, store it, or change it.
const READERS: [&str; 4] = [
    "outbound: [find-and-replace: {from: absent, to: present}]",
    "outbound: [choose: [{when: size(response.body) > 100000, then: [set-header: {name: X, value: y}]}]]",
    "inbound: [cache-lookup: {}]\n      outbound: [cache-store: {duration: 10s}]",
    "backend: [forward-request: {buffer_response: true}]",
];

const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Grpc-Status\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Status: 8\r\n\r\n";

/// What a caller hears that can read trailers.
fn heard(policies: &str) -> String {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let _partner = lab.third_party(ADDRESS, 80, Behaviour::Answer(CHUNKED, Then::Ends));
    let _egret = lab.egret(&lab.configure(&format!("{PLAIN}    policies:\n      {policies}\n")), &[]);
    let program = r#"
import socket, sys
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n")
said = b""
while chunk := s.recv(65536):
    said += chunk
sys.stdout.write(said.decode())
"#;
    lab.python(program, &[]).to_lowercase()
}

#[test]
fn trailers_over_http_1_survive_policies_that_read_the_body() {
    for policies in READERS {
        let heard = heard(policies);
        assert!(heard.contains("\r\n3\r\nabc\r\n0\r\n") && heard.contains("grpc-status: 8"), "{policies}: {heard}");
        assert!(!heard.contains("content-length"), "{policies}: {heard}");
    }
}

#[test]
fn trailers_of_a_body_that_policies_changed_are_kept() {
    let heard = heard("outbound: [find-and-replace: {from: b, to: bb}]");
    assert!(heard.contains("\r\nabbc\r\n0\r\n") && heard.contains("grpc-status: 8"), "{heard}");
}

#[test]
fn trailers_of_a_response_that_policies_replaced_are_gone() {
    let heard = heard(
        "outbound:\n        - find-and-replace: {from: b, to: bb}\n        - return-response: {status: 200, body: mine}",
    );
    assert!(heard.ends_with("mine") && !heard.contains("grpc-status"), "{heard}");
}

#[test]
fn a_whole_body_without_trailers_has_a_length() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let _partner = lab.third_party(ADDRESS, 80, Behaviour::Answer(answer, Then::Ends));
    let _egret = lab.egret(&lab.configure(&format!("{PLAIN}    policies:\n      {}\n", READERS[0])), &[]);
    let output = lab.run("curl", &["-s", "-i", "-m", "10", "http://api.partner.example/"]);
    let answer = wire::answer(&output.stdout, "GET").unwrap();
    assert_eq!((answer.values("content-length"), &answer.body[..]), (vec!["3"], &b"abc"[..]));
}

/// A third party that speaks HTTP/2 and refuses each call in its trailers, as gRPC does.
const REFUSES: &str = r#"
import h2.connection, h2.config, h2.events, socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
context.set_alpn_protocols(["h2"])
def serve(s):
    s = context.wrap_socket(s, server_side=True)
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    c.initiate_connection()
    s.sendall(c.data_to_send())
    while data := s.recv(65536):
        for event in c.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                stream = event.stream_id
                c.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
                c.send_data(stream, b"\0\0\0\0\1a")
                c.send_headers(stream, [("grpc-status", "8"), ("grpc-message", "enough")], end_stream=True)
        s.sendall(c.data_to_send())
listener = socket.create_server(("203.0.113.7", 443))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

#[test]
fn a_grpc_status_survives_policies_that_read_the_body() {
    const CALLER: &str = r#"
import h2.connection, h2.config, h2.events, socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.set_alpn_protocols(["h2"])
s = context.wrap_socket(socket.create_connection(("203.0.113.7", 443), timeout=10), server_hostname="api.partner.example")
c = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
c.initiate_connection()
c.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":authority", "api.partner.example"), (":path", "/a.B/C"),
    ("te", "trailers"), ("content-type", "application/grpc")], end_stream=True)
s.sendall(c.data_to_send())
done = False
while not done:
    for event in c.receive_data(s.recv(65536)):
        if isinstance(event, h2.events.TrailersReceived):
            print(dict(event.headers))
        done = done or isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset))
    s.sendall(c.data_to_send())
"#;
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let (certificate, key) = pki.identity(&[NAME], &[]).write(lab.directory());
    let paths = [&certificate, &key].map(|path| path.to_str().unwrap());
    let _server = lab.service(443, PYTHON, &[&["-c", REFUSES], &paths[..]].concat());
    let api = format!("{PARTNER}    mode: intercept\n    backend: {{scheme: https, tls: {{ca: {}}}}}\n", pki.ca());
    let ca = lab.directory().join("egret-ca.pem");
    for policies in READERS {
        let egret = lab.egret(&lab.configure(&format!("{api}    policies:\n      {policies}\n")), &[]);
        let output = lab.run(PYTHON, &["-c", CALLER, ca.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = "{'grpc-status': '8', 'grpc-message': 'enough'}";
        assert_eq!(said.trim(), expected, "{policies}: {}", String::from_utf8_lossy(&output.stderr));
        drop(egret);
    }
}

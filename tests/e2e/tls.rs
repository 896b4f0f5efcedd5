//! TLS passes as it is: the client meets the third party's own certificate, and the name decides.

use egret_tests::{Behaviour, EGRESS, Identity, Lab, Pki, ThirdParty, eventually};

use crate::PARTNER;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";

/// A TLS third party that allow-lists the egress address.
fn partner(lab: &Lab, names: &[&str], alpn: &[&str]) -> (Pki, Identity, ThirdParty) {
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let identity = pki.identity(names, alpn);
    let behaviour = Behaviour::Https(identity.clone(), vec![EGRESS.parse().unwrap()]);
    let third_party = lab.third_party(ADDRESS, 443, behaviour);
    (pki, identity, third_party)
}

/// The flows on record.
fn log(lab: &Lab) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(lab.access_log()).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn unmodified_clients_speak_tls_with_the_third_party_itself() {
    let lab = Lab::new();
    let (pki, identity, third_party) = partner(&lab, &[NAME], &[]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let url = format!("https://{NAME}/");
    let output = lab.run("curl", &["-s", "-m", "20", "--cacert", pki.ca(), &url]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS, "curl");
    let program = r#"
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
print(urllib.request.urlopen(sys.argv[2], timeout=20, context=context).read().decode().strip())
"#;
    assert_eq!(lab.python(program, &[pki.ca(), &url]), EGRESS, "Python");
    let program = "const https = require('https'), fs = require('fs');\
        https.get(process.argv[2], {ca: fs.readFileSync(process.argv[1])}, r => r.on('data', d => process.stdout.write(d)));";
    let output = lab.run("node", &["-e", program, pki.ca(), &url]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS, "Node");
    let program = r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
with context.wrap_socket(socket.create_connection((sys.argv[2], 443), timeout=20), server_hostname=sys.argv[3]) as s:
    print(s.getpeercert(True).hex())
"#;
    assert_eq!(lab.python(program, &[pki.ca(), ADDRESS, NAME]), identity.certificate());
    assert_eq!(third_party.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    eventually("the flows are on record", || {
        let flows = log(&lab);
        flows.len() == 4
            && flows.iter().all(|flow| flow["protocol"] == "tls" && flow["name"] == NAME && flow["api"] == "partner")
    });
}

#[test]
fn what_client_and_third_party_agree_on_is_theirs() {
    let lab = Lab::new();
    let (pki, _, _third_party) = partner(&lab, &[NAME], &["h2", "http/1.1"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, ssl, sys
for protocols in (["h2", "http/1.1"], ["http/1.1"], ["strange/9"], []):
    context = ssl.create_default_context(cafile=sys.argv[1])
    if protocols:
        context.set_alpn_protocols(protocols)
    try:
        s = context.wrap_socket(socket.create_connection((sys.argv[2], 443), timeout=20), server_hostname=sys.argv[3])
        print(s.selected_alpn_protocol(), s.version(), end=" ")
    except ssl.SSLError as error:
        print("alert no application protocol" in str(error), end=" ")
"#;
    let said = lab.python(program, &[pki.ca(), ADDRESS, NAME]);
    // An alert of the third party reaches the client, too.
    assert_eq!(said, "h2 TLSv1.3 http/1.1 TLSv1.3 True None TLSv1.3");
}

#[test]
fn a_client_hello_in_small_pieces_is_understood() {
    let lab = Lab::new();
    let (pki, _, third_party) = partner(&lab, &[NAME], &[]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, ssl, sys, time
context = ssl.create_default_context(cafile=sys.argv[1])
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname=sys.argv[3])
s = socket.create_connection((sys.argv[2], 443), timeout=20)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def send(pieces):
    data = outgoing.read()
    for i in range(0, len(data), pieces):
        s.sendall(data[i:i + pieces])
def step(what):
    while True:
        try:
            return what()
        except ssl.SSLWantReadError:
            send(10)
            incoming.write(s.recv(65536))
step(tls.do_handshake)
tls.write(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
send(10)
print(step(lambda: tls.read(1000)).decode().split("\r\n\r\n")[1].strip())
"#;
    assert_eq!(lab.python(program, &[pki.ca(), ADDRESS, NAME]), EGRESS);
    assert_eq!(third_party.seen().len(), 1);
    eventually("its name is on record", || log(&lab).iter().any(|flow| flow["name"] == NAME));
}

#[test]
fn a_stranger_on_a_shared_address_sees_the_third_partys_own_certificate() {
    let lab = Lab::new();
    let (pki, identity, third_party) = partner(&lab, &[NAME, "stranger.example"], &[]);
    lab.hosts(&[(ADDRESS, NAME), (ADDRESS, "stranger.example")]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.check_hostname = False
for name in ("stranger.example", None):
    s = context.wrap_socket(socket.create_connection((sys.argv[2], 443), timeout=20), server_hostname=name)
    assert s.getpeercert(True).hex() == sys.argv[3]
    s.close()
print("ok")
"#;
    assert_eq!(lab.python(program, &[pki.ca(), ADDRESS, &identity.certificate()]), "ok");
    assert_eq!(third_party.seen().len(), 2);
    eventually("they are on record", || {
        let flows = log(&lab);
        flows.iter().any(|flow| flow["name"] == "stranger.example" && flow["api"].is_null())
            && flows.iter().any(|flow| flow["name"].is_null() && flow["api"] == "partner")
    });
}

#[test]
fn what_only_begins_like_tls_is_carried_too() {
    const BYTES: usize = 40_000;
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let _counter = lab.third_party(ADDRESS, 7000, Behaviour::Count);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, sys
for beginning in (b"\x16\x03\x01\xff\xff\x01", b"\x16\x03\x03\x00\x04\x00\x00\x00\x00", b"GET A FILE\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
    s = socket.create_connection((sys.argv[1], 7000), timeout=20)
    s.sendall(beginning + b"x" * (int(sys.argv[2]) - len(beginning)))
    s.shutdown(socket.SHUT_WR)
    print(s.recv(100).decode().strip(), end=" ")
"#;
    let bytes = BYTES.to_string();
    assert_eq!(lab.python(program, &[ADDRESS, &bytes]), [&*bytes; 4].join(" "));
}

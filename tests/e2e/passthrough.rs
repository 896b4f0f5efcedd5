//! Any TCP bytes: the server may speak first, either side may end first, and a refusal is told at once.

use egret_tests::{Behaviour, Lab};

use crate::{PARTNER, partner};

#[test]
fn half_close_passes_and_no_byte_is_lost() {
    const BYTES: usize = 20_000_000;
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _counter = lab.third_party("203.0.113.7", 7000, Behaviour::Count);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, sys
s = socket.create_connection(("203.0.113.7", 7000), timeout=30)
s.sendall(b"\0" * int(sys.argv[1]))
s.shutdown(socket.SHUT_WR)
print(s.recv(100).decode().strip())
"#;
    assert_eq!(lab.python(program, &[&BYTES.to_string()]), BYTES.to_string());
}

#[test]
fn what_comes_back_is_what_was_sent() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket, hashlib, os, threading
s = socket.create_connection(("203.0.113.7", 7000), timeout=30)
data = os.urandom(5_000_000)
def send():
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
t = threading.Thread(target=send)
t.start()
back = hashlib.sha256()
while True:
    chunk = s.recv(65536)
    if not chunk:
        break
    back.update(chunk)
t.join()
print(back.digest() == hashlib.sha256(data).digest())
"#;
    assert_eq!(lab.python(program, &[]), "True");
}

#[test]
fn a_refusal_of_the_third_party_is_a_reset_not_a_silence() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = r#"
import socket
s = socket.create_connection(("203.0.113.7", 443), timeout=10)
try:
    s.sendall(b"\x16\x03\x01")
    print(s.recv(10))
except ConnectionResetError:
    print("reset")
"#;
    // Nobody listens on 443 there. Three bytes are not a ClientHello yet: detection gives up on time.
    assert_eq!(lab.python(program, &[]), "reset");
}

//! A redeployment loses no connection and changes no address.

use std::net::IpAddr;
use std::process::Stdio;

use egret_tests::{EGRESS, Lab};

use crate::{PARTNER, partner};

#[test]
fn heavy_twenty_take_overs_under_load_lose_nothing() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let mut egret = lab.egret(&config, &["--persist"]);
    let program = r#"
import socket, sys, threading
stop, failed, done = threading.Event(), [], [0] * 16
def run(n):
    while not stop.is_set():
        try:
            s = socket.create_connection(("203.0.113.7", 80), timeout=20)
            s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
            said = s.recv(1000)
            if b"200 OK" not in said:
                failed.append(said)
            s.close()
            done[n] += 1
        except OSError as e:
            failed.append(repr(e))
threads = [threading.Thread(target=run, args=(n,)) for n in range(16)]
[t.start() for t in threads]
sys.stdin.read()
stop.set()
[t.join() for t in threads]
print(len(failed), failed[:3], min(done) > 0)
"#;
    let mut load = lab.workload("python3", &["-c", program]);
    let mut load = load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    for _ in 0..20 {
        let next = lab.egret(&config, &["--persist"]);
        egret.ended();
        egret = next;
    }
    drop(load.stdin.take());
    let output = load.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0 [] True");
    assert_eq!(partner.sources(), [EGRESS.parse::<IpAddr>().unwrap()]);
    assert_eq!(lab.json(&["status"])["generation"], 21);
}

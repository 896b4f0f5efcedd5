//! Callers resolve names all the time while something happens to Egret, and each gets its answers.

use egret_tests::{Conversation, DNS, Egret, Lab, eventually};

use crate::PARTNER;
use crate::dns::forwarded;

/// Names that are looked up, listed ones and others, and one whose addresses come over TCP.
const UDP: &str = r#"{"host.example": 2, "api.partner.example": 1}"#;
const ALL: &str = r#"{"host.example": 2, "api.partner.example": 1, "many.example": 60}"#;

/// Eight clients, each in a thread, that look names up again and again. A lookup that fails is tried once more, a moment later: a
/// process that dies closes its sockets one after the other. Asked, it says how
/// many were tried again, or how many lookups each client has ended at least. Told to end, it says how many lookups failed twice,
/// three of the failures, and whether every client got answers. `options` are those of resolv.conf.
fn clients(lab: &Lab, names: &str, options: &str) -> Conversation {
    let dns = lab.dns();
    dns.set("host.example", 60, &["198.51.100.1", "2001:db8:9::1"]);
    dns.set("api.partner.example", 60, &["203.0.113.7"]);
    let many: Vec<_> = (1..=60).map(|number| format!("198.51.100.{number}")).collect();
    dns.set("many.example", 60, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let resolv = format!("nameserver {DNS}\noptions {options}\n");
    std::fs::write(lab.directory().join("resolv.conf"), resolv).unwrap();
    let program = r#"
import socket, sys, threading, time
names = NAMES
stop, failed, retried, done = threading.Event(), [], [], [0] * 8
def look_up(name):
    return len({found[4][0] for found in socket.getaddrinfo(name, 80)})
def run(n):
    while not stop.is_set():
        name = list(names)[(n + done[n]) % len(names)]
        try:
            try:
                found = look_up(name)
            except OSError as error:
                retried.append(repr(error))
                time.sleep(0.1)
                found = look_up(name)
            if found != names[name]:
                failed.append((name, found))
        except OSError as error:
            failed.append(repr(error))
        done[n] += 1
        time.sleep(0.002)
threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
[thread.start() for thread in threads]
for line in sys.stdin:
    if line.strip() == "end":
        break
    print(len(retried) if line.strip() == "retried" else min(done), flush=True)
stop.set()
[thread.join() for thread in threads]
print(len(failed), failed[:3], min(done) > 0, flush=True)
print(len(retried), sum(done), file=sys.stderr)
"#;
    lab.converse(&program.replace("NAMES", names))
}

/// Waits until each client has ended ten more lookups.
fn goes_on(clients: &mut Conversation) {
    let mut ended = || -> usize {
        clients.tell("done");
        clients.line().parse().unwrap()
    };
    let before = ended();
    eventually("each client goes on", || ended() >= before + 10);
}

/// Waits until queries go through this process.
fn forwards(lab: &Lab, egret: Egret) -> Egret {
    let before = forwarded(lab);
    eventually("queries are forwarded", || forwarded(lab) > before + 20);
    egret
}

fn ended(mut clients: Conversation) {
    clients.tell("end");
    assert_eq!(clients.line(), "0 [] True");
}

#[test]
fn heavy_lookups_survive_kills() {
    let lab = Lab::new();
    let mut clients = clients(&lab, ALL, "timeout:1 attempts:2");
    let config = lab.configure(PARTNER);
    for _ in 0..3 {
        forwards(&lab, lab.egret(&config, &["--persist"])).kill();
        goes_on(&mut clients);
    }
    ended(clients);
}

#[test]
fn heavy_lookups_survive_a_process_that_hangs() {
    let lab = Lab::new();
    // One lookup takes longer than the age from which the hooks count the forwarder as gone. (Over TCP a lookup on its way waits for
    // as long as the process hangs, as for any server that hangs: glibc has no timeout there.)
    let mut clients = clients(&lab, UDP, "timeout:2 attempts:2");
    let egret = forwards(&lab, lab.egret(&lab.configure(PARTNER), &[]));
    egret.pause();
    goes_on(&mut clients);
    egret.resume();
    let egret = forwards(&lab, egret);
    ended(clients);
    egret.stop();
}

#[test]
fn heavy_take_overs_lose_no_query() {
    let lab = Lab::new();
    // One attempt of one lookup, and none is tried again.
    let mut clients = clients(&lab, ALL, "timeout:5 attempts:1");
    let config = lab.configure(PARTNER);
    let mut egret = forwards(&lab, lab.egret(&config, &["--persist"]));
    clients.tell("retried");
    let before = clients.line();
    for _ in 0..5 {
        let next = lab.egret(&config, &["--persist"]);
        egret.ended();
        egret = forwards(&lab, next);
    }
    clients.tell("retried");
    assert_eq!(clients.line(), before);
    ended(clients);
}

#[test]
fn heavy_an_orderly_end_loses_no_lookup_and_leaves_nothing_behind() {
    let lab = Lab::new();
    let mut clients = clients(&lab, ALL, "timeout:5 attempts:2");
    let config = lab.configure(PARTNER);
    for _ in 0..3 {
        forwards(&lab, lab.egret(&config, &[])).stop();
        assert!(!lab.pins().exists(), "pins are left");
    }
    clients.tell("retried");
    assert_eq!(clients.line(), "0");
    ended(clients);
}

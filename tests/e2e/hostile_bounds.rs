//! One workload takes all that it can get: connections, descriptors, memory, lines of the log. What another one sees.

use std::process::Command;

use egret_tests::{Behaviour, Conversation, EGRESS, Egret, Lab, Then, ThirdParty, eventually};

const ADDRESS: &str = "203.0.113.7";
const URL: &str = "http://api.partner.example/";

/// An API in the clear, with a policy that reads bodies.
const READS: &str = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies:\n      inbound:\n        - find-and-replace: {from: nothing, to: something}\n";

/// One without policies, where Egret waits for nothing but the caller.
const PLAIN: &str = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80, 7000]\n";

fn started(apis: &str, limits: &str) -> (Lab, ThirdParty, Egret) {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let egret = lab.egret(&lab.configure(&format!("{apis}{limits}")), &[]);
    (lab, partner, egret)
}

fn metrics(lab: &Lab) -> String {
    let output = lab.gateway("curl", &["-s", "-m", "10", "http://127.0.0.1:9464/metrics"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of the access log, parsed.
fn log(lab: &Lab) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(lab.access_log()).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Resident memory of a process, in MB.
fn memory(egret: &Egret) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", egret.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Few descriptors, so that a test can use them up.
fn narrow(egret: &Egret) {
    let pid = egret.pid().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, "--nofile=256:256"]).status().unwrap();
    assert!(limited.success());
}

/// Connects so many times, holds what is not ended, and says how many those are and how many were ended.
const HOLDS: &str = r#"
import resource, select, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
port, count = (int(argument) for argument in sys.stdin.readline().split())
held, refused = set(), 0
for _ in range(count):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("203.0.113.7", port))
    held.add(s)
    while ended := select.select(held, [], [], 0 if len(held) + refused < count else 1)[0]:
        held.difference_update(ended)
        refused += len(ended)
        [s.close() for s in ended]
print(len(held), refused, flush=True)
sys.stdin.readline()
"#;

/// The hostile workload holds what it can; how much that is, and how many were refused.
fn holding(lab: &Lab, port: u16, most: u32) -> (Conversation, u64, u64) {
    let mut hostile = lab.converse(HOLDS);
    hostile.tell(&format!("{port} {most}"));
    let line = hostile.line();
    let mut numbers = line.split(' ').map(|number| number.parse().unwrap());
    (hostile, numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn heavy_silent_connections_of_one_owner_leave_most_to_others() {
    let (lab, partner, egret) = started(READS, "");
    narrow(&egret);
    let (_hostile, held, refused) = holding(&lab, 80, 200);
    assert!((10..=30).contains(&held) && refused >= 5, "{held} held, {refused} refused");
    let victim = lab.pod("shop", "victim");
    assert!(victim.curl(URL).starts_with("HTTP/1.1 200 "));
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    eventually("why is on record", || log(&lab).iter().any(|line| line["outcome"] == "too_many_connections"));
}

#[test]
fn heavy_whoever_asks_for_status_and_metrics_gets_them_though_callers_hold_all_descriptors() {
    let (lab, _partner, egret) = started(READS, "limits: {connections_per_workload: 1000}\n");
    narrow(&egret);
    let (hostile, held, refused) = holding(&lab, 80, 400);
    assert!(held > 80 && refused >= 5, "{held} held, {refused} refused");
    lab.json(&["status"]);
    assert!(metrics(&lab).contains("egret_flows_total{api=\"none\",outcome=\"descriptors_exhausted\"}"));
    drop(hostile);
    eventually("there is room again", || lab.curl(URL).0 == 200);
}

#[test]
fn callers_that_say_nothing_are_ended_and_those_that_hesitate_are_served() {
    let (lab, _partner, _egret) = started(READS, "limits: {first_byte: 2s}\n");
    let program = r#"
import socket, time
silent = socket.create_connection(("203.0.113.7", 80), timeout=20)
slow = socket.create_connection(("203.0.113.7", 80), timeout=20)
time.sleep(0.5)
slow.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\nConnection: close\r\n\r\n")
print(slow.recv(100).split(b"\r\n")[0].decode(), end=" ")
try:
    print(silent.recv(100))
except ConnectionResetError:
    print("reset")
"#;
    assert_eq!(lab.python(program, &[]), "HTTP/1.1 200 OK reset");
    eventually("why is on record", || log(&lab).iter().any(|line| line["outcome"] == "no_first_byte"));
}

#[test]
fn callers_that_trickle_their_first_bytes_are_not_waited_for_without_end() {
    let (lab, _partner, _egret) = started(READS, "limits: {request_head: 1s}\n");
    let program = r#"
import socket, time
s = socket.create_connection(("203.0.113.7", 80), timeout=20)
try:
    for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 100:
        s.sendall(bytes([byte]))
        time.sleep(0.2)
    print("still there")
except OSError:
    print("ended")
"#;
    assert_eq!(lab.python(program, &[]), "ended");
}

/// Reads lines. `send COUNT SIZE` begins that many bodies of that size, each without its last byte. `refused COUNT` waits until
/// that many are refused, and says how many refusals are as they should be. `end` ends one body, and the others with their
/// connections.
const UPLOADS: &str = r#"
import select, socket, sys
held = []
for line in sys.stdin:
    match line.split():
        case ["send", count, size]:
            head = f"POST / HTTP/1.1\r\nHost: api.partner.example\r\nContent-Length: {size}\r\n\r\n".encode()
            for _ in range(int(count)):
                held.append(socket.create_connection(("203.0.113.7", 80), timeout=20))
                try:
                    held[-1].sendall(head + b"x" * (int(size) - 1))
                except OSError:
                    pass
            print("sent", flush=True)
        case ["refused", count]:
            answers = []
            while len(answers) < int(count) and (ended := select.select(held, [], [], 20)[0]):
                for s in ended:
                    held.remove(s)
                    answers.append(s.recv(65536).decode())
            print(sum(" 503 " in text and "buffers_full" in text for text in answers), flush=True)
        case ["end"]:
            held.pop().sendall(b"x")
            for s in held:
                s.close()
            print("done", flush=True)
"#;

#[test]
fn bodies_that_one_owner_holds_leave_room_for_those_of_others() {
    let (lab, _partner, _egret) = started(READS, "limits: {buffered_bytes: 4194304}\n");
    let mut hostile = lab.converse(UPLOADS);
    // A quarter of 4 MiB is three bodies and a half. Bodies that arrive side by side could refuse one another.
    for count in 1..=3 {
        hostile.tell("send 1 300000");
        assert_eq!(hostile.line(), "sent");
        let held = format!("\negret_buffered_bytes {}\n", count * 299_999);
        eventually("the body is held", || metrics(&lab).contains(&held));
    }
    hostile.tell("send 3 300000");
    assert_eq!(hostile.line(), "sent");
    hostile.tell("refused 3");
    assert_eq!(hostile.line(), "3");
    let victim = lab.pod("shop", "victim");
    let body = "x".repeat(100_000);
    let posted = victim.command("curl", &["-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "-d", &body, URL]);
    let posted = { posted }.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&posted.stdout), "200");
    hostile.tell("end");
    assert_eq!(hostile.line(), "done");
    eventually("the room is given back", || metrics(&lab).contains("\negret_buffered_bytes 0\n"));
    assert_eq!(lab.curl(URL).0, 200);
}

#[test]
fn heavy_memory_of_bodies_is_bounded_and_given_back() {
    let (lab, _partner, egret) = started(READS, "limits: {buffered_bytes: 268435456}\n");
    assert_eq!(lab.curl(URL).0, 200);
    let before = memory(&egret);
    let mut hostile = lab.converse(UPLOADS);
    hostile.tell("send 100 1000000");
    assert_eq!(hostile.line(), "sent");
    // A quarter of 256 MiB is 67 bodies.
    hostile.tell("refused 33");
    assert_eq!(hostile.line(), "33");
    let most = egret.peak_memory() / 1024 / 1024;
    // 64 MiB of bodies, each once (twice would be 128), and the buffers of a hundred connections.
    assert!(most < before + 64 + 56, "{before} MB before, {most} MB at most");
    drop(hostile);
    eventually("memory is given back", || memory(&egret) < before + 20);
}

#[test]
fn heavy_slow_readers_hold_little_and_it_is_given_back() {
    const COUNT: u64 = 200;
    let mut text = b"HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n".to_vec();
    text.resize(text.len() + 2_097_152, b'x');
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _partner = lab.third_party(ADDRESS, 80, Behaviour::Answer(text.leak(), Then::GoesOn));
    let egret = lab.egret(&lab.configure(READS), &[]);
    lab.run("curl", &["-s", "-m", "10", "-o", "/dev/null", URL]);
    let before = memory(&egret);
    let program = r#"
import socket, sys
count = int(sys.stdin.readline())
held = []
for _ in range(count):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect(("203.0.113.7", 80))
    s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
    held.append(s)
for s in held:
    s.recv(1)
print("waiting", flush=True)
sys.stdin.readline()
"#;
    let mut hostile = lab.converse(program);
    hostile.tell(&COUNT.to_string());
    assert_eq!(hostile.line(), "waiting");
    let victim = lab.pod("shop", "victim");
    assert!(victim.curl(URL).starts_with("HTTP/1.1 200 "));
    let most = egret.peak_memory() / 1024 / 1024;
    // Four buffers of 64 KiB each: half of what it was.
    assert!(most < before + COUNT / 4 + 20, "{before} MB before, {most} MB at most");
    drop(hostile);
    eventually("memory is given back", || memory(&egret) < before + 25);
}

#[test]
fn heavy_a_flood_of_refusals_is_counted_in_the_log_and_not_written() {
    const ATTEMPTS: u64 = 3000;
    let (lab, _partner, _egret) = started(PLAIN, "limits: {connections_per_workload: 1}\n");
    let _echo = lab.third_party(ADDRESS, 7000, Behaviour::Echo);
    let program = r#"
import socket, sys
held = socket.create_connection(("203.0.113.7", 7000), timeout=20)
held.sendall(b"x")
held.recv(1)
for _ in range(int(sys.stdin.readline())):
    try:
        with socket.create_connection(("203.0.113.7", 7000), timeout=20) as s:
            assert s.recv(1) == b""
    except ConnectionResetError:
        pass
print("done", flush=True)
sys.stdin.readline()
"#;
    let mut hostile = lab.converse(program);
    hostile.tell(&ATTEMPTS.to_string());
    assert_eq!(hostile.line(), "done");
    let lines = || log(&lab).into_iter().filter(|line| line["outcome"] == "too_many_connections").collect::<Vec<_>>();
    let left_out = || lines().iter().filter_map(|line| line["suppressed"].as_u64()).sum::<u64>();
    let written = || lines().iter().filter(|line| line["suppressed"].is_null()).count() as u64;
    eventually("each is written or counted", || written() + left_out() == ATTEMPTS);
    assert!(left_out() > 0, "{} lines", written());
    assert!(metrics(&lab).contains(&format!("\negret_access_log_suppressed_total {}\n", left_out())));
    let summary = lines().into_iter().find(|line| !line["suppressed"].is_null()).unwrap();
    assert!(summary["owner"].as_str().unwrap().contains("workload"), "{summary}");
}

#[test]
fn connections_to_the_metrics_address_do_not_keep_others_from_it() {
    let (lab, _partner, _egret) = started(PLAIN, "");
    let program = r#"
import socket, sys
held = [socket.create_connection(("127.0.0.1", 9464), timeout=20) for _ in range(300)]
[s.sendall(b"GET /metrics HTTP/1.1\r\n") for s in held[-10:]]
print("held", flush=True)
sys.stdin.readline()
"#;
    let mut hostile = lab.converse(program);
    assert_eq!(hostile.line(), "held");
    assert!(metrics(&lab).contains("egret_flows_running"));
}

#[test]
fn handshakes_that_fail_are_one_line_of_egrets_own_log() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let pki = lab.pki();
    let identity = pki.identity(&["api.partner.example"], &[]);
    let _partner = lab.third_party(ADDRESS, 443, Behaviour::Https(identity, vec![EGRESS.parse().unwrap()]));
    let api = format!(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [443]\n    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n",
        pki.ca()
    );
    let egret = lab.egret(&lab.configure(&api), &[]);
    for _ in 0..5 {
        assert_eq!(lab.curl("https://api.partner.example/").0, 0);
    }
    eventually("each is on record", || log(&lab).iter().filter(|line| line["outcome"] == "leaf_refused").count() == 5);
    assert_eq!(egret.log().matches(" WARN ").count(), 1, "{}", egret.log());
}

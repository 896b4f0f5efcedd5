//! Destinations that no API lists: allowed, reported or denied, as the configuration says for the workload.

use std::path::Path;

use egret_tests::{Behaviour, DNS, EGRESS, Lab, NODE, ThirdParty, eventually};
use serde_json::Value;

use crate::{PARTNER, partner};

/// An address that no API lists.
const STRANGER: &str = "203.0.113.9";

/// Words of the callers below: what happens to a connection and to datagrams.
const CALLER: &str = r#"
import socket, sys
def tcp(address, port, family=socket.AF_INET):
    try:
        with socket.socket(family) as s:
            s.settimeout(10)
            s.connect((address, port))
            return s.recv(100).decode().strip()
    except OSError as error:
        return error.errno
def connected(address, port, family=socket.AF_INET):
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.connect((address, port))
            s.send(b"x")
            return "sent"
    except OSError as error:
        return error.errno
def sent(address, port, family=socket.AF_INET):
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.sendto(b"x", (address, port))
            return "sent"
    except OSError as error:
        return error.errno
"#;

/// Writes a configuration with the usual API and this value of `capture.unlisted`.
fn configure(lab: &Lab, unlisted: &str) -> std::path::PathBuf {
    let text = std::fs::read_to_string(lab.configure(PARTNER)).unwrap();
    lab.write_config(&text.replace("capture:\n", &format!("capture:\n  unlisted: {unlisted}\n")))
}

fn stranger(lab: &Lab) -> ThirdParty {
    lab.third_party(STRANGER, 7000, Behaviour::Banner)
}

fn say(lab: &Lab, program: &str) -> String {
    lab.python(&format!("{CALLER}{program}"), &[])
}

/// The rows of `egret inspect unlisted` about a destination.
fn rows(lab: &Lab, destination: &str) -> Vec<Value> {
    let rows = lab.json(&["inspect", "unlisted"]);
    rows.as_array().unwrap().iter().filter(|row| row["original_destination"] == destination).cloned().collect()
}

fn counted(lab: &Lab, reason: &str) -> u64 {
    lab.json(&["status"])["kernel"][reason].as_u64().unwrap()
}

#[test]
fn unlisted_destinations_are_denied_in_every_way_to_reach_them() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let stranger = stranger(&lab);
    let sixth = lab.third_party("2001:db8:2::7", 7000, Behaviour::Banner);
    let _egret = lab.egret(&configure(&lab, "deny"), &[]);
    let program = r#"
six = socket.AF_INET6
print(tcp("203.0.113.9", 7000), tcp("::ffff:203.0.113.9", 7000, six), tcp("2001:db8:2::7", 7000, six))
for act in (connected, sent):
    print(act("203.0.113.9", 443), act("::ffff:203.0.113.9", 443, six), act("2001:db8:2::7", 443, six))
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x7fffffff)
try:
    s.connect(("203.0.113.9", 7000))
except PermissionError:
    print("marked: denied")
try:
    socket.socket().sendto(b"x", 0x20000000, ("203.0.113.9", 7000))
except PermissionError:
    print("fast open: denied")
print(tcp("203.0.113.7", 22))
"#;
    assert_eq!(say(&lab, program), "1 1 1\n1 1 1\n1 1 1\nmarked: denied\nfast open: denied\n1");
    assert_eq!(lab.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    assert_eq!((stranger.seen(), sixth.seen()), (vec![], vec![]));
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    eventually("they are listed", || {
        let rows = rows(&lab, "203.0.113.9:7000");
        rows.len() == 1 && rows[0]["times"] == 4
    });
    let row = &rows(&lab, "203.0.113.9:7000")[0];
    let facts = ["reason", "protocol", "owner", "user"].map(|key| row[key].as_str().unwrap());
    assert_eq!(facts, ["unlisted_denied", "tcp", "workload.service", "root"], "{row}");
    assert_eq!(rows(&lab, "203.0.113.9:443")[0]["protocol"], "udp");
    assert_eq!(counted(&lab, "unlisted_denied"), 12);
    let log = std::fs::read_to_string(lab.access_log()).unwrap();
    assert!(log.contains("\"outcome\":\"unlisted_denied\""), "{log}");
}

#[test]
fn unlisted_destinations_are_reported_with_the_name_that_dns_gave_them() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("api.partner.example", 60, &["203.0.113.7"]);
    dns.set("www.stranger.example", 60, &[STRANGER]);
    let stranger = stranger(&lab);
    let _egret = lab.egret(&configure(&lab, "report"), &[]);
    assert_eq!(
        say(&lab, r#"print(tcp("www.stranger.example", 7000), tcp("www.stranger.example", 7000))"#),
        format!("{NODE} {NODE}")
    );
    assert_eq!(stranger.sources(), [NODE.parse::<std::net::IpAddr>().unwrap()]);
    eventually("it is listed with its name", || {
        let rows = rows(&lab, "203.0.113.9:7000");
        rows.len() == 1 && rows[0]["name"] == "www.stranger.example" && rows[0]["times"] == 2
    });
    assert_eq!(rows(&lab, "203.0.113.9:7000")[0]["reason"], "unlisted_reported");
    assert_eq!(rows(&lab, &format!("{DNS}:53")), Vec::<Value>::new(), "the node's DNS server is no stranger");
    assert!(
        lab.cli(&["inspect", "unlisted", "--socket", lab.socket().to_str().unwrap()]).contains("www.stranger.example")
    );
}

#[test]
fn what_is_local_excepted_or_a_dns_server_of_the_node_is_never_denied() {
    let lab = Lab::new();
    lab.dns().set("api.partner.example", 60, &["203.0.113.7"]);
    lab.dns_at("203.0.113.15").set("api.partner.example", 60, &["203.0.113.7"]);
    let _stranger = stranger(&lab);
    let _other = lab.third_party("203.0.113.10", 7000, Behaviour::Banner);
    let _ssh = lab.third_party("203.0.113.10", 22, Behaviour::Banner);
    let unlisted = "{action: deny, except: [203.0.113.8/31, '203.0.113.10:22', '[2001:db8:2::/64]:7000']}";
    let _sixth = lab.third_party("2001:db8:2::7", 7000, Behaviour::Banner);
    let _egret = lab.egret(&configure(&lab, unlisted), &[]);
    let program = r#"
import threading
six = socket.AF_INET6
def served(address, family=socket.AF_INET):
    listener = socket.socket(family)
    listener.bind((address, 0))
    listener.listen()
    def serve():
        peer = listener.accept()[0]
        peer.sendall(b"local")
        peer.close()
    threading.Thread(target=serve).start()
    return tcp(address, listener.getsockname()[1], family)
print(served("127.0.0.1"), served("::1", six), served("192.0.2.1"), served("192.0.2.10"), served("2001:db8:1::1", six))
print(sent("224.0.0.251", 5353), sent("203.0.113.16", 53), sent("203.0.113.15", 53), sent("203.0.113.16", 54))
print(tcp("203.0.113.9", 7000), tcp("::ffff:203.0.113.9", 7000, six), tcp("203.0.113.10", 22), tcp("203.0.113.10", 7000))
print(tcp("2001:db8:2::7", 7000, six), sent("2001:db8:2::7", 443, six), sent("169.254.169.254", 80))
"#;
    let expected = format!("local local local local local\nsent sent 1 1\n{NODE} {NODE} {NODE} 1\n2001:db8:1::1 1 1");
    assert_eq!(say(&lab, program), expected);
    // An address that comes to the node later.
    lab.node_ip(&["address", "add", "198.51.100.77/32", "dev", "lo"]);
    eventually("the new address is the node's", || say(&lab, "print(sent('198.51.100.77', 9))") == "sent");
}

#[test]
fn a_changed_action_holds_at_once_and_connections_that_are_open_go_on() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let echo = lab.third_party(STRANGER, 7001, Behaviour::Echo);
    let _egret = lab.egret(&configure(&lab, "allow"), &[]);
    let program = r#"
s = socket.create_connection(("203.0.113.9", 7001), 10)
u = socket.socket(type=socket.SOCK_DGRAM)
u.connect(("203.0.113.9", 443))
def send():
    try:
        return u.send(b"x")
    except ConnectionRefusedError:
        return "heard"
while True:
    s.sendall(b"x")
    print(s.recv(1), send() in (1, "heard"), connected("203.0.113.9", 443), flush=True)
    if not sys.stdin.readline():
        break
"#;
    let mut caller = lab.converse(&format!("{CALLER}{program}"));
    assert_eq!(caller.line(), "b'x' True sent");
    configure(&lab, "deny");
    eventually("it is denied", || say(&lab, "print(connected('203.0.113.9', 443))") == "1");
    caller.tell("again");
    assert_eq!(caller.line(), "b'x' True 1");
    configure(&lab, "{action: deny, except: [203.0.113.9]}");
    eventually("it is excepted", || say(&lab, "print(connected('203.0.113.9', 443))") == "sent");
    configure(&lab, "report");
    eventually("it is reported", || {
        say(&lab, "print(connected('203.0.113.9', 443))") == "sent" && counted(&lab, "unlisted_reported") > 0
    });
    assert_eq!(echo.seen().len(), 1);
}

#[test]
fn deny_holds_while_egret_is_dead_unless_its_owner_wants_it_open() {
    for (fail, said) in [("closed", "1"), ("open", NODE)] {
        let lab = Lab::new();
        let _partner = partner(&lab);
        let stranger = stranger(&lab);
        let config = configure(&lab, &format!("{{action: deny, fail: {fail}}}"));
        let egret = lab.egret(&config, &[]);
        assert_eq!(say(&lab, "print(tcp('203.0.113.9', 7000))"), "1");
        egret.kill();
        if fail == "open" {
            eventually("its heartbeat is missing", || say(&lab, "print(tcp('203.0.113.9', 7000))") == said);
        }
        assert_eq!(say(&lab, "print(tcp('203.0.113.9', 7000))"), said, "{fail}");
        assert_eq!(stranger.seen().is_empty(), fail == "closed");
        let egret = lab.egret(&config, &[]);
        assert_eq!(say(&lab, "print(tcp('203.0.113.9', 7000))"), "1", "{fail}");
        egret.stop();
        assert_eq!(say(&lab, "print(tcp('203.0.113.9', 7000))"), NODE, "{fail}: nothing is left of it");
    }
}

#[test]
fn heavy_a_caller_that_tries_ever_new_destinations_hides_nobody() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&configure(&lab, "deny"), &[]);
    let program = r#"
s = socket.socket(type=socket.SOCK_DGRAM)
for number in range(100000):
    try:
        s.sendto(b"x", ("10.%d.%d.%d" % (number >> 16, number >> 8 & 255, number & 255), 443))
    except PermissionError:
        pass
    if number == 1000:
        print("tries", flush=True)
print("done", flush=True)
sys.stdin.readline()
"#;
    let greedy = lab.gateway_cgroup().with_file_name("greedy.service");
    std::fs::create_dir(&greedy).unwrap();
    let mut flood = lab.converse_in(&greedy, &format!("{CALLER}{program}"));
    assert_eq!(flood.line(), "tries");
    assert_eq!(say(&lab, "print(tcp('203.0.113.9', 7000))"), "1");
    eventually("another workload's destination is listed", || rows(&lab, "203.0.113.9:7000").len() == 1);
    assert_eq!(flood.line(), "done");
    assert!(counted(&lab, "unlisted_denied") > 100_000);
    assert_eq!(rows(&lab, "203.0.113.9:7000").len(), 1);
    let all = lab.json(&["inspect", "unlisted", "--limit", "100000"]);
    let of_greedy = all.as_array().unwrap().iter().filter(|row| row["owner"] == "greedy.service").count();
    assert!((100..=1024).contains(&of_greedy), "{of_greedy}");
}

#[test]
fn callers_outside_the_captured_cgroup_and_egret_itself_are_not_judged() {
    let lab = Lab::new();
    let dns = lab.dns();
    dns.set("api.partner.example", 1, &["203.0.113.7"]);
    let _partner = lab.third_party("203.0.113.7", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let stranger = stranger(&lab);
    let _egret = lab.egret(&configure(&lab, "deny"), &[]);
    let outside = egret_tests::cgroup_root();
    let command = format!("{CALLER}print(tcp('203.0.113.9', 7000))");
    let output = lab.workload_in(Path::new(&outside), "python3", &["-c", &command]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), NODE);
    assert_eq!(stranger.seen().len(), 1);
    // It resolves the host anew, and dials its new address.
    let _moved = lab.third_party("203.0.113.8", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    dns.set("api.partner.example", 1, &["203.0.113.8"]);
    eventually("the new address is captured", || {
        lab.json(&["inspect", "redirects"]).as_array().unwrap().iter().any(|row| row["address"] == "203.0.113.8")
    });
    assert_eq!(lab.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
}

/// Rules for single workloads: a unit, and the pods of a namespace.
const RULES: &str = "\n    action: allow\n    rules:\n      - {workloads: [{unit: billing.service}, {namespace: shop}], action: deny, except: ['203.0.113.9:7001']}\n      \
                     - {workloads: [{unit: batch.service}], action: report}";

/// What a caller in a new cgroup of the lab gets: it enters the cgroup, waits until it is told to, and connects.
const ENTERS: &str = r#"
import os
def enter(cgroup):
    os.makedirs(cgroup, exist_ok=True)
    open(cgroup + "/cgroup.procs", "w").write("0")
"#;

#[test]
fn a_rule_holds_for_its_workloads_and_for_no_others() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let stranger = stranger(&lab);
    let _excepted = lab.third_party(STRANGER, 7001, Behaviour::Banner);
    let _egret = lab.egret(&configure(&lab, RULES), &[]);
    let units = lab.workload_cgroup();
    let shop = lab.pod("shop", "web-0").logs();
    let billing = lab.pod("billing", "api-0").logs();
    let in_unit = |unit: &str, program: &str| {
        let cgroup = units.with_file_name(unit);
        std::fs::create_dir_all(&cgroup).unwrap();
        let program = format!("{CALLER}{program}");
        let output = lab.workload_in(&cgroup, "python3", &["-c", &program]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let both = "print(tcp('203.0.113.9', 7000), tcp('203.0.113.9', 7001))";
    let denied = format!("1 {NODE}");
    let passed = format!("{NODE} {NODE}");
    eventually("the unit is known", || in_unit("billing.service", both) == denied);
    let in_pod = |pod: &egret_tests::Pod<'_>| {
        let output = pod.command("python3", &["-c", &format!("{CALLER}{both}")]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    eventually("the pod is known", || in_pod(&shop) == denied);
    eventually("the other pod is known", || in_pod(&billing) == passed);
    // Until Egret knows a new cgroup, it is like the one above it, whose connections nobody reports.
    eventually("the reports are of one unit", || {
        assert_eq!(in_unit("batch.service", both), passed);
        rows(&lab, "203.0.113.9:7000").iter().any(|row| row["reason"] == "unlisted_reported")
    });
    let before = stranger.seen().len();
    assert_eq!(say(&lab, both), passed);
    assert_eq!(in_unit("batch.service", both), passed);
    assert_eq!(in_unit("billing.servicex", both), passed);
    assert_eq!(stranger.seen().len(), before + 3);
    let all = lab.json(&["inspect", "unlisted"]);
    let of = |reason: &str| -> Vec<_> {
        let rows = all.as_array().unwrap().iter().filter(|row| row["reason"] == reason);
        rows.map(|row| row["workload"].as_str().unwrap().to_owned()).collect()
    };
    assert!(of("unlisted_reported").iter().all(|workload| workload == "batch.service"), "{all}");
    assert!(
        of("unlisted_denied").iter().all(|workload| workload == "billing.service" || workload == "shop/web-0"),
        "{all}"
    );
}

#[test]
fn a_denied_caller_is_denied_in_every_cgroup_that_it_makes_and_by_every_process() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let stranger = stranger(&lab);
    let billing = lab.workload_cgroup().with_file_name("billing.service");
    std::fs::create_dir(&billing).unwrap();
    let _egret = lab.egret(&configure(&lab, RULES), &[]);
    // Its own cgroups: named like others' units and containers, deeper than anything that is known, and removed again.
    let program = format!(
        r#"{ENTERS}
own = {billing:?}
print(tcp("203.0.113.9", 7000), end=" ")
for name in ("batch.service", "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r", "docker-" + 64 * "a" + ".scope", "kubepods/podx"):
    child = os.fork()
    if child == 0:
        enter(own + "/" + name)
        print(tcp("203.0.113.9", 7000), tcp("::ffff:203.0.113.9", 7000, socket.AF_INET6), sent("203.0.113.9", 443), end=" ", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
# In a network namespace of its own, which has only a loopback.
child = os.fork()
if child == 0:
    import ctypes
    assert ctypes.CDLL(None).unshare(0x40000000) == 0
    print(tcp("203.0.113.9", 7000), sent("203.0.113.9", 443), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"#
    );
    let mut caller = lab.converse_in(&billing, &format!("{CALLER}{program}"));
    assert_eq!(caller.line(), ["1"; 15].join(" "));
    assert_eq!(stranger.seen(), []);
    // A socket that another workload made and passed on is judged by who connects it.
    let program = format!(
        r#"{ENTERS}
s, u = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
child = os.fork()
if child == 0:
    enter({billing:?})
    for act in (lambda: s.connect(("203.0.113.9", 7000)), lambda: u.connect(("203.0.113.9", 443)), lambda: u.sendto(b"x", ("203.0.113.9", 443))):
        try:
            act()
            print("passed", end=" ")
        except PermissionError:
            print("denied", end=" ")
    print(flush=True)
    os._exit(0)
os.waitpid(child, 0)
"#
    );
    assert_eq!(say(&lab, &program), "denied denied denied");
    assert_eq!(stranger.seen(), []);
}

#[test]
fn a_cgroup_that_is_not_known_yet_is_like_the_one_above_it() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let stranger = stranger(&lab);
    let allowed = "\n    action: deny\n    rules:\n      - {workloads: [{unit: billing.service}], action: allow}";
    let egret = lab.egret(&configure(&lab, allowed), &[]);
    // Nothing is found out about a unit that begins while Egret hangs.
    egret.pause();
    let billing = lab.workload_cgroup().with_file_name("billing.service");
    std::fs::create_dir(&billing).unwrap();
    let program =
        format!("{CALLER}while True:\n    print(tcp('203.0.113.9', 7000), flush=True)\n    sys.stdin.readline()\n");
    let mut caller = lab.converse_in(&billing, &program);
    assert_eq!(caller.line(), "1");
    assert_eq!(stranger.seen(), []);
    egret.resume();
    eventually("the unit is known", || {
        caller.tell("again");
        caller.line() == NODE
    });
    assert_eq!(say(&lab, "print(tcp('203.0.113.9', 7000))"), "1");
}

#[test]
fn explain_says_what_happens_to_an_unlisted_host() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&configure(&lab, RULES), &[]);
    let socket = lab.socket();
    let explain = |who: &[&str]| {
        let own = ["explain", "https://www.stranger.example/", "--socket", socket.to_str().unwrap()];
        lab.cli(&[&own, who].concat())
    };
    assert!(explain(&[]).contains("Egret does not touch the connection"));
    assert!(explain(&["--unit", "billing.service"]).contains("refused with EPERM (rule 1 of `capture.unlisted`)"));
    assert!(explain(&["--unit", "batch.service"]).contains("passes and is reported (rule 2"));
    let excepted = ["--unit", "billing.service", "--address", STRANGER];
    let own = ["explain", "https://www.stranger.example:7001/", "--socket", socket.to_str().unwrap()];
    assert!(lab.cli(&[&own[..], &excepted].concat()).contains("rule 1 of `capture.unlisted` excepts its address"));
}

#[test]
fn a_denied_udp_server_answers_those_who_asked_and_nobody_else() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&configure(&lab, "deny"), &[]);
    let server = r#"
for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "::")):
    u = socket.socket(family, socket.SOCK_DGRAM)
    u.bind((address, 5000 if family == socket.AF_INET else 5001))
    print("bound", flush=True)
    for _ in range(2):
        data, peer = u.recvfrom(100)
        said = [u.sendto(data, peer[:2])]
        for other in ((peer[0], peer[1] + 1), ("203.0.113.9" if family == socket.AF_INET else "::ffff:203.0.113.9", peer[1])):
            try:
                said.append(u.sendto(data, other))
            except PermissionError:
                said.append("denied")
        print(*said, flush=True)
"#;
    let mut server = lab.converse(&format!("{CALLER}{server}"));
    let client = r#"
import socket, sys
u = socket.socket(type=socket.SOCK_DGRAM)
u.settimeout(10)
u.sendto(b"x", ("192.0.2.1", int(sys.argv[1])))
print(u.recv(10).decode())
"#;
    for port in ["5000", "5001"] {
        assert_eq!(server.line(), "bound");
        for _ in 0..2 {
            let output = lab.foreign_workload("python3", &["-c", client, port]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "x", "{output:?}");
            assert_eq!(server.line(), "1 denied denied");
        }
    }
}

//! A caller may ask a DNS server that the node does not trust. What this server says is in force for the caller's owner alone.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use egret_tests::{Behaviour, Dns, EGRESS, EGRESS_V6, Lab, NODE, ThirdParty, eventually};
use serde_json::Value;

const NAME: &str = "api.partner.example";

/// Where the node's DNS says that the partner is.
const PARTNER: &str = "203.0.113.7";

/// An address that only the caller's own server gives the partner's name.
const ELSEWHERE: &str = "203.0.113.9";

/// The caller's own DNS server.
const OWN_SERVER: &str = "203.0.113.15";

const API: &str = "  - name: partner
    hosts: [api.partner.example, other.partner.example, '*.shop.example']
    ports: [80, 443, 7000]
    opaque_ports: [7000]
";

/// `ask(name)` returns the address that the caller's own server says; `fetch(address, host)` the body of a response, or the error;
/// `hear(address)` what a server says that speaks first.
const CLIENT: &str = r#"
import socket, struct
def ask(name, server="203.0.113.15"):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(10)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    s.sendto(struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1), (server, 53))
    return socket.inet_ntoa(s.recv(512)[-4:])
def told(s):
    heard = b""
    try:
        while part := s.recv(65536):
            heard += part
    except OSError as error:
        return type(error).__name__
    return heard.decode().strip().split("\n")[-1].strip()
def fetch(address, host, path="/"):
    with socket.create_connection((address, 80), 20) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        s.shutdown(socket.SHUT_WR)
        return told(s)
def hear(address):
    try:
        with socket.create_connection((address, 7000), 20) as s:
            return told(s)
    except OSError as error:
        return type(error).__name__
def datagram(address):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"quic", (address, 443))
        return "sent"
    except PermissionError:
        return "refused"
"#;

/// A node whose DNS server says where the partner is, the partner, and a server of the caller's own.
struct Scene {
    lab: Lab,
    node_dns: Dns,
    own_dns: Dns,
    partner: ThirdParty,
    spoken: ThirdParty,
}

impl Scene {
    fn new() -> Self {
        Self::with_partner_at(PARTNER)
    }

    /// The partner's servers listen at this address.
    fn with_partner_at(address: &str) -> Self {
        let lab = Lab::new();
        let node_dns = lab.dns();
        node_dns.set(NAME, 60, &[PARTNER]);
        node_dns.set("other.partner.example", 60, &[PARTNER]);
        let own_dns = lab.dns_at(OWN_SERVER);
        own_dns.set(NAME, 60, &[ELSEWHERE]);
        let partner = http(&lab, address);
        let spoken = lab.third_party(address, 7000, Behaviour::Banner);
        Self { lab, node_dns, own_dns, partner, spoken }
    }

    /// A cgroup of an owner beside the usual one.
    fn another_owner(&self) -> PathBuf {
        let path = self.lab.workload_cgroup().with_file_name("another.service");
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// What a program of another owner prints.
    fn python_of_another(&self, program: &str) -> String {
        let output = self.lab.workload_in(&self.another_owner(), "python3", &["-c", &program_of(program)]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn python(&self, program: &str) -> String {
        self.lab.python(&program_of(program), &[])
    }

    /// The rows of the kernel's table for one address, by whose they are and by port.
    fn rows(&self, address: &str) -> Vec<(String, u64)> {
        let rows = self.lab.json(&["inspect", "redirects"]);
        let rows = rows.as_array().unwrap().iter().filter(|row| row["address"] == address);
        let owner = |row: &Value| row["owner"].as_str().unwrap_or("everybody").to_owned();
        let mut rows: Vec<_> = rows.map(|row| (owner(row), row["port"].as_u64().unwrap())).collect();
        rows.sort();
        rows
    }
}

fn http(lab: &Lab, address: &str) -> ThirdParty {
    let allowed = vec![EGRESS.parse().unwrap(), EGRESS_V6.parse().unwrap()];
    lab.third_party(address, 80, Behaviour::Http(allowed))
}

fn program_of(program: &str) -> String {
    format!("{CLIENT}\n{program}")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn heavy_a_caller_with_a_dns_server_of_its_own_is_captured_at_each_new_address() {
    const ROUNDS: usize = 300;
    let scene = Scene::with_partner_at("0.0.0.0");
    let lab = &scene.lab;
    scene.own_dns.ever_new(NAME);
    lab.internet_ip(&["route", "add", "local", "198.18.0.0/16", "dev", "lo"]);
    let _egret = lab.egret(&lab.configure(API), &[]);
    let program = format!(
        "seen, heard = set(), set()\nfor _ in range({ROUNDS}):\n    address = ask('{NAME}')\n    seen.add(address)\n    \
         heard.update([hear(address), fetch(address, '{NAME}')])\nprint(len(seen), heard)"
    );
    assert_eq!(scene.python(&program), format!("{ROUNDS} {{'{EGRESS}'}}"));
    assert_eq!((scene.partner.sources(), scene.spoken.sources()), (vec![ip(EGRESS)], vec![ip(EGRESS)]));
    assert_eq!(lab.json(&["status"])["dns"]["learnt_late"], 0);
}

#[test]
fn a_caller_that_names_somebody_elses_address_reaches_only_the_partner() {
    for mode in ["passthrough", "bind"] {
        let scene = Scene::new();
        let lab = &scene.lab;
        let victim = http(lab, ELSEWHERE);
        let spoken = lab.third_party(ELSEWHERE, 7000, Behaviour::Banner);
        let api = format!("{API}    mode: {mode}\n");
        let _egret = lab.egret(&lab.configure(&api), &[]);
        let program =
            format!("address = ask('{NAME}')\nprint(address, hear(address), fetch(address, '{NAME}', '/hostile'))");
        assert_eq!(scene.python(&program), format!("{ELSEWHERE} {EGRESS} {EGRESS}"), "{mode}");
        assert!(
            victim.seen().is_empty() && spoken.seen().is_empty(),
            "{mode}: the partner has the egress IP, nobody else"
        );
        assert_eq!((scene.partner.sources(), scene.spoken.sources()), (vec![ip(EGRESS)], vec![ip(EGRESS)]), "{mode}");

        // Two hosts of the API there: without a name it is not known which one is meant.
        scene.own_dns.set("other.partner.example", 60, &[ELSEWHERE]);
        let program = "address = ask('other.partner.example')\nprint(hear(address))";
        assert!(!scene.python(program).contains(EGRESS), "{mode}");
        assert!(victim.seen().is_empty() && spoken.seen().is_empty(), "{mode}");
    }
}

#[test]
fn other_owners_are_not_touched_by_what_one_owner_is_told() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let victim = http(lab, ELSEWHERE);
    let _egret = lab.egret(&lab.configure(API), &[]);
    let program = format!("ask('{NAME}')\nprint(datagram('{ELSEWHERE}'))");
    assert_eq!(scene.python(&program), "refused", "QUIC would leave past Egret");
    let program = format!("print(datagram('{ELSEWHERE}'), fetch('{ELSEWHERE}', '{NAME}'))");
    assert_eq!(scene.python_of_another(&program), format!("sent {NODE}"));
    assert_eq!(victim.sources(), [ip(NODE)]);
    let decisions = lab.json(&["inspect", "decisions"]);
    let of_another = |row: &&Value| row["caller"]["owner"] == "another.service";
    assert!(!decisions.as_array().unwrap().iter().any(|row| of_another(&row)), "{decisions}");

    let hosts = lab.json(&["inspect", "hosts"]);
    let of = |scope: &str| hosts.as_array().unwrap().iter().find(|row| row["name"] == NAME && row["scope"] == scope);
    assert_eq!(of("owner").unwrap()["owner"], "workload.service", "{hosts}");
    assert_eq!(of("owner").unwrap()["addresses"][0]["address"], ELSEWHERE, "{hosts}");
    assert_eq!(of("everybody").unwrap()["addresses"][0]["address"], PARTNER, "{hosts}");
    let owner = || "workload.service".to_owned();
    assert_eq!(scene.rows(ELSEWHERE), [(owner(), 80), (owner(), 443), (owner(), 7000)]);
}

#[test]
fn an_owner_is_captured_in_all_of_its_cgroups_and_what_holds_for_everybody_goes_before() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let elsewhere = http(lab, ELSEWHERE);
    let _egret = lab.egret(&lab.configure(API), &[]);
    let below = |name: &str| {
        let path = lab.workload_cgroup().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let run = |cgroup: &str, program: &str| {
        let output = lab.workload_in(&below(cgroup), "python3", &["-c", &program_of(program)]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(run("one", &format!("print(ask('{NAME}'))")), ELSEWHERE);
    assert_eq!(run("two/below", &format!("print(fetch('{ELSEWHERE}', '{NAME}'))")), EGRESS);
    assert!(elsewhere.seen().is_empty());

    // The node's own server says so as well.
    scene.node_dns.set("new.shop.example", 60, &[ELSEWHERE]);
    let program =
        format!("ask('new.shop.example', '{}')\nprint(fetch('{ELSEWHERE}', 'new.shop.example'))", egret_tests::DNS);
    assert_eq!(scene.python_of_another(&program), EGRESS);
    let everybody = || "everybody".to_owned();
    assert_eq!(scene.rows(ELSEWHERE), [(everybody(), 80), (everybody(), 443), (everybody(), 7000)]);
    assert_eq!(run("two/below", &format!("print(fetch('{ELSEWHERE}', '{NAME}'))")), EGRESS);
}

#[test]
fn a_flood_of_names_evicts_only_its_owners_own() {
    let scene = Scene::new();
    let lab = &scene.lab;
    for number in 0..60 {
        scene.own_dns.set(&format!("n{number}.shop.example"), 60, &[&format!("198.51.100.{}", number + 1)]);
    }
    let bounds = "resolver: {max_names: 40}\n";
    let _egret = lab.egret(&lab.configure(&format!("{API}{bounds}")), &[]);
    assert_eq!(scene.python_of_another(&format!("print(ask('{NAME}'))")), ELSEWHERE);
    let flood = "for number in range(60): ask(f'n{number}.shop.example')";
    scene.python(flood);
    let hosts = lab.json(&["inspect", "hosts", "--limit", "1000"]);
    let of = |owner: &str| hosts.as_array().unwrap().iter().filter(|row| row["owner"] == owner).count();
    assert_eq!((of("another.service"), of("workload.service")), (1, 10), "{hosts}");
    assert_eq!(scene.rows("198.51.100.60").len(), 3, "the newest name is captured");
    assert!(scene.rows("198.51.100.1").is_empty(), "the oldest one is not, any more");
    assert_eq!(scene.python_of_another(&format!("print(fetch('{ELSEWHERE}', '{NAME}'))")), EGRESS);
}

#[test]
fn rows_of_an_owner_go_with_its_cgroup() {
    let scene = Scene::new();
    let _egret = scene.lab.egret(&scene.lab.configure(API), &[]);
    scene.python_of_another(&format!("ask('{NAME}')"));
    assert_eq!(scene.rows(ELSEWHERE).len(), 3);
    fs::remove_dir(scene.another_owner()).unwrap();
    eventually("the rows are gone", || scene.rows(ELSEWHERE).is_empty());
    let hosts = scene.lab.json(&["inspect", "hosts"]);
    assert!(!hosts.as_array().unwrap().iter().any(|row| row["owner"] == "another.service"), "{hosts}");
}

#[test]
fn a_caller_that_remembers_an_address_is_captured_there_after_egret_was_replaced_or_killed() {
    let scene = Scene::new();
    let lab = &scene.lab;
    scene.node_dns.set("new.shop.example", 60, &["203.0.113.11"]);
    let elsewhere = [http(lab, ELSEWHERE), http(lab, "203.0.113.11")];
    let config = lab.configure(API);
    let first = lab.egret(&config, &["--persist"]);
    let mut caller = lab.converse(&program_of(&format!(
        "addresses = ask('{NAME}'), ask('new.shop.example', '{}')\nfor _ in range(4):\n    print(fetch(addresses[0], '{NAME}'), \
         fetch(addresses[1], 'new.shop.example'), flush=True)\n    input()",
        egret_tests::DNS
    )));
    let both = format!("{EGRESS} {EGRESS}");
    assert_eq!(caller.line(), both);
    let second = lab.egret(&config, &["--persist"]);
    first.ended();
    caller.tell("the second process has taken over");
    assert_eq!(caller.line(), both);
    second.kill();
    let _third = lab.egret(&config, &["--persist"]);
    caller.tell("the third process has started");
    assert_eq!(caller.line(), both);
    assert!(elsewhere[0].seen().is_empty(), "Egret dials its own resolution");
    assert!(elsewhere[1].sources().iter().all(|source| *source == ip(EGRESS)));
    assert_eq!(scene.rows(ELSEWHERE).len(), 3, "they are the owner's still");
    assert!(!scene.rows(ELSEWHERE).iter().any(|(owner, _)| owner == "everybody"));
}

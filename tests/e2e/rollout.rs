//! What happens on a node of Kubernetes while pods and containers call: updates, restarts and the end of Egret.

use std::collections::BTreeMap;

use egret_tests::{Behaviour, Container, Conversation, Egret, Lab, Pod, ThirdParty, eventually};

use crate::load::egress;
use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// How many clients call in each container and in the pod, and how many of these keep their connections.
const EACH: usize = 4;
const KEEP: usize = 2;

const CALLS: &str = include_str!("../clients/calls.py");

/// Sixteen clients: in three containers, and in a pod on the node's network.
struct Callers<'a>(Vec<(Conversation, Caller<'a>)>);

#[expect(dead_code, reason = "a caller's place is there as long as it calls")]
enum Caller<'a> {
    Container(Container<'a>),
    Pod(Pod<'a>),
}

impl<'a> Callers<'a> {
    /// Starts them, and waits until each has been served.
    fn start(lab: &'a Lab) -> Self {
        let program = format!("COUNT = {EACH}\n{CALLS}");
        let mut all: Vec<_> = (0..3)
            .map(|_| {
                let container = lab.container();
                (container.converse(&program), Caller::Container(container))
            })
            .collect();
        let pod = lab.pod("shop", "web-0").logs();
        all.push((pod.converse(&program), Caller::Pod(pod)));
        for (caller, _) in &mut all {
            assert_eq!(caller.line(), "served");
        }
        Self(all)
    }

    /// Begins a new part: waits until each client has been served in it. Returns what went wrong with calls that began before, and how
    /// often.
    fn next(&mut self) -> BTreeMap<String, u64> {
        self.0.iter_mut().for_each(|(caller, _)| caller.tell("next"));
        let mut wrong = BTreeMap::new();
        for (caller, _) in &mut self.0 {
            for (what, times) in serde_json::from_str::<BTreeMap<String, u64>>(&caller.line()).unwrap() {
                *wrong.entry(what).or_default() += times;
            }
        }
        wrong
    }

    /// Ends some of them. None of their calls has failed since the last part, nor has a connection ended that a client wanted to keep,
    /// but these.
    fn evict(&mut self, count: usize, lost: usize) {
        for (mut caller, _place) in self.0.drain(..count) {
            caller.tell("end");
            assert_eq!(caller.line(), format!("{{}} {}", KEEP + lost));
        }
    }
}

fn pid(lab: &Lab) -> u64 {
    lab.json(&["status"])["pid"].as_u64().unwrap()
}

fn is_ready(lab: &Lab, egret: &Egret) -> bool {
    let socket = lab.socket();
    let status = lab.try_cli(&["status", "--ready", "--socket", socket.to_str().unwrap()]);
    pid(lab) == u64::from(egret.pid()) && status.status.success()
}

fn assert_only_egress(partner: &ThirdParty) {
    assert_eq!(partner.sources(), egress());
}

#[test]
fn heavy_rolling_updates_lose_no_connection_of_pods_and_containers() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    // As a DaemonSet with `maxSurge: 1` does it: the old pod gets SIGTERM once the new one is ready.
    let start = |instance: &str| lab.start_egret(&config, &["--persist", "--instance", instance]);
    let mut serving = start("0").ready();
    let mut callers = Callers::start(&lab);
    let mut draining = Vec::new();
    for instance in ["1", "2", "3"] {
        let next = start(instance);
        eventually("the new instance is ready", || is_ready(&lab, &next));
        serving.terminate();
        draining.push(serving);
        serving = next;
        assert_eq!(callers.next(), BTreeMap::new(), "update {instance}");
    }
    assert_eq!(lab.json(&["status"])["namespaces"], 3);
    // The connections that were kept go on in the process that accepted them.
    assert!(draining[0].runs());
    callers.evict(4, 0);
    draining.into_iter().for_each(Egret::ended);
    assert_eq!(pid(&lab), u64::from(serving.pid()));
    assert_only_egress(&partner);
}

#[test]
fn heavy_pods_and_containers_are_captured_again_after_egret_was_killed_and_never_get_past_it() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let start = || lab.egret(&config, &["--persist", "--instance", "0"]);
    let mut egret = start();
    let mut callers = Callers::start(&lab);
    const TIMES: usize = 3;
    for _ in 0..TIMES {
        // As the kernel does when memory runs out. The kubelet starts the container again.
        egret.kill();
        egret = start();
        // These may fail: the API fails closed while nobody is there, and what Egret carried has ended with it.
        let ended = [
            "ConnectionRefusedError",
            "ConnectionResetError",
            "RemoteDisconnected",
            "BrokenPipeError",
            "IncompleteRead",
        ];
        let wrong = callers.next();
        assert!(!wrong.is_empty() && wrong.keys().all(|what| ended.contains(&what.as_str())), "{wrong:?}");
        assert_eq!(callers.next(), BTreeMap::new(), "Egret is ready");
    }
    eventually("Egret listens in all of the containers", || lab.json(&["status"])["namespaces"] == 3);
    assert_only_egress(&partner);
}

#[test]
fn heavy_a_drained_node_loses_no_call_and_egret_ends_last_and_in_order() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let echo = lab.third_party("203.0.113.7", 7000, Behaviour::Echo);
    let egret = lab.egret(&lab.configure(&format!("{PARTNER}stop: 30s\n")), &["--persist", "--instance", "0"]);
    let mut callers = Callers::start(&lab);
    for _ in 0..3 {
        callers.evict(1, 0);
        assert_eq!(callers.next(), BTreeMap::new(), "the others call on");
    }
    callers.evict(1, 0);
    // The node goes down: Egret is told to end while one connection of a container goes on.
    let container = lab.container();
    let program = r#"
import socket, sys
s = socket.create_connection(("203.0.113.7", 7000), timeout=30)
while True:
    s.sendall(b"x")
    print(s.recv(1).decode(), flush=True)
    if sys.stdin.readline() == "":
        break
"#;
    let mut last = container.converse(program);
    assert_eq!(last.line(), "x");
    egret.terminate();
    eventually("Egret stops", || egret.log().contains("stopping: the hooks stay"));
    last.tell("again");
    assert_eq!(last.line(), "x");
    assert_eq!(container.curl(URL).0, 0, "a new connection: the API fails closed");
    drop(last);
    egret.ended();
    assert_eq!(lab.container().curl(URL).0, 0);
    assert_only_egress(&partner);
    assert_only_egress(&echo);
}

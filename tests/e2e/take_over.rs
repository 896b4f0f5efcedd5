//! Egret is replaced while callers call: nothing is lost, in whatever order processes start and end.

use egret_tests::{Behaviour, EGRESS, Egret, Lab, ThirdParty, eventually};

use crate::load::{clients, egress};
use crate::{PARTNER, partner};

fn status(lab: &Lab, arguments: &[&str]) -> Option<i32> {
    let socket = lab.socket();
    let socket = ["status", "--socket", socket.to_str().unwrap()];
    lab.try_cli(&[&socket[..], arguments].concat()).status.code()
}

#[test]
fn heavy_rolling_updates_that_wait_for_readiness_lose_nothing() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let mut egret = lab.egret(&config, &["--persist"]);
    let mut clients = clients(&lab);
    for _ in 0..5 {
        let next = lab.start_egret(&config, &["--persist"]);
        eventually("the new process has taken over", || {
            lab.json(&["status"])["pid"] == next.pid() && status(&lab, &["--ready"]) == Some(0)
        });
        egret.terminate();
        egret.ended();
        egret = next;
    }
    clients.tell("end");
    assert_eq!(clients.line(), "0 [] True");
    assert_eq!(partner.sources(), egress());
}

#[test]
fn heavy_a_process_that_is_terminated_while_the_next_one_starts_hands_over_first() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let mut egret = lab.egret(&config, &["--persist"]);
    let mut clients = clients(&lab);
    for _ in 0..5 {
        let next = lab.start_egret(&config, &["--persist"]);
        egret.terminate();
        egret.ended();
        egret = next.ready();
    }
    clients.tell("end");
    assert_eq!(clients.line(), "0 [] True");
    assert_eq!(partner.sources(), egress());
}

#[test]
fn heavy_of_three_processes_that_start_at_once_one_is_left_and_nothing_is_lost() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let first = lab.egret(&config, &["--persist"]);
    let mut clients = clients(&lab);
    let mut three: Vec<Egret> = (0..3).map(|_| lab.start_egret(&config, &["--persist"])).collect();
    eventually("each of them was ready", || three.iter().all(|egret| egret.log().contains("egret: ready")));
    first.ended();
    eventually("one is left", || three.iter_mut().filter_map(|egret| egret.runs().then_some(())).count() == 1);
    let left = three.iter_mut().find_map(|egret| egret.runs().then(|| egret.pid())).unwrap();
    assert_eq!(lab.json(&["status"])["pid"], left);
    clients.tell("end");
    assert_eq!(clients.line(), "0 [] True");
    assert_eq!(partner.sources(), egress());
}

#[test]
fn of_processes_that_start_at_once_on_a_node_without_one_one_is_left() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let mut three: Vec<Egret> = (0..3).map(|_| lab.start_egret(&config, &["--persist"])).collect();
    eventually("each of them was ready", || three.iter().all(|egret| egret.log().contains("egret: ready")));
    eventually("one is left", || three.iter_mut().filter_map(|egret| egret.runs().then_some(())).count() == 1);
    assert_eq!(lab.curl("http://api.partner.example/").0, 200);
}

/// The API of a second third party, as YAML.
const SECOND: &str = "  - name: second\n    hosts: [second.example]\n";

fn second(lab: &Lab) -> ThirdParty {
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("203.0.113.8", "second.example")]);
    lab.third_party("203.0.113.8", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]))
}

#[test]
fn a_process_that_waited_for_its_turn_serves_what_the_configuration_is_then() {
    let lab = Lab::new();
    let _second = second(&lab);
    let config = lab.configure(PARTNER);
    // As another process that is starting.
    let turn = std::fs::File::create(lab.socket().with_extension("lock")).unwrap();
    turn.lock().unwrap();
    let egret = lab.start_egret(&config, &["--persist"]);
    eventually("it waits", || egret.log().contains("another egret is starting: waiting"));
    lab.configure(&format!("{PARTNER}{SECOND}"));
    drop(turn);
    let egret = egret.ready();
    assert_eq!(lab.curl("http://second.example/"), (200, EGRESS.to_owned()), "{}", egret.log());
    assert_eq!(lab.json(&["status"])["generation"], 1);
}

#[test]
fn a_change_while_a_process_starts_is_not_lost() {
    let lab = Lab::new();
    let _second = second(&lab);
    // Nobody is at the address of the DNS server, so the start waits for the first name.
    let configure = |apis: &str| {
        let text = std::fs::read_to_string(lab.configure(apis)).unwrap();
        lab.write_config(&format!("{text}resolver:\n  servers: [203.0.113.99]\n"))
    };
    let unknown = "  - name: unknown\n    hosts: [unknown.example]\n";
    let egret = lab.start_egret(&configure(unknown), &["--persist"]);
    eventually("it starts", || lab.pins().exists());
    assert!(!egret.log().contains("egret: ready"), "{}", egret.log());
    configure(&format!("{unknown}{SECOND}"));
    let egret = egret.ready();
    eventually("the change is live", || lab.curl("http://second.example/") == (200, EGRESS.to_owned()));
    assert!(!egret.log().contains("refused"), "{}", egret.log());
}

#[test]
fn a_process_that_is_terminated_alone_ends_soon_and_a_second_signal_ends_it_at_once() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let egret = lab.egret(&config, &["--persist"]);
    egret.terminate();
    eventually("it serves on for a moment", || egret.log().contains("serving on for a moment"));
    assert_eq!(lab.curl("http://api.partner.example/").0, 200);
    egret.stop();
    let egret = lab.egret(&config, &["--persist"]);
    egret.terminate();
    egret.ended();
    assert_eq!(lab.curl("http://api.partner.example/").0, 0, "the API fails closed");
}

#[test]
fn readiness_is_about_the_process_of_the_same_container() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    assert_eq!(status(&lab, &["--ready"]), Some(3), "nothing runs");
    let _egret = lab.egret(&lab.configure(PARTNER), &["--persist"]);
    assert_eq!(status(&lab, &["--ready"]), Some(0));
    // Each process of the lab has a mount namespace of its own, as each container has.
    assert_eq!(status(&lab, &["--ready", "--same-container"]), Some(1));
    let pid = lab.json(&["status"])["pid"].to_string();
    let egret = egret_tests::executable();
    let socket = lab.socket();
    let arguments =
        ["--target", &pid, "--mount", egret.to_str().unwrap(), "status", "--ready", "--same-container", "--socket"];
    let inside = lab.gateway("nsenter", &[&arguments[..], &[socket.to_str().unwrap()]].concat()).status().unwrap();
    assert_eq!(inside.code(), Some(0));
    let ready = lab.run("curl", &["-s", "-m", "10", "http://127.0.0.1:9464/readyz"]);
    assert_eq!(String::from_utf8_lossy(&ready.stdout), "ready\n");
}

#[test]
fn heavy_an_instance_that_was_replaced_does_not_take_over_again_while_the_newer_one_serves() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let config = lab.configure(PARTNER);
    let start = |instance: &str| lab.start_egret(&config, &["--persist", "--instance", instance]);
    let mut old = start("old").ready();
    let mut clients = clients(&lab);
    let mut new = start("new").ready();
    let pid = || lab.json(&["status"])["pid"].as_u64().unwrap();
    let waits = "a newer instance serves: waiting";
    eventually("the old process waits once it is drained", || old.log().contains(waits));
    assert!(old.runs());

    // As the kubelet does when a container has ended.
    old.terminate();
    old.ended();
    old = start("old");
    eventually("the old instance waits", || old.log().contains(waits));
    assert_eq!((pid(), lab.json(&["status"])["instance"].as_str()), (u64::from(new.pid()), Some("new")));

    // A rollback ends the newer one: the older one takes over before it is gone.
    new.terminate();
    new.ended();
    let old = old.ready();
    assert_eq!(pid(), u64::from(old.pid()));
    clients.tell("end");
    assert_eq!(clients.line(), "0 [] True");

    // The newer one is never replaced by the older one.
    new = start("new").ready();
    assert_eq!(pid(), u64::from(new.pid()));
    eventually("the old process waits again", || old.log().matches(waits).count() == 2);
    new.kill();
    eventually("the older one serves once it is needed", || {
        status(&lab, &["--ready"]) == Some(0) && pid() == u64::from(old.pid())
    });
    assert_eq!(lab.curl("http://api.partner.example/").0, 200);
    assert_eq!(partner.sources(), egress());
}

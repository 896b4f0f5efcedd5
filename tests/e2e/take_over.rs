//! Egret is replaced while callers call: nothing is lost, in whatever order processes start and end.

use egret_tests::{Egret, Lab, eventually};

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

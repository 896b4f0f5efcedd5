//! `workloads` of an API: who may use it, and what happens to others. In every mode.

use std::fs;

use egret_tests::{Behaviour, EGRESS, Lab, NODE, Pki, ThirdParty, eventually};
use serde_json::Value;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";

/// Only this unit may use the API.
const BILLING: &str = "billing.service";

fn api(mode: &str, others: &str, more: &str) -> String {
    format!(
        "  - name: partner\n    hosts: [{NAME}]\n    ports: [80, 443, 7000]\n    opaque_ports: [7000]\n    mode: {mode}\n    workloads: \
         {{allow: [{{unit: {BILLING}}}], others: {others}}}\n{more}"
    )
}

/// A third party that speaks plain HTTP, TLS, and a protocol in which the server speaks first.
struct Scene {
    lab: Lab,
    pki: Pki,
    partner: [ThirdParty; 3],
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME), (ADDRESS, "second.example")]);
        let pki = lab.pki();
        let identity = pki.identity(&[NAME], &["http/1.1"]);
        let all = || vec![EGRESS.parse().unwrap(), NODE.parse().unwrap()];
        let partner = [
            lab.third_party(ADDRESS, 80, Behaviour::Http(all())),
            lab.third_party(ADDRESS, 443, Behaviour::Https(identity, all())),
            lab.third_party(ADDRESS, 7000, Behaviour::Banner),
        ];
        fs::create_dir_all(lab.workload_cgroup().with_file_name(BILLING)).unwrap();
        Self { lab, pki, partner }
    }

    /// What curl gets in a unit: the body, or the status and the body if that is not 200.
    fn curl(&self, unit: &str, arguments: &[&str]) -> String {
        let cgroup = self.lab.workload_cgroup().with_file_name(unit);
        let all = [&["-s", "-m", "20", "-w", "\n%{http_code}"], arguments].concat();
        let output = self.lab.workload_in(&cgroup, "curl", &all).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        if status == "200" { body.trim().to_owned() } else { format!("{status} {}", body.trim()) }
    }

    fn http(&self, unit: &str) -> String {
        self.curl(unit, &[&format!("http://{NAME}/")])
    }

    /// Over TLS, with the third party's own certificate.
    fn https(&self, unit: &str) -> String {
        self.curl(unit, &["--cacert", self.pki.ca(), &format!("https://{NAME}/")])
    }

    /// Over TLS, with a certificate of Egret's.
    fn intercepted(&self, unit: &str) -> String {
        let ca = self.lab.directory().join("egret-ca.pem");
        self.curl(unit, &["--cacert", ca.to_str().unwrap(), &format!("https://{NAME}/")])
    }

    /// What a server says that speaks first.
    fn banner(&self, unit: &str) -> String {
        let cgroup = self.lab.workload_cgroup().with_file_name(unit);
        let program = format!(
            "import socket\ntry:\n    print(socket.create_connection(('{ADDRESS}', 7000), 20).recv(99).decode().strip())\nexcept OSError \
             as error:\n    print(type(error).__name__)"
        );
        let output = self.lab.workload_in(&cgroup, "python3", &["-c", &program]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The source addresses that the third party has seen.
    fn sources(&self) -> Vec<String> {
        let mut sources: Vec<_> =
            self.partner.iter().flat_map(ThirdParty::sources).map(|address| address.to_string()).collect();
        sources.sort();
        sources.dedup();
        sources
    }

    /// The flows of this unit on record, as mode and outcome.
    fn on_record(&self, unit: &str) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.lab.access_log()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let of_unit = lines.filter(|line| line["unit"] == unit && line["api"] == "partner");
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        of_unit.map(|line| (text(&line, "mode"), text(&line, "outcome"))).collect()
    }
}

const OTHER: &str = "workload.service";

#[test]
fn a_workload_that_may_not_use_an_api_is_refused_in_every_mode() {
    for mode in ["passthrough", "intercept", "bind"] {
        let scene = Scene::new();
        let tls = format!("    backend: {{tls: {{ca: {}}}}}\n", scene.pki.ca());
        let more = if mode == "intercept" { tls.as_str() } else { "" };
        let _egret = scene.lab.egret(&scene.lab.configure(&api(mode, "deny", more)), &[]);
        let denied = scene.http(OTHER);
        assert!(denied.starts_with("403 ") && denied.contains("workload_not_allowed"), "{mode}: {denied}");
        for refused in [scene.https(OTHER), scene.intercepted(OTHER)] {
            assert!(refused.starts_with("000"), "{mode}: {refused}");
        }
        assert!(!scene.banner(OTHER).contains('.'), "{mode}");
        assert!(scene.sources().is_empty(), "{mode}: {:?}", scene.sources());

        let encrypted = if mode == "intercept" { scene.intercepted(BILLING) } else { scene.https(BILLING) };
        assert_eq!([scene.http(BILLING), encrypted, scene.banner(BILLING)], [EGRESS; 3], "{mode}");
        assert_eq!(scene.sources(), [EGRESS], "{mode}");
        eventually("the refusals are on record", || {
            let refused = (mode.to_owned(), "workload_not_allowed".to_owned());
            scene.on_record(OTHER).iter().filter(|line| **line == refused).count() == 4
        });
    }
}

#[test]
fn a_workload_that_is_left_untouched_leaves_from_the_nodes_own_address_in_every_mode() {
    for mode in ["passthrough", "intercept", "bind", "deny"] {
        let scene = Scene::new();
        let tls = format!("    backend: {{tls: {{ca: {}}}}}\n", scene.pki.ca());
        let more = if mode == "intercept" { tls.as_str() } else { "" };
        let _egret = scene.lab.egret(&scene.lab.configure(&api(mode, "untouched", more)), &[]);
        assert_eq!([scene.http(OTHER), scene.https(OTHER), scene.banner(OTHER)], [NODE; 3], "{mode}: end to end");
        assert_eq!(scene.sources(), [NODE], "{mode}");
        eventually("it is on record", || {
            let carried = ("untouched".to_owned(), "ok".to_owned());
            scene.on_record(OTHER).iter().filter(|line| **line == carried).count() == 3
        });
        match mode {
            "deny" => {
                assert!(scene.http(BILLING).starts_with("000"));
                assert_eq!(scene.sources(), [NODE]);
            }
            "intercept" => assert_eq!([scene.http(BILLING), scene.intercepted(BILLING)], [EGRESS; 2]),
            _ => assert_eq!([scene.http(BILLING), scene.https(BILLING), scene.banner(BILLING)], [EGRESS; 3], "{mode}"),
        }
    }
}

#[test]
fn an_untouched_connection_leads_past_no_other_api_at_its_address() {
    let scene = Scene::new();
    let second = "  - name: second\n    hosts: [second.example]\n    ports: [80, 443]\n    mode: intercept\n    policies:\n      inbound:\n        - return-response: {status: 418}\n";
    let strict = "    strangers: refuse\n";
    let apis = format!("{}{second}{strict}", api("passthrough", "untouched", ""));
    let _egret = scene.lab.egret(&scene.lab.configure(&apis), &[]);
    // One good Host does not open the connection for the other API.
    let two = [&format!("http://{NAME}/")[..], "--next", "-s", "-w", "%{http_code}", "-H", "Host: second.example"];
    let both = scene.curl(OTHER, &[&two[..], &[&format!("http://{NAME}/")]].concat());
    assert!(both.starts_with("421 ") && both.contains(NODE), "{both}");
    // TLS that Egret cannot look into could be for the other API.
    assert!(scene.https(OTHER).starts_with("000"));
    assert!(!scene.partner[0].seen().iter().any(|seen| String::from_utf8_lossy(&seen.all).contains("second.example")));
    assert_eq!(scene.sources(), [NODE]);
    assert!(scene.curl(OTHER, &["http://second.example/"]).starts_with("418"), "its policies apply to all workloads");
}

#[test]
fn a_change_of_workloads_takes_effect_at_once_and_a_person_can_ask() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let _egret = lab.egret(&lab.configure(&api("passthrough", "deny", "")), &[]);
    assert!(scene.http(OTHER).starts_with("403 "));
    let explained =
        |unit: &str, url: &str| lab.json(&["explain", "--unit", unit, url])["note"].as_str().unwrap().to_owned();
    let url = format!("http://{NAME}/");
    assert!(explained(OTHER, &url).contains("workload_not_allowed"), "{}", explained(OTHER, &url));
    assert!(!explained(BILLING, &url).contains("workload_not_allowed"));
    lab.configure(&api("passthrough", "untouched", ""));
    eventually("the workload is left untouched", || scene.http(OTHER) == NODE);
    assert!(explained(OTHER, &url).contains("untouched"));
    lab.configure(&api("passthrough", "deny", "").replace(BILLING, OTHER));
    eventually("the other workload may use it", || scene.http(OTHER) == EGRESS);
    assert!(scene.http(BILLING).starts_with("403 "));
    let apis = lab.json(&["inspect", "apis"]);
    assert_eq!(apis[0]["workloads"], "only 1 rule, others: deny", "{apis}");
}

#[test]
fn the_example_leaves_others_untouched() {
    let scene = Scene::new();
    let _egret = scene.lab.egret(&scene.lab.configure_like("api-workloads", |text| text), &[]);
    assert_eq!([scene.http(BILLING), scene.https(BILLING)], [EGRESS; 2]);
    assert_eq!([scene.http(OTHER), scene.https(OTHER)], [NODE; 2]);
}

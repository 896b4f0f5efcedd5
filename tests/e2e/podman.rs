//! Real containers: whatever way Podman connects them, a third party sees the egress address, and Egret knows the container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use egret_tests::{Behaviour, EGRESS, Lab, NODE, Podman, ThirdParty, eventually};
use serde_json::Value;

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";
const CAPTURED: u16 = 200;

fn captured() -> (u16, String) {
    (CAPTURED, EGRESS.to_owned())
}

/// Asserts that a third party saw this many requests, all from the egress address. Connections are used again.
fn assert_only_egress(partner: &ThirdParty, requests: usize) {
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS), "{:?}", partner.sources());
    let seen = partner.seen();
    let requests_of = |all: &[u8]| String::from_utf8_lossy(all).matches("GET / HTTP/1.1").count();
    assert_eq!(seen.iter().map(|seen| requests_of(&seen.all)).sum::<usize>(), requests);
}

/// The containers of the connections on record, by full id.
fn containers_on_record(lab: &Lab) -> Vec<String> {
    let text = fs::read_to_string(lab.access_log()).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line["container"].as_str().map(str::to_owned)).collect()
}

/// A client that needs nothing, in an image that has nothing else.
fn image_from_scratch(lab: &Lab, podman: &Podman<'_>) {
    let client: PathBuf = lab.directory().join("get");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/dns/get.c");
    let built = Command::new("musl-gcc").args(["-static", "-O1", "-o"]).args([&client, &source]).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    podman.image("scratch", &client);
}

#[test]
fn containers_are_captured_and_known_also_after_a_restart_and_in_the_network_of_another() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    podman.start("shop", &[]);
    assert_eq!(podman.curl_in("shop", URL), (403, NODE.to_owned()), "past Egret, the node translates its address");
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(podman.curl_in("shop", URL), captured());
    podman.start("sidecar", &["--network", "container:shop"]);
    assert_eq!(podman.curl_in("sidecar", URL), captured());
    assert_eq!(lab.json(&["status"])["namespaces"], 1);
    podman.podman(&["rm", "--force", "--time", "0", "sidecar"]);
    podman.podman(&["restart", "--time", "0", "shop"]);
    assert_eq!(podman.curl_in("shop", URL), captured(), "in the new network namespace");
    assert!(partner.sources()[1..].iter().all(|source| source.to_string() == EGRESS));
    let shop = podman.id("shop");
    eventually("all are on record", || containers_on_record(&lab).len() == 3);
    let known = containers_on_record(&lab);
    assert!(known[0] == shop && known[1] != shop && known[2] == shop, "{known:?}, shop is {shop}");
}

#[test]
fn containers_of_every_kind_of_namespace_are_captured() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    image_from_scratch(&lab, &podman);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let kinds: [(&str, &[&str]); 4] = [
        ("bridge", &[]),
        ("the node's network", &["--network", "host"]),
        ("the node's cgroup namespace", &["--cgroupns", "host"]),
        ("the node's pid namespace", &["--pid", "host"]),
    ];
    for (kind, options) in kinds {
        assert_eq!(podman.curl(options, URL), captured(), "{kind}");
    }
    let parent = podman.parent();
    let scratch = |options: &[&str]| {
        let run = ["run", "--rm", "--cgroup-parent", &parent];
        podman.podman(&[&run, options, &["scratch", "/get", "api.partner.example"]].concat())
    };
    assert_eq!(scratch(&[]), EGRESS, "from scratch");
    assert_eq!(scratch(&["--uidmap", "0:100000:5000", "--user", "7"]), EGRESS, "a user namespace");
    assert_only_egress(&partner, 6);
}

#[test]
fn the_containers_of_a_pod_share_one_listener_and_are_told_apart() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let parent = podman.parent();
    podman.podman(&["pod", "create", "--name", "shop", "--share-parent=false", "--cgroup-parent", &parent]);
    for name in ["web", "cart"] {
        podman.start(name, &["--pod", "shop"]);
        assert_eq!(podman.curl_in(name, URL), captured(), "{name}");
    }
    assert_eq!(lab.json(&["status"])["namespaces"], 1);
    eventually("both are on record", || containers_on_record(&lab) == [podman.id("web"), podman.id("cart")]);
    assert_only_egress(&partner, 2);
}

#[test]
fn the_containers_of_a_pod_with_a_cgroup_of_its_own_are_told_apart() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    // As with `--share-parent`, which Podman 4 cannot do on a pure hierarchy of cgroups without systemd: it lets no container of such a
    // cgroup open a device.
    let parent = format!("{}/{}", podman.parent(), "7e".repeat(32));
    podman.podman(&["pod", "create", "--name", "shop", "--share-parent=false", "--cgroup-parent", &parent]);
    for name in ["web", "cart"] {
        podman.podman(&[
            "run",
            "--detach",
            "--name",
            name,
            "--pod",
            "shop",
            "--cgroup-parent",
            &parent,
            "--rootfs",
            "/:O",
            "sleep",
            "infinity",
        ]);
        assert_eq!(podman.curl_in(name, URL), captured(), "{name}");
        assert!(podman.podman(&["inspect", "--format", "{{.State.CgroupPath}}", name]).contains("/7e7e"));
    }
    assert_eq!(lab.json(&["status"])["namespaces"], 1);
    eventually("both are on record", || containers_on_record(&lab) == [podman.id("web"), podman.id("cart")]);
    assert_only_egress(&partner, 2);
}

#[test]
fn containers_of_a_user_without_privileges_are_captured() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    image_from_scratch(&lab, &podman);
    podman.rootless(&["import", "--quiet", lab.directory().join("scratch.tar").to_str().unwrap(), "scratch"]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    for _ in 0..2 {
        let run = ["run", "--rm", "--network", "slirp4netns", "scratch", "/get", "api.partner.example"];
        assert_eq!(podman.rootless(&run), EGRESS);
    }
    assert_only_egress(&partner, 2);
    eventually("the owner is the user's unit", || {
        let text = fs::read_to_string(lab.access_log()).unwrap_or_default();
        text.lines().count() == 2 && text.lines().all(|line| line.contains("\"unit\":\"rootless.service\""))
    });
}

#[test]
fn heavy_fifty_containers_that_start_at_once_and_connect_first_of_all_are_captured() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    image_from_scratch(&lab, &podman);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let parent = podman.parent();
    let start = |_| {
        let run = ["run", "--rm", "--cgroup-parent", &parent, "scratch", "/get", "api.partner.example"];
        podman.command(&run).stdout(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<_> = (0..50).map(start).collect();
    for container in running {
        let output = container.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS, "{output:?}");
    }
    assert_only_egress(&partner, 50);
}

#[test]
fn a_container_with_a_ca_store_of_its_own_is_intercepted() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let pki = lab.pki();
    let identity = pki.identity(&["api.partner.example"], &["http/1.1"]);
    let partner = lab.third_party("203.0.113.7", 443, Behaviour::Https(identity, vec![EGRESS.parse().unwrap()]));
    let podman = lab.podman();
    let api = format!("{PARTNER}    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n", pki.ca());
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let url = URL.replace("http:", "https:");
    assert_eq!(podman.curl(&[], &url).0, 0, "it does not trust Egret");
    let store = format!("{}:/etc/ssl/certs/ca-certificates.crt:ro", lab.directory().join("egret-ca.pem").display());
    assert_eq!(podman.curl(&["--volume", &store], &url), captured());
    assert!(partner.sources().iter().all(|source| source.to_string() == EGRESS));
}

#[test]
fn what_a_bridge_lets_through_does_not_decide_what_is_captured() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let other = lab.third_party("203.0.113.8", 80, Behaviour::Http(Vec::new()));
    let podman = lab.podman();
    podman.start("shop", &[]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(podman.curl_in("shop", "http://203.0.113.8/").0, 403, "it reaches everybody");
    for chain in ["FORWARD", "INPUT"] {
        let drop = ["-I", chain, "-i", "podman0", "-j", "DROP"];
        assert!(lab.gateway("iptables", &drop).status().unwrap().success());
    }
    let output = podman.command(&["exec", "shop", "curl", "-s", "-m", "2", "http://203.0.113.8/"]).output().unwrap();
    assert_eq!(output.status.code(), Some(28), "it reaches nobody: {output:?}");
    assert_eq!(podman.curl_in("shop", URL), captured(), "but what Egret captures");
    assert_eq!(other.seen().len(), 1);
    assert_only_egress(&partner, 1);
}

#[test]
fn a_container_in_a_container_is_captured() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    podman.start("outer", &["--privileged"]);
    let inner =
        ["exec", "outer", "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--cgroup"];
    let program = "ip link set lo up; curl -s -m 10 http://api.partner.example/";
    assert_eq!(podman.podman(&[&inner[..], &["sh", "-c", program]].concat()), EGRESS);
    assert_eq!(podman.curl_in("outer", URL), captured());
    assert_only_egress(&partner, 2);
    let outer = podman.id("outer");
    eventually("both are known as the outer container", || containers_on_record(&lab) == [&*outer, &*outer]);
}

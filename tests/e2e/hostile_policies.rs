//! What a hostile workload makes of policies: what the third party saw, and what the caller was given.

use egret_tests::wire::{self, Message};
use egret_tests::{Behaviour, EGRESS, Lab, ThirdParty};

const PARTNER: &str = "203.0.113.7";

fn seen(party: &ThirdParty) -> Vec<Message> {
    party.seen().into_iter().flat_map(|seen| wire::requests(&seen.all).0).collect()
}

fn curl(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.run("curl", &[&["-s", "-i", "-m", "10", "--path-as-is"], arguments].concat());
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

#[test]
fn dot_segments_do_not_leave_the_path_of_a_backend() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, "api.partner.example"), ("203.0.113.8", "backend.partner.example")]);
    let backend = lab.third_party("203.0.113.8", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let config = lab.configure(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies: {inbound: [set-backend: tenant]}\n\
         backends: {tenant: {url: \"http://backend.partner.example/tenant-a\"}}\n",
    );
    let _egret = lab.egret(&config, &[]);
    for path in [
        "/../tenant-b/x",
        "/%2e%2e/tenant-b/x",
        "/a/../../tenant-b/x",
        "/.%2E/tenant-b",
        "/..;/tenant-b",
        "/%252e%252e/b",
    ] {
        let heard = curl(&lab, &[&format!("http://api.partner.example{path}")]);
        assert!(heard.starts_with("HTTP/1.1 400 ") && heard.contains("path_not_allowed"), "{path}: {heard}");
    }
    assert!(curl(&lab, &["http://api.partner.example/x?y"]).starts_with("HTTP/1.1 200 "));
    let starts: Vec<_> = seen(&backend).into_iter().map(|request| request.start).collect();
    assert_eq!(starts, ["GET /tenant-a/x?y HTTP/1.1"]);
}

#[test]
fn no_spelling_of_a_path_gets_past_the_policies_of_its_operation() {
    let lab = Lab::new();
    let partner = super::partner(&lab);
    let config = lab.configure(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    operations:\n      \
         - {name: admin, path: \"/admin/*\", policies: {inbound: [return-response: {status: 403}]}}\n",
    );
    let _egret = lab.egret(&config, &[]);
    for path in [
        "/admin/x",
        "/ADMIN/x",
        "/admin;a=b/x",
        "/x/..;/admin/x",
        "/x%2f..%2fadmin/x",
        "/\\admin/x",
        "/admin%00/x",
        "/%2561dmin/x",
    ] {
        let heard = curl(&lab, &[&format!("http://api.partner.example{path}")]);
        assert!(heard.starts_with("HTTP/1.1 400 ") || heard.starts_with("HTTP/1.1 403 "), "{path}: {heard}");
    }
    assert!(curl(&lab, &["http://api.partner.example/open"]).starts_with("HTTP/1.1 200 "));
    assert_eq!(seen(&partner).len(), 1);
}

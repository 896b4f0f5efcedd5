//! Nodes know each other by their Leases, and the list of addresses that a third party must allow is that of all nodes.

use std::fs;

use egret_tests::{ApiServer, EGRESS, Egret, Lab, NODE, NODE_NAME, eventually};
use serde_json::{Value, json};

use crate::partner;

/// Starts Egret as the example has it, with the API server of the lab.
fn egret(lab: &Lab, server: &ApiServer<'_>) -> Egret {
    lab.hosts(&[
        ("203.0.113.7", "api.partner.example"),
        ("203.0.113.7", "special.partner.example"),
        ("203.0.113.7", "more.partner.example"),
        server.host(),
    ]);
    lab.egret(&configured(lab, server, ""), &[])
}

fn configured(lab: &Lab, server: &ApiServer<'_>, more: &str) -> std::path::PathBuf {
    let kubeconfig = server.kubeconfig();
    lab.configure_like("kubernetes-fleet", |text| {
        let asked =
            format!("kubernetes: {{api: true, fleet: true, node: {NODE_NAME}, kubeconfig: {}}}", kubeconfig.display());
        format!("{}{more}", text.replace("kubernetes: {api: true, fleet: true}", &asked))
    })
}

/// The Lease of another node, as old as this one's but for what is changed.
fn another(server: &ApiServer<'_>, node: &str, change: impl Fn(&mut Value)) {
    let mut lease = server.lease(NODE_NAME).expect("this node's Lease");
    lease["metadata"]["name"] = format!("egret-{node}").into();
    lease["spec"]["holderIdentity"] = node.into();
    let text = lease["metadata"]["annotations"]["egret/report"].as_str().expect("a report");
    let mut report: Value = serde_json::from_str(text).expect("JSON");
    change(&mut report);
    lease["metadata"]["annotations"]["egret/report"] = report.to_string().into();
    server.set_lease(node, &lease);
}

fn leased(server: &ApiServer<'_>) {
    eventually("this node has a Lease", || server.lease(NODE_NAME).is_some());
}

#[test]
fn each_node_has_a_lease_and_any_of_them_shows_all() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let mut server = lab.api_server();
    server.start();
    let _egret = egret(&lab, &server);
    leased(&server);
    let lease = server.lease(NODE_NAME).expect("a Lease");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
    another(&server, "node-8.example", |report| {
        report["egress"] = json!(["192.0.2.88"]);
        report["apis"] = json!({"special": ["192.0.2.88"]});
    });
    another(&server, "node-9.example", |report| *report = json!(["another", "version"]));
    let mut old = server.lease("node-8.example").expect("a Lease");
    old["metadata"]["name"] = "egret-node-10.example".into();
    old["spec"]["holderIdentity"] = "node-10.example".into();
    old["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z".into();
    server.set_lease("node-10.example", &old);

    let rows = lab.json(&["fleet"]);
    let rows = rows.as_array().expect("rows");
    let shown: Vec<_> = rows.iter().map(|row| (row["node"].as_str(), row["state"].as_str(), &row["egress"])).collect();
    let expected = [
        (Some("node-10.example"), Some("silent"), &json!(["192.0.2.88"])),
        (Some(NODE_NAME), Some("reporting"), &json!([NODE, EGRESS])),
        (Some("node-8.example"), Some("reporting"), &json!(["192.0.2.88"])),
        (Some("node-9.example"), Some("reporting"), &json!([])),
    ];
    assert_eq!(shown, expected);
    assert_eq!(rows[1]["this"], true);
    assert_eq!(rows[1]["config"], rows[2]["config"], "the same files have the same digest");
    assert!(rows[3]["error"].is_string(), "{:#}", rows[3]);
    assert!(lab.cli(&["fleet", "--socket", lab.socket().to_str().unwrap()]).contains("node-7.example (this node)"));
    assert!(lab.json(&["status"])["lease"]["error"].is_null());
}

#[test]
fn the_list_that_a_third_party_needs_is_that_of_all_nodes_and_says_what_has_changed() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let mut server = lab.api_server();
    server.start();
    let _egret = egret(&lab, &server);
    leased(&server);
    let addresses = |rows: &Value, api: &str| -> Value {
        let row = rows.as_array().unwrap().iter().find(|row| row["api"] == api).unwrap();
        row["addresses"].clone()
    };
    let saved = lab.directory().join("list.json");
    let list = lab.json(&["allowlist"]);
    assert_eq!(addresses(&list, "partner"), json!([{"address": EGRESS, "nodes": [NODE_NAME]}]));
    assert_eq!(addresses(&list, "special"), json!([{"address": NODE, "nodes": [NODE_NAME]}]));
    fs::write(&saved, list.to_string()).unwrap();
    let socket = lab.socket();
    let since = ["allowlist", "--since", saved.to_str().unwrap(), "--socket", socket.to_str().unwrap()];
    assert_eq!(lab.try_cli(&since).status.code(), Some(0));

    another(&server, "node-8.example", |report| {
        report["egress"] = json!(["192.0.2.88"]);
        report["apis"] = json!({"special": ["192.0.2.89"]});
    });
    let list = lab.json(&["allowlist"]);
    let both =
        json!([{"address": EGRESS, "nodes": [NODE_NAME]}, {"address": "192.0.2.88", "nodes": ["node-8.example"]}]);
    assert_eq!(addresses(&list, "partner"), both);
    let output = lab.try_cli(&since);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let changes: Vec<_> = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    let expected = [
        ["partner", "add", "192.0.2.88", "api.partner.example"],
        ["special", "add", "192.0.2.89", "special.partner.example"],
    ];
    assert_eq!(changes, expected);

    // A node with other files, and one whose report cannot be read: the list may lack addresses, and says so.
    another(&server, "node-8.example", |report| report["config"] = "other".into());
    another(&server, "node-9.example", |report| *report = json!([]));
    let output = lab.try_cli(&["allowlist", "--socket", lab.socket().to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("node node-8.example runs another configuration (other"), "{said}");
    assert!(said.contains("the addresses of node node-9.example are missing"), "{said}");
    assert!(output.status.success());
}

#[test]
fn an_api_server_that_is_away_means_no_list_rather_than_a_part_of_it() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let mut server = lab.api_server();
    let _egret = egret(&lab, &server);
    eventually("the Lease is found not to be renewed", || lab.json(&["status"])["lease"]["error"].is_string());
    let output = lab.try_cli(&["allowlist", "--socket", lab.socket().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("203.0.113.9:6443"));
    assert!(output.stdout.is_empty());
    assert_eq!(lab.curl("http://api.partner.example/").0, 200, "calls need no API server");
    assert_eq!(partner.seen().len(), 1);

    server.start();
    // A change of the configuration is told at once.
    configured(&lab, &server, "  - name: more\n    hosts: [more.partner.example]\n    ports: [80]\n");
    eventually("the new generation is in the Lease", || {
        let report = server.lease(NODE_NAME).and_then(|lease| {
            serde_json::from_str::<Value>(lease["metadata"]["annotations"]["egret/report"].as_str()?).ok()
        });
        report.is_some_and(|report| report["generation"].as_u64() > Some(1))
    });
    eventually("the renewal is noted", || lab.json(&["status"])["lease"]["error"].is_null());
}

#[test]
fn without_leases_the_list_is_of_this_node_and_says_so() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _egret =
        lab.egret(&lab.configure("  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n"), &[]);
    let output = lab.try_cli(&["allowlist", "--socket", lab.socket().to_str().unwrap()]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("this is one node's list"));
    assert!(String::from_utf8(output.stdout).unwrap().contains(EGRESS));
    assert_eq!(lab.json(&["fleet"]).as_array().unwrap().len(), 1);
}

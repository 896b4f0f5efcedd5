//! A change of the configuration, told before it is made.

use std::fs;

use egret_tests::{Behaviour, EGRESS, Lab, eventually};
use serde_json::{Value, json};

#[test]
fn what_changes_is_told_and_the_exit_code_says_whether() {
    let lab = Lab::new();
    let api = "version: 1\negress: {addresses: [192.0.2.10]}\napis: [{name: partner, hosts: [api.partner.example]}]\n";
    let write = |name: &str, text: &str| {
        let path = lab.directory().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let old = write("old.yaml", api);
    let new = write("new.yaml", &api.replace("hosts:", "mode: bind, hosts:"));
    let bad = write("bad.yaml", &api.replace("hosts:", "mode: bound, hosts:"));
    let told = |arguments: &[&str]| {
        let output = lab.try_cli(arguments);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    assert_eq!(told(&["diff", &old, &old]), (Some(0), "none\n".to_owned()));
    let (code, text) = told(&["diff", &old, &new]);
    assert_eq!(code, Some(1));
    let words: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words, ["partner", "mode", "changed", "-", "passthrough", "bind"]);
    let (code, text) = told(&["diff", &old, &new, "-o", "json"]);
    let rows: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &rows[0]["api"], &rows[0]["kind"]), (Some(1), &"partner".into(), &"changed".into()));
    let (code, text) = told(&["diff", &old, &bad]);
    assert!(code == Some(2) && text.contains("not a mode"), "{text}");
    assert_eq!(told(&["diff", &old]).0, Some(2));
}

#[test]
fn requests_are_replayed_against_another_configuration() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _partner = lab.third_party("203.0.113.7", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let log = lab.access_log();
    let log = log.to_str().unwrap();
    let with = |rest: &str, policies: &str| {
        format!(
            "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n{rest}    policies:\n      inbound:\n{policies}"
        )
    };
    let path = lab.configure(&with("", "        - rate-limit: {calls: 5, period: 1h}\n"));
    let text = fs::read_to_string(&path).unwrap().replace("telemetry:\n", "telemetry:\n  log_requests: true\n");
    let path = lab.write_config(&text);
    let egret = lab.egret(&path, &[]);
    for (target, status) in
        [("prices/1", 200), ("prices/2", 200), ("prices/3", 200), ("a?b", 200), ("a", 200), ("a", 429)]
    {
        assert_eq!(lab.curl(&format!("http://api.partner.example/{target}")).0, status);
    }
    eventually("six requests are in the log", || {
        fs::read_to_string(log).unwrap_or_default().matches("\"request\":{").count() == 6
    });
    egret.stop();
    let against = |apis: &str| {
        let path = lab.configure(apis);
        let output = lab.try_cli(&["check", path.to_str().unwrap(), "--against", log, "-o", "json"]);
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), told)
    };
    let counts = |told: &Value| ["requests", "as_before", "differ", "unknown"].map(|name| told[name].as_u64().unwrap());

    let (code, told) = against(&with("", "        - rate-limit: {calls: 5, period: 1h}\n"));
    assert_eq!((code, counts(&told)), (Some(0), [6, 6, 0, 0]), "{told}");

    let operations =
        "    only_operations: true\n    operations: [{name: price, method: GET, path: \"/prices/{id}\"}]\n";
    let (code, told) = against(&with(operations, "        - rate-limit: {calls: 2, period: 1h}\n"));
    assert_eq!((code, counts(&told)), (Some(1), [6, 0, 6, 0]), "{told}");
    let changes: Vec<_> = told["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            json!([
                change["requests"],
                change["target"],
                change["before"]["outcome"],
                change["after"]["operation"],
                change["after"]["outcome"]
            ])
        })
        .collect();
    let target = |path: &str| format!("api.partner.example/{path}");
    for expected in [
        json!([2, target("a"), "ok", null, "operation_not_found"]),
        json!([1, target("a"), "rate_limit_exceeded", null, "operation_not_found"]),
        json!([1, target("prices/1"), "ok", "price", "ok"]),
        json!([1, target("prices/3"), "ok", "price", "rate_limit_exceeded"]),
    ] {
        assert!(changes.contains(&expected), "{expected}: {told}");
    }

    let (code, told) = against(&with("", "        - check-header: {name: X-Customer}\n"));
    assert_eq!((code, counts(&told)), (Some(0), [6, 0, 0, 6]), "{told}");
    let by_header = "        - rate-limit: {calls: 5, period: 1h}\n        - choose: [{when: request.headers.a == \"b\", then: [{return-response: {status: 403}}]}]\n";
    let (code, told) = against(&with("", by_header));
    assert_eq!((code, counts(&told), &told["unsure"]), (Some(0), [6, 6, 0, 0], &6.into()), "{told}");

    let only = "        - rate-limit: {calls: 5, period: 1h}\n        - workload-filter: {forbid: [{executable: \"*/curl\"}]}\n";
    let (_, told) = against(&with("", only));
    assert_eq!(
        (counts(&told), &told["changes"][0]["after"]["outcome"]),
        ([6, 1, 5, 0], &"workload_not_allowed".into())
    );

    for (others, outcome) in [("deny", "workload_not_allowed"), ("untouched", "left untouched")] {
        let workloads = format!("    workloads: {{forbid: [{{unit: workload.service}}], others: {others}}}\n");
        let (_, told) = against(&with(&workloads, "        - rate-limit: {calls: 5, period: 1h}\n"));
        let is_so = |change: &Value| change["after"]["outcome"] == outcome;
        assert!(counts(&told) == [6, 0, 6, 0] && told["changes"].as_array().unwrap().iter().all(is_so), "{told}");
    }

    let bind = "  - {name: other, hosts: [api.partner.example], ports: [80], mode: deny}\n";
    let (_, told) = against(bind);
    assert_eq!(counts(&told), [6, 0, 6, 0]);
    let path = lab.configure(bind);
    let table = lab.try_cli(&["check", path.to_str().unwrap(), "--against", log]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("6 requests: 0 as before, 6 differ, 0 cannot be known\n"), "{table}");
    assert!(table.contains("partner, ok") && table.contains("other, denied"), "{table}");
    let nothing = lab.try_cli(&["check", path.to_str().unwrap(), "--against", path.to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("log_requests: true"));
}

/// What was not known when the request came is not known when it is replayed.
#[test]
fn a_fact_that_the_log_says_is_unknown_rules_nothing_out() {
    let lab = Lab::new();
    let api = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n";
    let filter = "        - workload-filter: {forbid: [{namespace: shop}]}\n";
    let path = lab.configure(&format!("{api}    policies:\n      inbound:\n{filter}"));
    let line = |unknown: &str| {
        format!(
            "{{\"time\":1,\"outcome\":\"ok\",\"api\":\"partner\",\"owner\":\"pod 1\",\"workload\":\"pod 1\",\"pod\":\"1\"{unknown},\"request\":{{\"scheme\":\"http\",\
             \"port\":80,\"method\":\"GET\",\"target\":\"api.partner.example/\",\"operation\":null,\"status\":200,\"policy\":null,\"upstream_us\":1,\
             \"total_us\":1}}}}\n"
        )
    };
    let log = lab.directory().join("access.log");
    fs::write(&log, line("") + &line(",\"unknown\":{\"pod\":true}")).unwrap();
    let output = lab.try_cli(&["check", path.to_str().unwrap(), "--against", log.to_str().unwrap(), "-o", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!((&told["as_before"], &told["differ"]), (&1.into(), &1.into()), "{told}");
    assert_eq!(told["changes"][0]["after"]["outcome"], "workload_not_allowed", "{told}");
}

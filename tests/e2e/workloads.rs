//! Who calls is known from the kernel and from /proc: to policies, and on record.

use std::fs;

use egret_tests::{Lab, eventually};
use serde_json::Value;

use crate::partner;

#[test]
fn workloads_are_told_apart_by_what_they_run_and_for_whom() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let only = "    policies:\n      inbound:\n        - workload-filter: {allow: [{executable: \"*/curl\", user: root}]}\n        \
                - set-header: {name: X-Caller, value: \"${workload.executable} ${workload.user} '${workload.unit}'\"}\n";
    let api = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n";
    let _egret = lab.egret(&lab.configure(&format!("{api}{only}")), &[]);
    assert_eq!(lab.curl("http://api.partner.example/").0, 200);
    let program = r#"
import urllib.request, urllib.error
try:
    print(urllib.request.urlopen("http://api.partner.example/", timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"#;
    let heard = lab.python(program, &[]);
    assert!(heard.starts_with("403 ") && heard.contains("workload_not_allowed"), "{heard}");
    let seen: Vec<_> = partner.seen().into_iter().flat_map(|seen| seen.all).collect();
    let curl = fs::canonicalize("/usr/bin/curl").unwrap();
    let said = format!("x-caller: {} root ''\r\n", curl.display());
    assert!(String::from_utf8_lossy(&seen).contains(&said), "{}", String::from_utf8_lossy(&seen));
    eventually("both are on record", || {
        let text = fs::read_to_string(lab.access_log()).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let runs = |name: &str| {
            lines.iter().any(|line| {
                line["executable"].as_str().is_some_and(|path| path.contains(name)) && line["user"] == "root"
            })
        };
        runs("/curl") && runs("/python")
    });
}

//! Who calls is known from the kernel and from /proc: to policies, and on record.

use std::fs;

use egret_tests::{EGRESS, Lab, SIGNATURE, eventually, wire};
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
    let said = format!("x-caller: {} root 'workload.service'\r\n", curl.display());
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

#[test]
fn pods_are_known_as_kubernetes_calls_them() {
    const URL: &str = "http://api.partner.example/";
    let lab = Lab::new();
    let partner = partner(&lab);
    let path = lab.configure_like("policy-workload-kubernetes", |text| text);
    let settings = path.join("lab.yaml");
    let text = fs::read_to_string(&settings).unwrap().replace("telemetry:\n", "telemetry:\n  log_requests: true\n");
    fs::write(settings, text).unwrap();
    let egret = lab.egret(&path, &[]);

    let refused = |heard: &str| heard.starts_with("HTTP/1.1 403 ") && heard.contains("workload_not_allowed");
    let billing = lab.pod("billing", "api-0").logs().token("invoicer");
    let shop = lab.pod("shop", "web-0").logs().token("checkout");
    assert!(billing.curl(URL).starts_with("HTTP/1.1 200 "));
    let heard = shop.curl(URL);
    assert!(refused(&heard) && heard.contains("shop/web-0 may not call partner"), "{heard}");
    let checkout = lab.pod("shop", "checkout-7f9").logs().token("checkout");
    assert!(checkout.curl(URL).starts_with("HTTP/1.1 200 "));
    let unnamed = lab.pod("shop", "checkout-8a0").logs();
    assert!(refused(&unnamed.curl(URL)), "it has no token");
    let of_no_pod = lab.curl(URL);
    assert!(of_no_pod.0 == 403, "{of_no_pod:?}");

    let young = lab.pod("billing", "young-0");
    assert!(refused(&young.curl(URL)));
    young.has_logs();
    eventually("the young pod is known", || young.curl(URL).starts_with("HTTP/1.1 200 "));

    let seen: Vec<_> = partner.seen().into_iter().flat_map(|seen| seen.all).collect();
    let (requests, fault) = wire::requests(&seen);
    assert_eq!(fault, None);
    let callers: Vec<_> = requests.iter().flat_map(|request| request.values("x-caller")).collect();
    assert_eq!(callers, ["billing/invoicer", "shop/checkout", "billing/"]);

    let mut talk = billing.converse(
        "import http.client\n\
         caller = http.client.HTTPConnection('api.partner.example', timeout=10)\n\
         caller.request('GET', '/')\n\
         print(caller.getresponse().read(), flush=True)\n\
         input()",
    );
    assert!(talk.line().contains(EGRESS));
    let flows = lab.json(&["inspect", "flows"]);
    let known = |who: &Value| ["workload", "namespace", "pod_name", "service_account"].map(|name| who[name].clone());
    assert_eq!(known(&flows[0]), ["billing/api-0", "billing", "api-0", "invoicer"], "{flows}");
    drop(talk);

    let log = || fs::read_to_string(lab.access_log()).unwrap_or_default();
    eventually("requests and flows are on record", || {
        let lines: Vec<Value> = log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let of_billing = lines.iter().filter(|line| known(line) == ["billing/api-0", "billing", "api-0", "invoicer"]);
        of_billing.filter(|line| line["outcome"] == "ok").count() == 4
    });
    assert!(!log().contains(SIGNATURE) && !egret.log().contains(SIGNATURE), "a token is nobody's to read");
    egret.stop();

    let config = path.to_str().unwrap();
    let explained = |who: &[&str]| lab.cli(&[&["explain", "--config", config, URL], who].concat());
    let text = explained(&["--namespace", "shop", "--pod-name", "checkout-1", "--service-account", "checkout"]);
    assert!(text.contains("shop/checkout") && !text.contains("may not call"), "{text}");
    let text = explained(&["--namespace", "shop", "--pod-name", "checkout-1"]);
    assert!(text.contains("may not call"), "{text}");

    let example = path.join("example.yaml");
    let text =
        fs::read_to_string(&example).unwrap().replace("namespace: billing", "namespace: billing, pod_name: young-*");
    fs::write(example, text).unwrap();
    let output = lab.try_cli(&["check", config, "--against", lab.access_log().to_str().unwrap(), "-o", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let change = &told["changes"][0];
    assert_eq!((&told["differ"], &change["workload"]), (&2.into(), &"billing/api-0".into()), "{told}");
    assert_eq!(change["after"]["outcome"], "workload_not_allowed", "{told}");
}

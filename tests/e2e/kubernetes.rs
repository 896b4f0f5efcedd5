//! What the Kubernetes API server says of pods selects them, and is on record, also while the server is away.

use std::fs;

use egret_tests::{ApiServer, Egret, Lab, NODE_NAME, eventually, wire};
use serde_json::Value;

use crate::partner;

const URL: &str = "http://api.partner.example/";

/// Starts Egret as the example has it, with the API server of the lab.
fn egret(lab: &Lab, server: &ApiServer<'_>) -> Egret {
    lab.hosts(&[("203.0.113.7", "api.partner.example"), server.host()]);
    let kubeconfig = server.kubeconfig();
    let path = lab.configure_like("kubernetes", |text| {
        let asked = format!("kubernetes: {{api: true, node: {NODE_NAME}, kubeconfig: {}}}", kubeconfig.display());
        text.replace("kubernetes: {api: true}", &asked)
    });
    lab.egret(&path, &[])
}

fn state(lab: &Lab) -> Value {
    lab.json(&["status"])["kubernetes"].clone()
}

fn watching(lab: &Lab, pods: usize) {
    eventually("the API server has told of the pods", || {
        let state = state(lab);
        state["state"] == "watching" && state["pods"] == pods
    });
}

fn is_served(heard: &str) -> bool {
    heard.starts_with("HTTP/1.1 200 ")
}

fn is_refused(heard: &str) -> bool {
    heard.starts_with("HTTP/1.1 403 ") && heard.contains("workload_not_allowed")
}

#[test]
fn labels_and_controllers_select_pods_as_they_are_now_and_are_on_record() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let mut server = lab.api_server();
    let invoices = lab.pod("billing", "invoices-6d9f-a").logs();
    let reports = lab.pod("billing", "reports-6d9f-a").logs();
    let checkout = lab.pod("shop", "checkout-6d9f-a").logs();
    let labels = [("app.kubernetes.io/name", "invoices"), ("team", "payments")];
    server.set("invoices", &invoices.object("invoices", &labels));
    server.set("reports", &reports.object("reports", &[("app.kubernetes.io/name", "reports")]));
    server.set("checkout", &checkout.object("checkout", &[]));
    server.start();
    let _egret = egret(&lab, &server);
    watching(&lab, 3);

    assert!(is_served(&invoices.curl(URL)));
    assert!(is_served(&checkout.curl(URL)));
    let heard = reports.curl(URL);
    assert!(is_refused(&heard) && heard.contains("billing/reports-6d9f-a may not call"), "{heard}");
    let seen: Vec<_> = partner.seen().into_iter().flat_map(|seen| seen.all).collect();
    let (requests, fault) = wire::requests(&seen);
    assert_eq!(fault, None);
    let callers: Vec<_> = requests.iter().flat_map(|request| request.values("x-caller")).collect();
    let of_app = |who: &str| format!("{who} app registry.example/api:7");
    assert_eq!(callers, [of_app("Deployment/invoices payments"), of_app("Deployment/checkout ")]);
    eventually("labels and controllers are on record", || {
        let text = fs::read_to_string(lab.access_log()).unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.any(|line| {
            line["labels"]["team"] == "payments"
                && line["controller"] == "Deployment/invoices"
                && line["service_account"] == "default"
        })
    });
    let explained =
        lab.cli(&["explain", URL, "--workload", "billing/invoices-6d9f-a", "--socket", lab.socket().to_str().unwrap()]);
    assert!(explained.contains("billing/invoices-6d9f-a matches"), "{explained}");

    // A label that changes, a pod that comes, and one that goes.
    server.set("reports", &reports.object("reports", &[("app.kubernetes.io/name", "invoices")]));
    eventually("the changed pod may call", || is_served(&reports.curl(URL)));
    let young = lab.pod("shop", "checkout-6d9f-b").logs();
    assert!(is_refused(&young.curl(URL)), "whether it is one of them is not known yet");
    server.set("young", &young.object("checkout", &[]));
    eventually("the new pod may call", || is_served(&young.curl(URL)));
    server.remove("young");
    watching(&lab, 3);
    assert!(is_served(&young.curl(URL)), "its last processes are known while they run");
}

#[test]
fn an_api_server_that_is_away_changes_nothing_and_is_asked_again() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let mut server = lab.api_server();
    let checkout = lab.pod("shop", "checkout-6d9f-a").logs();
    server.set("checkout", &checkout.object("checkout", &[]));
    let egret = egret(&lab, &server);
    let away = |why: &str| {
        eventually("the API server is away", || {
            let state = state(&lab);
            state["state"] == "away" && state["error"].as_str().is_some_and(|error| error.contains(why))
        });
    };
    away("203.0.113.9:6443");
    assert!(is_refused(&checkout.curl(URL)), "what nobody has said selects nobody");
    let said = String::from_utf8(lab.try_cli(&["doctor", "--socket", lab.socket().to_str().unwrap()]).stdout).unwrap();
    assert!(said.contains("kubernetes API server"), "{said}");

    server.start();
    watching(&lab, 1);
    assert!(is_served(&checkout.curl(URL)));
    server.stop();
    away("");
    assert!(is_served(&checkout.curl(URL)), "what it said last holds");

    // It comes back with another token, and other pods.
    server.accepts("second");
    server.remove("checkout");
    let moved = lab.pod("shop", "checkout-6d9f-b").logs();
    server.set("moved", &moved.object("checkout", &[]));
    server.start();
    away("Unauthorized");
    server.logs_in_with("second");
    eventually("the pods of the new list are known", || is_served(&moved.curl(URL)));
    assert!(!egret.log().contains("second"), "a token is nobody's to read");
}

#[test]
fn a_watch_that_is_too_old_begins_anew_with_all_pods() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let mut server = lab.api_server();
    let first = lab.pod("shop", "checkout-6d9f-a").logs();
    server.set("first", &first.object("checkout", &[]));
    server.start();
    let _egret = egret(&lab, &server);
    watching(&lab, 1);
    server.is("gone", true);
    let second = lab.pod("shop", "checkout-6d9f-b").logs();
    server.set("second", &second.object("checkout", &[]));
    server.is("gone", false);
    watching(&lab, 2);
    assert!(is_served(&first.curl(URL)) && is_served(&second.curl(URL)));
    assert!(server.asked().iter().all(|asked| asked.contains("fieldSelector=spec.nodeName%3Dnode-7.example%2C")));
}

#[test]
fn facts_of_the_api_server_are_refused_where_egret_does_not_ask_it() {
    let lab = Lab::new();
    let path = lab.configure_like("kubernetes", |text| text.replace("kubernetes: {api: true}\n", ""));
    let output = lab.try_cli(&["check", path.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for fact in ["`labels` is never known", "`controller` is never known", "`workload.labels` is always empty"] {
        assert!(said.contains(fact), "{said}");
    }
    assert!(said.contains("add kubernetes: {api: true}"), "{said}");
}

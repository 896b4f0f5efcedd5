//! Callers that do not trust the CA of intercepted APIs.

use egret_tests::{Behaviour, EGRESS, Lab, Pki, ThirdParty, eventually};

use crate::PARTNER;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";
const URL: &str = "https://api.partner.example/";

fn intercepted(lab: &Lab, on_refusal: &str) -> (Pki, ThirdParty, String) {
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let identity = pki.identity(&[NAME], &["http/1.1"]);
    let partner = lab.third_party(ADDRESS, 443, Behaviour::Https(identity, vec![EGRESS.parse().unwrap()]));
    let api = format!(
        "{PARTNER}    mode: intercept\n    on_refusal: {on_refusal}\n    backend: {{tls: {{ca: {}}}}}\n",
        pki.ca()
    );
    (pki, partner, api)
}

/// Trusts the third party, and not Egret.
fn curl(lab: &Lab, ca: &str) -> (Option<i32>, String) {
    let output = lab.run("curl", &["-s", "-m", "20", "--cacert", ca, URL]);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn ask(lab: &Lab, arguments: &[&str]) -> String {
    let socket = lab.socket();
    lab.cli(&[arguments, &["--socket", socket.to_str().unwrap()]].concat())
}

fn refusals(lab: &Lab) -> Vec<serde_json::Value> {
    lab.json(&["inspect", "refusals"]).as_array().unwrap().clone()
}

#[test]
fn who_says_so_is_named_with_a_remedy() {
    let lab = Lab::new();
    let (pki, partner, api) = intercepted(&lab, "fail");
    let _egret = lab.egret(&lab.configure(&api), &[]);
    // It lives on, as services do.
    let program = format!(
        r#"
import socket, ssl, sys
context = ssl.create_default_context(cafile="{}")
for line in sys.stdin:
    try:
        context.wrap_socket(socket.create_connection(("{ADDRESS}", 443), timeout=10), server_hostname="{NAME}")
        print("trusts", flush=True)
    except ssl.SSLCertVerificationError:
        print("does not trust", flush=True)
"#,
        pki.ca()
    );
    let mut caller = lab.converse(&program);
    for _ in 0..2 {
        caller.tell("call");
        assert_eq!(caller.line(), "does not trust");
    }
    eventually("both are on record", || refusals(&lab).first().is_some_and(|row| row["times"] == 2));
    let rows = refusals(&lab);
    let row = &rows[0];
    assert_eq!((rows.len(), &row["host"], &row["runtime"]), (1, &NAME.into(), &"Python".into()));
    assert_eq!((&row["sign"], &row["passes"]), (&"unknown_ca".into(), &false.into()));
    assert!(row["remedy"].as_str().unwrap().contains("SSL_CERT_FILE"), "{row}");
    assert!(partner.seen().iter().all(|seen| seen.all.is_empty()), "no request");
    let table = ask(&lab, &["inspect", "refusals"]);
    assert!(table.contains("REMEDY") && table.contains("refused"), "{table}");
}

#[test]
fn who_judges_after_the_handshake_is_named_too() {
    let lab = Lab::new();
    let (pki, _partner, api) = intercepted(&lab, "fail");
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let output = lab.run("wget", &["-q", "-t", "1", "-O", "-", "--ca-certificate", pki.ca(), URL]);
    assert!(!output.status.success());
    eventually("it is named", || !refusals(&lab).is_empty());
    assert_eq!(refusals(&lab)[0]["sign"], "left at once");
    let log = || std::fs::read_to_string(lab.access_log()).unwrap_or_default();
    eventually("its flow is on record", || log().contains("\"outcome\":\"leaf_refused\""));
}

#[test]
fn who_refuses_is_passed_through_where_the_owner_lets_it() {
    let lab = Lab::new();
    let (pki, partner, api) = intercepted(&lab, "passthrough");
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let ours = lab.directory().join("egret-ca.pem");
    let ours = ours.to_str().unwrap();
    assert_eq!(curl(&lab, ours), (Some(0), EGRESS.to_owned()), "who trusts is intercepted");
    assert_eq!(curl(&lab, pki.ca()).0, Some(60), "once");
    eventually("the refusal is known", || refusals(&lab).len() == 1);
    assert_eq!(curl(&lab, pki.ca()), (Some(0), EGRESS.to_owned()), "the third party's own certificate");
    let row = &refusals(&lab)[0];
    assert_eq!((&row["passes"], &row["passed"]), (&true.into(), &1.into()));
    let log = || std::fs::read_to_string(lab.access_log()).unwrap_or_default();
    eventually("it is on record", || log().contains("\"mode\":\"passthrough_on_refusal\""));
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);

    // The refusal is that program's own, though another one has the same owner.
    let output = lab.run("wget", &["-q", "-t", "1", "-O", "-", "--ca-certificate", pki.ca(), URL]);
    assert!(!output.status.success());
    eventually("it is another one", || refusals(&lab).len() == 2);

    assert!(ask(&lab, &["trust", "forget"]).starts_with("forgot 2 "));
    assert_eq!(curl(&lab, ours), (Some(0), EGRESS.to_owned()), "intercepted again");
    assert_eq!(curl(&lab, pki.ca()).0, Some(60));
}

#[test]
fn a_refusal_gets_past_policies_only_for_the_workloads_that_the_configuration_names() {
    let lab = Lab::new();
    let (pki, partner, api) = intercepted(&lab, "passthrough");
    let policies = "    policies:\n      inbound: [{return-response: {status: 403}}]\n";
    let named = |unit: &str| format!("{api}    on_refusal_workloads: [{{unit: {unit}}}]\n{policies}");
    let _egret = lab.egret(&lab.configure(&named("legacy.service")), &[]);
    for _ in 0..3 {
        assert_eq!(curl(&lab, pki.ca()).0, Some(60));
    }
    eventually("the refusal is known", || refusals(&lab).len() == 1);
    assert_eq!(refusals(&lab)[0]["passes"], false);
    assert!(partner.seen().iter().all(|seen| seen.all.is_empty()), "no request");
    lab.configure(&named("workload.service"));
    eventually("the named workload is passed through", || curl(&lab, pki.ca()) == (Some(0), EGRESS.to_owned()));
}

#[test]
fn a_configuration_in_which_every_caller_could_switch_policies_off_is_refused() {
    let lab = Lab::new();
    let (_pki, _partner, api) = intercepted(&lab, "passthrough");
    let config = lab.configure(&format!("{api}    policies:\n      inbound: [{{return-response: {{status: 403}}}}]\n"));
    let output = lab.try_cli(&["check", config.to_str().unwrap()]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("on_refusal_workloads: [{unit: legacy.service}]"), "{said}");
}

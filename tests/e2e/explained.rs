//! A request that the operator has the running gateway send, and what is told of it.

use egret_tests::{Behaviour, EGRESS, Egret, Lab, ThirdParty, eventually, executable, wire};
use serde_json::{Value, json};

const ADDRESS: &str = "203.0.113.7";
const NAME: &str = "api.partner.example";
const URL: &str = "https://api.partner.example/orders?x=1";

/// A partner over TLS whose key nobody else has, one that nothing may be sent to, one without policies, and one that is not
/// there.
fn scene() -> (Lab, ThirdParty, Egret) {
    let lab = Lab::new();
    let names = [(ADDRESS, NAME), ("203.0.113.8", "plain.example"), ("203.0.113.9", "gone.example")];
    lab.hosts(&names);
    let pki = lab.pki();
    let allowed = vec![EGRESS.parse().unwrap()];
    let partner =
        lab.third_party(ADDRESS, 443, Behaviour::Https(pki.identity(&[NAME], &["http/1.1"]), allowed.clone()));
    lab.third_party("203.0.113.8", 80, Behaviour::Http(allowed));
    std::fs::write(lab.directory().join("partner.key"), "correct horse\n").unwrap();
    let config = lab.configure(&format!(
        r#"  - name: partner
    hosts: [{NAME}]
    ports: [443]
    mode: intercept
    backend: {{tls: {{ca: {ca}}}}}
    operations: [{{name: order, method: POST, path: /orders}}]
    policies:
      inbound:
        - rate-limit-by-key: {{calls: 2, period: 1h, key: workload.owner}}
        - set-header: {{name: X-Key, value: "{{{{key}}}}"}}
        - set-header: {{name: X-By, value: "${{workload.owner}} of ${{workload.unit}}"}}
      outbound:
        - set-header: {{name: X-Seen, value: "yes"}}
  - {{name: closed, hosts: [closed.example], ports: [80], mode: deny}}
  - {{name: plain, hosts: [plain.example], ports: [80, 443]}}
  - {{name: gone, hosts: [gone.example], ports: [80]}}
  - {{name: guard, hosts: [guard.example], ports: [443], mode: intercept, strangers: refuse}}
values:
  key: {{file: {key}}}
"#,
        ca = pki.ca(),
        key = lab.directory().join("partner.key").display(),
    ));
    let egret = lab.egret(&config, &[]);
    (lab, partner, egret)
}

fn send(lab: &Lab, arguments: &[&str]) -> Value {
    lab.json(&[&["explain", "--send"], arguments].concat())
}

#[test]
fn a_request_is_sent_by_the_running_gateway_and_told_of() {
    let (lab, partner, egret) = scene();
    let body = lab.directory().join("order.json");
    std::fs::write(&body, r#"{"id": 7}"#).unwrap();
    let body = body.to_str().unwrap();
    let arguments = [
        "--body",
        body,
        "-H",
        "X-Tag: a",
        "-H",
        "Connection: x-tag",
        "--workload",
        "nightly",
        "--unit",
        "a.service",
        URL,
    ];
    let told = send(&lab, &arguments);
    let seen = partner.seen();
    assert_eq!((seen.len(), seen[0].source.to_string()), (1, EGRESS.to_owned()));
    let (requests, fault) = wire::requests(&seen[0].all);
    assert_eq!((requests.len(), fault), (1, None));
    assert_eq!(requests[0].start, "POST /orders?x=1 HTTP/1.1");
    assert_eq!(requests[0].body, br#"{"id": 7}"#);
    assert_eq!(requests[0].values("host"), [NAME]);
    assert_eq!(requests[0].values("x-key"), ["correct horse"]);
    assert_eq!(requests[0].values("x-by"), ["a.service of a.service"]);
    assert_eq!(requests[0].values("x-tag"), [""; 0], "it was for the connection");

    assert_eq!((&told["api"], &told["operation"]), (&json!("partner"), &json!("order (/orders)")));
    assert_eq!(told["went_to"], format!("{ADDRESS}:443"));
    assert!(told["left_from"].as_str().unwrap().starts_with(&format!("{EGRESS}:")), "{told}");
    assert_eq!(told["answered"]["start"], "200 OK");
    assert_eq!(told["answered"]["body"].as_str().unwrap().trim(), EGRESS);
    let field = |message: &str, name: &str| {
        let fields = told[message]["headers"].as_array().unwrap();
        fields.iter().find(|field| field[0] == name).map(|field| field[1].clone())
    };
    assert_eq!(field("sent", "x-key"), Some(json!("***")));
    assert_eq!(field("answered", "x-seen"), Some(json!("yes")));
    let policies: Vec<_> = told["steps"].as_array().unwrap().iter().map(|step| step["policy"].clone()).collect();
    let forwarded = ["rate-limit-by-key", "set-header", "set-header", "forward-request", "set-header"];
    assert_eq!(policies, forwarded);
    assert!(!told.to_string().contains("horse"), "{told}");

    // It counts, as any.
    assert_eq!(send(&lab, &arguments)["answered"]["start"], "200 OK");
    let refused = send(&lab, &arguments);
    assert_eq!((&refused["answered"]["start"], &refused["sent"]), (&json!("429 Too Many Requests"), &Value::Null));
    assert_eq!(send(&lab, &["--workload", "daily", "-X", "POST", URL])["answered"]["start"], "200 OK");
    let seen: usize = partner.seen().iter().map(|seen| wire::requests(&seen.all).0.len()).sum();
    assert_eq!(seen, 3);
    let limits = lab.json(&["inspect", "limits"]);
    assert!(limits.as_array().unwrap().iter().any(|row| row["key"] == "a.service" && row["used"] == 2), "{limits}");
    assert!(egret.log().contains("explain --send"), "{}", egret.log());
    assert!(!egret.log().contains("horse"));
}

#[test]
fn a_request_is_explained_by_the_running_gateway_with_its_counts_and_changes_none() {
    let (lab, partner, egret) = scene();
    let order = ["-X", "POST", URL];
    let explained = |who: &[&str]| lab.json(&[&["explain"], who, &order].concat());
    for _ in 0..3 {
        let told = explained(&["--workload", "nightly"]);
        assert_eq!((&told["api"], &told["answered"]["start"]), (&json!("partner"), &json!("200 OK")), "{told}");
    }
    assert_eq!((partner.seen().len(), lab.json(&["inspect", "limits"])), (0, json!([])));
    for _ in 0..2 {
        assert_eq!(send(&lab, &[&["--workload", "nightly"], &order[..]].concat())["answered"]["start"], "200 OK");
    }
    let refused = explained(&["--workload", "nightly"]);
    assert_eq!((&refused["answered"]["start"], &refused["sent"]), (&json!("429 Too Many Requests"), &Value::Null));
    assert_eq!(explained(&["--workload", "daily"])["answered"]["start"], "200 OK");
    assert_eq!(explained(&["--workload", "daily", "--status", "503"])["answered"]["start"], "503 Service Unavailable");

    // A file is explained without the gateway and its counts.
    let config = lab.directory().join("egret.yaml");
    let config = config.to_str().unwrap().to_owned();
    let offline = || lab.cli(&[&["explain", "--config", &config, "--workload", "nightly"], &order[..]].concat());
    assert!(offline().contains("  200 OK\n"), "{}", offline());
    drop(egret);
    assert!(offline().contains("  200 OK\n"), "{}", offline());
    let socket = lab.socket();
    let output = lab.try_cli(&["explain", URL, "--socket", socket.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("with --config PATH"), "{said}");
}

#[test]
fn a_workload_that_has_a_connection_is_explained_by_its_name() {
    let (lab, _partner, _egret) = scene();
    let program = r#"
import socket
s = socket.create_connection(("plain.example", 80), timeout=10)
s.sendall(b"GET /")
print("begun", flush=True)
input()
"#;
    let mut caller = lab.converse(program);
    assert_eq!(caller.line(), "begun");
    let flow = || lab.json(&["inspect", "flows"])[0].clone();
    eventually("the connection is listed", || flow().is_object());
    let name = flow()["workload"].as_str().unwrap().to_owned();
    let told = lab.json(&["explain", "--workload", &name, "-X", "POST", URL]);
    let by = told["sent"]["headers"].as_array().unwrap().iter().find(|field| field[0] == "x-by").unwrap()[1].clone();
    assert_eq!(by, format!("{name} of {name}"), "the name alone gives the owner and the unit");
}

#[test]
fn what_is_sent_for_the_operator_is_shown_to_who_watches() {
    let (lab, _partner, _egret) = scene();
    let (socket, egret) = (lab.socket(), executable());
    let arguments = ["tail", "--socket", socket.to_str().unwrap(), "--count", "1", "-o", "json"];
    let mut tail = lab.gateway(egret.to_str().unwrap(), &arguments);
    let mut tail = tail.stdout(std::process::Stdio::piped()).spawn().unwrap();
    eventually("it is shown", || {
        send(&lab, &["--workload", "nightly", "http://plain.example/a"]);
        tail.try_wait().unwrap().is_some()
    });
    let output = tail.wait_with_output().unwrap();
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&row["workload"], &row["target"]), (&json!("nightly"), &json!("plain.example/a")));
}

#[test]
fn without_policies_it_is_sent_as_it_is() {
    let (lab, _partner, _egret) = scene();
    let told = send(&lab, &["http://plain.example/a"]);
    assert_eq!((&told["sent"]["start"], &told["answered"]["start"]), (&json!("GET /a"), &json!("200 OK")));
    assert!(told["note"].as_str().unwrap().contains("no policies"), "{told}");
    let socket = lab.socket();
    let text = lab.cli(&["explain", "--send", "--socket", socket.to_str().unwrap(), "http://plain.example/a"]);
    assert!(text.contains(&format!("left from     {EGRESS}:")) && text.contains(", to 203.0.113.8:80\n"), "{text}");
    assert!(text.contains("\nresponse\n  200 OK\n") && text.ends_with(&format!("\n\n  {EGRESS}\n")), "{text}");
}

#[test]
fn what_cannot_be_sent_is_said_and_is_a_failure() {
    let (lab, _partner, egret) = scene();
    let socket = lab.socket();
    let said = |arguments: &[&str]| {
        let daemon = ["--socket", socket.to_str().unwrap()];
        let output = lab.try_cli(&[&["explain", "--send"], arguments, &daemon].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    for (url, why) in [
        ("http://closed.example/", "nothing was sent: mode deny"),
        ("https://plain.example/", "bytes are carried as they are, but not to an address that API `guard`"),
        ("https://stranger.example/", "nothing was sent: no API lists stranger.example and port 443"),
        ("http://gone.example/", "no response: upstream_refused; a caller's connection would be broken"),
        ("ftp://plain.example/", "a URL is https://"),
        ("http:/plain.example", "URL"),
    ] {
        let (code, text) = said(&[url]);
        assert!(code == Some(1) && text.contains(why), "{url}: {code:?} {text}");
    }
    let (code, text) = said(&["-H", "Host: other.example", "http://plain.example/"]);
    assert!(code == Some(1) && text.contains("host: it comes from the URL"), "{text}");
    let (code, text) = said(&["-H", "nothing", "http://plain.example/"]);
    assert!(code == Some(2) && text.contains("a header field is written `Name: value`"), "{text}");
    let (code, text) = said(&["--status", "404", "http://plain.example/"]);
    assert!(code == Some(2) && text.contains("cannot be used with"), "{text}");
    drop(egret);
    let (code, text) = said(&["http://plain.example/"]);
    assert!(code == Some(3) && text.contains("no daemon runs"), "{text}");
}

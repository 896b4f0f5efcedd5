//! Policies that tell: what is in the metrics and on record, and that nothing changes on the wire.

use std::process::Stdio;

use egret_tests::{Behaviour, EGRESS, Egret, Lab, Then, ThirdParty, eventually, wire};
use serde_json::{Value, json};

const ADDRESS: &str = "203.0.113.7";
const NAME: &str = "api.partner.example";
const URL: &str = "http://api.partner.example/orders";

fn scene(example: &str, behaviour: Behaviour) -> (Lab, ThirdParty, Egret) {
    scene_of(example, behaviour, |text| text)
}

fn scene_of(example: &str, behaviour: Behaviour, edit: fn(String) -> String) -> (Lab, ThirdParty, Egret) {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let partner = lab.third_party(ADDRESS, 80, behaviour);
    let egret = lab.egret(&lab.configure_like(example, edit), &[]);
    (lab, partner, egret)
}

fn allowed() -> Behaviour {
    Behaviour::Http(vec![EGRESS.parse().unwrap()])
}

fn curl(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.run("curl", &[&["-s", "-i", "-m", "10"], arguments, &[URL]].concat());
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

fn metrics(lab: &Lab) -> String {
    String::from_utf8_lossy(&lab.run("curl", &["-s", "http://127.0.0.1:9464/metrics"]).stdout).into_owned()
}

/// The lines of the access log that have this key, when there are so many.
fn lines(lab: &Lab, key: &str, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    eventually("the lines are in the log", || {
        let text = std::fs::read_to_string(lab.access_log()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found = lines.filter(|line| line[key].is_object()).collect();
        found.len() >= count
    });
    assert_eq!(found.len(), count, "{found:?}");
    found
}

#[test]
fn what_is_counted_is_in_the_metrics() {
    let (lab, partner, _egret) = scene("policy-emit-metric", allowed());
    for customer in ["a", "a", "b"] {
        assert!(
            curl(&lab, &["-d", "x", "-H", &format!("X-Customer: {customer}"), "-H", "X-Items: 1,2"]).contains(" 200 ")
        );
    }
    assert!(curl(&lab, &["-H", "X-Customer: a"]).contains(" 200 "), "not counted");
    let text = metrics(&lab);
    for line in [
        "# TYPE egret_custom_orders_total counter\n",
        "\negret_custom_orders_total{customer=\"a\",status=\"200\"} 2.0\n",
        "\negret_custom_orders_total{customer=\"b\",status=\"200\"} 1.0\n",
        "\negret_custom_cost_cents_total{} 30.0\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(partner.seen().iter().map(|seen| wire::requests(&seen.all).0.len()).sum::<usize>(), 4);
}

#[test]
fn what_no_counter_can_count_is_an_error_that_says_so() {
    let (lab, partner, _egret) = scene_of("policy-emit-metric", allowed(), |text| {
        text.replace("5 * size(request.headers[\"x-items\"].split(\",\"))", "\"-1\"")
    });
    let heard = curl(&lab, &["-d", "x"]);
    assert!(heard.starts_with("HTTP/1.1 500 ") && heard.contains("a counter only goes up"), "{heard}");
    assert_eq!(partner.seen().len(), 1);
}

#[test]
fn what_is_said_is_on_record() {
    let (lab, _partner, egret) = scene("policy-trace", allowed());
    let socket = lab.socket();
    let program = egret_tests::executable();
    let arguments = ["tail", "--socket", socket.to_str().unwrap(), "--count", "1", "-o", "json"];
    let mut tail = lab.gateway(program.to_str().unwrap(), &arguments);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut times = 0;
    eventually("a request is shown", || {
        times += 1;
        curl(&lab, &["-H", "X-Items: 200", "-H", "X-Customer: acme"]);
        tail.try_wait().unwrap().is_some()
    });
    curl(&lab, &["-H", "X-Items: 2"]);
    let row: Value = serde_json::from_slice(&tail.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(row["traces"], json!(["warning: orders: 200 items at once customer=acme"]));
    let lines = lines(&lab, "trace", times);
    let expected = json!({
        "section": "inbound", "policy_id": "large-order", "severity": "warning", "source": "orders",
        "message": "200 items at once", "metadata": {"customer": "acme"},
    });
    assert_eq!(lines[0]["trace"], expected);
    assert_eq!((&lines[0]["api"], lines[0]["request_id"].as_str().unwrap().ends_with("-1")), (&"partner".into(), true));
    let log = egret.log();
    assert!(log.contains("WARN") && log.contains("200 items at once source=\"orders\""), "{log}");
}

#[test]
fn requests_and_answers_are_on_record_without_what_nobody_is_to_see() {
    let (lab, partner, egret) = scene("policy-log", allowed());
    let body = r#"{"card": {"number": "4111", "holder": "A"}, "items": [{"id": 1, "buyer": "B"}], "note": "4111111111111111"}"#;
    let heard = curl(
        &lab,
        &[
            "-d",
            body,
            "-H",
            "Content-Type: application/json",
            "-H",
            "Authorization: Bearer geheim",
            "-H",
            "Cookie: a=geheim",
            "-H",
            "X-Api-Key: geheim",
            "-H",
            "X-Customer: geheim",
            "-H",
            "X-Plain: 4111111111111111 b",
        ],
    );
    assert!(heard.contains(" 200 "), "{heard}");
    let seen = wire::requests(&partner.seen()[0].all).0.remove(0);
    assert_eq!(String::from_utf8_lossy(&seen.body), body, "it arrives as it was");
    assert_eq!(seen.values("authorization"), ["Bearer geheim"]);
    let lines = lines(&lab, "log", 2);
    let (request, answer) = (&lines[0]["log"], &lines[1]["log"]);
    assert_eq!((&request["section"], &request["method"]), (&"inbound".into(), &"POST".into()));
    assert_eq!(request["target"], "api.partner.example/orders");
    let header = |line: &Value, name: &str| {
        let headers = line["headers"].as_array().unwrap();
        headers.iter().find(|field| field[0] == name).map(|field| field[1].as_str().unwrap().to_owned())
    };
    for name in ["authorization", "cookie", "x-api-key", "x-customer"] {
        assert_eq!(header(request, name).as_deref(), Some("***"), "{name}");
    }
    assert_eq!(header(request, "x-plain").as_deref(), Some("*** b"));
    let logged: Value = serde_json::from_str(request["body"].as_str().unwrap()).unwrap();
    let masked = json!({"card": {"number": "***", "holder": "A"}, "items": [{"id": 1, "buyer": "***"}], "note": "***"});
    assert_eq!((logged, &request["body_cut"]), (masked, &false.into()));
    assert_eq!((&answer["status"], &answer["message"]), (&200.into(), &"answered /orders".into()));
    assert_eq!((&answer["body"], &answer["body_missing"]), (&Value::Null, &Value::Null));
    let everything = std::fs::read_to_string(lab.access_log()).unwrap() + &egret.log();
    assert!(!everything.contains("geheim") && !everything.contains("4111"), "{everything}");
}

#[test]
fn a_body_in_which_nothing_could_be_masked_is_not_on_record() {
    let (lab, _partner, _egret) = scene("policy-log", allowed());
    for (body, header) in [("no JSON", "X-A: a"), ("zip", "Content-Encoding: gzip")] {
        assert!(curl(&lab, &["-d", body, "-H", header]).contains(" 200 "));
    }
    let lines: Vec<_> = lines(&lab, "log", 4).into_iter().filter(|line| line["log"]["section"] == "inbound").collect();
    assert_eq!(lines[0]["log"]["body_missing"], "it is no JSON: nothing could be masked");
    assert_eq!(lines[1]["log"]["body_missing"], "it is encoded (gzip)");
}

#[test]
fn what_was_told_is_on_record_although_the_caller_went_away() {
    let (lab, _partner, _egret) = scene("policy-log", Behaviour::Count);
    assert_eq!(lab.run("curl", &["-s", "-m", "1", URL]).status.code(), Some(28), "there is no answer");
    assert_eq!(lines(&lab, "log", 1)[0]["log"]["section"], "inbound");
}

#[test]
fn what_is_seen_of_an_answer_is_left_as_it_was() {
    let chunked = b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                    8\r\n12345678\r\n8\r\nabcdefgh\r\n0\r\nX-Sum: 7\r\n\r\n";
    let (lab, _partner, _egret) = scene_of("policy-log", Behaviour::Answer(chunked, Then::GoesOn), |text| {
        text.replace("{message: \"answered ${request.path}\"}", "{body: true, max_bytes: 10}")
            .replace("body: true\n        max_bytes: 1000", "body: false")
            .replace("          json: [/card/number, /items/*/buyer]\n", "")
    });
    let heard = curl(&lab, &["-H", "TE: trailers", "-H", "Connection: TE"]);
    assert!(heard.to_lowercase().contains("\n\n12345678abcdefghx-sum: 7"), "trailers, too: {heard}");
    let lines = lines(&lab, "log", 2);
    assert_eq!((&lines[1]["log"]["body"], &lines[1]["log"]["body_cut"]), (&"12345678ab".into(), &true.into()));
}

#[test]
fn a_secret_in_the_path_is_seen_by_the_third_party_alone() {
    let lab = Lab::new();
    let config = lab.configure_like("policy-authentication-basic", |text| {
        let rewrite = "        - rewrite-uri: {template: \"/v2/{{partner-password}}?a=b\"}\n";
        let told = "        - set-header: {name: X-Path, value: \"${request.path} ${request.query.a}\"}\n";
        text.replace("      inbound:\n", &format!("      inbound:\n{rewrite}{told}"))
    });
    std::fs::write(config.join("policy-authentication-basic.password"), "horse").unwrap();
    let told = lab.cli(&["explain", "--config", config.to_str().unwrap(), URL]);
    assert!(told.contains("  GET ***\n") && told.contains("x-path: *** ***\n"), "{told}");
    assert!(!told.contains("horse"), "{told}");
}

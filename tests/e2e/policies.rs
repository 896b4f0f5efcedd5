//! Each policy's example, on the wire: what the third party saw, and what the caller.

use egret_tests::wire::{self, Message};
use egret_tests::{Behaviour, EGRESS, Egret, Lab, Then, ThirdParty, eventually};

pub(crate) const ADDRESS: &str = "203.0.113.7";
pub(crate) const NAME: &str = "api.partner.example";

/// An example in force.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    pub(crate) partner: ThirdParty,
    pub(crate) _egret: Egret,
}

pub(crate) fn scene(example: &str) -> Scene {
    scene_with(example, Behaviour::Http(vec![EGRESS.parse().unwrap()]))
}

pub(crate) fn scene_like(example: &str, edit: impl FnOnce(String) -> String) -> Scene {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let egret = lab.egret(&lab.configure_like(example, edit), &[]);
    Scene { lab, partner, _egret: egret }
}

pub(crate) fn scene_with(example: &str, behaviour: Behaviour) -> Scene {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let partner = lab.third_party(ADDRESS, 80, behaviour);
    let egret = lab.egret(&lab.configure_like(example, |text| text), &[]);
    Scene { lab, partner, _egret: egret }
}

impl Scene {
    /// What curl says, with the head of the answer.
    pub(crate) fn curl(&self, arguments: &[&str]) -> String {
        let output = self.lab.run("curl", &[&["-s", "-i", "-m", "10"], arguments].concat());
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
    }

    /// The requests that the third party saw.
    pub(crate) fn seen(&self) -> Vec<Message> {
        let all: Vec<_> = self.partner.seen().into_iter().flat_map(|seen| seen.all).collect();
        let (requests, fault) = wire::requests(&all);
        assert_eq!(fault, None);
        requests
    }

    /// The only one.
    pub(crate) fn one(&self) -> Message {
        let mut requests = self.seen();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }
}

pub(crate) const URL: &str = "http://api.partner.example/";

#[test]
fn headers_are_set_added_and_removed() {
    let scene = scene("policy-set-header");
    let heard = scene.curl(&[
        "-H",
        "X-Client: liar",
        "-H",
        "X-Tag: own",
        "-H",
        "Accept: text/csv",
        "http://api.partner.example/a?b=c",
    ]);
    assert!(heard.contains("x-answered: 200 for /a\n") && heard.ends_with(&format!("\n\n{EGRESS}\n")), "{heard}");
    let request = scene.one();
    assert_eq!(request.values("x-client"), ["acme"]);
    assert_eq!(request.values("x-workload"), ["curl of user 0"]);
    assert_eq!(request.values("user-agent"), [""; 0]);
    assert_eq!(request.values("x-tag"), ["own", "a", "b"]);
    assert_eq!(request.values("accept"), ["text/csv"]);
}

#[test]
fn parameters_of_the_query_are_set_and_removed() {
    let scene = scene("policy-set-query-parameter");
    scene.curl(&["http://api.partner.example/a?debug=1&x=%20y&page=3&debug=2"]);
    assert_eq!(scene.one().start, "GET /a?x=%20y&page=3&api-version=2026-01-01 HTTP/1.1");
}

#[test]
fn paths_are_rewritten() {
    let scene = scene("policy-rewrite-uri");
    scene.curl(&["http://api.partner.example/price/7?x=1", "http://api.partner.example/prices/7"]);
    let starts: Vec<_> = scene.seen().into_iter().map(|request| request.start).collect();
    assert_eq!(starts, ["GET /v2/prices/7?currency=EUR&x=1 HTTP/1.1", "GET /prices/7 HTTP/1.1"]);
}

#[test]
fn methods_are_changed() {
    let scene = scene("policy-set-method");
    scene.curl(&["-X", "PUT", "-d", "body", URL]);
    let request = scene.one();
    assert_eq!((request.start.as_str(), request.body.as_slice()), ("PATCH / HTTP/1.1", &b"body"[..]));
}

#[test]
fn bodies_are_set() {
    let scene = scene("policy-set-body");
    let heard = scene.curl(&["-d", "{\"id\": 7}", URL]);
    assert!(heard.ends_with(&format!("\n\nfrom {EGRESS}")), "{heard}");
    let request = scene.one();
    assert_eq!(String::from_utf8_lossy(&request.body), "{\"client\": \"acme\", \"order\": {\"id\":7}}");
    assert_eq!(request.values("content-type"), ["application/json"]);
    let big = "x".repeat(70_000);
    let heard = scene.curl(&["-d", &big, URL]);
    assert!(heard.starts_with("HTTP/1.1 413 ") && heard.contains("\"reason\":\"body_too_large\""), "{heard}");
    assert_eq!(scene.seen().len(), 1, "nothing of it left");
}

#[test]
fn texts_are_replaced_in_bodies() {
    let scene = scene("policy-find-and-replace");
    let heard = scene.curl(&["-d", "a@internal.example b@internal.example", URL]);
    assert!(heard.ends_with("\n\nyou\n") && heard.contains("\nContent-Length: 4\n"), "{heard}");
    assert_eq!(String::from_utf8_lossy(&scene.one().body), "a@acme.example b@acme.example");
}

#[test]
fn variables_are_kept_from_policy_to_policy() {
    let scene = scene("policy-set-variable");
    let heard = scene.curl(&["-H", "X-Tenant: North", URL]);
    assert!(heard.contains("\nx-tenant-was: north\n"), "{heard}");
    assert_eq!(scene.one().values("x-tenant"), ["north"]);
}

#[test]
fn the_first_branch_that_holds_is_taken() {
    let scene = scene("policy-choose");
    for arguments in [&[URL][..], &["-H", "X-Fresh: 1", URL], &["-X", "POST", "http://api.partner.example/orders/1"]] {
        scene.curl(arguments);
    }
    let kinds: Vec<_> = scene.seen().iter().map(|request| request.values("x-kind").concat()).collect();
    assert_eq!(kinds, ["read", "other", "order"]);
}

#[test]
fn an_answer_of_its_owner_ends_all() {
    let scene = scene("policy-return-response");
    let heard = scene.curl(&["-X", "DELETE", "http://api.partner.example/orders/7"]);
    assert!(heard.starts_with("HTTP/1.1 403 ") && heard.ends_with("\n\nDELETE /orders/7 is not for curl\n"), "{heard}");
    assert!(heard.contains("\ncontent-type: text/plain\n"), "{heard}");
    assert_eq!(scene.seen(), []);
    assert!(scene.curl(&[URL]).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_partner_that_is_not_there_is_mocked() {
    let lab = Lab::new();
    // There is nobody at its address.
    lab.hosts(&[(ADDRESS, NAME)]);
    let partner = lab.third_party(ADDRESS, 8080, Behaviour::Http(Vec::new()));
    let egret = lab.egret(&lab.configure_like("policy-mock-response", |text| text), &[]);
    let scene = Scene { lab, partner, _egret: egret };
    let heard = scene.curl(&["http://api.partner.example/prices"]);
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.ends_with("\n\n[{\"id\": 1, \"price\": 100}]"), "{heard}");
    assert!(heard.contains("\nx-mocked: yes\n"), "outbound runs: {heard}");
    assert_eq!(scene.seen(), []);
}

#[test]
fn fragments_are_included() {
    let scene = scene("policy-include-fragment");
    scene.curl(&[URL]);
    let request = scene.one();
    assert_eq!(request.values("x-client"), ["acme"]);
    assert_eq!(request.values("x-request-id").concat().split('-').count(), 2);
}

#[test]
fn headers_are_checked() {
    let scene = scene("policy-check-header");
    for arguments in [&[URL][..], &["-H", "X-Customer: east", URL]] {
        let heard = scene.curl(arguments);
        assert!(heard.starts_with("HTTP/1.1 400 ") && heard.contains("X-Customer is north or south"), "{heard}");
    }
    assert!(scene.curl(&["-H", "X-Customer: NORTH", URL]).starts_with("HTTP/1.1 200 "));
    assert_eq!(scene.seen().len(), 1);
}

#[test]
fn workloads_are_told_apart_by_the_kernel() {
    let scene = scene("policy-workload-filter");
    assert!(scene.curl(&[URL]).contains("\"reason\":\"workload_not_allowed\""));
    assert_eq!(scene.seen(), []);
    let path = scene.lab.directory().join("egret.d/example.yaml");
    let text = std::fs::read_to_string(&path).unwrap().replace("billing.service", "workload.service");
    std::fs::write(path, text).unwrap();
    eventually("the change is live", || scene.curl(&[URL]).starts_with("HTTP/1.1 200 "));
}

#[test]
fn statuses_are_changed() {
    let gone = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n";
    let scene = scene_with("policy-set-status", Behaviour::Answer(gone, Then::GoesOn));
    assert!(scene.curl(&[URL]).starts_with("HTTP/1.1 404 "));
}

#[test]
fn credentials_are_added_and_changed_without_a_restart() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let https = Behaviour::Https(pki.identity(&[NAME], &["http/1.1"]), vec![EGRESS.parse().unwrap()]);
    let partner = lab.third_party(ADDRESS, 443, https);
    let config = lab.configure_like("policy-authentication-basic", |text| {
        text.replace("{scheme: https}", &format!("{{tls: {{ca: {}}}}}", pki.ca()))
    });
    let egret = lab.egret(&config, &[]);
    let said = |credentials: &str| {
        let all: Vec<_> = partner.seen().into_iter().flat_map(|seen| seen.all).collect();
        String::from_utf8_lossy(&all).contains(&format!("authorization: Basic {credentials}\r\n"))
    };
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    assert!(said("YWNtZTpjb3JyZWN0IGhvcnNl"));
    std::fs::write(config.join("policy-authentication-basic.password"), "battery staple\n").unwrap();
    eventually("the new password is used", || lab.curl(URL).0 == 200 && said("YWNtZTpiYXR0ZXJ5IHN0YXBsZQ=="));
    assert!(!egret.log().contains("battery") && !egret.log().contains("horse"), "{}", egret.log());
}

#[test]
fn what_would_be_done_is_explained_without_the_secret() {
    let lab = Lab::new();
    let config = lab.configure_like("policy-authentication-basic", |text| {
        text.replace(
            "      inbound:\n",
            "      inbound:\n        - set-query-parameter: {name: key, value: \"{{partner-password}}\"}\n",
        )
    });
    let config = config.to_str().unwrap();
    let told = lab.cli(&["explain", "--config", config, "-H", "X-A: b", "http://api.partner.example/a?b=c"]);
    for part in
        ["partner (mode passthrough)", "192.0.2.10", "acme:***", "GET /a?b=c&key=***", "authorization: ***", "x-a: b"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("horse"), "{told}");
    let told = lab.cli(&["explain", "--config", config, "https://stranger.example/"]);
    assert!(told.contains("no API lists stranger.example and port 443"), "{told}");
    let told = lab.cli(&["explain", "--config", config, "-o", "json", "-X", "POST", "http://api.partner.example/"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["steps"][1]["policy"], "authentication-basic");
    assert_eq!(told["sent"]["start"], "POST /?key=***");
    let config = lab.configure_like("policy-check-header", |text| text);
    let config = config.to_str().unwrap();
    let why = lab.cli(&["explain", "--config", config, "-H", "X-Customer: east", "http://api.partner.example/"]);
    assert!(why.contains("fails: header_value_not_allowed (X-Customer is north or south)"), "{why}");
    assert!(why.contains("\n  400 Bad Request\n"), "{why}");
}

pub(crate) const PLAIN: &str = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n";

#[test]
fn a_changed_policy_holds_for_the_next_request_of_a_connection() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let policies = |value: &str| {
        let limit = "        - rate-limit: {calls: 1000, period: 1h, remaining_header: X-Left}\n";
        format!(
            "{PLAIN}    policies:\n      inbound:\n        - set-header: {{name: X-Version, value: {value}}}\n{limit}"
        )
    };
    let _egret = lab.egret(&lab.configure(&policies("one")), &[]);
    let program = r#"
import http.client, sys
c = http.client.HTTPConnection("api.partner.example", timeout=10)
for line in sys.stdin:
    c.request("GET", "/")
    r = c.getresponse()
    r.read()
    print(r.getheader("x-left"), c.sock.getsockname()[1], flush=True)
"#;
    let mut caller = lab.converse(program);
    let mut ask = || {
        caller.tell("");
        let line = caller.line();
        let (left, port) = line.split_once(' ').unwrap();
        (left.parse::<u32>().unwrap(), port.to_owned())
    };
    let (first, port) = ask();
    assert_eq!(first, 999);
    lab.configure(&policies("two"));
    let said = |version: &str| {
        let all: Vec<_> = partner.seen().into_iter().flat_map(|seen| seen.all).collect();
        String::from_utf8_lossy(&all).contains(&format!("x-version: {version}\r\n"))
    };
    let mut calls = 1;
    eventually("the change is live", || {
        let (left, still) = ask();
        calls += 1;
        assert_eq!((left, &still), (1000 - calls, &port), "the count and the connection go on");
        said("two")
    });
    assert!(said("one"));
}

#[test]
fn what_only_reports_changes_nothing() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let policies = "    policies:\n      inbound:\n        - {rate-limit: {calls: 1, period: 1h}, enabled: report}\n        - \
                    {set-header: {name: X-Not, value: a}, enabled: report}\n        - {return-response: {status: 403}, enabled: report}\n        - choose:\n            - when: \"true\"\n              \
                    then: [{return-response: {status: 403}}]\n          enabled: report\n";
    let _egret = lab.egret(&lab.configure(&format!("{PLAIN}{policies}")), &[]);
    for _ in 0..3 {
        assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    }
    assert!(partner.seen().iter().all(|seen| !String::from_utf8_lossy(&seen.all).contains("x-not")));
    let metrics = lab.run("curl", &["-s", "http://127.0.0.1:9464/metrics"]).stdout;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    let reports = "egret_policy_reports_total{api=\"partner\",policy=\"rate-limit\",reason=\"rate_limit_exceeded\"} 2";
    assert!(metrics.contains(reports), "{metrics}");
    assert!(metrics.contains("egret_requests_total{api=\"partner\",outcome=\"ok\"} 3"), "{metrics}");
}

#[test]
fn secrets_do_not_leave_in_the_clear() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let config =
        lab.configure_like("policy-authentication-basic", |text| text.replace("    backend: {scheme: https}\n", ""));
    let _egret = lab.egret(&config, &[]);
    let heard = String::from_utf8_lossy(&lab.run("curl", &["-s", "-m", "10", URL]).stdout).into_owned();
    assert!(heard.contains("\"reason\":\"secret_in_clear\"") && !heard.contains("horse"), "{heard}");
    assert_eq!(partner.seen().iter().map(|seen| seen.all.len()).sum::<usize>(), 0);
}

#[test]
fn policies_cannot_be_got_around_by_speaking_something_else() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Echo);
    let policies = "    policies:\n      inbound:\n        - set-header: {name: X-A, value: a}\n";
    let _egret = lab.egret(&lab.configure(&format!("{PLAIN}{policies}")), &[]);
    let program = r#"
import socket
s = socket.create_connection(("203.0.113.7", 80), timeout=10)
s.sendall(b"\x00\x01 not HTTP")
try:
    print(s.recv(100))
except ConnectionResetError:
    print("reset")
"#;
    assert_eq!(lab.python(program, &[]), "reset");
    assert_eq!(partner.seen(), []);
    eventually("the record says why", || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains("\"outcome\":\"not_http\"")
    });
}

#[test]
fn requests_are_shown_as_they_end() {
    let scene = scene("policy-rate-limit");
    let socket = scene.lab.socket();
    let egret = egret_tests::executable();
    let arguments = ["tail", "--socket", socket.to_str().unwrap(), "--count", "2", "--status", "429", "-o", "json"];
    let mut tail = scene.lab.gateway(egret.to_str().unwrap(), &arguments);
    let mut tail = tail.stdout(std::process::Stdio::piped()).spawn().unwrap();
    eventually("two refusals are shown", || {
        scene.curl(&["http://api.partner.example/prices?key=private"]);
        tail.try_wait().unwrap().is_some()
    });
    let output = tail.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(row["target"], "api.partner.example/prices", "no query: {text}");
    assert_eq!((&row["outcome"], &row["policy"]), (&"rate_limit_exceeded".into(), &"rate-limit".into()));
    assert!(row["total_us"].as_u64().unwrap() >= row["policies_us"].as_u64().unwrap());
}

#[test]
fn answers_are_kept_and_better_than_none() {
    let price = b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nVary: Accept\r\nContent-Length: 5\r\n\r\nprice";
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Answer(price, Then::GoesOn));
    let config = lab.configure_like("policy-cache", |text| {
        text.replace("    ports: [80]\n", "    ports: [80]\n    pool: {idle: 0}\n")
    });
    let egret = lab.egret(&config, &[]);
    let scene = Scene { lab, partner, _egret: egret };
    let prices = "http://api.partner.example/prices";
    let asked = || scene.partner.seen().iter().map(|seen| wire::requests(&seen.all).0.len()).sum::<usize>();
    let first = scene.curl(&[prices]);
    assert!(first.ends_with("\n\nprice") && !first.to_lowercase().contains("\nage:"), "{first}");
    // What is kept for a second is asked for again after it: until then once.
    let again = scene.curl(&[prices]);
    assert!(again.ends_with("\n\nprice"), "{again}");
    let different = [
        &["http://api.partner.example/prices?currency=EUR"][..],
        &["-H", "Accept-Language: de", prices],
        &["-H", "Accept: text/csv", prices],
    ];
    for arguments in different {
        let before = asked();
        scene.curl(arguments);
        assert_eq!(asked(), before + 1, "{arguments:?}");
    }
    for arguments in [&["http://api.partner.example/prices?debug=1"][..], &["-H", "If-None-Match: \"1\"", prices]] {
        eventually("the answer is fresh", || {
            let before = asked();
            let heard = scene.curl(arguments);
            asked() == before && heard.to_lowercase().contains("\nage: ")
        });
    }
    assert!(scene.curl(&["-H", "If-None-Match: \"1\"", prices]).starts_with("HTTP/1.1 304 "));
    let before = asked();
    scene.curl(&["-H", "Cache-Control: no-cache", prices]);
    scene.curl(&["-X", "POST", prices]);
    assert_eq!(asked(), before + 2);
    // What was kept may have been changed by the POST.
    assert!(scene.curl(&[prices]).ends_with("\n\nprice"));
    assert_eq!(asked(), before + 3);
    // The third party goes; what was kept is still there when it is fresh no longer.
    scene.lab.node_ip(&["route", "add", "unreachable", "203.0.113.7"]);
    eventually("it is given although nobody answers", || {
        let heard = scene.curl(&[prices]).to_lowercase();
        let age = heard.lines().find_map(|line| line.strip_prefix("age: ")).and_then(|age| age.parse::<u32>().ok());
        heard.ends_with("\n\nprice") && age.is_some_and(|age| age >= 2)
    });
}

#[test]
fn what_is_too_long_to_be_kept_is_passed_on() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\nabcdefgh\r\n0\r\n\r\n";
    let _partner = lab.third_party(ADDRESS, 80, Behaviour::Answer(chunked, Then::GoesOn));
    let config = lab.configure_like("policy-cache", |text| {
        text.replace("    ports: [80]\n", "    ports: [80]\n    max_body: 10\n")
    });
    let _egret = lab.egret(&config, &[]);
    assert_eq!(lab.curl("http://api.partner.example/prices"), (200, "12345678abcdefgh".to_owned()));
}

#[test]
fn values_are_kept_from_request_to_request() {
    let scene = scene("policy-cache-value");
    for arguments in [
        &["-H", "X-Tenant: a", "-H", "X-Region: eu", URL][..],
        &["-H", "X-Tenant: a", URL],
        &["-H", "X-Tenant: b", URL],
        &["-H", "X-Tenant: a", "-X", "DELETE", URL],
    ] {
        scene.curl(arguments);
    }
    let regions: Vec<_> = scene.seen().iter().map(|request| request.values("x-region").concat()).collect();
    assert_eq!(regions, ["eu", "eu", "nowhere", "nowhere"]);
}

#[test]
fn the_story_of_an_api() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let https = Behaviour::Https(pki.identity(&[NAME], &["http/1.1"]), vec![EGRESS.parse().unwrap()]);
    let partner = lab.third_party(ADDRESS, 443, https);
    let config = lab.configure_like("openapi", |text| {
        text.replace("{scheme: https}", &format!("{{tls: {{ca: {}}}}}", pki.ca())).replace("calls: 100", "calls: 4")
    });
    let egret = lab.egret(&config, &[]);
    let scene = Scene { lab, partner, _egret: egret };
    let call = |target: &str| scene.curl(&[&format!("http://api.partner.example{target}")]).to_lowercase();
    assert!(call("/v1/prices").contains("\nx-calls-left: 3\n"));
    let again = call("/v1/prices");
    assert!(again.contains("\nx-calls-left: 2\n") && again.contains("\nage: 0\n"), "a call, and kept: {again}");
    assert!(call("/v1/reports/q3.csv").starts_with("http/1.1 200 "));
    assert!(call("/v2/prices").contains("\"reason\":\"operation_not_found\""));
    assert!(call("/v1/prices/7").starts_with("http/1.1 200 "));
    assert!(call("/v1/prices/7").starts_with("http/1.1 429 "));
    let seen = scene.seen();
    let starts: Vec<_> = seen.iter().map(|request| request.start.as_str()).collect();
    assert_eq!(starts, ["GET /v1/prices HTTP/1.1", "GET /v1/reports/q3.csv HTTP/1.1", "GET /v1/prices/7 HTTP/1.1"]);
    assert!(seen.iter().all(|request| request.values("x-api-key") == ["k-123"]));
    assert_eq!(scene.partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    let told =
        scene.lab.cli(&["explain", "--config", config.to_str().unwrap(), "http://api.partner.example/v1/prices"]);
    for part in [
        "listPrices (/v1/prices)",
        "x-api-key: ***",
        "cache-lookup            miss",
        "cache-store             kept for 300s",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn requests_are_logged_where_that_was_chosen() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let _partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let config = lab.configure_like("policy-rate-limit", |text| text);
    let settings = config.join("lab.yaml");
    let text =
        std::fs::read_to_string(&settings).unwrap().replace("telemetry:\n", "telemetry:\n  log_requests: true\n");
    std::fs::write(settings, text).unwrap();
    let _egret = lab.egret(&config, &[]);
    for status in [200, 200, 429] {
        assert_eq!(lab.curl("http://api.partner.example/a?secret").0, status);
    }
    let mut requests: Vec<serde_json::Value> = Vec::new();
    eventually("three requests are in the log", || {
        let text = std::fs::read_to_string(lab.access_log()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        requests = lines.filter(|line| line["request"].is_object()).collect();
        requests.len() == 3
    });
    assert_eq!((&requests[0]["outcome"], &requests[0]["request"]["status"]), (&"ok".into(), &200.into()));
    assert_eq!(requests[2]["outcome"], "rate_limit_exceeded");
    assert_eq!(requests[2]["request"]["policy"], "rate-limit");
    assert_eq!(requests[2]["request"]["target"], "api.partner.example/a");
}

#[test]
fn a_product_is_for_those_who_have_subscribed() {
    let scene = scene("products");
    let heard = scene.curl(&[URL]);
    assert!(heard.starts_with("HTTP/1.1 401 ") && heard.contains("\"reason\":\"subscription_required\""), "{heard}");
    assert!(heard.contains("needs a subscription to large or small for partner: it has none"), "{heard}");
    let wrong = scene.curl(&["-H", "Egret-Subscription-Key: battery", URL]);
    assert!(wrong.starts_with("HTTP/1.1 401 ") && wrong.contains("none of theirs"), "{wrong}");
    assert_eq!(scene.seen(), []);
    assert!(scene.curl(&["-H", "Egret-Subscription-Key: correct horse", URL]).starts_with("HTTP/1.1 200 "));
    let request = scene.one();
    assert_eq!(request.values("x-team"), ["team-a (small)"]);
    assert_eq!(request.values("egret-subscription-key"), [""; 0]);
    let rows = scene.lab.json(&["inspect", "subscriptions"]);
    assert_eq!((&rows[0]["subscription"], &rows[0]["requests"]), (&"billing".into(), &0.into()));
    assert_eq!((&rows[1]["subscription"], &rows[1]["requests"]), (&"team-a".into(), &1.into()));
    // The other product's callers are known by their workload, and its policies are not those of the small one.
    let path = scene.lab.directory().join("egret.d/example.yaml");
    let text = std::fs::read_to_string(&path).unwrap().replace("billing.service", "workload.service");
    std::fs::write(path, text).unwrap();
    eventually("the change is live", || scene.curl(&[URL]).starts_with("HTTP/1.1 200 "));
    assert_eq!(scene.seen().last().unwrap().values("x-team"), [""; 0]);
}

#[test]
fn a_placeholder_becomes_the_secret() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let https = Behaviour::Https(pki.identity(&[NAME], &["http/1.1"]), vec![EGRESS.parse().unwrap()]);
    let partner = lab.third_party(ADDRESS, 443, https);
    let config = lab.configure_like("policy-replace-placeholder", |text| {
        text.replace("{scheme: https}", &format!("{{tls: {{ca: {}}}}}", pki.ca()))
    });
    let _egret = lab.egret(&config, &[]);
    let url = format!("{URL}a?b=c&key=PARTNER-KEY-HERE");
    let heard =
        lab.run("curl", &["-s", "-m", "10", "-H", "Authorization: Bearer PARTNER-KEY-HERE", "-H", "X-A: b", &url]);
    assert_eq!(String::from_utf8_lossy(&heard.stdout).trim(), EGRESS);
    let all: Vec<_> = partner.seen().into_iter().flat_map(|seen| seen.all).collect();
    let request = wire::requests(&all).0.remove(0);
    assert_eq!(request.start, "GET /a?b=c&key=correct%20horse HTTP/1.1");
    assert_eq!((request.values("authorization"), request.values("x-a")), (vec!["Bearer correct horse"], vec!["b"]));
    let config = config.to_str().unwrap();
    let told = lab.cli(&["explain", "--config", config, "-H", "Authorization: Bearer PARTNER-KEY-HERE", &url]);
    assert!(told.contains("authorization: ***") && told.contains("key=***") && !told.contains("horse"), "{told}");
}

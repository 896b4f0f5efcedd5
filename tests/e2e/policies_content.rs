//! Policies that look into messages, and at addresses, on the wire: what the third party saw, and what the caller.

use egret_tests::wire::{self, Message};
use egret_tests::{Behaviour, EGRESS, Egret, Lab, Then, ThirdParty, eventually};

const ADDRESS: &str = "203.0.113.7";
const NAME: &str = "api.partner.example";
const URL: &str = "http://api.partner.example/";

/// An example in force.
struct Scene {
    lab: Lab,
    partner: ThirdParty,
    _egret: Egret,
}

impl Scene {
    fn new(example: &str) -> Self {
        Self::with(example, Behaviour::Http(vec![EGRESS.parse().unwrap()]), |text| text)
    }

    fn with(example: &str, behaviour: Behaviour, edit: impl FnOnce(String) -> String) -> Self {
        let lab = Lab::new();
        lab.hosts(&[(ADDRESS, NAME)]);
        let partner = lab.third_party(ADDRESS, 80, behaviour);
        let egret = lab.egret(&lab.configure_like(example, edit), &[]);
        Self { lab, partner, _egret: egret }
    }

    /// What curl says, with the head of the answer.
    fn curl(&self, arguments: &[&str]) -> String {
        let output = self.lab.run("curl", &[&["-s", "-i", "-m", "10"], arguments].concat());
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
    }

    /// The requests that the third party saw.
    fn seen(&self) -> Vec<Message> {
        self.partner
            .seen()
            .iter()
            .flat_map(|seen| {
                let (requests, fault) = wire::requests(&seen.all);
                assert_eq!(fault, None);
                requests
            })
            .collect()
    }
}

#[test]
fn addresses_of_the_third_party_are_filtered() {
    let scene = Scene::new("policy-ip-filter");
    assert!(scene.curl(&[URL]).starts_with("HTTP/1.1 200 "));
    let config =
        scene.lab.configure_like("policy-ip-filter", |text| text.replace("203.0.113.0/28", "203.0.113.128/25"));
    eventually("the change is live", || {
        let heard = scene.curl(&[URL]);
        heard.starts_with("HTTP/1.1 403 ") && heard.contains("\"reason\":\"address_not_allowed\"")
    });
    let explain =
        |address: &str| scene.lab.cli(&["explain", "--config", config.to_str().unwrap(), "--address", address, URL]);
    assert!(explain("203.0.113.200").contains("203.0.113.200 matches"));
    assert!(explain("203.0.113.7").contains("partner may not be called at 203.0.113.7"));
    assert!(scene.seen().iter().all(|request| request.start == "GET / HTTP/1.1"));
}

const JSON: [&str; 2] = ["-H", "Content-Type: application/json"];

#[test]
fn bodies_are_compared_with_their_schema() {
    let prices = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n[{\"id\": 1, \"price\": \"one\"}]";
    let scene = Scene::with("policy-validate-content", Behaviour::Answer(prices, Then::GoesOn), |text| text);
    let order = |body: &str| scene.curl(&[&JSON[..], &["-d", body, "http://api.partner.example/orders"]].concat());
    let refused = order("{\"product\": \"s3cret\"}");
    assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("\nx-faults: 2\n"), "{refused}");
    assert!(refused.contains("\"reason\":\"content_not_valid\"") && refused.contains("/product: "), "{refused}");
    assert!(!refused.contains("s3cret"), "{refused}");
    assert!(order(&"x".repeat(2000)).contains("\"reason\":\"content_too_large\""));
    assert!(scene.curl(&["-d", "a=b", "http://api.partner.example/orders"]).contains("content_type_not_allowed"));
    assert_eq!(scene.seen(), []);
    let good = "{\"product\": \"AB-1\", \"count\": 2}";
    assert!(order(good).starts_with("HTTP/1.1 200 "));
    let seen = scene.seen();
    assert_eq!(seen.iter().map(|request| String::from_utf8_lossy(&request.body)).collect::<Vec<_>>(), [good]);
    // What is only detected goes on its way, and on record.
    let heard = scene.curl(&["http://api.partner.example/prices"]);
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.ends_with("\n\n[{\"id\": 1, \"price\": \"one\"}]"), "{heard}");
    let metrics = scene.lab.run("curl", &["-s", "http://127.0.0.1:9464/metrics"]).stdout;
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    let reports =
        "egret_policy_reports_total{api=\"partner\",policy=\"validate-content\",reason=\"content_not_valid\"} 1";
    assert!(metrics.contains(reports), "{metrics}");
}

#[test]
fn parameters_are_compared_with_the_partners_document() {
    let scene = Scene::new("policy-validate-parameters");
    for (target, header, told) in [
        ("prices/0?currency=EUR", "X-Odd: 1", "path parameter id is not as described"),
        ("prices/7", "X-Odd: 1", "query parameter currency is missing"),
        ("prices/7?currency=EUR&debug=1", "X-Odd: 1", "query parameter debug is not described"),
        ("prices/7?currency=EUR", "X-Trace: 1", "header x-trace is not as described"),
    ] {
        let heard = scene.curl(&["-H", header, &format!("http://api.partner.example/v1/{target}")]);
        assert!(heard.starts_with("HTTP/1.1 400 ") && heard.contains(told), "{heard}");
        assert!(heard.contains("\"reason\":\"parameter_not_valid\""), "{heard}");
    }
    let target = "/v1/prices/7?currency=EUR&tag=a&tag=b";
    let heard = scene.curl(&["-H", "X-Odd: 1", &format!("http://api.partner.example{target}")]);
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    let starts: Vec<_> = scene.seen().into_iter().map(|request| request.start).collect();
    assert_eq!(starts, [format!("GET {target} HTTP/1.1")]);
}

#[test]
fn heads_of_answers_are_compared_with_the_partners_document() {
    let answer = b"HTTP/1.1 200 OK\r\nServer: s\r\nX-Answered: yes\r\nContent-Length: 0\r\n\r\n";
    let scene = Scene::with("policy-validate-headers", Behaviour::Answer(answer, Then::GoesOn), |text| text);
    let heard = scene.curl(&["http://api.partner.example/prices"]);
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.to_lowercase().contains("\nx-answered: "), "{heard}");
    let heard = scene.curl(&["http://api.partner.example/limited"]);
    assert!(heard.starts_with("HTTP/1.1 502 ") && heard.contains("header x-left is missing"), "{heard}");
    let heard = scene.curl(&["http://api.partner.example/bare"]);
    assert!(heard.starts_with("HTTP/1.1 502 ") && heard.contains("header x-answered is not described"), "{heard}");
    assert!(
        !heard.to_lowercase().contains("\nx-answered: ") && heard.contains("\"reason\":\"header_not_valid\""),
        "{heard}"
    );
    assert_eq!(scene.seen().len(), 3, "it was asked each time");
}

#[test]
fn statuses_are_compared_with_the_partners_document() {
    let teapot = b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n";
    let scene = Scene::with("policy-validate-status-code", Behaviour::Answer(teapot, Then::GoesOn), |text| text);
    assert!(scene.curl(&["http://api.partner.example/prices"]).starts_with("HTTP/1.1 418 "), "4XX is named");
    let heard = scene.curl(&["http://api.partner.example/teapot"]);
    assert!(heard.starts_with("HTTP/1.1 502 ") && heard.contains("\"reason\":\"status_not_allowed\""), "{heard}");
    assert_eq!(scene.seen().len(), 2);
}

#[test]
fn json_leaves_as_xml() {
    let scene = Scene::new("policy-json-to-xml");
    let order = |body: &str, accept: &str| scene.curl(&[&JSON[..], &["-H", accept, "-d", body, URL]].concat());
    assert!(order("{\"id\": 7, \"items\": {\"item\": [\"a\", \"b\"]}}", "Accept: a/b").starts_with("HTTP/1.1 200 "));
    scene.curl(&["-d", "a=b", URL]);
    let seen = scene.seen();
    let bodies: Vec<_> = seen.iter().map(|request| String::from_utf8_lossy(&request.body)).collect();
    assert_eq!(bodies, ["<Order><id>7</id><items><item>a</item><item>b</item></items></Order>", "a=b"]);
    assert_eq!(seen[0].values("content-type"), ["application/xml"]);
    assert_eq!(seen[0].values("content-length"), [bodies[0].len().to_string()]);
    let refused = order("{", "Accept: text/xml");
    assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("\ncontent-type: application/xml\n"), "{refused}");
    assert!(
        refused.contains("<error><api>partner</api><by>egret</by>")
            && refused.contains("<reason>not_converted</reason>"),
        "{refused}"
    );
    assert!(order("{", "Accept: */*").contains("\"reason\":\"not_converted\""));
    assert_eq!(scene.seen().len(), 2);
}

#[test]
fn xml_comes_as_json() {
    let xml = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 37\r\n\r\n<s:p xmlns:s=\"u\" a=\"1\"><b>x</b></s:p>";
    let scene = Scene::with("policy-xml-to-json", Behaviour::Answer(xml, Then::GoesOn), |text| text);
    let heard = scene.curl(&["-H", "Accept: application/json", "http://api.partner.example/prices"]).to_lowercase();
    assert!(heard.ends_with("\n\n{\"p\":{\"a\":\"1\",\"b\":\"x\"}}"), "{heard}");
    for field in ["\ncontent-type: application/json\n", "\ncontent-length: 23\n", "\nvary: accept\n"] {
        assert!(heard.contains(field), "{field}: {heard}");
    }
    let heard = scene.curl(&["http://api.partner.example/prices"]);
    assert!(heard.ends_with("<b>x</b></s:p>"), "it did not ask for JSON: {heard}");
    let heard = scene.curl(&["http://api.partner.example/raw"]);
    assert!(heard.ends_with("{\"s:p\":{\"@xmlns:s\":\"u\",\"@a\":\"1\",\"b\":\"x\"}}"), "{heard}");
    assert_eq!(scene.seen().len(), 3);
}

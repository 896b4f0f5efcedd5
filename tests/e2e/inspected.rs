//! What policies remember can be seen, but for secrets.

use std::fs;

use egret_tests::{Behaviour, EGRESS, Lab, Then, eventually};
use serde_json::json;

const PLAIN: &str =
    "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    plain_secrets: true\n    policies:\n";

fn lab(apis: &str, behaviour: Behaviour) -> (Lab, egret_tests::ThirdParty, egret_tests::Egret) {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let partner = lab.third_party("203.0.113.7", 80, behaviour);
    fs::write(lab.directory().join("key"), "geheim").unwrap();
    let path = lab.configure(apis);
    let text = fs::read_to_string(&path).unwrap() + "values: {key: {file: key}}\n";
    let egret = lab.egret(&lab.write_config(&text), &[]);
    (lab, partner, egret)
}

#[test]
fn what_was_used_of_limits() {
    let policies = "      inbound:\n        - id: least\n          rate-limit-by-key: {calls: 4, period: 1h, key: request.path}\n        \
                    - quota: {calls: 2, period: 1d}\n        - limit-concurrency: {max: 5}\n";
    let allowed = Behaviour::Http(vec![EGRESS.parse().unwrap()]);
    let (lab, _partner, _egret) = lab(&format!("{PLAIN}{policies}"), allowed);
    assert_eq!(lab.json(&["inspect", "limits"]), json!([]));
    for (path, status) in [("a", 200), ("b", 200), ("a", 403)] {
        assert_eq!(lab.curl(&format!("http://api.partner.example/{path}")).0, status);
    }
    let rows = lab.json(&["inspect", "limits"]);
    let shown = |index: usize, names: [&str; 4]| json!(names.map(|name| rows[index][name].clone()));
    let counts = ["kind", "key", "used", "limit"];
    assert_eq!(rows.as_array().unwrap().len(), 3, "{rows}");
    assert_eq!(shown(0, ["kind", "used", "limit", "by"]), json!(["quota", 2, 2, null]));
    assert!(rows[0]["more_in_seconds"].as_f64().unwrap() <= 86_400.0);
    assert_eq!(shown(1, counts), json!(["rate-limit", "/a", 2, 4]));
    assert_eq!(shown(2, counts), json!(["rate-limit", "/b", 1, 4]));
    assert_eq!(shown(1, ["scope", "id", "by", "key"]), json!(["api partner", "least", "request.path", "/a"]));
    let socket = lab.socket();
    let table = lab.cli(&["inspect", "limits", "--limit", "1", "--socket", socket.to_str().unwrap()]);
    assert!(table.contains("quota") && table.contains("\nand 2 more: --limit 3 shows them\n"), "{table}");
}

#[test]
fn requests_that_are_on_their_way_are_counted_while_they_are() {
    let policies = "      inbound:\n        - limit-concurrency: {max: 5}\n";
    let half = Behaviour::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ", Then::GoesOn);
    let (lab, _partner, _egret) = lab(&format!("{PLAIN}{policies}"), half);
    let program = r#"
import socket, struct
s = socket.create_connection(("api.partner.example", 80), timeout=10)
s.sendall(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n\r\n")
s.recv(1)
print("begun", flush=True)
input()
# Gone, not only silent.
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.close()
print("gone", flush=True)
input()
"#;
    let mut caller = lab.converse(program);
    assert_eq!(caller.line(), "begun");
    let rows = lab.json(&["inspect", "limits"]);
    assert_eq!(
        (&rows[0]["kind"], &rows[0]["used"], &rows[0]["limit"]),
        (&"limit-concurrency".into(), &1.into(), &5.into())
    );
    caller.tell("");
    assert_eq!(caller.line(), "gone");
    eventually("it is gone", || lab.json(&["inspect", "limits"]).as_array().unwrap().is_empty());
}

#[test]
fn what_is_kept() {
    let policies = "      inbound:\n        - set-query-parameter: {name: key, value: \"{{key}}\"}\n        - cache-lookup: {}\n        \
                    - cache-store-value: {key: \"'tenant'\", value: \"'north'\", duration: 1h}\n      \
                    outbound:\n        - cache-store: {duration: 1h}\n";
    let price = b"HTTP/1.1 200 OK\r\nVary: Accept\r\nContent-Length: 5\r\n\r\nprice";
    let (lab, _partner, egret) = lab(&format!("{PLAIN}{policies}"), Behaviour::Answer(price, Then::GoesOn));
    for path in ["prices?a=b", "prices?a=b", "orders"] {
        assert_eq!(lab.curl(&format!("http://api.partner.example/{path}")), (200, "price".to_owned()));
    }
    let rows = lab.json(&["inspect", "caches"]);
    assert_eq!(rows.as_array().unwrap().len(), 3, "{rows}");
    let shown = |index: usize, names: [&str; 5]| json!(names.map(|name| rows[index][name].clone()));
    let facts = ["api", "key", "status", "bytes", "hits"];
    assert_eq!(shown(0, facts), json!(["partner", "GET api.partner.example/prices?a=b&key=***", 200, 5, 1]));
    assert_eq!(shown(1, facts), json!(["partner", "GET api.partner.example/orders?key=***", 200, 5, 0]));
    assert_eq!(shown(2, facts), json!(["partner", "tenant", null, 5, null]));
    assert_eq!(rows[0]["varies"], json!(["accept"]));
    assert!((3000..=3600).contains(&rows[0]["fresh_for_seconds"].as_u64().unwrap()));
    assert!(!rows.to_string().contains("geheim") && !egret.log().contains("geheim"));
}

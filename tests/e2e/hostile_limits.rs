//! One workload uses up what all callers of an API share: keys of limits, a circuit breaker. What another one sees.

use egret_tests::{Behaviour, EGRESS, Lab, eventually};

const OWN: &str = "203.0.113.7";
const OTHER: &str = "203.0.113.8";

/// Sends requests in rows, each with a key that there was not before; says how many had which status.
const KEYS: &str = r#"
import collections, socket, sys
count = int(sys.stdin.readline())
s = socket.create_connection(("203.0.113.8", 80), timeout=60)
lines = s.makefile("rb")
statuses = collections.Counter()
for start in range(0, count, 100):
    s.sendall(b"".join(b"GET /k HTTP/1.1\r\nHost: other.example\r\nX-Key: %d\r\n\r\n" % n for n in range(start, start + 100)))
    for _ in range(100):
        statuses[int(lines.readline().split()[1])] += 1
        length = 0
        while (line := lines.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        lines.read(length)
print(*(f"{status}:{count}" for status, count in sorted(statuses.items())), flush=True)
sys.stdin.readline()
"#;

#[test]
fn heavy_keys_that_one_owner_chooses_use_up_no_limit_of_others() {
    for (by_key, own, refused) in [
        (
            "rate-limit-by-key: {calls: 1, period: 1h, key: 'request.headers[\"x-key\"]'}",
            "rate-limit: {calls: 2, period: 1m}",
            429,
        ),
        ("quota-by-key: {calls: 1, key: 'request.headers[\"x-key\"]'}", "quota: {calls: 2, period: 1d}", 403),
    ] {
        let lab = Lab::new();
        lab.hosts(&[(OWN, "api.partner.example"), (OTHER, "other.example")]);
        let _partner = lab.third_party(OWN, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
        let _other = lab.third_party(OTHER, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
        let _egret = lab.egret(
            &lab.configure(&format!(
                "  - name: a\n    hosts: [other.example]\n    ports: [80]\n    policies: {{inbound: [{{{by_key}}}, {{return-response: {{status: 204}}}}]}}\n  \
                 - name: b\n    hosts: [api.partner.example]\n    ports: [80]\n    policies: {{inbound: [{{{own}}}]}}\n"
            )),
            &[],
        );
        let mut hostile = lab.converse(KEYS);
        hostile.tell("33000");
        // An owner's share of a limit's keys is 32,768: the further ones count together.
        assert_eq!(hostile.line(), format!("204:32769 {refused}:231"));
        for number in 0..3 {
            let victim = lab.pod("shop", &format!("victim{number}"));
            let calls: Vec<_> = (0..3).map(|_| victim.curl("http://api.partner.example/")[9..12].to_owned()).collect();
            assert_eq!(calls, ["200", "200", &refused.to_string()]);
            let key = format!("X-Key: of victim {number}");
            let called = { victim.command("curl", &["-s", "-i", "-m", "10", "-H", &key, "http://other.example/"]) };
            let called = { called }.output().unwrap();
            assert!(called.stdout.starts_with(b"HTTP/1.1 204 "), "a new key of another owner is its own");
        }
        if refused == 403 {
            let saved = || std::fs::read_to_string(lab.directory().join("state/quotas.json")).unwrap_or_default();
            eventually("the counts are saved, in parts", || saved().lines().count() >= 32_768);
            // One part a second: all are saved when nothing has come for longer than that.
            let mut rest = (0, 0);
            eventually("all are saved", || {
                let size = saved().len();
                rest = if size == rest.0 { (size, rest.1 + 1) } else { (size, 0) };
                rest.1 > 75
            });
            let before = saved().len();
            assert!(lab.pod("shop", "one more").curl("http://api.partner.example/").starts_with("HTTP/1.1 200 "));
            eventually("a change is saved", || saved().len() > before);
            assert!(saved().len() < before + 1000, "only what has changed is written");
        }
    }
}

#[test]
fn failures_that_one_owner_provokes_open_the_breaker_for_nobody_else() {
    const NO: &[u8] = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    const YES: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let lab = Lab::new();
    lab.hosts(&[(OWN, "api.partner.example"), (OTHER, "backend.partner.example")]);
    let _partner = lab.third_party(OWN, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let _backend = lab.third_party(OTHER, 80, Behaviour::in_turn(&[NO, NO, NO, YES]));
    let _egret = lab.egret(
        &lab.configure(
            "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies: {inbound: [{set-backend: b}]}\n\
             backends:\n  b: {url: 'http://backend.partner.example', circuit_breaker: {failures: 3, open: 1h}}\n",
        ),
        &[],
    );
    let statuses: Vec<_> = (0..5).map(|_| lab.curl("http://api.partner.example/").0).collect();
    assert_eq!(statuses, [500, 500, 500, 503, 503]);
    let victim = lab.pod("shop", "victim");
    for _ in 0..3 {
        assert!(victim.curl("http://api.partner.example/").starts_with("HTTP/1.1 200 "));
    }
}

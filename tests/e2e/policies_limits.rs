//! How much a caller may: in a short time, in a long one, and at once.

use egret_tests::{Behaviour, EGRESS, Lab, Then, eventually};

use crate::policies::{ADDRESS, NAME, URL, scene, scene_like, scene_with};

#[test]
fn calls_beyond_a_rate_are_refused() {
    let scene = scene("policy-rate-limit");
    let heard: Vec<_> = (0..3).map(|_| scene.curl(&[URL])).collect();
    assert!(
        heard[0].contains("\nx-calls-left: 1\nx-calls: 2\n") && heard[1].contains("\nx-calls-left: 0\n"),
        "{heard:?}"
    );
    assert!(
        heard[2].starts_with("HTTP/1.1 429 ") && heard[2].contains("\"reason\":\"rate_limit_exceeded\""),
        "{heard:?}"
    );
    let wait = heard[2].lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap().parse::<u32>().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(scene.seen().len(), 2);
}

#[test]
fn calls_are_counted_by_a_key() {
    let scene = scene("policy-rate-limit-by-key");
    let call = |customer: &str, method: &str| {
        let heard = scene.curl(&["-X", method, "-H", &format!("X-Customer: {customer}"), URL]);
        heard.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let statuses: Vec<_> = [("a", "POST"), ("a", "POST"), ("b", "POST"), ("a", "GET")]
        .map(|(customer, method)| call(customer, method))
        .to_vec();
    assert_eq!(statuses, ["200", "429", "200", "200"]);
}

#[test]
fn requests_at_once_are_bounded() {
    let scene = scene_with(
        "policy-limit-concurrency",
        Behaviour::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ", Then::GoesOn),
    );
    let program = r#"
import http.client, socket, struct, time
def ask():
    c = http.client.HTTPConnection("api.partner.example", timeout=10)
    c.request("GET", "/")
    sock = c.sock
    return sock, c.getresponse()
first, answer = ask()
_, refused = ask()
print(answer.status, refused.status, end=" ")
# Gone, not only silent.
first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
answer.close()
first.close()
until = time.monotonic() + 10
status = 0
while status != 200 and time.monotonic() < until:
    _, answer = ask()
    status = answer.status
print(status)
"#;
    assert_eq!(scene.lab.python(program, &[]), "200 429 200");
}

#[test]
fn a_limit_that_is_not_enforced_yet_says_whom_it_would_meet() {
    let scene = scene("policy-report");
    for _ in 0..2 {
        assert!(scene.curl(&[URL]).starts_with("HTTP/1.1 200 "));
    }
    let metrics = scene.lab.run("curl", &["-s", "http://127.0.0.1:9464/metrics"]).stdout;
    let reports = "egret_policy_reports_total{api=\"partner\",policy=\"rate-limit\",reason=\"rate_limit_exceeded\"} 1";
    assert!(String::from_utf8_lossy(&metrics).contains(reports), "{}", String::from_utf8_lossy(&metrics));
    assert_eq!(scene.seen().len(), 2);
}

#[test]
fn quotas_outlive_the_process() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME)]);
    let _partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let config = lab.configure_like("policy-quota", |text| text);
    let call = |customer: &str| {
        let output = lab.run("curl", &["-s", "-i", "-m", "10", "-H", &format!("X-Customer: {customer}"), URL]);
        String::from_utf8_lossy(&output.stdout).to_lowercase()
    };
    let egret = lab.egret(&config, &[]);
    assert!(call("a").contains("\r\nx-calls-left: 1\r\n"));
    egret.stop();
    let egret = lab.egret(&config, &[]);
    assert!(call("a").contains("\r\nx-calls-left: 0\r\n"));
    eventually("the count is saved", || {
        std::fs::read_to_string(lab.directory().join("state/quotas.json")).unwrap_or_default().contains("\"a\",2,")
    });
    egret.kill();
    let _egret = lab.egret(&config, &[]);
    let refused = call("a");
    assert!(refused.starts_with("http/1.1 403 ") && refused.contains("\"reason\":\"quota_exceeded\""), "{refused}");
    assert!(refused.contains("\r\nretry-after: "), "{refused}");
    assert!(call("b").contains("\r\nx-calls-left: 1\r\n"));
}

#[test]
fn two_limits_of_one_scope_count_on_their_own() {
    let scene = scene_like("policy-rate-limit", |text| {
        text.replace("        - rate-limit:", "        - rate-limit: {calls: 1, period: 1ms}\n        - rate-limit:")
    });
    let heard: Vec<_> = (0..3).map(|_| scene.curl(&[URL])).collect();
    assert!(heard[1].starts_with("HTTP/1.1 200 ") && heard[2].starts_with("HTTP/1.1 429 "), "{heard:?}");
    assert!(heard[2].contains("more than 2 calls in 10s"), "{heard:?}");
}

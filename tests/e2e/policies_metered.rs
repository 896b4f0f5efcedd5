//! What is known only when an answer has ended: its bytes, its tokens.

use egret_tests::{Behaviour, EGRESS, Egret, Lab, Then, ThirdParty, eventually, wire};

const URL: &str = "http://api.partner.example/v1/chat/completions";

fn scene(example: &str, behaviour: Behaviour) -> (Lab, ThirdParty, Egret) {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let partner = lab.third_party("203.0.113.7", 80, behaviour);
    let egret = lab.egret(&lab.configure_like(example, |text| text), &[]);
    (lab, partner, egret)
}

fn curl(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.run("curl", &[&["-s", "-i", "-m", "10"], arguments].concat());
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

fn metrics(lab: &Lab) -> String {
    let output = lab.gateway("curl", &["-s", "http://127.0.0.1:9464/metrics"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bytes_are_a_quota_of_both_ways() {
    let (lab, _partner, _egret) = scene("policy-quota-bytes", Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let body = "x".repeat(60);
    // 60 bytes there, 11 back; then 11 and 11 more.
    for arguments in [&["-d", &body, URL][..], &["-H", "Transfer-Encoding: chunked", "-d", &body, URL]] {
        let heard = curl(&lab, arguments);
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    }
    eventually("they are counted", || curl(&lab, &[URL]).contains("the quota of 100 bytes is used up"));
    assert!(curl(&lab, &[URL]).starts_with("HTTP/1.1 403 "));
}

#[test]
fn tokens_are_counted_when_an_answer_says_them() {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 55\r\n\r\n\
        {\"usage\": {\"prompt_tokens\": 9, \"completion_tokens\":12}}";
    let (lab, partner, _egret) = scene("policy-llm-token-limit", Behaviour::Answer(ANSWER, Then::GoesOn));
    let north = ["-H", "X-Team: north", "-H", "Accept-Encoding: gzip", URL];
    let heard = curl(&lab, &north);
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.contains("\nx-tokens-left: 20\n"), "{heard}");
    eventually("they are counted", || curl(&lab, &north).starts_with("HTTP/1.1 429 "));
    let heard = curl(&lab, &north);
    assert!(heard.contains("more than 20 tokens in a minute") && heard.contains("\nretry-after: "), "{heard}");
    assert!(curl(&lab, &["-H", "X-Team: south", URL]).starts_with("HTTP/1.1 200 "), "another team has its own");
    eventually("they are in the metrics", || {
        let text = metrics(&lab);
        ["{team=\"north\",kind=\"prompt\"} 9.0\n", "{team=\"south\",kind=\"completion\"} 12.0\n"]
            .iter()
            .all(|line| text.contains(&format!("egret_custom_llm_tokens_total{line}")))
    });
    let seen = String::from_utf8_lossy(&partner.seen()[0].all).to_ascii_lowercase();
    assert!(!seen.contains("accept-encoding"), "{seen}");
}

#[test]
fn tokens_of_a_stream_are_counted_as_it_passes() {
    const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n\
        data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\ndata: {\"choices\": [], \"usage\": {\"prompt_tokens\": 15, \
        \"completion_tokens\": 6}}\n\ndata: [DONE]\n\n";
    let (lab, _partner, _egret) = scene("policy-llm-token-limit", Behaviour::Answer(STREAM, Then::Ends));
    let heard = curl(&lab, &[URL]);
    assert!(heard.ends_with("data: [DONE]\n\n"), "{heard}");
    eventually("they are counted", || curl(&lab, &[URL]).starts_with("HTTP/1.1 429 "));
    eventually("they are in the metrics", || {
        metrics(&lab).contains("egret_custom_llm_tokens_total{team=\"\",kind=\"completion\"} 6.0\n")
    });
}

fn requests(party: &ThirdParty) -> usize {
    party.seen().iter().map(|seen| wire::requests(&seen.all).0.len()).sum()
}

const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const BROKEN: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
const UNKNOWN: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";

#[test]
fn what_the_partner_did_not_do_is_not_paid_for() {
    let (lab, partner, _egret) = scene("policy-limits-by-answer", Behaviour::in_turn(&[GOOD, BROKEN, GOOD]));
    let call = |orders: &str| {
        let heard = curl(&lab, &["-H", &format!("X-Orders: {orders}"), "-H", &format!("X-User: {orders}"), URL]);
        let left = heard.lines().find_map(|line| line.strip_prefix("x-calls-left: ")).map(ToOwned::to_owned);
        (heard.split(' ').nth(1).unwrap_or_default().to_owned(), left.unwrap_or_default())
    };
    let is = |status: &str, left: &str| (status.to_owned(), left.to_owned());
    assert_eq!(call("1"), is("200", "2"));
    assert_eq!(call("2"), is("500", "0"), "it counts until the answer is known");
    assert_eq!(call("3"), is("403", ""), "more than are left");
    assert_eq!(call("2"), is("200", "0"));
    assert_eq!(call("1"), is("403", ""));
    assert_eq!(call("0"), is("200", "0"), "what counts as none is let through");
    assert_eq!(requests(&partner), 4);
    let limits = lab.json(&["inspect", "limits"]);
    let used: Vec<_> =
        limits.as_array().unwrap().iter().map(|row| (row["kind"].clone(), row["used"].clone())).collect();
    assert_eq!(used, [(serde_json::json!("quota"), serde_json::json!(3))], "{limits}");
}

#[test]
fn who_fails_too_often_is_not_let_try_again() {
    let (lab, partner, _egret) = scene("policy-limits-by-answer", Behaviour::in_turn(&[GOOD, UNKNOWN, UNKNOWN, GOOD]));
    let call = |user: &str| {
        let heard = curl(&lab, &["-H", &format!("X-User: {user}"), URL]);
        heard.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let statuses = ["a", "a", "a", "a", "b", "a"].map(call);
    assert_eq!(statuses, ["200", "401", "401", "429", "200", "429"]);
    assert_eq!(requests(&partner), 4);
}

/// Nobody listens there.
#[test]
fn a_partner_that_is_not_there_is_not_paid() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _egret = lab.egret(&lab.configure_like("policy-limits-by-answer", |text| text), &[]);
    for _ in 0..4 {
        assert_eq!(lab.curl(URL).0, 0, "as without us, and never 403");
    }
    let limits = lab.json(&["inspect", "limits"]);
    assert!(limits.as_array().unwrap().iter().all(|row| row["used"] == 0), "{limits}");
}

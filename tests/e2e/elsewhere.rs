//! Requests to others than the third party: what they saw, and from where.

use egret_tests::wire::{self, Message};
use egret_tests::{Behaviour, EGRESS, Egret, Lab, Then, ThirdParty, eventually};

const NAME: &str = "api.partner.example";
const PARTNER: &str = "203.0.113.7";
const URL: &str = "http://api.partner.example/orders/1";

/// What they who are asked say.
const LOW: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"level\": \"low\"}";
const HIGH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"level\": \"high\"}";
const SEVEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7";
const NO: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

fn egress() -> Behaviour {
    Behaviour::Http(vec![EGRESS.parse().unwrap()])
}

fn start(lab: &Lab, example: &str) -> Egret {
    lab.egret(&lab.configure_like(example, |text| text), &[])
}

fn curl(lab: &Lab, arguments: &[&str]) -> String {
    let output = lab.run("curl", &[&["-s", "-i", "-m", "10"], arguments].concat());
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

fn requests(party: &ThirdParty) -> Vec<Message> {
    assert!(party.sources().iter().all(|source| source.to_string() == EGRESS), "{:?}", party.sources());
    party.seen().into_iter().flat_map(|seen| wire::requests(&seen.all).0).collect()
}

#[test]
fn another_service_is_asked_first() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "risk.acme.example")]);
    let partner = lab.third_party(PARTNER, 80, egress());
    let risk = lab.third_party("203.0.113.8", 80, Behaviour::Answer(LOW, Then::Ends));
    let _egret = start(&lab, "policy-send-request");
    let heard = curl(&lab, &["-H", "X-Customer: north", URL]);
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    assert_eq!(requests(&partner)[0].values("x-risk"), ["low"]);
    let asked = requests(&risk).remove(0);
    assert_eq!(asked.start, "POST /check?customer=north HTTP/1.1");
    assert_eq!(asked.values("host"), ["risk.acme.example"]);
    assert_eq!(String::from_utf8_lossy(&asked.body), "{\"path\": \"/orders/1\", \"by\": \"curl\"}");
}

#[test]
fn a_request_waits_for_the_word_of_another_service() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "risk.acme.example")]);
    let partner = lab.third_party(PARTNER, 80, egress());
    let _egret = start(&lab, "policy-send-request");
    // Nobody is there.
    let heard = curl(&lab, &[URL]);
    assert!(heard.starts_with("HTTP/1.1 502 ") && heard.contains("no answer of http://risk.acme.example"), "{heard}");
    let _risk = lab.third_party("203.0.113.8", 80, Behaviour::Answer(HIGH, Then::Ends));
    let heard = curl(&lab, &[URL]);
    assert!(heard.starts_with("HTTP/1.1 403 ") && heard.ends_with("not for this customer\n"), "{heard}");
    assert_eq!(requests(&partner), []);
}

#[test]
fn a_copy_goes_to_the_audit_log_and_nobody_waits() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "audit.acme.example")]);
    let partner = lab.third_party(PARTNER, 80, egress());
    let _egret = start(&lab, "policy-send-one-way-request");
    // The audit log is not there yet.
    assert!(curl(&lab, &["-d", "an order", URL]).starts_with("HTTP/1.1 200 "));
    let audit = lab.third_party("203.0.113.8", 80, egress());
    assert!(curl(&lab, &["-d", "an order", URL]).starts_with("HTTP/1.1 200 "));
    eventually("the audit log has it", || requests(&audit).iter().any(|request| request.body == b"an order"));
    let told = requests(&audit).remove(0);
    // The first one may have been on its way still.
    assert!(
        ["POST /orders/1-1 HTTP/1.1", "POST /orders/2-1 HTTP/1.1"].contains(&told.start.as_str()),
        "{}",
        told.start
    );
    assert_eq!(told.values("x-workload"), ["curl"]);
    assert_eq!(requests(&partner).len(), 2);
}

#[test]
fn several_are_asked_at_once() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "stock.acme.example"), ("203.0.113.9", "tax.acme.example")]);
    let partner = lab.third_party(PARTNER, 80, egress());
    let _stock = lab.third_party("203.0.113.8", 80, Behaviour::Answer(SEVEN, Then::Ends));
    let _egret = start(&lab, "policy-wait");
    assert!(curl(&lab, &[URL]).starts_with("HTTP/1.1 200 "));
    let request = requests(&partner).remove(0);
    assert_eq!((request.values("x-stock"), request.values("x-tax")), (vec!["7"], vec!["unknown"]));
}

#[test]
fn requests_go_to_another_backend() {
    let lab = Lab::new();
    lab.hosts(&[
        (PARTNER, NAME),
        ("203.0.113.8", "sandbox.partner.example"),
        ("203.0.113.9", "one.partner.example"),
        ("203.0.113.10", "two.partner.example"),
        ("203.0.113.11", "far.partner.example"),
    ]);
    let partner = lab.third_party(PARTNER, 80, egress());
    let sandbox = lab.third_party("203.0.113.8", 80, egress());
    let one = lab.third_party("203.0.113.9", 80, Behaviour::Answer(NO, Then::GoesOn));
    let two = lab.third_party("203.0.113.10", 80, egress());
    let far = lab.third_party("203.0.113.11", 80, egress());
    let _egret = start(&lab, "policy-set-backend");
    assert!(curl(&lab, &["-H", "X-Test: 1", "http://api.partner.example/a?b=c"]).starts_with("HTTP/1.1 200 "));
    let request = requests(&sandbox).remove(0);
    assert_eq!(request.start, "GET /v2/a?b=c HTTP/1.1");
    assert_eq!(request.values("host"), ["sandbox.partner.example"]);
    // The first site fails: each request is sent again to the second, and after two failures none comes to the first.
    for _ in 0..8 {
        assert!(curl(&lab, &[URL]).starts_with("HTTP/1.1 200 "));
    }
    assert_eq!((requests(&one).len(), requests(&two).len(), requests(&far).len()), (2, 8, 0));
    let rows = lab.json(&["inspect", "backends"]);
    let row = |member: &str| rows.as_array().unwrap().iter().find(|row| row["member"] == member).unwrap().clone();
    assert_eq!(row("http://one.partner.example")["breaker"], "open");
    assert_eq!(row("http://two.partner.example")["requests"], 8);
    assert_eq!(requests(&partner), [], "the third party's own servers are not asked");
}

#[test]
fn a_token_is_fetched_once_for_all() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "login.partner.example")]);
    let pki = lab.pki();
    let partner =
        lab.third_party(PARTNER, 443, Behaviour::Https(pki.identity(&[NAME], &[]), vec![EGRESS.parse().unwrap()]));
    const TOKEN: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n{\"access_token\":\"t0k3n\",\"expires_in\":3600}";
    let login = pki.identity(&["login.partner.example"], &[]);
    let login = lab.third_party("203.0.113.8", 443, Behaviour::AnswerTls(login, TOKEN));
    let ca = pki.ca().to_owned();
    let config = lab.configure_like("policy-authentication-oauth2", |text| {
        text.replace("{scheme: https}", &format!("{{tls: {{ca: {ca}}}}}"))
            .replace("scope: prices.read", &format!("scope: prices.read\n            tls: {{ca: {ca}}}"))
    });
    let egret = lab.egret(&config, &[]);
    for _ in 0..3 {
        assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    }
    assert!(requests(&partner).iter().all(|request| request.values("authorization") == ["Bearer t0k3n"]));
    let asked = requests(&login);
    assert_eq!(asked.len(), 1, "once");
    assert_eq!(asked[0].start, "POST /oauth2/token HTTP/1.1");
    assert_eq!(asked[0].values("authorization"), ["Basic YWNtZTpjb3JyZWN0JTIwaG9yc2U="]);
    assert_eq!(asked[0].body, b"grant_type=client_credentials&scope=prices.read");
    let told = lab.cli(&["explain", "--config", config.to_str().unwrap(), URL]);
    assert!(told.contains("authorization: ***") && !told.contains("horse"), "{told}");
    assert!(!egret.log().contains("t0k3n") && !egret.log().contains("horse"), "{}", egret.log());
}

const TOKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"access_token\": \"t0k3n\"}  ";
const TOKEN_AND_NEXT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 71\r\n\r\n\
    {\"access_token\": \"t0k3n\", \"expires_in\": 1, \"refresh_token\": \"the-next\"}";

/// A partner and its login server, which gives this, over TLS; and the example that asks it.
fn with_login(lab: &Lab, example: &str, gives: &'static [u8]) -> (ThirdParty, ThirdParty, std::path::PathBuf) {
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "login.partner.example")]);
    let pki = lab.pki();
    let https = Behaviour::Https(pki.identity(&[NAME], &[]), vec![EGRESS.parse().unwrap()]);
    let partner = lab.third_party(PARTNER, 443, https);
    let login = Behaviour::AnswerTls(pki.identity(&["login.partner.example"], &[]), gives);
    let login = lab.third_party("203.0.113.8", 443, login);
    let ca = pki.ca();
    let config = lab.configure_like(example, |text| {
        text.replace("{scheme: https}", &format!("{{tls: {{ca: {ca}}}}}"))
            .replace("scope: prices.read", &format!("scope: prices.read\n            tls: {{ca: {ca}}}"))
    });
    (partner, login, config)
}

/// The fields of a form.
fn form(body: &[u8]) -> std::collections::BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body).replace("%3A", ":");
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn a_service_account_signs_who_it_is() {
    let lab = Lab::new();
    let (partner, login, config) = with_login(&lab, "policy-authentication-oauth2-key", TOKEN);
    let egret = lab.egret(&config, &[]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    assert_eq!(requests(&partner)[0].values("authorization"), ["Bearer t0k3n"]);
    let asked = requests(&login).remove(0);
    assert!(asked.values("authorization").is_empty(), "{asked:?}");
    let form = form(&asked.body);
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(form.keys().collect::<Vec<_>>(), ["assertion", "grant_type"]);
    // Who checks it is a program of another hand.
    let key = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../config/examples/policy-authentication-oauth2-key.key");
    let program = r#"
import base64, json, subprocess, sys, tempfile
token, key = sys.argv[1:]
head, claims, signature = token.split(".")
bytes_of = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
raw = bytes_of(signature)
def integer(part):
    part = part.lstrip(b"\0")
    part = b"\0" + part if part[0] & 0x80 else part
    return b"\2" + bytes([len(part)]) + part
body = integer(raw[:32]) + integer(raw[32:])
with tempfile.NamedTemporaryFile() as public, tempfile.NamedTemporaryFile() as signed:
    public.write(subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], capture_output=True, check=True).stdout)
    signed.write(b"0" + bytes([len(body)]) + body)
    public.flush(); signed.flush()
    check = ["openssl", "dgst", "-sha256", "-verify", public.name, "-signature", signed.name]
    said = subprocess.run(check, input=f"{head}.{claims}".encode(), capture_output=True).stdout.decode().strip()
claims = json.loads(bytes_of(claims))
print(said, json.loads(bytes_of(head))["kid"], claims["iss"], claims["aud"], claims["scope"], claims["exp"] - claims["iat"])
"#;
    let told = lab.python(program, &[&form["assertion"], key.to_str().unwrap()]);
    let wanted = "Verified OK key-1 prices@acme.example https://login.partner.example/oauth2/token prices.read 300";
    assert_eq!(told, wanted);
    assert!(!egret.log().contains("t0k3n"), "{}", egret.log());
}

#[test]
fn a_refresh_token_that_was_given_is_the_next_one_after_a_restart_too() {
    let lab = Lab::new();
    let (partner, login, config) = with_login(&lab, "policy-authentication-oauth2-refresh", TOKEN_AND_NEXT);
    let told = |login: &ThirdParty| {
        let asked = requests(login);
        asked.iter().map(|asked| form(&asked.body)["refresh_token"].clone()).collect::<Vec<_>>()
    };
    let egret = lab.egret(&config, &[]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    let asked = form(&requests(&login)[0].body);
    assert_eq!([&asked["grant_type"], &asked["client_id"]], ["refresh_token", "acme"]);
    assert_eq!(told(&login), ["first-consent"]);
    eventually("the token is over", || {
        assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
        told(&login).get(1).is_some_and(|token| token == "the-next")
    });
    egret.stop();
    let kept = lab.directory().join("state/refresh-tokens.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&kept).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let before = told(&login).len();
    let egret = lab.egret(&config, &[]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    assert_eq!(told(&login)[before..], ["the-next"]);
    egret.stop();
    // Another consent is another beginning.
    std::fs::write(lab.directory().join("egret.d/policy-authentication-oauth2-refresh.token"), "second-consent")
        .unwrap();
    let before = told(&login).len();
    let egret = lab.egret(&config, &[]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    assert_eq!(told(&login)[before..], ["second-consent"]);
    assert!(requests(&partner).iter().all(|request| request.values("authorization") == ["Bearer t0k3n"]));
    for secret in ["t0k3n", "the-next", "consent"] {
        assert!(!egret.log().contains(secret), "{}", egret.log());
    }
}

#[test]
fn what_another_service_gives_is_as_secret_as_the_key_for_it() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "login.partner.example")]);
    let pki = lab.pki();
    let partner =
        lab.third_party(PARTNER, 443, Behaviour::Https(pki.identity(&[NAME], &[]), vec![EGRESS.parse().unwrap()]));
    const SESSION: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"token\": \"t0k3n\"} ";
    let login = pki.identity(&["login.partner.example"], &[]);
    let login = lab.third_party("203.0.113.8", 443, Behaviour::AnswerTls(login, SESSION));
    let ca = pki.ca().to_owned();
    let config = lab.configure_like("policy-secret-variable", |text| {
        text.replace("{scheme: https}", &format!("{{tls: {{ca: {ca}}}}}")).replace(
            "secret: true\n                - set",
            &format!("secret: true\n                    tls: {{ca: {ca}}}\n                - set"),
        )
    });
    let egret = lab.egret(&config, &[]);
    let told = lab.json(&["explain", "--send", URL]);
    assert_eq!(told["answered"]["start"], "200 OK", "{told}");
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    let seen = requests(&partner);
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.values("authorization") == ["Bearer t0k3n"]));
    let asked = requests(&login);
    assert_eq!(asked.len(), 1, "once");
    assert_eq!(asked[0].body, b"{\"key\": \"correct horse\"}");
    let steps: Vec<_> = told["steps"].as_array().unwrap().iter().filter_map(|step| step["did"].as_str()).collect();
    assert!(steps.contains(&"token = ***") && steps.contains(&"authorization: Bearer ***"), "{steps:?}");
    let caches = lab.json(&["inspect", "caches"]);
    for text in [told.to_string(), caches.to_string(), egret.log()] {
        assert!(!text.contains("t0k3n") && !text.contains("horse"), "{text}");
    }
}

#[test]
fn who_gets_no_token_is_told_why() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "login.partner.example")]);
    let pki = lab.pki();
    let partner =
        lab.third_party(PARTNER, 443, Behaviour::Https(pki.identity(&[NAME], &[]), vec![EGRESS.parse().unwrap()]));
    const REFUSED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 26\r\n\r\n{\"error\":\"invalid_client\"}";
    let login = pki.identity(&["login.partner.example"], &[]);
    let _login = lab.third_party("203.0.113.8", 443, Behaviour::AnswerTls(login, REFUSED));
    let ca = pki.ca().to_owned();
    let _egret = lab.egret(
        &lab.configure_like("policy-authentication-oauth2", |text| {
            text.replace("{scheme: https}", &format!("{{tls: {{ca: {ca}}}}}"))
                .replace("scope: prices.read", &format!("scope: prices.read\n            tls: {{ca: {ca}}}"))
        }),
        &[],
    );
    let heard = curl(&lab, &[URL]);
    assert!(heard.starts_with("HTTP/1.1 502 ") && heard.contains("\"reason\":\"no_token\""), "{heard}");
    assert!(heard.contains("401 Unauthorized invalid_client"), "{heard}");
    assert_eq!(requests(&partner), []);
}

/// Below the partner's API: what its policies are.
fn policed(backends: &str, api: &str) -> String {
    format!(
        "version: 1\negress:\n  addresses: [{EGRESS}]\nbackends:\n{backends}apis:\n  - name: partner\n    hosts: [{NAME}]\n{api}"
    )
}

#[test]
fn who_is_ill_gets_no_requests() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "one.example"), ("203.0.113.9", "two.example")]);
    let one = lab.third_party("203.0.113.8", 80, Behaviour::Answer(NO, Then::GoesOn));
    let two = lab.third_party("203.0.113.9", 80, egress());
    let backends = "  sites:\n    pool: [{url: http://one.example}, {url: http://two.example}]\n    \
                    health: {path: /health, interval: 1s}\n";
    let api = "    ports: [80]\n    policies: {inbound: [{set-backend: sites}]}\n";
    let _egret = lab.egret(&lab.configure_like("policy-set-backend", |_| policed(backends, api)), &[]);
    eventually("both are asked how they are", || {
        let rows = lab.json(&["inspect", "backends"]);
        rows[0]["ill"] == "503 Service Unavailable" && !requests(&two).is_empty()
    });
    for _ in 0..4 {
        assert!(curl(&lab, &[URL]).starts_with("HTTP/1.1 200 "));
    }
    assert!(requests(&one).iter().all(|request| request.start == "GET /health HTTP/1.1"));
}

#[test]
fn a_secret_does_not_go_to_a_backend_in_the_clear() {
    let lab = Lab::new();
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "one.example")]);
    let pki = lab.pki();
    let one = lab.third_party("203.0.113.8", 80, egress());
    let api = format!(
        "    ports: [80]\n    backend: {{tls: {{ca: {}}}}}\n    policies:\n      inbound:\n        \
         - set-header: {{name: X-Key, value: \"{{{{key}}}}\"}}\n        - set-backend: one\n",
        pki.ca()
    );
    let text = policed("  one: {url: http://one.example}\nvalues:\n  key: {file: key}\n", &api);
    let config = lab.configure_like("policy-set-backend", |_| text);
    std::fs::write(config.join("key"), "correct horse\n").unwrap();
    let _egret = lab.egret(&config, &[]);
    let heard = curl(&lab, &[URL]);
    assert!(heard.starts_with("HTTP/1.1 500 ") && heard.contains("\"reason\":\"secret_in_clear\""), "{heard}");
    assert_eq!(requests(&one), []);
}

#[test]
fn what_came_as_http2_goes_to_a_backend_that_speaks_http1() {
    let lab = Lab::new();
    let (pki, _nginx, _) = crate::intercept::nginx(&lab, "");
    lab.hosts(&[(PARTNER, NAME), ("203.0.113.8", "one.example"), ("203.0.113.9", "two.example")]);
    let one = lab.third_party("203.0.113.8", 80, egress());
    let two = pki.identity(&["two.example"], &["http/1.1"]);
    let two = lab.third_party("203.0.113.9", 443, Behaviour::Https(two, vec![EGRESS.parse().unwrap()]));
    let backends =
        format!("  one: {{url: http://one.example}}\n  two: {{url: https://two.example, tls: {{ca: {}}}}}\n", pki.ca());
    let api = format!(
        "    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n    policies:\n      inbound:\n        - choose:\n            \
         - {{when: 'request.path == \"/one\"', then: [{{set-backend: one}}]}}\n            \
         - {{when: 'request.path == \"/two\"', then: [{{set-backend: two}}]}}\n",
        pki.ca()
    );
    let _egret = lab.egret(&lab.configure_like("policy-set-backend", |_| policed(&backends, &api)), &[]);
    let ca = lab.directory().join("egret-ca.pem");
    let url = |path: &str| format!("https://{NAME}/{path}");
    let (first, second, third) = (url("one"), url("two"), url("three"));
    let ca = ca.to_str().unwrap();
    let heard = curl(&lab, &["--http2", "--cacert", ca, "-d", "body", &first, &second]);
    assert_eq!(heard.matches("HTTP/2 200 \n").count(), 2, "{heard}");
    let heard = curl(&lab, &["--http2", "--cacert", ca, &third]);
    assert!(heard.ends_with(&format!("{EGRESS} HTTP/2.0\n")), "the third party's own: {heard}");
    for (party, path, host) in [(&one, "/one", "one.example"), (&two, "/two", "two.example")] {
        let request = requests(party).remove(0);
        assert_eq!(request.start, format!("POST {path} HTTP/1.1"));
        assert_eq!((request.values("host"), &request.body[..]), (vec![host], &b"body"[..]));
    }
}

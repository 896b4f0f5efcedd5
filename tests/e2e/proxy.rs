//! Through the company's proxy: a real one, which the third party sees, and which sees the egress address.

use egret_tests::{Behaviour, EGRESS, Lab, Service, Then, ThirdParty, eventually};

const PROXY: &str = "203.0.113.3";
const PARTNER: &str = "203.0.113.7";
const FILES: &str = "203.0.113.8";
const BANK: &str = "203.0.113.9";
const RISK: &str = "203.0.113.10";
const PORT: u16 = 3128;

fn lab() -> Lab {
    let lab = Lab::new();
    lab.hosts(&[
        (PROXY, "proxy.acme.example"),
        (PARTNER, "api.partner.example"),
        (FILES, "files.partner.example"),
        (BANK, "api.bank.example"),
        (RISK, "risk.internal.example"),
    ]);
    lab
}

/// tinyproxy, which asks for a password.
fn tinyproxy(lab: &Lab, password: &str) -> Service {
    let log = log_file(lab);
    let text = format!(
        "Port {PORT}\nListen {PROXY}\nBind {PROXY}\nTimeout 60\nMaxClients 50\nLogLevel Connect\nLogFile \"{}\"\n\
         ConnectPort 80\nConnectPort 443\nBasicAuth egret {password}\n",
        log.display()
    );
    let config = lab.directory().join("tinyproxy.conf");
    std::fs::write(&config, text).unwrap();
    lab.outside_service(PORT, "tinyproxy", &["-d", "-c", config.to_str().unwrap()])
}

fn log_file(lab: &Lab) -> std::path::PathBuf {
    lab.directory().join("tinyproxy.log")
}

/// Allow-lists this source.
fn http(lab: &Lab, address: &str, source: &str) -> ThirdParty {
    lab.third_party(address, 80, Behaviour::Http(vec![source.parse().unwrap()]))
}

fn outcomes(lab: &Lab) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(lab.access_log()).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn is_on_record(lab: &Lab, outcome: &str) {
    eventually("it is on record", || outcomes(lab).iter().any(|line| line["outcome"] == outcome));
}

#[test]
fn requests_leave_through_the_proxy_but_for_those_that_are_excepted() {
    let lab = lab();
    let _proxy = tinyproxy(&lab, "correct-horse");
    let partner = http(&lab, PARTNER, PROXY);
    let bank = http(&lab, BANK, EGRESS);
    let risk =
        lab.third_party(RISK, 80, Behaviour::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlow", Then::GoesOn));
    let _egret = lab.egret(&lab.configure_like("proxy", |text| text), &[]);
    assert_eq!(lab.curl("http://api.partner.example/"), (200, PROXY.to_owned()));
    let seen = String::from_utf8_lossy(&partner.seen()[0].all).into_owned();
    assert!(seen.contains("x-risk: low\r\n") && seen.starts_with("GET / HTTP/1.1\r\n"), "{seen}");
    assert!(!seen.to_ascii_lowercase().contains("proxy"), "what is for the proxy is not the partner's: {seen}");
    assert_eq!(risk.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()], "what is excepted is reached straight");
    assert_eq!(lab.curl("http://api.bank.example/"), (200, EGRESS.to_owned()));
    assert_eq!(bank.seen().len(), 1);
    let log = std::fs::read_to_string(log_file(&lab)).unwrap();
    assert!(log.contains(EGRESS), "the proxy sees the egress address: {log}");
    assert!(log.contains("CONNECT api.partner.example:80 HTTP/1.1") && !log.contains("bank"), "{log}");
    eventually("the record says through what", || {
        outcomes(&lab).iter().any(|line| line["proxy"] == "corporate" && line["upstream"] == format!("{PROXY}:{PORT}"))
    });
    let apis = lab.json(&["inspect", "apis"]);
    assert_eq!(apis[0]["proxy"], "corporate (http://proxy.acme.example:3128)", "{apis}");
    assert_eq!(apis[2]["proxy"], serde_json::Value::Null, "{apis}");
}

#[test]
fn tls_of_the_application_passes_through_it() {
    let lab = lab();
    let _proxy = tinyproxy(&lab, "correct-horse");
    let pki = lab.pki();
    let identity = pki.identity(&["files.partner.example"], &[]);
    let files = lab.third_party(FILES, 443, Behaviour::Https(identity, vec![PROXY.parse().unwrap()]));
    let _egret = lab.egret(&lab.configure_like("proxy", |text| text), &[]);
    let output = lab.run("curl", &["-s", "-m", "20", "--cacert", pki.ca(), "https://files.partner.example/"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), PROXY);
    assert_eq!(files.seen().len(), 1);
}

#[test]
fn intercepted_requests_leave_through_it() {
    let lab = lab();
    let _proxy = tinyproxy(&lab, "correct-horse");
    let pki = lab.pki();
    let identity = pki.identity(&["files.partner.example"], &["http/1.1"]);
    let files = lab.third_party(FILES, 443, Behaviour::Https(identity, vec![PROXY.parse().unwrap()]));
    let intercepted =
        format!("hosts: [files.partner.example]\n    mode: intercept\n    backend: {{tls: {{ca: {}}}}}", pki.ca());
    let edit = |text: String| {
        text.replace("hosts: [files.partner.example]", &intercepted).replace("    opaque_ports: [2121]\n", "")
    };
    let _egret = lab.egret(&lab.configure_like("proxy", edit), &[]);
    let ca = lab.directory().join("egret-ca.pem");
    let arguments = ["-s", "-m", "20", "--cacert", ca.to_str().unwrap(), "https://files.partner.example/"];
    let output = lab.run("curl", &arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), PROXY);
    assert_eq!(files.seen().len(), 1);
}

#[test]
fn what_the_third_party_says_first_is_not_lost() {
    let lab = lab();
    // Both in one segment: where the proxy's words end, the third party's begin.
    let _proxy = lab.third_party(
        PROXY,
        PORT,
        Behaviour::Answer(
            b"HTTP/1.1 200 Connection established\r\nVia: 1.1 a\r\n\r\n220 files.partner.example\r\n",
            Then::GoesOn,
        ),
    );
    let _egret = lab.egret(&lab.configure_like("proxy", |text| text), &[]);
    let program = r#"
import socket
s = socket.create_connection(("203.0.113.8", 2121), timeout=20)
print(s.makefile().readline().strip())
"#;
    assert_eq!(lab.python(program, &[]), "220 files.partner.example");
}

#[test]
fn a_proxy_that_does_not_know_us_is_named() {
    let lab = lab();
    let _proxy = tinyproxy(&lab, "another");
    let partner = http(&lab, FILES, PROXY);
    let _egret =
        lab.egret(&lab.configure_like("proxy", |text| text.replace("ports: [443, 2121]", "ports: [80, 2121]")), &[]);
    assert_eq!(lab.curl("http://files.partner.example/").0, 0);
    is_on_record(&lab, "proxy_authentication");
    assert_eq!(partner.seen(), []);
}

#[test]
fn a_proxy_that_says_no_or_is_not_there_is_named() {
    let lab = lab();
    let config = lab.configure_like("proxy", |text| text.replace("ports: [443, 2121]", "ports: [80, 2121]"));
    let _egret = lab.egret(&config, &[]);
    assert_eq!(lab.curl("http://files.partner.example/").0, 0);
    is_on_record(&lab, "proxy_unreachable");
    let _proxy = lab.third_party(
        PROXY,
        PORT,
        Behaviour::in_turn(&[
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 500 Unable to connect\r\nContent-Length: 0\r\n\r\n",
        ]),
    );
    assert_eq!(lab.curl("http://files.partner.example/").0, 0);
    is_on_record(&lab, "proxy_refused");
    // It would let us through, and cannot get there.
    assert_eq!(lab.curl("http://files.partner.example/").0, 0);
    is_on_record(&lab, "upstream_unreachable");
}

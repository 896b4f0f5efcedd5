//! TLS origination: the application speaks plain HTTP, the third party is reached over TLS; no certificate is needed in
//! the application.

use egret_tests::{Behaviour, EGRESS, Lab, Pki, ThirdParty, eventually};

use crate::{PARTNER, partner};

const URL: &str = "http://api.partner.example/";

/// A TLS third party with a certificate for this name, beside the plain one.
fn secure(lab: &Lab, name: &str) -> (Pki, ThirdParty, ThirdParty) {
    let plain = partner(lab);
    let pki = lab.pki();
    let identity = pki.identity(&[name], &["http/1.1"]);
    let behaviour = Behaviour::Https(identity, vec![EGRESS.parse().unwrap()]);
    let secure = lab.third_party("203.0.113.7", 443, behaviour);
    (pki, secure, plain)
}

fn outcome(lab: &Lab, outcome: &str) {
    eventually(outcome, || {
        std::fs::read_to_string(lab.access_log()).unwrap_or_default().contains(&format!("\"outcome\":\"{outcome}\""))
    });
}

#[test]
fn plain_requests_leave_over_tls() {
    let lab = Lab::new();
    let (pki, secure, plain) = secure(&lab, "api.partner.example");
    let backend = format!("    backend: {{tls: {{ca: {}}}}}\n", pki.ca());
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}{backend}")), &[]);
    assert_eq!(lab.curl(URL), (200, EGRESS.to_owned()));
    let program = r#"
import http.client
c = http.client.HTTPConnection("api.partner.example", timeout=10)
for i in range(3):
    c.request("GET", "/%d" % i)
    r = c.getresponse()
    print(r.status, r.read().decode().strip(), end=" ")
"#;
    assert_eq!(lab.python(program, &[]), format!("200 {EGRESS} 200 {EGRESS} 200 {EGRESS}"));
    assert_eq!(plain.seen(), [], "nothing in the clear");
    assert_eq!(secure.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    assert!(secure.seen()[0].first.starts_with(b"GET / HTTP/1.1\r\nHost: api.partner.example\r\n"));
    // TLS of the application is its own.
    let output = lab.run("curl", &["-s", "-m", "10", "--cacert", pki.ca(), "https://api.partner.example/"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), EGRESS);
}

#[test]
fn an_untrusted_authority_gets_no_request() {
    let lab = Lab::new();
    let (_pki, secure, plain) = secure(&lab, "api.partner.example");
    let egret = lab.egret(&lab.configure(&format!("{PARTNER}    backend: {{scheme: https}}\n")), &[]);
    assert_eq!(lab.curl(URL).0, 0);
    outcome(&lab, "upstream_tls");
    assert!(egret.log().contains("UnknownIssuer"), "{}", egret.log());
    assert!(secure.seen().iter().all(|seen| seen.all.is_empty()));
    assert_eq!(plain.seen(), []);
}

#[test]
fn a_certificate_of_another_name_gets_no_request() {
    let lab = Lab::new();
    let (pki, secure, plain) = secure(&lab, "other.example");
    let backend = format!("    backend: {{tls: {{ca: {}}}}}\n", pki.ca());
    let egret = lab.egret(&lab.configure(&format!("{PARTNER}{backend}")), &[]);
    assert_eq!(lab.curl(URL).0, 0);
    outcome(&lab, "upstream_tls");
    assert!(egret.log().contains("not valid for name"), "{}", egret.log());
    assert!(secure.seen().iter().all(|seen| seen.all.is_empty()));
    assert_eq!(plain.seen(), []);
}

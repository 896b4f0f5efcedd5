//! A caller that names another host than the listed ones, or none, gets around nothing and uses no egress address.

use std::net::IpAddr;

use egret_tests::{Behaviour, EGRESS, Lab, Mood, NODE, Pki, Seen, Then, ThirdParty, eventually};

use crate::PARTNER;

const ADDRESS: &str = "203.0.113.7";
const NAME: &str = "api.partner.example";
/// It lives at the partner's address, too.
const STRANGER: &str = "stranger.example";

/// Speaks TLS with a server name, or without one, and asks for a host; says the status, or that there is none.
const TLS: &str = r#"
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for name in sys.argv[3:]:
    try:
        s = context.wrap_socket(socket.create_connection((sys.argv[1], 443), timeout=20), server_hostname=name or None)
        s.sendall(b"GET /x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % sys.argv[2].encode())
        print(s.recv(1000).split()[1].decode(), end=" ")
    except (OSError, IndexError):
        print("refused", end=" ")
"#;

/// Sends each argument as it is (in hex) over one plain connection; says the status of each response, or that there is none.
const PLAIN: &str = r#"
import socket, sys
s = socket.create_connection((sys.argv[1], 80), timeout=20)
for said in sys.argv[2:]:
    try:
        s.sendall(bytes.fromhex(said))
        print(s.recv(65536).split()[1].decode(), end=" ")
    except (OSError, IndexError):
        print("refused", end=" ")
"#;

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn plain(lab: &Lab, requests: &[&str]) -> String {
    let requests: Vec<_> = requests.iter().map(|request| hex(request)).collect();
    let arguments: Vec<_> = [ADDRESS].into_iter().chain(requests.iter().map(String::as_str)).collect();
    lab.python(PLAIN, &arguments)
}

fn get(host: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn log(lab: &Lab) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(lab.access_log()).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn is_on_record(lab: &Lab, outcome: &str) {
    eventually(&format!("{outcome} is on record"), || log(lab).iter().any(|line| line["outcome"] == outcome));
}

fn hosts(lab: &Lab) {
    lab.hosts(&[(ADDRESS, NAME), (ADDRESS, STRANGER), ("203.0.113.8", "elsewhere.example")]);
}

/// The partner and a stranger at one address, in TLS and in the clear.
fn shared(lab: &Lab) -> [ThirdParty; 2] {
    shared_with(lab, &lab.pki())
}

fn shared_with(lab: &Lab, pki: &Pki) -> [ThirdParty; 2] {
    hosts(lab);
    let identity = pki.identity(&[NAME, STRANGER], &["http/1.1"]);
    let allowed = vec![ip(EGRESS), ip(NODE)];
    [
        lab.third_party(ADDRESS, 443, Behaviour::Https(identity, allowed.clone())),
        lab.third_party(ADDRESS, 80, Behaviour::Http(allowed)),
    ]
}

/// Everything that has come to the partner's address with a request.
fn requests(parties: &[ThirdParty]) -> Vec<Seen> {
    parties.iter().flat_map(ThirdParty::seen).filter(|seen| !seen.all.is_empty()).collect()
}

#[test]
fn stranger_leaves_from_the_nodes_own_address() {
    let lab = Lab::new();
    let parties = shared(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(lab.python(TLS, &[ADDRESS, STRANGER, STRANGER]), "200");
    assert_eq!(plain(&lab, &[&get(STRANGER), &get(STRANGER)]), "200 200");
    let sources: Vec<_> = requests(&parties).iter().map(|seen| seen.source).collect();
    assert_eq!(sources, [ip(NODE), ip(NODE)]);
    eventually("both are on record as strangers", || {
        let strangers = log(&lab).into_iter().filter(|line| line["mode"] == "stranger" && line["api"].is_null());
        strangers.filter(|line| line["outcome"] == "stranger" && line["name"] == STRANGER).count() == 2
    });
    assert_eq!(lab.python(TLS, &[ADDRESS, NAME, NAME]), "200");
    assert_eq!(requests(&parties).iter().filter(|seen| seen.source == ip(EGRESS)).count(), 1, "the partner itself");
    let program =
        "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9464/metrics', timeout=9).read().decode())";
    let metrics = String::from_utf8(lab.gateway("python3", &["-c", program]).output().unwrap().stdout).unwrap();
    assert!(metrics.contains("egret_flows_total{api=\"none\",outcome=\"stranger\"} 2"), "{metrics}");
}

#[test]
fn a_running_stranger_is_shown_as_one() {
    let lab = Lab::new();
    let _parties = shared(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let program = format!(
        "import socket, sys\ns = socket.create_connection(('{ADDRESS}', 80), 20)\ns.sendall({:?}.encode())\nprint(s.recv(99)[9:12].decode(), flush=True)\nsys.stdin.read()",
        get(STRANGER)
    );
    let mut caller = lab.converse(&program);
    assert_eq!(caller.line(), "200");
    let flow = &lab.json(&["inspect", "flows"])[0];
    assert_eq!((&flow["mode"], &flow["api"], &flow["name"]), (&"stranger".into(), &().into(), &STRANGER.into()));
    let socket = lab.socket();
    let table = lab.cli(&["inspect", "flows", "--socket", socket.to_str().unwrap()]);
    assert!(table.contains("(stranger)"), "{table}");
}

#[test]
fn a_host_that_does_not_live_at_the_address_is_a_lie() {
    let lab = Lab::new();
    let parties = shared(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let lies = ["nobody.invalid", "x.api.partner.example", "elsewhere.example", "partner.example"];
    assert_eq!(lab.python(TLS, &[&[ADDRESS, NAME], &lies[..]].concat()), ["refused"; 4].join(" "));
    for lie in lies {
        assert_eq!(plain(&lab, &[&get(lie)]), "421", "{lie}");
    }
    assert_eq!(requests(&parties), []);
    is_on_record(&lab, "name_mismatch");
}

/// What callers have tried to get around policies.
fn dodges() -> Vec<(&'static str, Vec<String>)> {
    let (listed, stranger) = (get(NAME), get(STRANGER));
    let two = |one: &str, other: &str| format!("GET /x HTTP/1.1\r\nHost: {one}\r\nHost: {other}\r\n\r\n");
    let absolute = |target: &str, host: &str| format!("GET http://{target}/x HTTP/1.1\r\nHost: {host}\r\n\r\n");
    vec![
        ("a stranger, then the partner", vec![stranger.clone(), listed.clone()]),
        ("the partner, then a stranger", vec![listed.clone(), stranger.clone()]),
        ("both in one segment", vec![format!("{stranger}{listed}")]),
        ("two hosts", vec![two(STRANGER, NAME)]),
        ("two hosts, the partner first", vec![two(NAME, STRANGER)]),
        ("a stranger, then two hosts", vec![stranger.clone(), two(STRANGER, NAME)]),
        ("an absolute target of a stranger", vec![absolute(STRANGER, NAME)]),
        ("an absolute target of the partner", vec![absolute(NAME, STRANGER)]),
        ("a stranger, then an absolute target", vec![stranger.clone(), absolute(NAME, STRANGER)]),
        ("a bare LF", vec![format!("GET /x HTTP/1.1\nHost: {STRANGER}\r\nHost: {NAME}\r\n\r\n")]),
        ("bare LFs", vec![format!("GET /x HTTP/1.1\nHost: {NAME}\n\n")]),
        ("a NUL", vec![format!("GET /x HTTP/1.1\r\nHost: {STRANGER}\0\r\nHost: {NAME}\r\n\r\n")]),
        ("a fold", vec![format!("GET /x HTTP/1.1\r\nX: a\r\n Host: {STRANGER}\r\nHost: {NAME}\r\n\r\n")]),
        ("a bare CR", vec![format!("GET /x HTTP/1.1\r\nX: a\rHost: {NAME}\r\nHost: {STRANGER}\r\n\r\n")]),
        ("a user", vec![get(&format!("{STRANGER}@{NAME}"))]),
        ("another case", vec![get("API.Partner.EXAMPLE")]),
        ("a dot at the end", vec![get("api.partner.example.")]),
        ("a long field first", vec![format!("GET /x HTTP/1.1\r\nX: {}\r\nHost: {NAME}\r\n\r\n", "a".repeat(17_000))]),
        ("an empty line first", vec![format!("\r\n{listed}")]),
        ("no host", vec!["GET /x HTTP/1.0\r\n\r\n".to_owned()]),
        ("the address", vec![get(ADDRESS)]),
        ("a preface", vec![format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{listed}")]),
        ("garbage first", vec![format!("\0\u{1}{listed}")]),
        ("CONNECT", vec![format!("CONNECT {NAME}:80 HTTP/1.1\r\nHost: {STRANGER}\r\n\r\n{listed}")]),
    ]
}

#[test]
fn no_request_for_the_partner_passes_its_policies() {
    let lab = Lab::new();
    hosts(&lab);
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let party = lab.third_party(ADDRESS, 80, Behaviour::Answer(ANSWER, Then::GoesOn));
    let policies = "    policies: {inbound: [{set-header: {name: X-Policed, value: 'yes'}}]}\n    pool: {idle: 0}\n";
    let api = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n";
    let _egret = lab.egret(&lab.configure(&format!("{api}{policies}")), &[]);
    for (what, requests) in dodges() {
        let before = party.seen().len();
        let requests: Vec<_> = requests.iter().map(String::as_str).collect();
        let said = plain(&lab, &requests);
        for seen in &party.seen()[before..] {
            let all = String::from_utf8_lossy(&seen.all).to_lowercase();
            let is_for_partner = all.contains(NAME);
            let is_policed = all.matches("\r\nx-policed: yes").count() == all.matches("get /x").count();
            assert!(!is_for_partner || is_policed, "{what}: {said}: {all:?}");
            assert!(is_policed || seen.source == ip(NODE), "{what}: {said}: from {}: {all:?}", seen.source);
        }
    }
}

#[test]
fn each_request_of_a_plain_connection_is_judged_by_itself() {
    let lab = Lab::new();
    let parties = shared(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let (partner, stranger, lie) = (get(NAME), get(STRANGER), get("nobody.invalid"));
    assert_eq!(plain(&lab, &[&stranger, &partner, &stranger, &lie]), "200 421 200 421");
    assert_eq!(plain(&lab, &[&partner, &stranger, &partner]), "200 421 200");
    let two = format!("GET /x HTTP/1.1\r\nHost: {STRANGER}\r\nHost: {STRANGER}\r\n\r\n");
    assert_eq!(plain(&lab, &[&two]), "400");
    let differing = format!("GET http://{NAME}/x HTTP/1.1\r\nHost: {STRANGER}\r\n\r\n");
    assert_eq!(plain(&lab, &[&differing]), "400");
    for seen in requests(&parties) {
        let all = String::from_utf8_lossy(&seen.all).into_owned();
        let expected = if all.contains(STRANGER) { NODE } else { EGRESS };
        assert_eq!(seen.source, ip(expected), "{all}");
    }
}

#[test]
fn an_owner_can_refuse_strangers() {
    let lab = Lab::new();
    let parties = shared(&lab);
    let _egret = lab.egret(&lab.configure_like("strangers", |text| text), &[]);
    assert_eq!(lab.python(TLS, &[ADDRESS, NAME, STRANGER, "nobody.invalid"]), "refused refused");
    assert_eq!(plain(&lab, &[&get(STRANGER)]), "421");
    assert_eq!(requests(&parties), []);
    eventually("it is on record", || {
        let refused = log(&lab).into_iter().filter(|line| line["outcome"] == "stranger_refused");
        refused.filter(|line| line["api"] == "partner").count() == 3
    });
}

#[test]
fn one_api_that_refuses_strangers_decides_for_all_at_its_address() {
    let lab = Lab::new();
    let parties = shared(&lab);
    lab.hosts(&[(ADDRESS, NAME), (ADDRESS, STRANGER), (ADDRESS, "strict.example")]);
    let strict = "  - name: strict\n    hosts: [strict.example]\n    strangers: refuse\n";
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}{strict}")), &[]);
    assert_eq!(lab.python(TLS, &[ADDRESS, NAME, STRANGER]), "refused");
    assert_eq!(requests(&parties), []);
    assert_eq!(lab.python(TLS, &[ADDRESS, NAME, NAME]), "200");
}

#[test]
fn deny_holds_on_an_address_that_another_api_shares() {
    let lab = Lab::new();
    let parties = shared(&lab);
    lab.hosts(&[(ADDRESS, NAME), (ADDRESS, STRANGER), (ADDRESS, "denied.example")]);
    let denied = "  - name: denied\n    hosts: [denied.example]\n    mode: deny\n";
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}{denied}")), &[]);
    // The name of the denied API, of a stranger, of nobody, a sub-domain, none.
    let names = ["denied.example", STRANGER, "nobody.invalid", "x.denied.example", ""];
    assert_eq!(lab.python(TLS, &[&[ADDRESS, "denied.example"], &names[..]].concat()), ["refused"; 5].join(" "));
    let denied = get("denied.example");
    assert_eq!(plain(&lab, &[&denied]), "refused");
    assert_eq!(plain(&lab, &[&get(STRANGER), &denied]), "421 refused");
    assert_eq!(requests(&parties), []);
    assert_eq!(plain(&lab, &[&get(NAME), &denied]), "200 421");
    is_on_record(&lab, "denied");
    is_on_record(&lab, "no_name");
    // What is inside of TLS that is carried untouched cannot be seen.
    let warnings = lab.json(&["status"])["config_warnings"].to_string();
    assert!(warnings.contains("API `partner` (mode passthrough) shares an address with API `denied`"), "{warnings}");
}

#[test]
fn deny_holds_inside_of_tls_where_the_other_api_is_intercepted() {
    let lab = Lab::new();
    let pki = lab.pki();
    let parties = shared_with(&lab, &pki);
    lab.hosts(&[(ADDRESS, NAME), (ADDRESS, "denied.example")]);
    let partner = format!("{PARTNER}    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n", pki.ca());
    let denied = "  - name: denied\n    hosts: [denied.example]\n    mode: deny\n";
    let _egret = lab.egret(&lab.configure(&format!("{partner}{denied}")), &[]);
    assert_eq!(lab.python(TLS, &[ADDRESS, "denied.example", NAME]), "421");
    assert_eq!(requests(&parties), []);
}

#[test]
fn without_a_name_the_address_decides_only_where_nothing_can_be_got_around() {
    for (more, expected) in [
        ("", "200"),
        ("    mode: intercept\n    policies: {inbound: [{set-header: {name: X-A, value: b}}]}\n", "refused"),
        ("    strangers: refuse\n", "refused"),
        ("    mode: intercept\n", "refused"),
        ("    ports: [443]\n  - name: second\n    hosts: [stranger.example]\n", "200"),
        ("    ports: [443]\n  - name: second\n    hosts: [stranger.example]\n    mode: intercept\n", "refused"),
    ] {
        let lab = Lab::new();
        let parties = shared(&lab);
        let api = format!("  - name: partner\n    hosts: [api.partner.example]\n{more}");
        let _egret = lab.egret(&lab.configure(&api), &[]);
        assert_eq!(lab.python(TLS, &[ADDRESS, NAME, ""]), expected, "{more}");
        let sources: Vec<_> = requests(&parties).iter().map(|seen| seen.source).collect();
        assert_eq!(sources, if expected == "200" { vec![ip(EGRESS)] } else { vec![] }, "{more}");
    }
}

#[test]
fn a_resolver_that_is_silent_holds_up_strangers_only() {
    let lab = Lab::new();
    let parties = shared(&lab);
    lab.hosts(&[]);
    let dns = lab.dns();
    dns.set(NAME, 60, &[ADDRESS]);
    dns.set(STRANGER, 60, &[ADDRESS]);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    dns.is(Mood::Silent);
    assert_eq!(lab.python(TLS, &[ADDRESS, NAME, NAME, STRANGER]), "200 refused");
    dns.is(Mood::Well);
    eventually("strangers are known again", || lab.python(TLS, &[ADDRESS, STRANGER, STRANGER]) == "200");
    let strangers = requests(&parties).into_iter().filter(|seen| seen.source == ip(NODE)).count();
    assert_eq!(strangers, 1);
}

#[test]
fn strangers_do_not_use_the_proxy() {
    for (more, expected) in [("", "refused"), ("    strangers: carry\n", "200")] {
        let lab = Lab::new();
        let parties = shared(&lab);
        let proxy = "proxies: {corporate: {url: 'http://203.0.113.3:3128'}}\n";
        let config = lab.configure(&format!("{PARTNER}    egress: {{proxy: corporate}}\n{more}{proxy}"));
        let listener = lab.listen("203.0.113.3", 3128);
        listener.set_nonblocking(true).unwrap();
        let _egret = lab.egret(&config, &[]);
        assert_eq!(lab.python(TLS, &[ADDRESS, STRANGER, STRANGER]), expected, "{more}");
        let sources: Vec<_> = requests(&parties).iter().map(|seen| seen.source).collect();
        assert_eq!(sources, if expected == "200" { vec![ip(NODE)] } else { vec![] }, "{more}");
        assert!(listener.accept().is_err(), "the proxy saw nothing");
    }
}

#[test]
fn an_egress_address_that_strangers_leave_from_is_warned_of() {
    let lab = Lab::new();
    let _parties = shared(&lab);
    let api = format!(
        "{PARTNER}    egress: {{addresses: [{NODE}]}}\n    mode: intercept\n    policies: {{inbound: [{{set-header: {{name: X-A, value: b}}}}]}}\n"
    );
    let egret = lab.egret(&lab.configure(&api), &[]);
    let warnings = || lab.json(&["status"])["config_warnings"].as_array().unwrap().len();
    eventually("the log warns", || egret.log().contains("API `partner` has policies and carries strangers"));
    assert_eq!(warnings(), 1);
    let socket = lab.socket();
    let doctor = lab.try_cli(&["doctor", "--socket", socket.to_str().unwrap()]);
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("warning: API `partner` has policies"), "{doctor}");
    lab.configure(&format!("{api}    strangers: refuse\n"));
    eventually("nothing to warn of", || warnings() == 0);
}

#[test]
fn a_caller_that_hesitates_needs_a_name_too_where_strangers_are_refused() {
    let lab = Lab::new();
    let parties = shared(&lab);
    let _egret = lab.egret(&lab.configure(&format!("{PARTNER}    strangers: refuse\n")), &[]);
    let late = r#"
import socket, ssl, sys, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for name in sys.argv[2:]:
    s = socket.create_connection((sys.argv[1], 443), timeout=20)
    time.sleep(1)
    try:
        context.wrap_socket(s, server_hostname=name or None)
        print("spoken", end=" ")
    except OSError:
        print("refused", end=" ")
"#;
    assert_eq!(lab.python(late, &[ADDRESS, STRANGER, "", NAME]), "refused refused spoken");
    assert!(requests(&parties).is_empty());
}

/// An API with policies that refuses strangers, and one whose bytes nobody looks at.
fn guarded(pki: &Pki, strangers: &str, mode: &str) -> String {
    let policies = "    policies: {inbound: [{set-header: {name: X-Policed, value: 'yes'}}]}\n";
    format!(
        "{PARTNER}    mode: intercept\n    strangers: {strangers}\n    backend: {{tls: {{ca: {}}}}}\n{policies}  - name: other\n    hosts: [other.example]\n    ports: [443]\n    mode: {mode}\n",
        pki.ca()
    )
}

#[test]
fn a_listed_name_at_the_address_of_an_api_that_refuses_strangers_carries_nothing_there() {
    for mode in ["passthrough", "bind"] {
        let lab = Lab::new();
        let pki = lab.pki();
        let parties = shared_with(&lab, &pki);
        lab.hosts(&[(ADDRESS, NAME), (ADDRESS, "other.example")]);
        let _egret = lab.egret(&lab.configure(&guarded(&pki, "refuse", mode)), &[]);
        assert_eq!(lab.python(TLS, &[ADDRESS, NAME, "other.example"]), "refused", "{mode}");
        assert_eq!(requests(&parties), [], "{mode}");
        eventually("the API that refuses it is on record", || {
            log(&lab).iter().any(|line| line["outcome"] == "shared_address" && line["api"] == "partner")
        });
        let warnings = lab.json(&["status"])["config_warnings"].to_string();
        assert!(warnings.contains("each address of API `other`"), "{warnings}");
        // Its own callers are served, and meet its policies.
        assert_eq!(lab.python(TLS, &[ADDRESS, NAME, NAME]), "200", "{mode}");
        let policed = |seen: &Seen| String::from_utf8_lossy(&seen.all).to_lowercase().contains("x-policed: yes");
        assert!(requests(&parties).iter().all(policed), "{mode}");
    }
}

#[test]
fn bytes_that_egret_cannot_look_at_go_to_the_other_addresses_of_their_host() {
    let lab = Lab::new();
    let pki = lab.pki();
    let parties = shared_with(&lab, &pki);
    let identity = pki.identity(&["other.example"], &["http/1.1"]);
    let others = lab.third_party("203.0.113.8", 443, Behaviour::Https(identity, vec![ip(EGRESS)]));
    lab.hosts(&[(ADDRESS, NAME), (ADDRESS, "other.example"), ("203.0.113.8", "other.example")]);
    let _egret = lab.egret(&lab.configure(&guarded(&pki, "refuse", "passthrough")), &[]);
    assert_eq!(lab.python(TLS, &[ADDRESS, NAME, "other.example"]), "200");
    assert_eq!(requests(&parties), []);
    assert_eq!(others.sources(), [ip(EGRESS)]);
}

#[test]
fn where_strangers_are_carried_a_listed_name_is_too_and_the_remedy_is_told() {
    let lab = Lab::new();
    let pki = lab.pki();
    let _parties = shared_with(&lab, &pki);
    lab.hosts(&[(ADDRESS, NAME), (ADDRESS, "other.example")]);
    let _egret = lab.egret(&lab.configure(&guarded(&pki, "carry", "passthrough")), &[]);
    assert_eq!(lab.python(TLS, &[ADDRESS, NAME, "other.example"]), "200");
    let warnings = lab.json(&["status"])["config_warnings"].to_string();
    assert!(warnings.contains("Set `strangers: refuse` for `partner`"), "{warnings}");
}

#[test]
fn an_address_that_a_denied_or_bound_name_adds_is_judged_by_name() {
    for mode in ["deny", "deny\n    strangers: carry", "bind"] {
        let lab = Lab::new();
        let parties = shared(&lab);
        lab.hosts(&[(ADDRESS, NAME), (ADDRESS, STRANGER), (ADDRESS, "added.example")]);
        let added = format!("  - name: added\n    hosts: [added.example]\n    mode: {mode}\n");
        let _egret = lab.egret(&lab.configure(&format!("{PARTNER}{added}")), &[]);
        let (of_added, of_stranger) = match mode {
            "bind" => ("200", "200"),
            "deny" => ("refused", "refused"),
            _ => ("refused", "200"),
        };
        let expected = format!("200 {of_added} {of_stranger}");
        assert_eq!(lab.python(TLS, &[ADDRESS, "any.example", NAME, "added.example", STRANGER]), expected, "{mode}");
        let mut sources: Vec<_> = requests(&parties).iter().map(|seen| seen.source).collect();
        let strangers: Vec<_> = sources.extract_if(.., |source| *source == ip(NODE)).collect();
        assert_eq!(strangers.len(), usize::from(of_stranger == "200"), "{mode}");
        assert_eq!(sources.len(), 1 + usize::from(of_added == "200"), "{mode}");
    }
}

#[test]
fn a_host_that_is_listed_with_another_port_is_a_stranger_and_stops_nothing() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, NAME), (ADDRESS, "other.example"), ("203.0.113.8", "elsewhere.example")]);
    let partner = lab.third_party(ADDRESS, 80, Behaviour::Http(vec![ip(EGRESS), ip(NODE)]));
    let apis = "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n  - name: other\n    hosts: [other.example, \
                elsewhere.example]\n    ports: [8443]\n";
    let _egret = lab.egret(&lab.configure(apis), &[]);
    assert_eq!(plain(&lab, &[&get("other.example")]), "200");
    assert_eq!(partner.sources(), [ip(NODE)], "as if Egret were not there");
    assert_eq!(plain(&lab, &[&get("elsewhere.example")]), "421", "it does not live there");
    assert_eq!(plain(&lab, &[&get(NAME)]), "200");
    assert!(partner.sources().contains(&ip(EGRESS)));
}

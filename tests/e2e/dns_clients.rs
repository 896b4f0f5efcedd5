//! Resolvers of every kind: each caller is captured at an address that only its own DNS server names.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use egret_tests::{Behaviour, DNS, EGRESS, EGRESS_V6, Lab};

const NAME: &str = "api.partner.example";

/// The address that Egret's DNS server names.
const EGRETS: &str = "203.0.113.7";

/// A file of the clients' folder.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/dns").join(name)
}

/// Builds a client; panics when it cannot.
fn build(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn heavy_every_resolver_gets_its_caller_captured_at_an_address_that_only_its_server_names() {
    let lab = Lab::new();
    let dns = lab.dns();
    let (musl, go) = (lab.directory().join("musl"), lab.directory().join("go"));
    build(Command::new("musl-gcc").args(["-static", "-O1", "-o"]).args([&musl, &source("get.c")]));
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    build(
        Command::new("go")
            .args(["build", "-o"])
            .args([&go, &source("get.go")])
            .env("GOCACHE", cache)
            .env("CGO_ENABLED", "0"),
    );
    let (musl, go, java) = (musl.to_str().unwrap(), go.to_str().unwrap(), source("Get.java"));
    let (pycares, resolve) = (source("with_pycares.py"), source("resolve.js"));
    let clients: [(&str, &str, &[&str]); 8] = [
        ("glibc", "curl", &["-s", "-m", "20", "http://api.partner.example/"]),
        ("musl", musl, &[NAME]),
        ("Go", go, &["http://api.partner.example/"]),
        ("c-ares", "/usr/bin/python3", &[pycares.to_str().unwrap(), NAME]),
        ("Node's c-ares", "node", &[resolve.to_str().unwrap(), NAME]),
        (
            "Node",
            "node",
            &[
                "-e",
                "fetch(process.argv[1]).then(r => r.text()).then(t => console.log(t))",
                "http://api.partner.example/",
            ],
        ),
        ("Java", "java", &["-Xshare:auto", java.to_str().unwrap(), "http://api.partner.example/"]),
        (
            "Python",
            "python3",
            &[
                "-c",
                "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1]).read().decode())",
                "http://api.partner.example/",
            ],
        ),
    ];

    // The first server is not there. With each name of the search list the host is no host, and its real name is another one's alias.
    let resolv = format!(
        "nameserver 203.0.113.14\nnameserver {DNS}\nsearch nowhere.example lab.example\noptions ndots:5 timeout:2\n"
    );
    fs::write(lab.directory().join("resolv.conf"), resolv).unwrap();
    dns.alias(NAME, "partner.cdn.example");
    dns.alias("partner.cdn.example", "edge.cdn.example");
    lab.dns_at("203.0.113.15").set(NAME, 60, &[EGRETS]);
    let allowed = vec![EGRESS.parse().unwrap(), EGRESS_V6.parse().unwrap()];
    let partner = lab.third_party(EGRETS, 80, Behaviour::Http(allowed.clone()));
    let api =
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\nresolver: {servers: [203.0.113.15]}\n";
    let _egret = lab.egret(&lab.configure(api), &[]);
    // Below 203.0.113.7 and above 203.0.113.7: an address for each client, which no earlier one has taught.
    let addresses = [1, 2, 3, 4, 5, 6, 8, 9].map(|last| format!("203.0.113.{last}"));
    for ((resolver, program, arguments), address) in clients.iter().zip(&addresses) {
        dns.set("edge.cdn.example", 0, &[address]);
        let at_the_callers = lab.third_party(address, 80, Behaviour::Http(allowed.clone()));
        let output = lab.run(program, arguments);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), EGRESS, "{resolver}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(at_the_callers.sources().is_empty(), "{resolver}: {:?}", at_the_callers.sources());
        let redirects = lab.json(&["inspect", "redirects"]);
        assert!(redirects.as_array().unwrap().iter().any(|row| row["address"] == **address), "{resolver}: {redirects}");
    }
    assert_eq!(partner.sources(), [EGRESS.parse::<IpAddr>().unwrap()]);
    assert_eq!(partner.seen().len(), clients.len());
}

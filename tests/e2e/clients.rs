//! Unmodified programs of every kind leave from the egress address.

use egret_tests::{Behaviour, EGRESS, Lab};

use crate::{PARTNER, partner};

const ADDRESS: &str = "203.0.113.7";
const URL: &str = "http://api.partner.example/";

#[test]
fn http_clients_of_every_language() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let java = lab.directory().join("Call.java");
    std::fs::write(
        &java,
        "import java.net.*; import java.net.http.*; class Call { public static void main(String[] a) throws Exception {\
         System.out.print(HttpClient.newHttpClient().send(HttpRequest.newBuilder(URI.create(a[0])).build(),\
         HttpResponse.BodyHandlers.ofString()).body()); } }",
    )
    .unwrap();
    let urllib = "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1]).read().decode())";
    // requests is installed for the system's Python.
    let requests = "import requests, sys; print(requests.get(sys.argv[1], timeout=20).text)";
    for (program, arguments) in [
        ("python3", &["-c", urllib, URL][..]),
        ("/usr/bin/python3", &["-c", requests, URL]),
        ("node", &["-e", "fetch(process.argv[1]).then(r => r.text()).then(t => console.log(t))", URL]),
        ("java", &["-Xshare:auto", java.to_str().unwrap(), URL]),
    ] {
        let output = lab.run(program, arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.trim(), EGRESS, "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn redis_is_carried_without_being_understood() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _redis = lab.service(
        7000,
        "redis-server",
        &["--port", "7000", "--bind", ADDRESS, "--save", "", "--protected-mode", "no"],
    );
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let redis = |command: &[&str]| {
        let output = lab.run("redis-cli", &[&["-h", "api.partner.example", "-p", "7000"], command].concat());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(redis(&["SET", "price", "42"]), "OK");
    assert_eq!(redis(&["GET", "price"]), "42");
    // The server says whom it sees.
    assert!(redis(&["CLIENT", "INFO"]).contains(&format!(" addr={EGRESS}:")));
}

#[test]
fn git_is_carried_without_being_understood() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let repository = lab.directory().join("prices.git");
    let directory = lab.directory().to_str().unwrap().to_owned();
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).current_dir(&directory).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "--quiet", "--initial-branch=main", repository.to_str().unwrap()]);
    std::fs::write(repository.join("prices"), "x".repeat(1_000_000)).unwrap();
    let identity = ["-c", "user.name=lab", "-c", "user.email=lab@partner.example", "-C", repository.to_str().unwrap()];
    git(&[&identity[..], &["add", "prices"]].concat());
    git(&[&identity[..], &["commit", "--quiet", "-m", "prices"]].concat());
    let base = format!("--base-path={directory}");
    let listen = format!("--listen={ADDRESS}");
    let daemon = ["-c", "safe.directory=*", "daemon", "--reuseaddr", "--export-all", "--port=7000", &listen, &base];
    let _daemon = lab.service(7000, "git", &daemon);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let clone = lab.directory().join("clone");
    let output =
        lab.run("git", &["clone", "--quiet", "git://api.partner.example:7000/prices.git", clone.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::metadata(clone.join("prices")).unwrap().len(), 1_000_000);
    assert_eq!(lab.json(&["status"])["kernel"]["redirected"], 1);
}

#[test]
fn io_uring_connects_like_any_other() {
    let lab = Lab::new();
    lab.hosts(&[(ADDRESS, "api.partner.example")]);
    let _banner = lab.third_party(ADDRESS, 7000, Behaviour::Banner);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let to = format!("{ADDRESS}:7000");
    let output = lab.run(env!("CARGO_BIN_EXE_egret-io-uring"), &[&to]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("{to} {EGRESS}"));
}

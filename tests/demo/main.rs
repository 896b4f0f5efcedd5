//! The story of Egret, told and checked in the lab. With `shell`: a shell on the lab's node instead.

use std::process::ExitCode;

use egret_tests::{Behaviour, EGRESS, Lab, NODE, eventually};

const APIS: &str = "  - name: partner\n    hosts: [api.partner.example]\n";
const URL: &str = "http://api.partner.example/";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("shell") {
        return shell();
    }
    story();
    println!("\nEvery step was checked. Nothing is left behind.");
    ExitCode::SUCCESS
}

fn tell(text: &str) {
    println!("\n== {text}");
}

/// Prints what curl got, and stops the story if it is not what was promised.
fn expect(lab: &Lab, url: &str, promised: (u16, &str)) {
    let (status, body) = lab.curl(url);
    println!("   $ curl {url}\n   {status} {body}");
    assert_eq!((status, body.as_str()), promised, "the story does not hold");
}

fn story() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("203.0.113.8", "second.example")]);
    let allowed = vec![EGRESS.parse().expect("an address")];
    let partner = lab.third_party("203.0.113.7", 80, Behaviour::Http(allowed.clone()));
    let _second = lab.third_party("203.0.113.8", 80, Behaviour::Http(allowed));
    let _dns = lab.dns();

    tell(&format!("A third party allow-lists {EGRESS}. A call from the node leaves from {NODE}: it is refused."));
    expect(&lab, URL, (403, NODE));

    tell("Egret starts. The same curl, unmodified, is let in.");
    let egret = lab.egret(&lab.configure(APIS), &["--persist"]);
    expect(&lab, URL, (200, EGRESS));

    tell("Why: the kernel redirects this address to Egret.");
    let socket = lab.socket();
    print!("{}", lab.cli(&["inspect", "redirects", "--socket", socket.to_str().expect("a path")]));

    tell("The doctor finds nothing wrong.");
    print!("{}", lab.cli(&["doctor", "--socket", socket.to_str().expect("a path")]));

    tell("Another host is not listed: untouched. The configuration is changed, live: now it is.");
    expect(&lab, "http://second.example/", (403, NODE));
    let config = lab.configure(&format!("{APIS}  - name: second\n    hosts: [second.example]\n"));
    eventually("the change is live", || lab.json(&["status"])["generation"] == 2);
    eventually("the host is captured", || lab.curl("http://second.example/").0 == 200);
    expect(&lab, "http://second.example/", (200, EGRESS));

    tell("Egret is redeployed: a new process takes over. The third party sees the same address.");
    let next = lab.egret(&config, &["--persist"]);
    println!("   process {} took over from {}", next.pid(), egret.pid());
    egret.ended();
    expect(&lab, URL, (200, EGRESS));

    tell("Egret is killed. The fail mode is `closed`: calls fail at once, none leaves from a wrong address.");
    next.kill();
    let before = partner.seen().len();
    expect(&lab, URL, (0, ""));
    assert_eq!(partner.seen().len(), before, "nothing must reach the third party");

    tell("Egret is detached: the node is as it was.");
    print!("   {}", lab.cli(&["detach", "--pins", lab.pins().to_str().expect("a path")]));
    expect(&lab, URL, (403, NODE));
}

fn shell() -> ExitCode {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _partner = lab.third_party("203.0.113.7", 80, Behaviour::Http(vec![EGRESS.parse().expect("an address")]));
    let _egret = lab.egret(&lab.configure(APIS), &[]);
    println!("A shell on the lab's node, captured. Try: curl {URL}; egret status --socket {}", lab.socket().display());
    let egret = std::env::var_os("EGRET_BIN").map(std::path::PathBuf::from).unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = egret.parent().into_iter().map(ToOwned::to_owned).chain(std::env::split_paths(&path));
    let mut shell = lab.workload("bash", &["--norc"]);
    shell.env("PATH", std::env::join_paths(path).expect("a path"));
    match shell.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

//! What a person asks when something is wrong.

use egret_tests::{EGRESS, Lab, eventually};

use crate::{PARTNER, partner};

fn doctor(lab: &Lab) -> (Option<i32>, String) {
    let socket = lab.socket();
    let config = lab.directory().join("egret.yaml");
    let arguments = ["doctor", "--socket", socket.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let output = lab.try_cli(&arguments);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn line<'a>(text: &'a str, what: &str) -> &'a str {
    text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what:?} in:\n{text}"))
}

#[test]
fn each_line_is_ok_or_has_a_remedy() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _dns = lab.dns();
    lab.configure(PARTNER);
    let (code, text) = doctor(&lab);
    assert_eq!(code, Some(1), "{text}");
    assert!(line(&text, "daemon").contains("Start one with `egret run"), "{text}");
    assert!(line(&text, "configuration").starts_with("ok"), "{text}");

    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    let (code, text) = doctor(&lab);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.lines().all(|line| line.starts_with("ok ")), "{text}");
    assert!(line(&text, "hooks work").contains("was captured"), "{text}");
    // The proof leaves nothing in the table, and its refusal is nobody's.
    assert_eq!(lab.json(&["inspect", "decisions"]).as_array().unwrap().len(), 0);
    assert!(lab.json(&["inspect", "redirects"]).as_array().unwrap().iter().all(|row| row["api"] == "partner"));

    lab.node_ip(&["address", "del", "192.0.2.10/24", "dev", "node0"]);
    eventually("the alarm", || egret.log().contains("not on the node any more"));
    let (code, text) = doctor(&lab);
    assert_eq!(code, Some(1), "{text}");
    assert!(line(&text, EGRESS).contains("ip address add 192.0.2.10"), "{text}");
}

#[test]
fn hooks_that_were_removed_behind_the_daemon_are_noticed() {
    let lab = Lab::new();
    let _egret = lab.egret(&lab.configure(PARTNER), &["--persist"]);
    lab.cli(&["detach", "--pins", lab.pins().to_str().unwrap()]);
    let (code, text) = doctor(&lab);
    assert_eq!(code, Some(1), "{text}");
    assert!(line(&text, "hooks work").contains("Restart the daemon"), "{text}");
}

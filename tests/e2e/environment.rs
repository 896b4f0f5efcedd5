//! Egret as a container is started for one host: everything is in an env file.

use std::process::Command;

use egret_tests::{EGRESS, Lab, NODE, executable};

use crate::{PARTNER, partner};

fn run(lab: &Lab, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(executable());
    command.args(["run", "--environment"]).env_clear();
    // What the lab's own files, cgroup and pins are.
    let text = std::fs::read_to_string(lab.configure(PARTNER)).unwrap();
    let settings = lab.write_config(text.split("egress:").next().unwrap());
    command.env("EGRET_CONFIG", settings).envs(variables.iter().copied());
    command
}

#[test]
fn environment_is_a_whole_configuration() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let variables = [
        ("EGRET_EGRESS_ADDRESSES", EGRESS),
        ("EGRET_HOSTS", "api.partner.example, other.example"),
        ("EGRET_FAIL", "closed"),
        ("EGRET_PERSIST", "true"),
    ];
    let egret = lab.start_egret_by(run(&lab, &variables)).ready();
    assert_eq!(lab.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    assert_eq!(lab.json(&["inspect", "apis"])[0]["name"], "environment");
    egret.kill();
    assert_eq!(lab.curl("http://api.partner.example/").0, 0, "the API fails closed");
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn environment_gives_way_to_the_configuration() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let mut command = Command::new(executable());
    command.args(["run", "--config"]).arg(lab.configure(PARTNER)).env("EGRET_EGRESS_ADDRESSES", NODE);
    let egret = lab.start_egret_by(command).ready();
    assert_eq!(lab.curl("http://api.partner.example/"), (200, EGRESS.to_owned()), "{}", egret.log());
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn environment_with_an_unknown_missing_or_wrong_variable_ends_egret_with_its_name() {
    let lab = Lab::new();
    for (variables, named) in [
        (
            &[("EGRET_EGRES_ADDRESSES", EGRESS)][..],
            "EGRET_EGRES_ADDRESSES is not a variable of Egret. Did you mean EGRET_EGRESS_ADDRESSES?",
        ),
        (
            &[("EGRET_CONFIG", "/nonexistent.yaml"), ("EGRET_HOSTS", "api.partner.example")],
            "EGRET_CONFIG names /nonexistent.yaml, which does not exist",
        ),
        (&[("EGRET_HOSTS", "https://api.partner.example"), ("EGRET_EGRESS_ADDRESSES", EGRESS)], "EGRET_HOSTS:2:"),
        (&[("EGRET_PERSIST", "yes")], "EGRET_PERSIST must be true or false, but it is `yes`"),
        (&[("EGRET_FAIL", "open")], "EGRET_FAIL has no meaning without EGRET_HOSTS"),
    ] {
        let output = run(&lab, variables).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(named), "{text}");
    }
    let mut command = Command::new(executable());
    let output = command.args(["run", "--environment"]).env_clear().output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("EGRET_HOSTS is missing: set it to"), "{text}");
}

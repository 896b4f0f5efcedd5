//! Egret as a container is started for one host: everything is in an env file.

use std::process::Command;

use egret_tests::{EGRESS, EGRESS_V6, Lab, NODE, eventually, executable};

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

/// A section of the file does not hide what the environment says of other keys of that section.
#[test]
fn environment_and_file_are_merged_key_by_key() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let text = std::fs::read_to_string(lab.configure(PARTNER)).unwrap();
    let addresses = format!("addresses: [{EGRESS}, '{EGRESS_V6}']");
    assert!(text.contains(&addresses) && text.contains("  address: 127.0.0.1:9464\n"), "{text}");
    let text = text.replace(&addresses, "proxy: none").replace("  address: 127.0.0.1:9464\n", "");
    let config = lab.write_config(&text);
    let variables = [("EGRET_EGRESS_ADDRESSES", EGRESS), ("EGRET_TELEMETRY_ADDRESS", "127.0.0.1:9464")];

    let check = |path: &std::path::Path| {
        let output = Command::new(executable()).arg("check").arg(path).envs(variables).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = check(&config);
    assert!(told.contains("EGRET_EGRESS_ADDRESSES gives `egress.addresses`\n"), "{told}");
    assert!(told.contains("EGRET_TELEMETRY_ADDRESS gives `telemetry.address`\n"), "{told}");

    let mut command = Command::new(executable());
    command.args(["run", "--config"]).arg(&config).envs(variables);
    let egret = lab.start_egret_by(command).ready();
    assert_eq!(lab.curl("http://api.partner.example/"), (200, EGRESS.to_owned()), "{}", egret.log());
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    let metrics = lab.run("curl", &["-s", "http://127.0.0.1:9464/metrics"]).stdout;
    assert!(String::from_utf8_lossy(&metrics).contains("egret_flows_total"), "{}", egret.log());

    let told = check(&lab.configure(PARTNER));
    assert!(
        told.contains("EGRET_EGRESS_ADDRESSES is not used: `egress.addresses` of the file goes before it\n"),
        "{told}"
    );
}

#[test]
fn environment_file_starts_the_image_in_a_container() {
    let lab = Lab::new();
    let partner = partner(&lab);
    let podman = lab.podman();
    let image = std::env::var("EGRET_IMAGE").expect("EGRET_IMAGE: run the tests by `cargo xtask test`");
    podman.podman(&["load", "--quiet", "--input", &image]);
    let name = concat!("localhost/egret:", env!("CARGO_PKG_VERSION"));
    let text = std::fs::read_to_string(lab.configure(PARTNER)).unwrap();
    // Podman's mount namespace has the hierarchy itself there, also where the host has it beside version 1.
    let root = egret_tests::cgroup_root();
    let text = text.split("egress:").next().unwrap().replace(root.to_str().unwrap(), "/sys/fs/cgroup");
    let settings = lab.write_config(&text);
    let file = lab.directory().join("egret.env");
    let variables = format!(
        "EGRET_CONFIG={}\nEGRET_EGRESS_ADDRESSES={EGRESS}\nEGRET_HOSTS=api.partner.example\nEGRET_PERSIST=true\n",
        settings.display()
    );
    std::fs::write(&file, variables).unwrap();
    let parent = podman.parent();
    let directory = format!("{0}:{0}", lab.directory().display());
    let options = |file: &std::path::Path| {
        let shipped = "--network=host --pid=host --privileged --volume /sys/fs/cgroup:/sys/fs/cgroup --volume /sys/fs/bpf:/sys/fs/bpf";
        let mut options: Vec<String> = shipped.split(' ').map(str::to_owned).collect();
        let lab = ["--cgroup-parent", &parent, "--volume", &directory, "--env-file", file.to_str().unwrap()];
        options.extend(lab.map(str::to_owned));
        options
    };
    let run = |first: &[&str], file: &std::path::Path| {
        let options = options(file);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        podman.command(&[&["run"], first, &options, &[name]].concat()).output().unwrap()
    };
    let started = run(&["--detach", "--name", "egret"], &file);
    assert!(started.status.success(), "{started:?}");
    eventually("it has taken over", || {
        podman
            .command(&[
                "exec",
                "egret",
                "egret",
                "status",
                "--ready",
                "--same-container",
                "--socket",
                lab.socket().to_str().unwrap(),
            ])
            .output()
            .unwrap()
            .status
            .success()
    });
    assert_eq!(lab.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    assert_eq!(lab.container().curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    assert_eq!(partner.sources(), [EGRESS.parse::<std::net::IpAddr>().unwrap()]);
    // In a pod, all facts of a container are shown.
    let doctor = ["exec", "--env", "KUBERNETES_SERVICE_HOST=10.96.0.1", "egret", "egret", "doctor", "--socket"];
    let doctor = podman.command(&[&doctor[..], &[lab.socket().to_str().unwrap()]].concat()).output().unwrap();
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    for fact in ["process ids", "cgroups", "bpffs", "capabilities", "hooks work"] {
        assert!(doctor.lines().any(|line| line.starts_with(&format!("ok    {fact}: "))), "{doctor}");
    }
    podman.podman(&["stop", "egret"]);

    std::fs::write(&file, "EGRET_HOST=api.partner.example\n").unwrap();
    let refused = run(&["--rm"], &file);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("EGRET_HOST is not a variable of Egret. Did you mean EGRET_HOSTS?"), "{text}");
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

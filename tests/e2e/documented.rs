//! The commands of README and docs do what a reader expects of them: they run against a gateway with the README's configuration.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use egret_tests::{Behaviour, EGRESS, Lab, eventually, executable};

const NAME: &str = "api.partner.example";

/// The `console` lines of README and docs that begin with `egret`, without comments.
fn commands() -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain([root.join("README.md")]).map(|page| fs::read_to_string(page).unwrap());
    let mut found = Vec::new();
    for page in pages {
        for block in page.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let lines = block.lines().map(|line| line.split(" #").next().unwrap().trim());
            let words = lines.map(|line| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>());
            found.extend(words.filter(|words| words.first().is_some_and(|word| word == "egret")));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Changes the host's own store of authorities, or is the gateway itself.
fn is_not_for_a_test(words: &[String]) -> bool {
    matches!([&*words[1], words.get(2).map_or("", String::as_str)], ["run", _] | ["trust", "install" | "remove"])
}

/// The lab's files in place of the reader's.
fn in_the_lab(lab: &Lab, words: &[String]) -> Vec<String> {
    let at = |name: &str| lab.directory().join(name).to_str().unwrap().to_owned();
    let mut placed: Vec<String> = words[1..]
        .iter()
        .map(|word| match word.as_str() {
            "/etc/egret" | "/etc/egret/egret.yaml" | "my.yaml" => at("egret.yaml"),
            "access.log" | "order.json" => at(word),
            "/usr/local/share/egret" => at("trust"),
            "4xx" | "5xx" => "2xx".to_owned(),
            _ => word.clone(),
        })
        .collect();
    if !["check", "diff"].contains(&words[1].as_str()) {
        let command = if words[1] == "trust" { 2 } else { 1 };
        placed.splice(command..command, ["--socket".to_owned(), lab.socket().to_str().unwrap().to_owned()]);
    }
    if words[1] == "tail" {
        placed.extend(["--count".to_owned(), "1".to_owned()]);
    }
    placed
}

fn spawn(lab: &Lab, words: &[String]) -> Child {
    let egret = executable();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut command = lab.gateway(egret.to_str().unwrap(), &words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn every_command_of_the_docs_runs() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", NAME)]);
    let pki = lab.pki();
    let identity = pki.identity(&[NAME], &["http/1.1"]);
    let _partner = lab.third_party("203.0.113.7", 443, Behaviour::Https(identity, vec![EGRESS.parse().unwrap()]));
    fs::write(lab.directory().join("order.json"), "{}").unwrap();
    let text = fs::read_to_string(lab.configure(&format!(
        "  - name: partner\n    hosts: [{NAME}]\n    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n    \
         policies:\n      inbound:\n        - rate-limit: {{calls: 1000, period: 1m}}\n",
        pki.ca()
    )));
    let config = lab.write_config(&text.unwrap().replace("telemetry:\n", "telemetry:\n  log_requests: true\n"));
    let _egret = lab.egret(&config, &[]);
    let request = || drop(lab.run("curl", &["-sk", "https://api.partner.example/v1/x"]));
    request();
    eventually("the request is in the access log", || {
        fs::read_to_string(lab.access_log()).is_ok_and(|log| log.contains("/v1/x"))
    });

    let commands = commands();
    assert!(commands.len() > 10, "only {} commands were found", commands.len());
    for words in commands.iter().filter(|words| !is_not_for_a_test(words)) {
        let mut child = spawn(&lab, &in_the_lab(&lab, words));
        if words[1] == "tail" {
            // It shows what happens from now on, and it may take a moment until it listens.
            eventually("`tail` shows a request", || {
                request();
                child.try_wait().unwrap().is_some()
            });
        }
        let output = child.wait_with_output().unwrap();
        // 1: there is a difference, or a finding.
        let fine =
            output.status.success() || (output.status.code() == Some(1) && ["diff", "doctor"].contains(&&*words[1]));
        let said = [output.stdout, output.stderr].concat();
        assert!(fine, "{}: {}\n{}", words.join(" "), output.status, String::from_utf8_lossy(&said));
    }
}

//! A saved change is live; a broken one changes nothing and says why.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use egret_tests::{Behaviour, EGRESS, Lab, NODE, eventually};

use crate::{PARTNER, partner};

#[test]
fn a_saved_change_is_live() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("203.0.113.8", "second.example")]);
    let _second = lab.third_party("203.0.113.8", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(lab.curl("http://second.example/"), (403, NODE.to_owned()));
    lab.configure(&format!("{PARTNER}  - name: second\n    hosts: [second.example]\n"));
    eventually("the change is live", || lab.curl("http://second.example/") == (200, EGRESS.to_owned()));
    assert_eq!(lab.json(&["status"])["generation"], 2);
    lab.configure(PARTNER);
    eventually("the change is undone", || lab.curl("http://second.example/") == (403, NODE.to_owned()));
}

#[test]
fn a_saved_change_is_live_while_other_files_beside_it_change_all_the_time() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    let log = lab.directory().join("noise.log");
    std::thread::scope(|scope| {
        let (done, ended) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            while ended.recv_timeout(Duration::from_millis(10)).is_err_and(|error| error == RecvTimeoutError::Timeout) {
                std::fs::write(&log, "noise").expect("a file beside the configuration");
            }
        });
        // Dropped at the end, also of a panic: then the noise ends.
        let _done = done;
        lab.configure(&format!("{PARTNER}    mode: deny\n"));
        eventually("the change is live", || lab.json(&["status"])["generation"] == 2);
    });
}

#[test]
fn a_broken_file_changes_nothing_and_says_why() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let egret = lab.egret(&lab.configure(PARTNER), &[]);
    lab.configure(&format!("{PARTNER}    mode: quickly\n"));
    eventually("the error is told", || lab.json(&["status"])["config_error"].is_string());
    let status = lab.json(&["status"]);
    assert!(status["config_error"].as_str().unwrap().contains("not a mode"), "{status}");
    assert!(egret.log().contains("not a mode"));
    assert_eq!(status["generation"], 1);
    assert_eq!(lab.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    lab.configure(PARTNER);
    eventually("the error is gone", || lab.json(&["status"])["config_error"].is_null());
}

#[test]
fn metrics_are_valid() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    let _egret = lab.egret(&lab.configure(PARTNER), &[]);
    assert_eq!(lab.curl("http://api.partner.example/").0, 200);
    let metrics = lab.run("curl", &["-s", "http://127.0.0.1:9464/metrics"]).stdout;
    let text = String::from_utf8_lossy(&metrics).into_owned();
    assert!(text.contains("egret_kernel_decisions_total{reason=\"redirected\"} 1"), "{text}");
    std::fs::write(lab.directory().join("metrics"), text).unwrap();
    let command = format!("promtool check metrics < {}", lab.directory().join("metrics").display());
    let output = lab.run("sh", &["-c", &command]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(lab.curl("http://127.0.0.1:9464/readyz"), (200, "ready".to_owned()));
}

#[test]
fn a_directory_is_one_live_configuration() {
    let lab = Lab::new();
    let _partner = partner(&lab);
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("203.0.113.8", "second.example")]);
    let _second = lab.third_party("203.0.113.8", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    let directory = lab.directory().join("conf.d");
    std::fs::create_dir(&directory).unwrap();
    std::fs::rename(lab.configure(PARTNER), directory.join("node.yaml")).unwrap();
    let _egret = lab.egret(&directory, &[]);
    let team = directory.join("team.yaml");
    std::fs::write(&team, "version: 1\napis:\n  - name: second\n    hosts: [second.example]\n").unwrap();
    eventually("the added file is live", || lab.curl("http://second.example/") == (200, EGRESS.to_owned()));
    assert_eq!(lab.curl("http://api.partner.example/"), (200, EGRESS.to_owned()));
    std::fs::remove_file(&team).unwrap();
    eventually("the removed file is", || lab.curl("http://second.example/") == (403, NODE.to_owned()));
}

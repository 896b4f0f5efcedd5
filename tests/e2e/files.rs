//! Who may read what Egret writes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use egret_tests::{Behaviour, EGRESS, Lab, eventually};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).mode() & 0o7777
}

#[test]
fn others_can_read_nothing_that_egret_writes_but_its_certificate() {
    let lab = Lab::new();
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let pki = lab.pki();
    let identity = pki.identity(&["api.partner.example"], &["http/1.1"]);
    let _partner = lab.third_party("203.0.113.7", 443, Behaviour::Https(identity, vec![EGRESS.parse().unwrap()]));
    let config = lab.configure(&format!(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n    \
         policies: {{inbound: [{{quota: {{calls: 10}}}}]}}\n",
        pki.ca()
    ));
    let _egret = lab.egret(&config, &["--persist"]);
    assert_eq!(lab.curl("http://api.partner.example/").0, 200);
    let quotas = lab.directory().join("state/quotas.json");
    eventually("quotas are saved and a line is logged", || {
        quotas.exists() && fs::metadata(lab.access_log()).is_ok_and(|log| log.len() > 0)
    });
    let in_lab = |name: &str| lab.directory().join(name);
    for (path, expected) in [
        (lab.access_log(), 0o640),
        (quotas, 0o600),
        (in_lab("egret-ca-key.pem"), 0o600),
        (in_lab("egret-ca.pem"), 0o644),
        (in_lab("admin.lock"), 0o600),
        (lab.socket(), 0o600),
    ] {
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
    for pin in
        [lab.pins().to_owned()].into_iter().chain(fs::read_dir(lab.pins()).unwrap().map(|pin| pin.unwrap().path()))
    {
        assert_eq!(mode(&pin) & 0o077, 0, "{}", pin.display());
    }
}

#[test]
fn an_access_log_that_exists_keeps_its_mode() {
    let lab = Lab::new();
    fs::write(lab.access_log(), "").unwrap();
    fs::set_permissions(lab.access_log(), Permissions::from_mode(0o604)).unwrap();
    let _egret = lab.egret(&lab.configure(crate::PARTNER), &[]);
    assert_eq!(mode(&lab.access_log()), 0o604);
}

#[test]
fn the_files_of_a_trusting_command_are_its_users_to_read_and_nobodys_to_guess_or_change() {
    let lab = Lab::new();
    let config = lab.configure("  - {name: partner, hosts: [api.partner.example], ports: [443], mode: intercept}\n");
    lab.hosts(&[("203.0.113.7", "api.partner.example")]);
    let _egret = lab.egret(&config, &[]);
    let socket = lab.socket();
    let script = "head -n1 \"$SSL_CERT_FILE\"; directory=$(dirname \"$SSL_CERT_FILE\"); touch \"$directory/x\" 2>/dev/null; \
                  echo $?; echo $PPID; echo \"$directory\"";
    let exec =
        ["exec", "--trust", "--socket", socket.to_str().unwrap(), "--", "setpriv", "--reuid=12345", "--clear-groups"];
    let said = lab.cli(&[&exec[..], &["sh", "-c", script]].concat());
    let [certificate, touched, parent, directory] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert_eq!((certificate, touched), ("-----BEGIN CERTIFICATE-----", "1"));
    assert!(directory.contains("egret-trust-") && !directory.contains(parent), "{said}");
    assert!(!Path::new(directory).exists(), "they end with the command");
}

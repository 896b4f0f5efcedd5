//! A change of the configuration, told before it is made.

use std::fs;

use egret_tests::Lab;

#[test]
fn what_changes_is_told_and_the_exit_code_says_whether() {
    let lab = Lab::new();
    let api = "version: 1\negress: {addresses: [192.0.2.10]}\napis: [{name: partner, hosts: [api.partner.example]}]\n";
    let write = |name: &str, text: &str| {
        let path = lab.directory().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let old = write("old.yaml", api);
    let new = write("new.yaml", &api.replace("hosts:", "mode: bind, hosts:"));
    let bad = write("bad.yaml", &api.replace("hosts:", "mode: bound, hosts:"));
    let told = |arguments: &[&str]| {
        let output = lab.try_cli(arguments);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    assert_eq!(told(&["diff", &old, &old]), (Some(0), "none\n".to_owned()));
    let (code, text) = told(&["diff", &old, &new]);
    assert_eq!(code, Some(1));
    let words: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words, ["partner", "mode", "changed", "-", "passthrough", "bind"]);
    let (code, text) = told(&["diff", &old, &new, "-o", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &rows[0]["api"], &rows[0]["kind"]), (Some(1), &"partner".into(), &"changed".into()));
    let (code, text) = told(&["diff", &old, &bad]);
    assert!(code == Some(2) && text.contains("not a mode"), "{text}");
    assert_eq!(told(&["diff", &old]).0, Some(2));
}

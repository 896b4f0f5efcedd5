//! Each policy has an example, which a test of the lab starts.

use std::fs;
use std::path::{Path, PathBuf};

fn files(directory: &str, kind: &str) -> Vec<(PathBuf, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let fitting = entries.filter(|path| path.extension().is_some_and(|extension| extension == kind));
    fitting.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn each_policy_has_an_example_that_the_lab_proves() {
    let schema = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/schema.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&schema).unwrap();
    let policies = schema["$defs"]["PolicyFile"]["properties"].as_object().unwrap().keys();
    let (examples, tests) = (files("config/examples", "yaml"), files("tests/e2e", "rs"));
    let is_started = |example: &Path| {
        let name = format!("\"{}\"", example.file_stem().unwrap().to_str().unwrap());
        tests.iter().any(|(_, test)| test.contains(&name))
    };
    for policy in policies.filter(|key| *key != "id") {
        let key = format!("{policy}:");
        let says = |text: &str| text.match_indices(&key).any(|(at, _)| text[..at].ends_with([' ', '{']));
        let proven = examples.iter().any(|(path, text)| says(text) && is_started(path));
        assert!(proven, "no example of {policy} that a test of the lab starts");
    }
}

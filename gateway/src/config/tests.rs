use std::fs;

use super::*;

mod examples;

pub(super) fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(name)
}

/// The configurations of a directory: files and directories, in the order of their names.
pub(super) fn configurations(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.is_dir() || source::is_yaml(path)).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// The text that is kept beside the code, which `UPDATE_GOLDEN=1` writes anew.
pub(super) fn assert_golden(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, text).unwrap();
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(kept, text, "{}: is this right? then run `cargo xtask docs`", path.display());
}

#[test]
fn the_smallest_useful_configuration_compiles() {
    let Compiled { model, settings, .. } = load(&directory("egret.yaml"), Generation(3)).unwrap();
    assert_eq!(model.generation, Generation(3));
    assert_eq!(model.apis.len(), 1);
    assert_eq!(model.apis[0].ports, [80, 443]);
    assert_eq!(settings.admin_socket, Path::new(DEFAULT_SOCKET));
}

#[test]
fn every_example_compiles() {
    for path in configurations("examples") {
        load(&path, Generation(1)).unwrap_or_else(|errors| panic!("{errors}"));
    }
}

/// As on a machine that builds: there are all files but those with secrets.
#[test]
fn every_example_is_valid_without_its_secrets() {
    let copy = std::env::temp_dir().join(format!("egret-without-secrets-{}", std::process::id()));
    fs::create_dir_all(&copy).unwrap();
    let is_secret = |path: &Path| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        ["key", "password", "secret", "token"].contains(&ending)
    };
    let files = fs::read_dir(directory("examples")).unwrap().map(|entry| entry.unwrap().path());
    for path in files.filter(|path| path.is_file() && !is_secret(path)) {
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let mut lacking = 0;
    for path in configurations("examples").iter().filter(|path| path.is_file()) {
        let path = copy.join(path.file_name().unwrap());
        load_without_secrets(&path).unwrap_or_else(|errors| panic!("{errors}"));
        lacking += usize::from(load(&path, Generation(1)).is_err());
    }
    fs::remove_dir_all(copy).unwrap();
    assert!(lacking >= 10, "{lacking} examples have secrets");
}

#[test]
fn a_directory_is_one_configuration() {
    let compiled = load(&directory("examples/directory"), Generation(1)).unwrap();
    let names: Vec<_> = compiled.model.apis.iter().map(|api| &*api.name).collect();
    assert_eq!(names, ["payments", "market-data"]);
    assert_eq!(compiled.model.egress.addresses, ["192.0.2.10".parse::<std::net::IpAddr>().unwrap()]);
}

/// Loads a configuration with this API, and returns its warnings.
fn warnings(api: &str) -> Vec<String> {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default().replace("::", "-");
    let directory = std::env::temp_dir().join(format!("egret-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let values = "values: {key: {file: key}, name: {value: acme}}\n";
    let backends = "backends: {open: {url: 'http://one.example'}, closed: {url: 'https://one.example'}}\n";
    let api = format!("apis:\n- name: a\n  hosts: [a.example]\n{api}");
    let path = directory.join("egret.yaml");
    fs::write(directory.join("key"), "correct horse").unwrap();
    fs::write(&path, format!("version: 1\negress: {{addresses: [192.0.2.10]}}\n{values}{backends}{api}")).unwrap();
    let loaded = load(&path, Generation(1)).unwrap_or_else(|errors| panic!("{errors}"));
    fs::remove_dir_all(directory).unwrap();
    loaded.model.warnings
}

#[test]
fn carrying_strangers_to_what_is_denied_is_a_warning() {
    for (strangers, expected) in [("", 0), ("strangers: refuse", 0), ("strangers: carry", 1)] {
        let warnings = warnings(&format!("  mode: deny\n  {strangers}\n"));
        assert_eq!(warnings.len(), expected, "{warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("the name decides")), "{warnings:?}");
    }
}

#[test]
fn a_secret_that_can_only_leave_in_the_clear_is_a_warning() {
    let key = "set-header: {name: X-Key, value: '{{key}}'}";
    let to = |backend: &str| format!("set-backend: {backend}");
    let sometimes = |policy: &str| format!("choose: [{{when: request.method == 'GET', then: [{{{policy}}}]}}]");
    for (settings, policies, expected) in [
        ("ports: [80]", vec![key.to_owned()], 1),
        ("ports: [80]", vec![sometimes(key)], 1),
        ("ports: [80]", vec!["set-header: {name: X-Name, value: '{{name}}'}".to_owned()], 0),
        ("ports: [80]\n  plain_secrets: true", vec![key.to_owned()], 0),
        ("ports: [80]\n  backend: {scheme: https}", vec![key.to_owned()], 0),
        ("ports: [80]\n  backend: {scheme: https}", vec![to("open"), key.to_owned()], 1),
        ("ports: [80]\n  backend: {scheme: https}", vec![sometimes(&to("open")), key.to_owned()], 0),
        ("ports: [80]", vec![to("closed"), key.to_owned()], 0),
        ("mode: intercept", vec![key.to_owned()], 0),
    ] {
        let list = policies.iter().map(|policy| format!("      - {policy}\n")).collect::<String>();
        let warnings = warnings(&format!("  {settings}\n  policies:\n    inbound:\n{list}"));
        assert_eq!(warnings.len(), expected, "{settings} {policies:?}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains("without TLS")), "{warnings:?}");
    }
}

#[test]
fn every_error_is_told_with_its_place_and_a_remedy() {
    for path in configurations("invalid") {
        let told = load(&path, Generation(1)).expect_err("invalid").to_string();
        let told = told.replace(directory("").to_str().unwrap(), "config/");
        assert_golden(&path.with_extension("stderr"), &(told + "\n"));
    }
}

/// Newcomers read these lines to know what to do next.
#[test]
fn every_help_line_is_a_suggestion_or_begins_with_an_imperative() {
    let imperatives = [
        "add", "begin", "call", "check", "choose", "close", "compare", "convert", "correct", "describe", "did", "give",
        "indent", "keep", "move", "name", "put", "raise", "remove", "rename", "select", "set", "use", "write",
    ];
    for path in configurations("invalid") {
        let told = load(&path, Generation(1)).expect_err("invalid").to_string();
        for (_, help) in told.lines().filter_map(|line| line.split_once("= help: ")) {
            let word = help.split([' ', ',']).next().unwrap_or_default();
            assert!(imperatives.contains(&word), "{}: {help}", path.display());
        }
    }
}

#[test]
fn the_generated_documents_are_current() {
    for (name, text) in [("schema.json", schema()), ("reference.md", reference())] {
        assert_golden(&directory(name), &text);
    }
}

#[test]
fn keys_of_each_file_are_found_where_they_are_written() {
    let sources = source::number([
        ("a.yaml".into(), "version: 1\negress: {addresses: [192.0.2.10]}\n".to_owned()),
        ("b.yaml".into(), "version: 1\napis:\n  - name: one\n    hosts: [one.example]\n    mode: deny\n".to_owned()),
    ]);
    let compiled = parse(Path::new("egret.d"), &sources, Generation(1), Secrets::Read).unwrap();
    let at = |api: &str, key: &str| compiled.places.at(api, key);
    assert_eq!(at("", "egret").as_deref(), None);
    assert_eq!(at("", "egress").as_deref(), Some("a.yaml:2"));
    assert_eq!((at("one", "hosts").as_deref(), at("one", "mode").as_deref()), (Some("b.yaml:4"), Some("b.yaml:5")));
    assert_eq!((at("one", "fail"), at("two", "mode")), (None, None));
}

use super::*;

fn errors(text: &str) -> String {
    parse(Path::new("egret.yaml"), text, Generation(1)).unwrap_err().to_string()
}

#[test]
fn the_smallest_useful_configuration_compiles() {
    let text = include_str!("../../../config/egret.yaml");
    let Compiled { model, settings } = parse(Path::new("egret.yaml"), text, Generation(3)).unwrap();
    assert_eq!(model.generation, Generation(3));
    assert_eq!(model.apis.len(), 1);
    assert_eq!(model.apis[0].ports, [80, 443]);
    assert_eq!(settings.admin_socket, Path::new(DEFAULT_SOCKET));
}

#[test]
fn every_error_is_told_at_once_with_its_place() {
    let text = "version: 1
egress:
  addresses: [192.0.2.300, 0.0.0.0]
drain: soon
apis:
  - name: a
    hosts: [api.example, '*.example', 192.0.2.1]
    mode: fast
  - name: a
    hosts: [API.example.]
    opaque_ports: [22]
    fail: maybe
";
    let told = errors(text);
    for expected in [
        "egret.yaml:3:15",
        "egret.yaml:3:28",
        "egret.yaml:4:8",
        "not a duration",
        "wildcards are not supported",
        "list the name that the application uses",
        "not a mode",
        "another API of this name is on line 6",
        "API \"a\" has this host and port 80 already, on line 7",
        "not among the API's ports",
        "not a fail mode",
        "help: closed or open",
    ] {
        assert!(told.contains(expected), "{expected:?} is missing in:\n{told}");
    }
}

#[test]
fn an_unknown_key_is_an_error_with_its_place() {
    let told = errors("version: 1\negres: {}\n");
    assert!(told.contains("egres") && told.contains('2'), "{told}");
}

#[test]
fn the_generated_documents_are_current() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    for (name, text) in [("schema.json", schema()), ("reference.md", reference())] {
        let path = directory.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "run `cargo xtask docs`");
    }
}

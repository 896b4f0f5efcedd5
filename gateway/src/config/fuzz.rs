use std::io;

use super::tests::directory;
use super::*;
use crate::fuzz::Target;

/// Compiles a text as [`parse`] does. Of files there are those of the examples, and this one under the name `document`.
fn compiled(text: &str, schema: &Value, document: &[u8]) -> Result<Compiled, String> {
    let (path, mut problems) = (directory("examples/fuzz.yaml"), Vec::new());
    let sources = source::number([(path.clone(), text.to_owned())]);
    if let Some(Document { file, node, .. }) = super::document(&sources[0], schema, &mut problems) {
        let written = WrittenPolicies::new([&node].into_iter());
        let places = Places::of(&sources, [&node].into_iter());
        let read = |wanted: &Path| match wanted.file_name().and_then(|name| name.to_str()) {
            Some("document") => Ok(document.to_vec()),
            Some(name) if wanted.parent() == path.parent() && wanted.is_file() => {
                std::fs::read(path.with_file_name(name))
            }
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        let outside =
            Outside { base: path.parent().unwrap(), read: &read, environment: &|_| None, secrets: Secrets::Read };
        let mut compiled = compile::compile(&file, &written, Generation(1), &outside, &mut problems);
        problems = diagnostic::only_causes(problems);
        if !problems.iter().any(Problem::is_error) {
            let _ = diagnostic::diagnostics(&sources, problems).iter().map(ToString::to_string).collect::<Vec<_>>();
            compiled.places = places;
            return Ok(compiled);
        }
    }
    let told = Diagnostics::new(&path, &sources, problems).to_string();
    assert!(!told.is_empty(), "an error that says nothing");
    Err(told)
}

const CONFIG: Target = Target {
    corpus: "../../../config/examples",
    words: &[
        "\n",
        "  ",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "'",
        "\"",
        "&a ",
        "*a",
        "<<: *a",
        "|\n",
        ">\n",
        "---\n",
        "# ",
        "!!str ",
        "\t",
        "\u{feff}",
        "null",
        "true",
        "1h",
        "0ms",
        "213503982334d",
        "100000000d",
        "month",
        "\u{e9}",
        "\u{1F600}",
        "\0",
        "${request.path}",
        "${",
        "{{key}}",
        "policies:\n",
        "inbound:\n",
        "apis:\n",
        "first_period_start: 9999-12-31T23:59:59Z",
        "period: 100000000d",
        "\r\n",
    ],
    cases: 250,
    longest: 4096,
};

#[test]
fn a_text_compiles_to_one_model_or_has_errors_that_can_be_told() {
    let schema = schemars::schema_for!(File);
    CONFIG.check(|bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let outcome = compiled(text, schema.as_value(), b"");
        assert_eq!(outcome, compiled(text, schema.as_value(), b""), "the same text, and another outcome");
        let Ok(before) = outcome else { return };
        let path = directory("examples/fuzz.yaml");
        assert!(diff((&before, &path), (&before, &path)).is_empty(), "nothing has changed");
        // JSON is YAML: what the text says in other words is the same configuration.
        let Ok(value) = serde_saphyr::from_str::<Value>(text) else { return };
        if let Ok(again) = compiled(&value.to_string(), schema.as_value(), b"") {
            assert_eq!((again.model, again.settings), (before.model, before.settings));
        }
    });
}

const OPENAPI: Target = Target {
    corpus: "openapi",
    words: &[
        "$ref",
        "\"#/components/schemas/Pet\"",
        "\"#/paths/~1pets\"",
        "#",
        "/",
        "~1",
        "{",
        "}",
        "{id}",
        "/{a}{b}",
        "get:",
        "post:",
        "parameters:",
        "schema:",
        "type: object",
        "type: [string, 'null']",
        "pattern: '^(a+)+$'",
        "minimum: 1e400",
        "allOf:",
        "oneOf:",
        "not:",
        "&a ",
        "*a",
        "nullable: true",
        "explode: true",
        "style: deepObject",
        "in: cookie",
        "in: header",
        "\n",
        "  ",
        "- ",
        "3.1.0",
        "required: true",
        "2XX",
        "default:",
        "\u{e9}",
        "%2F",
        "..",
        "additionalProperties: false",
        "$dynamicRef",
        "$id",
        "unevaluatedProperties: false",
    ],
    cases: 300,
    longest: 4096,
};

const WITH_DOCUMENT: &str = "
version: 1
egress: {addresses: [192.0.2.10]}
apis:
- name: partner
  hosts: [api.partner.example]
  ports: [80]
  openapi: document
  policies:
    inbound:
    - validate-parameters: {}
    - validate-content: {content: [{type: '*', openapi: true}]}
    outbound:
    - validate-status-code: {}
    - validate-headers: {}
    - validate-content: {content: [{type: '*', openapi: true}]}
";

#[test]
fn any_document_has_operations_or_errors() {
    let schema = schemars::schema_for!(File);
    assert!(
        compiled(
            WITH_DOCUMENT,
            schema.as_value(),
            &std::fs::read(directory("../gateway/tests/corpus/openapi/petstore")).unwrap()
        )
        .is_ok()
    );
    OPENAPI.check(|bytes| {
        let outcome = compiled(WITH_DOCUMENT, schema.as_value(), bytes);
        assert_eq!(outcome.as_ref().err(), compiled(WITH_DOCUMENT, schema.as_value(), bytes).as_ref().err());
        let Ok(compiled) = outcome else { return };
        let rules = compiled.model.apis[0].rules.as_ref().unwrap();
        assert!(!rules.operations.is_empty());
    });
}

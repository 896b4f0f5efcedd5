//! What OpenAPI documents say, as vendors write them, and what Egret does not understand of them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use egret::config;
use egret::model::{Generation, Host, Model, Workload};
use egret::policy::{self, Call, Dry};
use egret::route;
use http::{Request, StatusCode};

/// Loads an API with a document, which its requests must be as.
fn load(document: &str, strict: bool) -> Result<Model, String> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("egret-documents-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("partner.yaml"), document).unwrap();
    let path: PathBuf = directory.join("egret");
    let config = format!(
        "version: 1\negress: {{addresses: [192.0.2.10]}}\napis:\n  - name: partner\n    hosts: [api.partner.example]\n    \
         ports: [80]\n    only_operations: true\n    openapi: {{file: partner.yaml, strict: {strict}}}\n    policies:\n      \
         inbound:\n        - validate-parameters: {{}}\n        - validate-content: {{content: [{{type: '*', openapi: true}}]}}\n"
    );
    std::fs::write(&path, config).unwrap();
    let loaded = config::load(&path, Generation(1)).map_err(|errors| errors.to_string());
    std::fs::remove_dir_all(directory).unwrap();
    loaded.map(|compiled| compiled.model)
}

/// Loads a document that Egret understands.
fn understood(document: &str) -> Model {
    let model = load(document, true).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(model.warnings, Vec::<String>::new());
    model
}

/// Returns the status that a request gets: 404 where it is none of the operations.
fn status(model: &Model, method: &str, target: &str, body: &str) -> u16 {
    let mut builder = Request::builder().method(method).uri(target);
    if !body.is_empty() {
        builder = builder.header("content-type", "application/json").header("content-length", body.len());
    }
    let head = builder.body(()).unwrap().into_parts().0;
    let (api, host, workload) = (&model.apis[0], Host::parse("api.partner.example").unwrap(), Workload::default());
    let rules = api.rules.as_ref().unwrap();
    if route::operation(rules, method, head.uri.path()).is_none() {
        return 404;
    }
    let mut call = Call::new(head, &workload, api, &host, SystemTime::UNIX_EPOCH, Duration::ZERO);
    let mut world = Dry::new(Bytes::copy_from_slice(body.as_bytes()), StatusCode::OK);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(policy::run(&mut call, rules, &mut world)).unwrap();
    call.message.response.as_ref().map_or(0, |response| response.status.as_u16())
}

#[test]
fn a_path_or_an_operation_that_is_a_reference_is_validated() {
    let model = understood(
        r##"
openapi: 3.1.0
info: {title: T, version: "1"}
paths:
  /me: {get: {parameters: [{$ref: "#/components/parameters/Number"}], responses: {"200": {description: ok}}}}
  /alias: {$ref: "#/paths/~1me"}
  /alias-of-alias: {$ref: "#/paths/~1alias", summary: Twice}
  /shared: {$ref: "#/components/pathItems/Shared", parameters: [{$ref: "#/components/parameters/Number"}]}
  /operation: {post: {$ref: "#/components/x-operations/Create"}}
components:
  parameters: {Number: {name: num, in: query, required: true, schema: {type: integer}}}
  pathItems: {Shared: {get: {responses: {"200": {description: ok}}}}}
  requestBodies: {Thing: {required: true, content: {application/json: {schema: {type: object}}}}}
  x-operations: {Create: {requestBody: {$ref: "#/components/requestBodies/Thing"}, responses: {"200": {description: ok}}}}
"##,
    );
    for path in ["/me", "/alias", "/alias-of-alias", "/shared"] {
        assert_eq!(status(&model, "GET", &format!("{path}?num=1"), ""), 200, "{path}");
        assert_eq!(status(&model, "GET", &format!("{path}?num=x"), ""), 400, "{path}");
        assert_eq!(status(&model, "GET", path, ""), 400, "{path}");
    }
    assert_eq!(status(&model, "POST", "/operation", "{}"), 200);
    assert_eq!(status(&model, "POST", "/operation", "[1]"), 400);
    assert_eq!(status(&model, "POST", "/operation", ""), 400);
}

#[test]
fn unquoted_words_of_yaml_1_1_are_texts() {
    let model = understood(
        r#"
openapi: 3.0.3
info: {title: T, version: "1"}
paths:
  /s:
    get: {parameters: [{name: country, in: query, schema: {type: string, enum: [DE, NO, on, y]}}, {name: n, in: query, schema: {type: integer}}]}
    post: {requestBody: {content: {application/json: {schema: {type: object, required: [y], properties: {y: {type: integer}, no: {type: integer}}}}}}}
"#,
    );
    for country in ["DE", "NO", "on", "y"] {
        assert_eq!(status(&model, "GET", &format!("/s?country={country}&n=1"), ""), 200, "{country}");
    }
    assert_eq!(status(&model, "GET", "/s?country=true", ""), 400);
    assert_eq!(status(&model, "GET", "/s?n=x", ""), 400);
    for (body, expected) in [(r#"{"y": 1}"#, 200), (r#"{"no": 1}"#, 400), (r#"{"y": 1, "no": "x"}"#, 400)] {
        assert_eq!(status(&model, "POST", "/s", body), expected, "{body}");
    }
}

#[test]
fn a_parameter_may_be_a_part_of_a_segment() {
    let model = understood(
        r#"
openapi: 3.0.3
info: {title: T, version: "1"}
servers: [{url: "https://api.partner.example/{version}/", variables: {version: {default: v2}}}]
paths:
  /reports/{id}.json: {get: {parameters: [{name: id, in: path, required: true, schema: {type: integer}}]}}
  /reports/{id}: {get: {}}
  /compare/{base}...{head}: {get: {parameters: [{name: base, in: path, schema: {type: string}}, {name: head, in: path, schema: {type: integer}}]}}
  /own: {servers: [{url: /other}], get: {}}
"#,
    );
    for (path, expected) in [
        ("/v2/reports/7.json", 200),
        ("/v2/reports/x.json", 400),
        ("/v2/reports/x", 200),
        ("/v2/compare/main...7", 200),
        ("/v2/compare/main...x", 400),
        ("/v2/compare/7", 404),
        ("/other/own", 200),
        ("/v2/own", 404),
    ] {
        assert_eq!(status(&model, "GET", path, ""), expected, "{path}");
    }
}

#[test]
fn a_list_is_split_before_its_items_are_decoded() {
    let model = understood(
        r#"
openapi: 3.1.0
info: {title: T, version: "1"}
paths:
  /commas: {get: {parameters: [{name: l, in: query, explode: false, style: form, schema: {type: array, items: {enum: ["a,b", c]}}}]}}
  /spaces: {get: {parameters: [{name: l, in: query, explode: false, style: spaceDelimited, schema: {type: array, items: {type: integer}}}]}}
  /pipes: {get: {parameters: [{name: l, in: query, explode: false, style: pipeDelimited, schema: {type: array, items: {type: integer}}}]}}
  /object: {get: {parameters: [{name: l, in: query, explode: false, style: form, schema: {type: object, properties: {a: {const: "1,2"}}, additionalProperties: false}}]}}
  /path/{l}: {get: {parameters: [{name: l, in: path, style: simple, schema: {type: array, items: {enum: ["a,b", c]}}}]}}
"#,
    );
    for (target, expected) in [
        ("/commas?l=a%2Cb,c", 200),
        ("/commas?l=a,b,c", 400),
        ("/spaces?l=1%202+3", 200),
        ("/spaces?l=1,2", 400),
        ("/pipes?l=1%7C2|3", 200),
        ("/object?l=a,1%2C2", 200),
        ("/object?l=a,1,2,b", 400),
        ("/path/a%2Cb,c", 200),
        ("/path/a,b", 400),
    ] {
        let target = target.replace('|', "%7c");
        assert_eq!(status(&model, "GET", &target, ""), expected, "{target}");
    }
}

/// Constructs that Egret does not understand, each beside one that it does.
const ODD: &[(&str, &str)] = &[
    ("/odd: {$ref: 'other.yaml#/x'}", "is not in this document"),
    ("/odd: {$ref: '#/components/nowhere'}", "refers to nothing"),
    ("/odd: {$ref: '#/paths/~1odd'}", "refers to itself"),
    ("/odd: {$ref: '#/paths/~1fine', get: {deprecated: true}}", "stands beside `$ref`"),
    ("/odd: {get: {$ref: 'other.yaml#/x'}}", "is not in this document"),
    ("/odd: {get: [1]}", "not keys and values"),
    ("/odd: [1]", "not keys and values"),
    ("/odd: {GET: {}}", "`GET` is neither a method nor a key of paths"),
    ("/odd: {query: {}}", "`query` is neither a method nor a key of paths"),
    ("odd: {get: {}}", "this path does not begin with a slash"),
    ("/odd?x={y}: {get: {}}", "neither a text nor a text with parameters"),
    ("/{odd: {get: {}}", "neither a text nor a text with parameters"),
    ("/{a}: {get: {}}\n  /{b}: {get: {}}", "the same path as"),
    ("/odd: {servers: [{url: 'https://a.example/{v}'}], get: {}}", "a variable without a default"),
    ("/odd: {servers: [{url: /a}, {url: /b}], get: {}}", "different paths"),
    ("/odd: {get: {parameters: {name: a}}}", "not a list of parameters"),
    ("/odd: {get: {parameters: [{name: a, in: body}]}}", "`in` is header, path, query or cookie"),
    ("/odd: {get: {parameters: [{name: a, in: query, style: matrix, schema: {}}]}}", "`style: matrix` is not known"),
    ("/odd: {post: {requestBody: {schema: {}}}}", "no `content`"),
    ("/odd: {post: {requestBody: {content: [1]}}}", "no `content`"),
    ("/odd: {post: {requestBody: {content: {application/json: {schema: {type: strin}}}}}}", "strin"),
];

#[test]
fn an_odd_construct_is_reported_and_the_rest_works() {
    for (odd, told) in ODD {
        let document = format!(
            "openapi: 3.1.0\ninfo: {{title: T, version: '1'}}\npaths:\n  /fine: {{get: {{parameters: [{{name: n, in: query, schema: \
             {{type: integer}}}}]}}}}\n  {odd}\n"
        );
        let model = load(&document, false).unwrap_or_else(|errors| panic!("{errors}"));
        let [warning] = model.warnings.as_slice() else { panic!("{odd}: {:?}", model.warnings) };
        assert!(warning.starts_with("warning: Egret does not understand all of `partner.yaml`"), "{warning}");
        assert!(warning.contains(told), "{odd}: {warning}");
        assert_eq!(status(&model, "GET", "/fine?n=1", ""), 200, "{odd}");
        assert_eq!(status(&model, "GET", "/fine?n=x", ""), 400, "{odd}");
        let errors = load(&document, true).unwrap_err();
        assert!(errors.contains(told) && errors.ends_with(": 1 error"), "{errors}");
    }
}

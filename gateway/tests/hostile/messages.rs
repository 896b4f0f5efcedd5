use http::{Method, StatusCode};

use crate::scripted::{Scene, answer, get, post, with};

#[test]
fn a_body_does_not_grow_beyond_measure() {
    let scene = Scene::inbound("- find-and-replace: {from: a, to: '${request.headers[\"x-long\"]}'}");
    let body: &'static str = Box::leak("a".repeat(100_000).into());
    let outcome = scene.send(with(post("/", body), &[("x-long", &"b".repeat(10_000))]));
    assert_eq!((scene.times(), outcome.status), (0, StatusCode::PAYLOAD_TOO_LARGE));
}

#[test]
fn a_second_coding_is_seen() {
    let scene = Scene::inbound("- find-and-replace: {from: card, to: none}");
    let outcome = scene.send(with(post("/", "x"), &[("content-encoding", "identity"), ("content-encoding", "gzip")]));
    assert_eq!((scene.times(), outcome.reason().as_str()), (0, "body_encoded"));
}

/// RFC 9110 §6.4.1, §8.6.
#[test]
fn answers_that_have_no_body_have_none() {
    let head = |request: http::Request<&'static str>| {
        let mut request = request;
        *request.method_mut() = Method::HEAD;
        request
    };
    let scene = Scene::inbound("- check-header: {name: X-Must}");
    let refused = scene.send(head(get("/")));
    assert_eq!((refused.status, refused.body.as_str()), (StatusCode::UNAUTHORIZED, ""));
    assert_ne!(refused.header("content-length"), "0", "it is that of the body that a GET would get");

    let scene = Scene::policies(&[("outbound", "- set-status: 204")]);
    scene.will(answer(200, &[("content-length", "4")], "body"));
    let emptied = scene.send(get("/"));
    assert_eq!((emptied.status, emptied.body.as_str()), (StatusCode::NO_CONTENT, ""));
    assert!(!emptied.headers.contains_key("content-length"));

    let scene = Scene::inbound("- set-method: GET");
    scene.will(answer(200, &[("content-length", "4")], "body"));
    let asked = scene.send(head(get("/")));
    assert_eq!((asked.body.as_str(), asked.header("content-length")), ("", "4"));
}

/// What third parties take for the same path is the same operation: else its limits would be a matter of spelling.
#[test]
fn an_operation_is_known_however_its_path_is_spelled() {
    let scene = Scene::new(
        "operations:\n  - {name: order, method: GET, path: '/v1/orders/{id}'}\n  - {name: files, path: '/public/*'}\n  \
         - {name: root, path: /}\n  - {name: csv, path: '/re%70orts/q{quarter}.csv'}",
    );
    for (target, operation) in [
        ("/v1/orders/7", "order"),
        ("/v1/%6Frders/7", "order"),
        ("/%761/orders/%37", "order"),
        ("//v1///orders/7", "order"),
        ("/v1/./orders/7", "order"),
        ("/v1/%2e/orders/7", "order"),
        ("/x/../v1/orders/7", "order"),
        ("/x/%2E%2e/v1/orders/7", "order"),
        ("/../v1/orders/7", "order"),
        ("/v1/orders/7/", "order"),
        ("/v1/orders/7/.", "order"),
        ("/v1/orders/8/../7", "order"),
        ("/public/a/../b", "files"),
        ("/public/../admin", ""),
        ("/public/%2e%2e/admin", ""),
        ("/public/..", "root"),
        ("/v1/orders/", ""),
        ("/v1/orders/7/8", ""),
        ("/v1/orders/a%2Fb", "order"),
        ("/", "root"),
        ("//", "root"),
        ("/reports/q1.csv", "csv"),
        ("/r%65ports/%711.csv", "csv"),
    ] {
        let outcome = scene.send(get(target));
        assert_eq!(outcome.operation, operation, "{target}");
        assert_eq!(scene.last().uri, target, "it is sent as it came");
    }
}

/// Whatever a caller says, an expression comes to a value or to an error.
#[test]
fn no_text_of_a_caller_breaks_an_expression() {
    let texts = [
        "",
        "\u{e9}",
        "a\u{1F600}b",
        "-9223372036854775808",
        "9223372036854775807",
        "-1",
        "1e999",
        "\u{0}",
        "%",
        "((((",
        "%s %d %x %.99999f",
        "99999999999",
        "\u{df}\u{130}",
        "2262-04-11T23:47:16.854775807Z",
        "-9999-01-01T00:00:00Z",
        "9223372036s",
        "9999999999999h",
        "-9223372036854775808ns",
        "{\"a\":[1,{\"b\":1e400}]}",
    ];
    for expression in [
        "T.substring(1)",
        "T.substring(0, 1)",
        "T.substring(1, 2)",
        "T.substring(int(T))",
        "T.charAt(1)",
        "T.charAt(int(T))",
        "T.indexOf(\"\")",
        "T.lastIndexOf(\"\")",
        "T.replace(\"\", T)",
        "T.split(\"\")",
        "T.split(T)",
        "T.trim()",
        "T.lowerAscii()",
        "T.upperAscii()",
        "[T].join(T)",
        "int(T) * 2",
        "int(T) / -1",
        "int(T) % -1",
        "-int(T)",
        "int(T) - 1",
        "int(T) + int(T)",
        "int(double(T))",
        "double(T) / 0.0",
        "int(T) / 0",
        "int(T) % 0",
        "duration(T) + duration(T)",
        "-duration(T)",
        "now + duration(T)",
        "now - duration(T)",
        "timestamp(T) - now",
        "timestamp(T) + duration(\"999999h\")",
        "timestamp(T).getFullYear()",
        "timestamp(int(T))",
        "string(timestamp(T))",
        "T.matches(T)",
        "T.matches(\"(a*)*$\")",
        "json(T)",
        "json(T).a[1].b",
        "base64.decode(T)",
        "string(base64.decode(T))",
        "bytes(T)",
        "[1, 2][int(T)]",
        "{\"a\": 1}[T]",
        "T + T",
        "T < T",
        "T in [T]",
        "T.size()",
        "\"%s\".format([T])",
        "T.format([T])",
        "\"%d\".format([int(T)])",
        "\"%.3e\".format([double(T)])",
    ] {
        for place in ["request.headers[\"x-text\"]", "request.query[\"t\"]"] {
            let written = expression.replace('T', place).replace('\'', "''");
            let policy = format!(
                "- set-variable: {{name: a, value: '{written}'}}\n- set-header: {{name: X-Said, value: '${{variables.a}}'}}"
            );
            let scene = Scene::inbound(&policy);
            for text in texts {
                let mut request = get(&format!("/?t={}", percent(text)));
                let Ok(value) = http::HeaderValue::from_bytes(text.as_bytes()) else { continue };
                request.headers_mut().insert("x-text", value);
                let status = scene.send(request).status;
                assert!([StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR].contains(&status), "{expression} {text:?}");
            }
        }
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

//! Values that callers choose, put into texts of the owner's: none becomes more than a value.

use http::StatusCode;

use crate::scripted::{Scene, get, post, with};

fn sent_with(policies: &str, request: http::Request<&'static str>) -> String {
    let scene = Scene::inbound(policies);
    let outcome = scene.send(request);
    assert_eq!(outcome.status, StatusCode::OK, "{}", outcome.body);
    scene.body()
}

#[test]
fn a_value_in_json_stays_a_value() {
    let body = "- set-body: '{\"client\": \"acme\", \"note\": \"for ${request.body}\", \"order\": ${request.body}}'";
    for order in ["1, \"client\": \"somebody else\"", "\"}, {\"", "\\", "\\\"", "a\nb\u{1}", "\u{2028}</script>", ""] {
        let text = sent_with(body, post("/", order));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let expected = serde_json::json!({"client": "acme", "note": format!("for {order}"), "order": order});
        assert_eq!(json, expected);
    }
    let whole = "- set-body: '{\"order\": ${json(request.body)}, \"count\": ${size(request.body)}, \"none\": ${null}}'";
    assert_eq!(
        sent_with(whole, post("/", "{\"id\": [7]}")),
        "{\"order\": {\"id\":[7]}, \"count\": 11, \"none\": null}"
    );
    let raw = "- set-body: '{\"order\": ${raw(request.body)}}'";
    assert_eq!(
        sent_with(raw, post("/", "1, \"b\": 2")),
        "{\"order\": 1, \"b\": 2}",
        "that is what its owner has written"
    );
}

#[test]
fn a_value_in_xml_stays_a_value() {
    let body = "- set-body: '<order by=\"${request.body}\">${request.body}</order>'";
    let text = sent_with(body, post("/", "\"/><admin>&'\u{0}"));
    let value = "&#34;/&#62;&#60;admin&#62;&#38;&#39;\u{fffd}";
    assert_eq!(text, format!("<order by=\"{value}\">{value}</order>"));
}

#[test]
fn a_value_in_a_form_stays_a_value() {
    assert_eq!(
        sent_with("- set-body: 'grant_type=password&username=${request.body}'", post("/", "a&admin=1#+ %")),
        "grant_type=password&username=a%26admin%3D1%23%2B%20%25"
    );
    // Plain text has nothing to get out of, and a body that is one hole is what its value is.
    assert_eq!(sent_with("- set-body: 'from ${request.body}'", post("/", "{\"a\"")), "from {\"a\"");
    assert_eq!(sent_with("- set-body: '${request.body.trim()}'", post("/", " {\"a\": 1} ")), "{\"a\": 1}");
}

#[test]
fn what_is_put_into_a_body_is_encoded_for_the_place() {
    let replace = "- find-and-replace: {from: WHO, to: '${request.headers[\"x-who\"]}'}";
    let who = [("x-who", "a\",\"admin\":true,\"b\":\"")];
    let json = sent_with(replace, with(post("/", "{\"by\": \"WHO\", \"all\": [WHO]}"), &who));
    let quoted = "a\\\",\\\"admin\\\":true,\\\"b\\\":\\\"";
    assert_eq!(json, format!("{{\"by\": \"{quoted}\", \"all\": [\"{quoted}\"]}}"));
    // What is put in does not change where the next one stands.
    let twice = sent_with(replace, with(post("/", "[\"WHO\", \"WHO\"]"), &[("x-who", "\\")]));
    assert_eq!(twice, "[\"\\\\\", \"\\\\\"]");
    let xml = with(post("/", "<by>WHO</by>"), &[("x-who", "</by><admin/>"), ("content-type", "application/xml")]);
    assert_eq!(sent_with(replace, xml), "<by>&#60;/by&#62;&#60;admin/&#62;</by>");
    // A caller that has its JSON called something else gains nothing.
    let lie = with(post("/", " {\"by\": \"WHO\"}"), &[("x-who", "\""), ("content-type", "text/plain")]);
    assert_eq!(sent_with(replace, lie), " {\"by\": \"\\\"\"}");
    // Behind a backslash it would end the string.
    let scene = Scene::inbound(replace);
    assert_eq!(scene.send(with(post("/", "{\"by\": \"\\WHO\"}"), &[("x-who", "\"")])).reason(), "expression");
    assert_eq!(scene.times(), 0);
}

#[test]
fn a_value_in_a_path_stays_one_segment() {
    let scene = Scene::inbound(
        "- rewrite-uri: {template: '/v2/items/${request.query[\"id\"]}/price?key=owner&by=${request.query[\"id\"]}', copy_query: false}",
    );
    for (query, sent) in [
        ("id=7", "/v2/items/7/price?key=owner&by=7"),
        ("id=a%20b", "/v2/items/a%20b/price?key=owner&by=a%20b"),
        ("id=7%23", "/v2/items/7%23/price?key=owner&by=7%23"),
        ("id=7%3fkey%3dmine%26x%3d", "/v2/items/7%3Fkey=mine&x=/price?key=owner&by=7%3Fkey%3Dmine%26x%3D"),
        ("id=a/b", "/v2/items/a%2Fb/price?key=owner&by=a%2Fb"),
        ("id=7;x", "/v2/items/7%3Bx/price?key=owner&by=7%3Bx"),
        ("id=7%0d%0aX:y", "/v2/items/7%0D%0AX:y/price?key=owner&by=7%0D%0AX%3Ay"),
    ] {
        assert_eq!(scene.send(get(&format!("/get?{query}"))).status, StatusCode::OK, "{query}");
        assert_eq!(scene.last().uri, sent);
    }
    let before = scene.times();
    for query in [
        "id=..",
        "id=.",
        "id=../../admin",
        "id=..%2f..%2fadmin%3fkey%3dmine",
        "id=%252e%252e",
        "id=..;",
        "id=..%5cadmin",
        "id=..%00",
    ] {
        let outcome = scene.send(get(&format!("/get?{query}")));
        assert_eq!(
            (outcome.status, outcome.reason().as_str()),
            (StatusCode::BAD_REQUEST, "path_not_allowed"),
            "{query}"
        );
    }
    assert_eq!(scene.times(), before);
}

/// A parameter of a path is decoded, and encoded again.
#[test]
fn a_parameter_of_a_path_goes_into_another_as_it_was() {
    let scene = Scene::new(
        "paths: lenient\noperations:\n  - {name: item, path: \"/items/{id}\", policies: {inbound: [rewrite-uri: {template: \"/v2/${request.parameters.id}\"}, \
         set-header: {name: X-Id, value: \"${request.parameters.id}\"}]}}\n",
    );
    for (path, sent, id) in
        [("/items/7", "/v2/7", "7"), ("/items/a%20b", "/v2/a%20b", "a b"), ("/items/a%2fb", "/v2/a%2Fb", "a/b")]
    {
        scene.send(get(path));
        assert_eq!((scene.last().uri.to_string().as_str(), scene.last().headers["x-id"].to_str().unwrap()), (sent, id));
    }
    assert_eq!(scene.send(get("/items/..%2fadmin")).reason(), "path_not_allowed");
}

#[test]
fn a_rewritten_path_is_of_no_operation_whose_policies_did_not_run() {
    let operations = "operations:\n  - {name: admin, path: /files/admin, policies: {inbound: [{return-response: {status: 403}}]}}\n  \
                      - {name: plain, path: /files/plain}\n  - {name: all, path: \"/files/*\"}\n";
    let rewrite = |template: &str| {
        Scene::new(&format!(
            "{operations}policies: {{inbound: [rewrite-uri: {{template: '{template}', copy_query: false}}]}}\n"
        ))
    };
    let scene = rewrite("/files/${request.query.name}");
    for (name, expected) in [("a", ""), ("plain", ""), ("admin", "path_not_allowed"), ("%61dmin", "path_not_allowed")] {
        assert_eq!(scene.send(get(&format!("/get?name={name}"))).reason(), expected, "{name}");
    }
    let raw = rewrite("/files${raw(request.query.name)}");
    assert_eq!(raw.send(get("/get?name=//admin")).reason(), "path_not_allowed");
    assert_eq!(raw.send(get("/get?name=/x/..//admin")).reason(), "path_not_allowed");
    assert_eq!(raw.send(get("/get?name=/x%3fy=z")).status, StatusCode::OK);
    assert_eq!(raw.last().uri, "/files/x?y=z");
    // What its owner writes out is the owner's word.
    let fixed = rewrite("/files/admin");
    assert_eq!(fixed.send(get("/get")).status, StatusCode::OK);
}

#[test]
fn a_method_that_a_request_chooses_is_of_no_operation_whose_policies_did_not_run() {
    let scene = Scene::new(
        "operations:\n  - {name: delete, method: DELETE, path: \"/{id}\", policies: {inbound: [{return-response: {status: 403}}]}}\n\
         policies: {inbound: [set-method: '${request.headers[\"x-http-method-override\"]}']}\n",
    );
    let with_method = |method| with(post("/1", ""), &[("x-http-method-override", method)]);
    assert_eq!(scene.send(with_method("DELETE")).reason(), "path_not_allowed");
    assert_eq!(scene.send(with_method("PUT")).status, StatusCode::OK);
    assert_eq!(scene.last().method, http::Method::PUT);
}

#[test]
fn a_request_of_its_own_asks_what_its_owner_has_written() {
    let scene = Scene::inbound(
        "- send-request:\n    url: 'https://risk.example/check/${request.query.id}?customer=${request.headers[\"x-customer\"]}'\n    \
         method: POST\n    headers: {Content-Type: application/json}\n    body: '{\"path\": \"${request.path}\", \"by\": ${request.headers[\"x-customer\"]}}'\n    variable: risk",
    );
    *scene.other.lock().unwrap() = crate::scripted::Other::Answers("{}");
    for (path, customer, target, body) in [
        (
            "/o?id=1",
            "evil&customer=good#",
            "/check/1?customer=evil%26customer%3Dgood%23",
            r#"{"path": "/o", "by": "evil&customer=good#"}"#,
        ),
        (
            "/o%22,%22a?id=a/b",
            "\",\"ok\":1",
            "/check/a%2Fb?customer=%22%2C%22ok%22%3A1",
            r#"{"path": "/o%22,%22a", "by": "\",\"ok\":1"}"#,
        ),
        ("/o\",\"level\":\"low?id=1", "c", "/check/1?customer=c", r#"{"path": "/o\",\"level\":\"low", "by": "c"}"#),
    ] {
        let outcome = scene.send(with(get(path), &[("x-customer", customer)]));
        assert_eq!(outcome.status, StatusCode::OK, "{}", outcome.body);
        assert_eq!(scene.fetched(), (target.to_owned(), body.to_owned()));
    }
    assert_eq!(scene.send(with(get("/o?id=..%2f..%2fadmin"), &[("x-customer", "c")])).reason(), "path_not_allowed");
}

#[test]
fn a_reply_repeats_a_value_as_a_value() {
    let scene = Scene::inbound(
        "- return-response:\n    status: 403\n    headers: {Content-Type: text/html}\n    body: '<p>not for ${request.query.who}</p>'",
    );
    assert_eq!(scene.send(get("/?who=%3Cscript%3E")).body, "<p>not for &#60;script&#62;</p>");
}

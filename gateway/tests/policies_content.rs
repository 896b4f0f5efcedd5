//! What the policies that look into messages decide, of requests and answers that nobody sends.

use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use egret::config;
use egret::model::{Endpoint, Generation, Host, Identity, Model, Pending, Reason, Told, Workload};
use egret::policy::{self, Asked, Call, Peeked, Side, State, Unanswerable, World};
use http::{HeaderMap, Request, Response, response};

/// A third party with one answer.
struct Answering {
    request: Bytes,
    answer: Response<Bytes>,
    state: State,
    asked: usize,
    /// The body of the request, if it is not what comes from the caller; and its type.
    sent: Option<Bytes>,
    sent_kind: String,
    /// Whose bodies were read.
    read: Vec<Side>,
}

impl World for Answering {
    fn body(&mut self, side: Side, most: usize) -> Pending<'_, Result<Bytes, Reason>> {
        self.read.push(side);
        let bytes = match side {
            Side::Request => self.request.clone(),
            Side::Response => self.answer.body().clone(),
        };
        Box::pin(ready(if bytes.len() > most { Err(Reason::BodyTooLarge) } else { Ok(bytes) }))
    }

    fn has_body(&self) -> bool {
        !self.request.is_empty()
    }

    fn answer_up_to(&mut self, _: usize) -> Pending<'_, Result<Option<Bytes>, Reason>> {
        Box::pin(ready(Ok(None)))
    }

    fn ask(&mut self, asked: Asked, _: Option<Duration>) -> Pending<'_, Result<response::Parts, Unanswerable>> {
        self.asked += 1;
        self.sent = asked.body;
        let kind = asked.head.headers.get("content-type");
        self.sent_kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_owned();
        Box::pin(ready(Ok(self.answer.clone().into_parts().0)))
    }

    fn peek(&mut self, _: usize) -> Pending<'_, Result<Peeked, Reason>> {
        Box::pin(ready(Ok(Peeked { bytes: self.answer.body().clone(), whole: true })))
    }

    fn fetch(
        &self,
        _: &Arc<Endpoint>,
        _: Request<Bytes>,
        _: usize,
        _: Duration,
    ) -> Pending<'_, Result<Response<Bytes>, Reason>> {
        Box::pin(ready(Err(Reason::UpstreamUnreachable)))
    }

    fn send_away(&self, _: &Arc<Endpoint>, _: Request<Bytes>, _: Duration) {}

    fn at(&self) -> Duration {
        Duration::ZERO
    }

    fn tell(&mut self, _: Vec<Told>) {}

    fn pause(&mut self, _: Duration) -> Pending<'_, ()> {
        Box::pin(ready(()))
    }

    fn state(&self) -> &State {
        &self.state
    }
}

/// What has become of a call.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    status: u16,
    message: String,
    body: String,
    /// Of the answer.
    headers: Vec<(String, String)>,
    /// The body of the request, and its type.
    sent: String,
    sent_kind: String,
    reports: Vec<(&'static str, Reason, String)>,
    asked: usize,
    read: Vec<Side>,
}

/// An example of the project, changed.
fn example(name: &str, edit: impl FnOnce(String) -> String) -> Model {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
    let text = edit(std::fs::read_to_string(examples.join(format!("{name}.yaml"))).unwrap());
    let entries = std::fs::read_dir(&examples).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let beside = entries.filter(|entry| entry.starts_with(&format!("{name}.")) && !entry.ends_with(".yaml"));
    let beside: Vec<_> =
        beside.map(|entry| (entry.clone(), std::fs::read_to_string(examples.join(entry)).unwrap())).collect();
    configured(&text, &beside)
}

/// A configuration with the files that it names.
fn configured(text: &str, beside: &[(String, String)]) -> Model {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("egret-content-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for (name, text) in beside {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let path = directory.join("egret.yaml");
    std::fs::write(&path, text).unwrap();
    let loaded = config::load(&path, Generation(1));
    std::fs::remove_dir_all(directory).unwrap();
    loaded.unwrap_or_else(|errors| panic!("{errors}")).model
}

fn call(model: &Model, request: Request<&str>, answer: Response<&str>) -> Outcome {
    let (head, body_of_request) = request.into_parts();
    let workload = Workload::from(Arc::new(Identity { cgroup: "/test".into(), ..Identity::of("test") }));
    let (api, host) = (&model.apis[0], Host::parse("api.partner.example").unwrap());
    let rules = api.rules.as_ref().unwrap();
    let mut call = Call::new(head, &workload, api, &host, SystemTime::UNIX_EPOCH, Duration::ZERO);
    let mut world = Answering {
        request: Bytes::copy_from_slice(body_of_request.as_bytes()),
        answer: answer.map(|body| Bytes::copy_from_slice(body.as_bytes())),
        state: State::default(),
        asked: 0,
        sent: None,
        sent_kind: String::new(),
        read: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(policy::run(&mut call, rules, &mut world)).unwrap();
    let body = call.message.response_body.clone().unwrap_or_else(|| world.answer.body().clone());
    Outcome {
        status: call.message.response.as_ref().unwrap().status.as_u16(),
        message: call.context.error.as_ref().map(|fault| fault.message.clone()).unwrap_or_default(),
        body: String::from_utf8_lossy(&body).into_owned(),
        headers: fields(&call.message.response.as_ref().unwrap().headers),
        sent: world.sent.map_or_else(|| body_of_request.to_owned(), |sent| String::from_utf8_lossy(&sent).into_owned()),
        sent_kind: world.sent_kind,
        reports: call.effects.reports.clone(),
        asked: world.asked,
        read: world.read,
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

fn ok() -> Response<&'static str> {
    Response::new("")
}

fn order(kind: &'static str, body: &'static str) -> Request<&'static str> {
    let mut builder = Request::post("/orders").header("content-length", body.len());
    if !kind.is_empty() {
        builder = builder.header("content-type", kind);
    }
    builder.body(body).unwrap()
}

#[test]
fn a_body_is_what_its_schema_says() {
    let model = example("policy-validate-content", |text| text);
    for (kind, body, expected) in [
        ("application/json; charset=utf-8", r#"{"product": "AB-1", "count": 2, "gift": {"text": "hi"}}"#, ""),
        ("Application/JSON", r#"{"product": "AB-1", "count": 2}"#, ""),
        ("application/json", r#"{"product": "AB-1"}"#, "body: \"count\" is a required property"),
        (
            "application/json",
            r#"{"product": "secret", "count": 101}"#,
            "body: /count: value is greater than the maximum of 100; body: /product: value does not match \"^[A-Z]{2}-[0-9]+$\"",
        ),
        (
            "application/json",
            r#"{"product": "AB-1", "count": 2, "gift": {"text": 7}}"#,
            "body: /gift/text: value is not of type \"string\"",
        ),
        ("application/json", "secret", "body: not JSON: expected value at line 1 column 1"),
        ("application/json", "", "body: not JSON: EOF while parsing a value at line 1 column 0"),
        (
            "application/json",
            r#"{"count": 1, "product": "AB-1", "count": 2}"#,
            "body: not JSON: an object with a key twice at line 1 column 43",
        ),
        (
            "application/json; charset=utf-16",
            r#"{"product": "AB-1", "count": 2}"#,
            "the body is in utf-16, not in UTF-8",
        ),
        (
            "application/json; charset=utf-8; charset=\"UTF-32\"",
            r#"{"product": "AB-1", "count": 2}"#,
            "the body is in utf-32, not in UTF-8",
        ),
        ("application/json", "\0{\0}", "the body is in UTF-16 or UTF-32, not in UTF-8"),
        ("text/plain", "secret", "bodies of type text/plain are not described here"),
        ("", "secret", "the body is of no type (Content-Type)"),
        ("", "", ""),
    ] {
        let outcome = call(&model, order(kind, body), ok());
        assert_eq!(outcome.message, expected, "{kind} {body}");
        let (status, asked) = if expected.is_empty() { (200, 1) } else { (400, 0) };
        assert_eq!((outcome.status, outcome.asked), (status, asked), "{kind} {body}");
        assert!(!outcome.body.contains("secret"), "{}", outcome.body);
    }
}

#[test]
fn a_body_that_is_too_long_or_compressed_is_not_read() {
    let model = example("policy-validate-content", |text| text);
    let long = order("application/json", Box::leak("x".repeat(1001).into_boxed_str()));
    let outcome = call(&model, long, ok());
    assert_eq!((outcome.status, outcome.message.as_str()), (400, "the body has 1001 bytes, more than 1000"));
    assert_eq!(outcome.read, []);
    let mut compressed = order("application/json", "x");
    compressed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let outcome = call(&model, compressed, ok());
    assert_eq!((outcome.status, outcome.message.as_str()), (400, "the body is encoded (gzip)"));
    assert_eq!(outcome.read, []);
    let detect = example("policy-validate-content", |text| {
        text.replace("max_size: 1000", "max_size: 10\n                size_exceeded: detect")
    });
    let outcome = call(&detect, order("application/json", "this is no JSON"), ok());
    assert_eq!((outcome.status, outcome.asked), (200, 1));
    let expected = ("validate-content", Reason::ContentTooLarge, "the body has 15 bytes, more than 10".to_owned());
    assert_eq!(outcome.reports, [expected]);
    // Its length is not said before.
    let mut unsaid = order("text/plain", "this is no JSON");
    unsaid.headers_mut().remove("content-length");
    let outcome = call(&detect, unsaid, ok());
    assert_eq!(outcome.read, [Side::Request]);
    assert_eq!(outcome.reports[0].1, Reason::ContentTooLarge);
}

#[test]
fn answers_are_what_the_document_says() {
    let model = example("policy-validate-content", |text| text);
    let answer = |status: u16, kind: &str, body: &'static str| {
        Response::builder().status(status).header("content-type", kind).body(body).unwrap()
    };
    for (answer, expected) in [
        (answer(200, "application/json", r#"[{"id": 1, "price": 0.5, "note": null}]"#), ""),
        (
            answer(200, "application/json", r#"[{"id": 1, "price": 0}]"#),
            "body: /0/price: value is less than or equal to the minimum of 0",
        ),
        (answer(200, "text/csv", "id"), "bodies of type text/csv are not described here"),
        (answer(500, "application/json", "{}"), "bodies of type application/json are not described here"),
        (answer(204, "application/json", ""), ""),
    ] {
        let told = format!("{answer:?}");
        let outcome = call(&model, Request::get("/prices").body("").unwrap(), answer.clone());
        let reports: Vec<_> = outcome.reports.iter().map(|(_, _, message)| message.as_str()).collect();
        assert_eq!(reports.concat(), expected, "{told}");
        assert_eq!((outcome.status, outcome.body.as_str()), (answer.status().as_u16(), *answer.body()));
        let looked = answer.status() == 200 && answer.headers()["content-type"] == "application/json";
        assert_eq!(outcome.read, if looked { vec![Side::Response] } else { Vec::new() }, "others are streamed: {told}");
    }
    let prevent = example("policy-validate-content", |text| text.replace("detect", "prevent"));
    let outcome = call(&prevent, Request::get("/prices").body("").unwrap(), answer(200, "application/json", "[{}]"));
    assert_eq!(outcome.status, 502);
    assert_eq!(outcome.message, "body: /0: \"id\" is a required property; body: /0: \"price\" is a required property");
}

#[test]
fn parameters_are_as_the_document_says() {
    let model = example("policy-validate-parameters", |text| text);
    for (target, header, expected) in [
        ("/v1/prices/7?currency=EUR", "", ""),
        ("/v1/prices/7?currency=EUR&tag=a&tag=b&filter%5Bfrom%5D=3", "x-trace: true", ""),
        ("/v1/prices/7?currency=EUR", "x-api-key: secret", ""),
        ("/v1/prices/7?currency=EUR", "user-agent: secret", ""),
        ("/v1/prices/0?currency=EUR", "", "path parameter id is not as described: value is less than the minimum of 1"),
        (
            "/v1/prices/seven?currency=EUR",
            "",
            "path parameter id is not as described: value is not of type \"integer\"",
        ),
        ("/v1/prices/1.5?currency=EUR", "", "path parameter id is not as described: value is not of type \"integer\""),
        ("/v1/prices/7", "", "query parameter currency is missing"),
        ("/v1/prices/7?currency=EUR&currency=USD", "", "query parameter currency is there more than once"),
        (
            "/v1/prices/7?currency=secret",
            "",
            "query parameter currency is not as described: value is not one of \"EUR\" or \"USD\"",
        ),
        (
            "/v1/prices/7?currency=EUR&tag=a&tag=b&tag=c",
            "",
            "query parameter tag is not as described: value has more than 2 items",
        ),
        (
            "/v1/prices/7?currency=EUR&tag=7",
            "",
            "query parameter tag is not as described: /0: value does not match \"^[a-z]+$\"",
        ),
        (
            "/v1/prices/7?currency=EUR&filter%5Bfrom%5D=x",
            "",
            "query parameter filter is not as described: /from: value is not of type \"integer\"",
        ),
        (
            "/v1/prices/7?currency=EUR",
            "x-trace: 1",
            "header x-trace is not as described: value is not of type \"boolean\"",
        ),
        ("/v1/prices/7?currency=EUR&debug=secret&debug=2", "", "query parameter debug is not described"),
    ] {
        let mut request = Request::get(target);
        if let Some((name, value)) = header.split_once(": ") {
            request = request.header(name, value);
        }
        let outcome = call(&model, request.body("").unwrap(), ok());
        assert_eq!(outcome.message, expected, "{target} {header}");
        assert_eq!(outcome.status, if expected.is_empty() { 200 } else { 400 });
        assert_eq!(outcome.reports, [], "{target} {header}");
    }
    let request = Request::get("/v1/prices/7?currency=EUR").header("x-odd", "secret").body("").unwrap();
    let outcome = call(&model, request, ok());
    let expected = ("validate-parameters", Reason::ParameterNotValid, "header x-odd is not described".to_owned());
    assert_eq!((outcome.status, outcome.reports), (200, vec![expected]));
}

#[test]
fn headers_of_answers_are_as_the_document_says() {
    let model = example("policy-validate-headers", |text| text);
    for (path, header, expected) in [
        ("/prices", "x-answered: a", ""),
        ("/prices", "server: a", ""),
        ("/prices", "x-powered-by: a", "header x-powered-by is not described"),
        ("/limited", "x-left: 7", ""),
        ("/limited", "x-left: many", "header x-left is not as described: value is not of type \"integer\""),
        ("/limited", "x-answered: a", "header x-left is missing"),
        ("/bare", "content-type: text/plain", ""),
        ("/bare", "x-answered: a", "header x-answered is not described"),
        ("/unknown", "x-answered: a", "header x-answered is not described"),
    ] {
        let (name, value) = header.split_once(": ").unwrap();
        let answer = Response::builder().header(name, value).body("").unwrap();
        let outcome = call(&model, Request::get(path).body("").unwrap(), answer);
        assert_eq!(outcome.message, expected, "{path} {header}");
        assert_eq!(outcome.status, if expected.is_empty() { 200 } else { 502 });
    }
}

#[test]
fn statuses_of_answers_are_those_of_the_document() {
    let model = example("policy-validate-status-code", |text| text);
    for (path, status, expected) in [
        ("/prices", 200, ""),
        ("/prices", 404, ""),
        ("/prices", 503, "answers of status 503 are not described"),
        ("/teapot", 418, "answers of status 418 are not described"),
        ("/teapot", 429, ""),
        ("/unknown", 200, "answers of status 200 are not described"),
    ] {
        let answer = Response::builder().status(status).body("").unwrap();
        let outcome = call(&model, Request::get(path).body("").unwrap(), answer);
        assert_eq!(outcome.message, expected, "{path} {status}");
        assert_eq!(outcome.status, if expected.is_empty() { status } else { 502 });
    }
}

#[test]
fn requests_become_xml_where_they_are_json() {
    let model = example("policy-json-to-xml", |text| text);
    let long = format!("[{}1]", "1,".repeat(100));
    for (kind, body, status, sent) in [
        ("application/json", r#"{"order": {"id": 7}}"#, 200, "<order><id>7</id></order>"),
        ("application/vnd.partner+json; charset=utf-8", "[1]", 200, "<Order><item>1</item></Order>"),
        ("text/plain", "{}", 200, "{}"),
        ("application/json", "", 200, ""),
        ("application/json", "secret", 400, ""),
        ("application/json", &long, 400, ""),
    ] {
        let mut model = model.clone();
        let mut rules = (**model.apis[0].rules.as_ref().unwrap()).clone();
        rules.max_body = 300;
        model.apis[0].rules = Some(std::sync::Arc::new(rules));
        let outcome = call(&model, order(kind, Box::leak(body.to_owned().into_boxed_str())), ok());
        assert_eq!(outcome.status, status, "{body}: {}", outcome.message);
        if status == 200 {
            assert_eq!(outcome.sent, sent, "{kind}");
            let is_converted = sent.starts_with('<');
            assert_eq!(outcome.sent_kind, if is_converted { "application/xml" } else { kind });
        } else {
            assert!(outcome.message.starts_with("the body is not") && !outcome.body.contains("secret"), "{outcome:?}");
        }
    }
    let mut compressed = order("application/json", "{}");
    compressed.headers_mut().insert("content-encoding", "br".parse().unwrap());
    assert!(call(&model, compressed, ok()).message.starts_with("the body is encoded (br)"));
}

#[test]
fn answers_become_json_where_the_caller_asks_for_it() {
    let model = example("policy-xml-to-json", |text| text);
    let answer = |status: u16, kind: &str, body: &'static str| {
        Response::builder().status(status).header("content-type", kind).body(body).unwrap()
    };
    let xml = "<p id='1'><eur>2</eur></p>";
    for (path, accept, answer, status, body) in [
        ("/prices", "application/json", answer(200, "text/xml", xml), 200, r#"{"p":{"id":"1","eur":"2"}}"#),
        (
            "/prices",
            "text/html, application/json;q=0.5",
            answer(404, "text/xml", xml),
            404,
            r#"{"p":{"id":"1","eur":"2"}}"#,
        ),
        ("/prices", "*/*", answer(200, "text/xml", xml), 200, xml),
        ("/prices", "application/json", answer(200, "text/html", xml), 200, xml),
        ("/prices", "application/json", answer(204, "text/xml", ""), 204, ""),
        ("/raw", "*/*", answer(200, "text/html", xml), 200, r#"{"p":{"@id":"1","eur":"2"}}"#),
    ] {
        let request = Request::get(path).header("accept", accept).body("").unwrap();
        let outcome = call(&model, request, answer);
        assert_eq!((outcome.status, outcome.body.as_str()), (status, body), "{path} {accept}");
        let is_converted = body.starts_with('{');
        let lengths: Vec<_> = outcome.headers.iter().filter(|(name, _)| name == "content-length").collect();
        assert_eq!(lengths.len(), usize::from(is_converted));
        let varies = outcome.headers.contains(&("vary".to_owned(), "Accept".to_owned()));
        assert_eq!(varies, is_converted && path == "/prices");
        assert_eq!(outcome.read, if is_converted { vec![Side::Response] } else { Vec::new() }, "others are streamed");
    }
    let request = || Request::get("/raw").body("").unwrap();
    let outcome = call(&model, request(), answer(200, "text/xml", "<!DOCTYPE a><a>secret</a>"));
    assert_eq!(
        (outcome.status, outcome.message.as_str()),
        (502, "the body is XML with a document type, which is not read here")
    );
    assert!(!outcome.body.contains("secret"));
}

/// An API with these policies in inbound, and what its document says.
fn described(inbound: &str, document: &str) -> Model {
    let config = format!(
        "version: 1\negress: {{addresses: [192.0.2.10]}}\napis:\n  - name: partner\n    hosts: [api.partner.example]\n    \
         mode: intercept\n    openapi: document\n    policies: {{inbound: [{inbound}]}}\n"
    );
    configured(&config, &[("document".to_owned(), document.to_owned())])
}

#[test]
fn a_request_may_have_to_have_a_body() {
    let model = described(
        "validate-content: {content: [{type: \"*\", openapi: true}]}",
        "{openapi: 3.1.0, paths: {/orders: {post: {requestBody: {required: true, content: {application/json: {schema: \
         {type: object, required: [id, name], properties: {id: {type: integer, readOnly: true}, name: {type: \
         string}}}}, text/*: {}}}}}}}",
    );
    for (kind, body, expected) in [
        ("", "", "there is no body, and there must be one"),
        ("application/json", "{\"name\": \"a\"}", ""),
        ("application/json", "{\"id\": 1}", "body: \"name\" is a required property"),
        ("text/csv", "a,b", ""),
        ("application/xml", "<a/>", "bodies of type application/xml are not described here"),
    ] {
        assert_eq!(call(&model, order(kind, body), ok()).message, expected, "{kind} {body}");
    }
    let mut ambiguous = order("text/csv", "{}");
    ambiguous.headers_mut().append("content-type", "application/json".parse().unwrap());
    assert_eq!(call(&model, ambiguous, ok()).message, "the body is of no type (Content-Type)");
    let elsewhere = Request::post("/elsewhere").header("content-type", "application/json").body("{}").unwrap();
    assert_eq!(call(&model, elsewhere, ok()).status, 400, "nothing is described there");
}

#[test]
fn parameters_are_written_in_many_ways() {
    let parameter =
        |name: &str, style: &str, schema: &str| format!("{{name: {name}, in: query, {style}, schema: {{{schema}}}}}");
    let (numbers, object) =
        ("type: array, items: {type: integer}", "type: object, properties: {a: {type: integer}, b: {type: string}}");
    let all = [
        parameter("form", "explode: false", numbers),
        parameter("space", "style: spaceDelimited, explode: false", numbers),
        parameter("pipe", "style: pipeDelimited, explode: false", numbers),
        parameter("pairs", "explode: false", object),
        parameter("properties", "required: false", object),
        "{name: json, in: query, content: {application/json: {schema: {type: object, required: [a]}}}}".to_owned(),
        "{name: X-List, in: header, schema: {type: array, maxItems: 2, items: {type: boolean}}}".to_owned(),
        "{name: X-Fields, in: header, explode: true, schema: {type: object, properties: {a: {type: integer}}}}"
            .to_owned(),
    ];
    let document = format!("{{openapi: 3.0.0, paths: {{/: {{get: {{parameters: [{}]}}}}}}}}", all.join(", "));
    let model = described("validate-parameters: {unspecified: prevent}", &document);
    for (query, header, expected) in [
        ("form=1,2&space=1%202&pipe=1%7C2&pairs=a,1,b,x&a=1&b=x&json=%7B%22a%22:1%7D", "", ""),
        ("form=", "", ""),
        ("form=1,x", "", "query parameter form is not as described: /1: value is not of type \"integer\""),
        ("space=x", "", "query parameter space is not as described: /0: value is not of type \"integer\""),
        ("pipe=1|x", "", "query parameter pipe is not as described: /1: value is not of type \"integer\""),
        ("pairs=a,x", "", "query parameter pairs is not as described: /a: value is not of type \"integer\""),
        ("pairs=a", "", "query parameter pairs has a name without a value"),
        ("a=x", "", "query parameter properties is not as described: /a: value is not of type \"integer\""),
        ("json=1", "", "query parameter json is not as described: value is not of type \"object\""),
        ("json=x", "", "query parameter json is not JSON: expected value at line 1 column 1"),
        ("", "x-list: true, false", ""),
        ("", "x-list: true, 7", "header x-list is not as described: /1: value is not of type \"boolean\""),
        ("", "x-fields: a=1", ""),
        ("", "x-fields: a=x", "header x-fields is not as described: /a: value is not of type \"integer\""),
    ] {
        let mut request = Request::get(format!("/?{query}"));
        if let Some((name, value)) = header.split_once(": ") {
            request = request.header(name, value);
        }
        assert_eq!(call(&model, request.body("").unwrap(), ok()).message, expected, "{query} {header}");
    }
}

#[test]
fn a_body_that_is_made_to_take_long_does_not() {
    let model = described(
        "validate-content: {content: [{type: \"*\", openapi: true}]}",
        "{openapi: 3.1.0, paths: {/orders: {post: {requestBody: {content: {application/json: {schema: {$ref: \
         \"#/components/schemas/Node\"}}}}}}}, components: {schemas: {Node: {oneOf: [{type: integer}, {type: object, \
         properties: {in: {$ref: \"#/components/schemas/Node\"}, kind: {const: 1}}}, {type: object, properties: {in: \
         {$ref: \"#/components/schemas/Node\"}, kind: {const: 2}}}]}}}}",
    );
    let nested = |levels: usize| format!("{}\"x\"{}", "{\"in\":".repeat(levels), ",\"kind\":2}".repeat(levels));
    for (levels, expected) in [
        (1, "body: value is not valid under any of the schemas listed in the 'oneOf' keyword"),
        (100, "body: not as described; it has too much in it to say where"),
    ] {
        let body: &'static str = Box::leak(nested(levels).into_boxed_str());
        assert_eq!(call(&model, order("application/json", body), ok()).message, expected);
    }
    let deep = order("application/json", Box::leak("[".repeat(100_000).into_boxed_str()));
    assert!(call(&model, deep, ok()).message.contains("recursion limit"));
}

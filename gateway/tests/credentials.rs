//! Policies about credentials, from the configuration to the request that would be sent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use egret::config;
use egret::model::{Generation, Identity, Workload};
use egret::policy::{self, Call, Dry};
use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};

const NOW: u64 = 1_440_938_160;

/// What came of a request.
#[derive(Debug)]
struct Outcome {
    target: String,
    headers: HeaderMap,
    /// Of an answer of Egret's own.
    error: Value,
    /// What `explain` shows.
    steps: String,
}

impl Outcome {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn is_secret(&self, name: &str) -> bool {
        self.headers[name].is_sensitive()
    }

    fn reason(&self) -> &str {
        self.error["error"]["reason"].as_str().unwrap_or_default()
    }
}

struct Scene {
    inbound: &'static str,
    backend: &'static str,
    tls: bool,
    /// What the third party answers.
    status: StatusCode,
}

impl Scene {
    fn send(&self, request: Request<&[u8]>) -> Outcome {
        let directory = directory(&[self.inbound, self.backend].concat());
        let indented = |text: &str| text.lines().map(|line| format!("        {line}\n")).collect::<String>();
        let (inbound, backend) = (indented(self.inbound), indented(self.backend));
        let text = format!(
            "version: 1\negress: {{addresses: [192.0.2.10]}}\nbackends:\n  clear: {{url: \"http://clear.example\"}}\nvalues:\n  secret: {{file: secret}}\n  key: {{file: key}}\n  id: {{value: AKIDEXAMPLE}}\n\
             apis:\n  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    policies:\n      inbound:\n{inbound}      backend:\n{backend}"
        );
        std::fs::write(directory.join("secret"), "battery staple\n").unwrap();
        std::fs::write(directory.join("key"), "staple").unwrap();
        std::fs::write(directory.join("egret.yaml"), text).unwrap();
        let compiled =
            config::load(&directory.join("egret.yaml"), Generation(1)).unwrap_or_else(|errors| panic!("{errors}"));
        std::fs::remove_dir_all(directory).unwrap();
        let api = &compiled.model.apis[0];
        let rules = api.rules.as_ref().unwrap();
        let identity = Arc::new(Identity { cgroup: "/curl".into(), ..Identity::of("curl") });
        let workload = Workload { command: "curl".into(), ..Workload::from(identity) };
        let (head, body) = request.into_parts();
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let mut call = Call::new(head, &workload, api, &api.hosts[0], now, Duration::ZERO);
        (call.message.secrecy.allowed, call.effects.steps) = (self.tls, Some(Vec::new()));
        let mut world = Dry::new(Bytes::copy_from_slice(body), self.status);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(policy::run(&mut call, rules, &mut world)).unwrap();
        let answer = call.message.response_body.take().filter(|_| call.context.error.is_some()).unwrap_or_default();
        Outcome {
            target: call.message.request.uri.to_string(),
            headers: call.message.request.headers.clone(),
            error: serde_json::from_slice(&answer).unwrap_or_default(),
            steps: call.effects.steps.iter().flatten().map(|step| step.did.as_str()).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// One for each configuration.
fn directory(text: &str) -> PathBuf {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let name = format!("egret-credentials-{}-{:x}", std::process::id(), hasher.finish());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn over_tls(inbound: &'static str) -> Scene {
    Scene { inbound, backend: "- base", tls: true, status: StatusCode::OK }
}

fn get(target: &str) -> Request<&'static [u8]> {
    Request::builder().uri(target).header("host", "api.partner.example").body(&b""[..]).unwrap()
}

fn post(body: &[u8]) -> Request<&[u8]> {
    Request::builder().method("POST").uri("/a?b=c").header("host", "api.partner.example").body(body).unwrap()
}

fn signature(key: &[u8], signed: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    BASE64_STANDARD.encode(hmac::sign(&key, signed).as_ref())
}

#[test]
fn what_is_signed_is_what_is_sent() {
    let scene = over_tls(
        "- set-header: {name: X-Key, value: \"{{secret}}\"}\n\
         - set-query-parameter: {name: key, value: \"{{secret}}\"}\n\
         - authentication-hmac:\n    key: \"{{secret}}\"\n    encoding: base64\n    header: X-Signature\n    \
             string: '${request.headers[\"x-key\"]}|${request.query_string}|${request.body_bytes}'\n\
         - set-header: {name: Key, value: is not X-Key}\n\
         - set-header: {name: X-Seen, value: '${request.headers[\"x-key\"]} ${request.query_string}'}",
    );
    let binary = [0, 0xff, b'{'];
    let outcome = scene.send(post(&binary));
    let signed = [b"battery staple|b=c&key=battery%20staple|", &binary[..]].concat();
    assert_eq!(outcome.header("x-signature"), signature(b"battery staple", &signed), "secrets are signed as they are");
    assert!(outcome.is_secret("x-signature"));
    assert_eq!(outcome.header("x-seen"), "*** b=c&key=***", "and seen by nobody");
    assert!(!outcome.steps.contains("battery"), "{}", outcome.steps);
}

#[test]
fn a_body_with_a_secret_is_signed_and_not_seen() {
    let scene = over_tls(
        "- set-body: 'key={{secret}}'\n\
         - authentication-hmac: {key: a, encoding: base64, header: X-Signature, string: \"${request.body_bytes}\"}\n\
         - set-header: {name: Digest, value: \"${hex(sha256(request.body_bytes))}\"}",
    );
    let outcome = scene.send(post(b""));
    assert_eq!(outcome.header("x-signature"), signature(b"a", b"key=battery staple"));
    assert_eq!(outcome.reason(), "expression", "no digest of a mask: {}", outcome.error);
}

#[test]
fn digests_are_of_bytes() {
    let scene = over_tls(
        "- set-header: {name: X-Hex, value: \"${hex(sha256(request.body_bytes))}\"}\n\
         - set-header: {name: X-Base64, value: \"${base64.encode(sha512(request.path))}\"}\n\
         - set-header: {name: X-Decoded, value: \"${string(base64.decode('YWNtZQ'))} ${base64.encode('acme')}\"}",
    );
    let mut request = post(&[0x1f, 0x8b, 0xff]);
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let outcome = scene.send(request);
    assert_eq!(outcome.error, Value::Null, "a compressed body is not looked into");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[0x1f, 0x8b, 0xff]);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(outcome.header("x-hex"), hex);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, b"/a");
    assert_eq!(outcome.header("x-base64"), BASE64_STANDARD.encode(digest.as_ref()));
    assert_eq!(outcome.header("x-decoded"), "acme YWNtZQ==");
}

#[test]
fn a_compressed_body_is_signed_and_not_changed() {
    let scene = over_tls(
        "- authentication-hmac: {key: a, header: X-Signature, string: \"${request.body_bytes}\"}\n\
         - choose: [{when: 'request.body == \"\"', then: []}]",
    );
    let mut request = post(&[0x1f, 0x8b]);
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let outcome = scene.send(request);
    assert_ne!(outcome.header("x-signature"), "");
    assert_eq!(outcome.reason(), "body_encoded", "also where it is there already");
}

#[test]
fn keys_that_only_sign_need_no_tls() {
    let sign = "- authentication-hmac: {key: \"{{secret}}\", header: X-Signature, string: a, encoding: base64}";
    let outcome = Scene { tls: false, ..over_tls(sign) }.send(get("/"));
    assert_eq!(outcome.header("x-signature"), signature(b"battery staple", b"a"));
    for sent in [
        "- authentication-hmac: {key: a, header: X-Signature, string: a, value: \"{{secret}} {signature}\"}",
        "- authentication-api-key: {header: X-Api-Key, value: \"{{secret}}\"}",
        "- authentication-aws-sigv4: {region: a, service: b, access_key: c, secret_key: d, session_token: \"{{secret}}\"}",
    ] {
        let outcome = Scene { tls: false, ..over_tls(sent) }.send(get("/"));
        assert_eq!(outcome.reason(), "secret_in_clear", "{sent}");
    }
}

#[test]
fn aws_gets_what_it_needs_to_check() {
    const COMMON: &str = "region: us-east-1, access_key: \"{{id}}\", secret_key: \"{{secret}}\"";
    let plain = over_tls(Box::leak(format!("- authentication-aws-sigv4: {{service: service, {COMMON}}}").into()));
    let mut request = get("/");
    request.headers_mut().insert("authorization", "AWS4-HMAC-SHA256 of the caller".parse().unwrap());
    request.headers_mut().insert("x-amz-security-token", "of the caller".parse().unwrap());
    let outcome = plain.send(request);
    assert_eq!(outcome.header("x-amz-date"), "20150830T123600Z");
    let authorization = outcome.header("authorization");
    let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                    SignedHeaders=host;x-amz-date, Signature=";
    assert!(authorization.starts_with(expected), "{authorization}");
    assert!(outcome.is_secret("authorization") && outcome.headers.get("x-amz-security-token").is_none());
    assert!(outcome.headers.get("x-amz-content-sha256").is_none());

    let stored = "- authentication-aws-sigv4: {service: s3, session_token: \"{{secret}}\", unsigned_payload: true, ";
    let stored = over_tls(Box::leak(format!("{stored}{COMMON}}}").into()));
    let outcome = stored.send(post(b"streamed"));
    assert_eq!(outcome.header("x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    assert!(outcome.is_secret("x-amz-security-token"));
    let names = "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, ";
    assert!(outcome.header("authorization").contains(names), "{outcome:?}");
    let chunked = |said: &str| {
        let mut request = post(b"streamed");
        request.headers_mut().insert("x-amz-content-sha256", said.parse().unwrap());
        stored.send(request)
    };
    let trailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    assert_eq!(chunked(trailer).header("x-amz-content-sha256"), trailer);
    assert_eq!(chunked("STREAMING-AWS4-HMAC-SHA256-PAYLOAD").reason(), "body_encoded");
}

#[test]
fn what_is_sent_again_in_backend_is_signed_anew() {
    let backend = "- retry:\n    count: 2\n    policies:\n    - set-header: {name: X-Amz-Meta-Try, exists_action: append, value: a}\n    \
                   - authentication-aws-sigv4: {region: a, service: b, access_key: c, secret_key: d}\n    - forward-request: {}";
    let once = Scene { backend, ..over_tls("- set-method: GET") }.send(get("/"));
    let again = Scene { backend, status: StatusCode::BAD_GATEWAY, ..over_tls("- set-method: GET") }.send(get("/"));
    assert_eq!(again.headers.get_all("x-amz-meta-try").iter().count(), 3);
    assert_eq!(again.headers.get_all("authorization").iter().count(), 1);
    assert_ne!(again.header("authorization"), once.header("authorization"));
}

#[test]
fn a_key_takes_the_place_of_the_callers() {
    let scene = over_tls(
        "- authentication-api-key: {header: X-Api-Key, value: literal}\n\
         - authentication-api-key: {query_parameter: key, value: \"{{secret}}\"}",
    );
    let mut request = get("/a?key=own&b=c&key=other");
    request.headers_mut().append("x-api-key", "own".parse().unwrap());
    let outcome = scene.send(request);
    assert_eq!(outcome.headers.get_all("x-api-key").iter().count(), 1);
    assert!(outcome.header("x-api-key") == "literal" && outcome.is_secret("x-api-key"));
    assert_eq!(outcome.target, "/a?b=c&key=battery%20staple");
    assert_eq!(outcome.steps, "x-api-key: ***\nkey=***\n200 OK");
}

#[test]
fn what_comes_of_a_secret_is_a_secret() {
    let scene = over_tls(
        "- set-variable: {name: token, value: 'request.headers[\"x-token\"]', secret: true}\n\
         - set-variable: {name: header, value: '\"Bearer \" + variables.token', secret: true}\n\
         - cache-store-value: {key: '\"a\"', value: variables.header, duration: 1m}\n\
         - cache-lookup-value: {key: '\"a\"', variable: kept, secret: true}\n\
         - set-header: {name: Authorization, value: \"${variables.kept}\"}\n\
         - set-header: {name: X-Token, exists_action: delete}\n\
         - set-header: {name: X-Seen, value: '${request.headers[\"authorization\"]}'}",
    );
    let mut request = get("/");
    request.headers_mut().insert("x-token", "battery".parse().unwrap());
    let outcome = scene.send(request);
    assert!(outcome.header("authorization") == "Bearer battery" && outcome.is_secret("authorization"));
    assert_eq!(outcome.header("x-seen"), "***");
    assert!(outcome.steps.contains("a = *** for 60s") && !outcome.steps.contains("battery"), "{}", outcome.steps);

    let variable = "- set-variable: {name: token, value: request.path, secret: true}\n";
    let and = |more: &str| over_tls(Box::leak([variable, more].concat().into()));
    let clear = and("- set-header: {name: A, value: \"${variables.token}\"}");
    assert_eq!(Scene { tls: false, ..clear }.send(get("/battery")).reason(), "secret_in_clear");
    let failed = and("- set-header: {name: A, value: \"${int(variables.token)}\"}").send(get("/battery"));
    assert_eq!(failed.error["error"]["message"], "`int(variables.token)` cannot be said");
    let kept = and("- cache-store-value: {key: '\"a\"', value: variables.token, duration: 1m}\n\
                    - cache-lookup-value: {key: '\"a\"', variable: kept}");
    let failed = kept.send(get("/battery"));
    assert_eq!(failed.reason(), "expression");
    assert!(!failed.error.to_string().contains("battery"), "{}", failed.error);
}

#[test]
fn a_path_with_a_secret_goes_nowhere_in_the_clear() {
    let scene = over_tls("- rewrite-uri: {template: \"/{{key}}\"}\n- set-backend: clear");
    let outcome = scene.send(get("/"));
    assert_eq!(outcome.reason(), "secret_in_clear", "{outcome:?}");
}

#[test]
fn a_body_with_a_secret_is_copied_to_nobody_else() {
    let scene = over_tls(
        "- set-body: 'key={{secret}}'\n- send-request: {url: \"https://audit.example/\", copy: true, variable: a}",
    );
    let outcome = scene.send(post(b""));
    assert_eq!(outcome.reason(), "expression");
    let message = outcome.error["error"]["message"].as_str().unwrap();
    assert_eq!(message, "a secret is in the body, which is not for https://audit.example: add `body`");
}

/// Of whoever has the secret.
fn token(claims: &Value) -> String {
    let part = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", part(json!({"alg": "HS256"}).to_string()), part(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"battery staple");
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()).as_ref()))
}

#[test]
fn tokens_are_for_the_api_they_are_for() {
    let scene = over_tls(
        "- validate-jwt:\n    keys: [{algorithm: HS256, value: \"{{secret}}\"}]\n    issuers: [us, them]\n    \
             audiences: [\"${api.name}\"]\n    output_variable: caller\n    failed_status: 403\n    failed_message: no\n\
         - set-header: {name: X-Of, value: \"${variables.caller.sub} ${variables.caller.groups[1]}\"}",
    );
    let ask = |claims: Value| {
        let mut request = get("/");
        request.headers_mut().insert("authorization", format!("Bearer {}", token(&claims)).parse().unwrap());
        scene.send(request)
    };
    let claims = |more: Value| {
        let mut claims =
            json!({"sub": "billing", "groups": ["a", "b"], "iss": "us", "aud": ["x", "partner"], "exp": NOW + 1});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    let outcome = ask(claims(json!({})));
    assert_eq!((outcome.header("x-of"), outcome.reason()), ("billing b", ""));
    for (more, reason) in [
        (json!({"iss": "others"}), "token_issuer_not_allowed"),
        (json!({"iss": null}), "token_invalid"),
        (json!({"iss": ["us", "others"]}), "token_invalid"),
        (json!({"aud": "x"}), "token_audience_not_allowed"),
        (json!({"exp": NOW}), "token_expired"),
        (json!({"nbf": NOW + 1}), "token_not_yet_valid"),
    ] {
        let outcome = ask(claims(more));
        assert_eq!((outcome.reason(), outcome.header("x-of")), (reason, ""));
        assert_eq!(outcome.error["error"]["message"], "no");
    }
    assert_eq!(scene.send(get("/")).reason(), "token_not_present");
    let mut twice = get("/");
    twice.headers_mut().append("authorization", token(&claims(json!({}))).parse().unwrap());
    twice.headers_mut().append("authorization", "Bearer a".parse().unwrap());
    assert_eq!(scene.send(twice).reason(), "token_invalid");
}

#[test]
fn tokens_come_from_where_they_are_said_to() {
    let in_query =
        over_tls("- validate-jwt: {query_parameter: token, keys: [{algorithm: HS256, value: \"{{secret}}\"}]}");
    let good = token(&json!({"exp": NOW + 1}));
    assert_eq!(in_query.send(get(&format!("/?token={good}"))).reason(), "");
    assert_eq!(in_query.send(get(&format!("/?token={good}&token=a"))).reason(), "token_invalid");
    let in_text = over_tls(
        "- validate-jwt: {token: '${request.headers[\"x-token\"]}', keys: [{algorithm: HS256, value: \"{{secret}}\"}]}",
    );
    let mut request = get("/");
    request.headers_mut().insert("x-token", good.parse().unwrap());
    assert_eq!(in_text.send(request).reason(), "");
    assert_eq!(in_text.send(get("/")).reason(), "token_not_present");
}

//! Metrics, spans and log lines reach a collector; whatever the collector does, no request waits for it.

use std::path::PathBuf;
use std::time::Duration;

use egret_tests::{Behaviour, Collector, EGRESS, Lab, NODE, ThirdParty, attribute, eventually};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// The collector's URL, as a setting.
const PLAIN: &str = "endpoint: 'http://otel.example:4318'";

/// A third party, and Egret's configuration with these settings of `otlp`.
fn configured(lab: &Lab, otlp: &str) -> (ThirdParty, PathBuf) {
    lab.hosts(&[("203.0.113.7", "api.partner.example"), ("203.0.113.9", "otel.example")]);
    let partner = lab.third_party("203.0.113.7", 80, Behaviour::Http(vec![EGRESS.parse().unwrap()]));
    (partner, configure(lab, otlp))
}

fn configure(lab: &Lab, otlp: &str) -> PathBuf {
    let path = lab.configure(
        "  - name: partner\n    hosts: [api.partner.example]\n    ports: [80]\n    operations: [{name: orders, method: GET, \
         path: /orders}]\n    policies:\n      inbound:\n        - set-header: {name: x-a, value: b}\n",
    );
    let text = std::fs::read_to_string(path).unwrap();
    let telemetry = format!("telemetry:\n  log_requests: true\n  otlp: {{{otlp}}}\n");
    lab.write_config(&text.replace("telemetry:\n", &telemetry))
}

fn call(lab: &Lab, headers: &[&str]) -> (u16, String) {
    let headers = headers.iter().flat_map(|header| ["-H", header]);
    let arguments = ["-s", "-m", "20", "-w", "\n%{http_code}", "http://api.partner.example/orders?secret=1"];
    let output = lab.run("curl", &arguments.into_iter().chain(headers).collect::<Vec<_>>());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the third party heard, as text.
fn heard(partner: &ThirdParty) -> String {
    partner.seen().iter().map(|seen| String::from_utf8_lossy(&seen.all).to_lowercase()).collect()
}

/// A value of the metrics that Egret serves.
fn metric(lab: &Lab, series: &str) -> Option<u64> {
    let text = lab.curl("http://127.0.0.1:9464/metrics").1;
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// A span with this trace, once it is there.
fn span_of(collector: &Collector, trace: &str) -> (Vec<(String, String)>, opentelemetry_proto::tonic::trace::v1::Span) {
    let mut found = None;
    eventually("the span is there", || {
        found = collector.spans().into_iter().find(|(_, span)| hex(&span.trace_id) == trace);
        found.is_some()
    });
    let (resource, span) = found.unwrap();
    let facts = ["service.name", "service.version", "host.name", "egret.generation"];
    let named = facts.map(|name| (name.to_owned(), attribute(&resource.attributes, name).unwrap_or_default()));
    (named.into(), span)
}

#[test]
fn otlp_collector_receives_spans_metrics_and_logs() {
    let lab = Lab::new();
    let collector = lab.collector("203.0.113.9", 4318);
    let (partner, config) =
        configured(&lab, &format!("{PLAIN}, interval: 1s, sampling: 0, headers: {{X-Tenant: acme}}"));
    let _egret = lab.egret(&config, &[]);
    let parent = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    assert_eq!(call(&lab, &[&parent, "tracestate: vendor=1"]).0, 200);

    let (resource, span) = span_of(&collector, TRACE);
    assert_eq!((hex(&span.parent_span_id), span.trace_state.as_str()), (SPAN.to_owned(), "vendor=1"));
    assert!(span.span_id.len() == 8 && hex(&span.span_id) != SPAN);
    assert_eq!((&*span.name, span.kind), ("GET orders", 3), "a client's");
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    let facts = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "api.partner.example"),
        ("server.port", "80"),
        ("url.path", "/orders"),
        ("url.scheme", "http"),
        ("egret.api", "partner"),
        ("egret.operation", "orders"),
        ("egret.outcome", "ok"),
        ("egret.workload", "workload.service"),
    ];
    for (name, value) in facts {
        assert_eq!(attribute(&span.attributes, name).as_deref(), Some(value), "{name}");
    }
    let micros = |name| attribute(&span.attributes, name).unwrap().parse::<u64>().unwrap();
    let total = (span.end_time_unix_nano - span.start_time_unix_nano) / 1000;
    assert!(micros("egret.upstream_us") > 0 && micros("egret.upstream_us") + micros("egret.policies_us") <= total);
    assert_eq!(resource[0].1, "egret");
    assert_eq!(resource[3].1, "1");
    assert!(!resource[1].1.is_empty() && !resource[2].1.is_empty(), "{resource:?}");
    // The request is as the application sent it.
    let heard = heard(&partner);
    assert!(heard.contains(&parent.to_lowercase()) && heard.contains("tracestate: vendor=1"), "{heard}");

    eventually("the line of the request is there", || {
        collector.logs().iter().any(|record| format!("{:?}", record.body).contains("orders"))
    });
    eventually("the metrics are there", || {
        let metrics = collector.metrics();
        ["egret_requests_total", "egret_response_seconds", "egret_config_generation"]
            .iter()
            .all(|name| metrics.iter().any(|metric| metric.name == *name))
    });
    for path in ["/v1/traces", "/v1/logs", "/v1/metrics"] {
        let exports = collector.exports(path);
        let head = exports[0].head.to_lowercase();
        assert!(
            head.contains("content-type: application/x-protobuf\r\n") && head.contains("x-tenant: acme\r\n"),
            "{head}"
        );
        assert!(head.contains("host: otel.example:4318\r\n"), "{head}");
        assert!(exports.iter().all(|export| export.source.to_string() == NODE), "not from the egress address");
    }
    let sent = || {
        ["traces", "logs", "metrics"]
            .map(|signal| metric(&lab, &format!("egret_otlp_sent_total{{signal=\"{signal}\"}}")))
    };
    eventually("they are counted", || sent().iter().all(|count| count.is_some_and(|count| count > 0)));
}

#[test]
fn otlp_trace_is_begun_where_there_is_none_and_third_parties_learn_of_it_only_if_configured() {
    let lab = Lab::new();
    let collector = lab.collector("203.0.113.9", 4318);
    let (partner, config) = configured(&lab, &format!("{PLAIN}, sampling: 1, signals: [traces]"));
    let _egret = lab.egret(&config, &[]);
    assert_eq!(call(&lab, &[]).0, 200);
    eventually("the span is there", || collector.spans().len() == 1);
    let (_, span) = collector.spans().remove(0);
    assert!(span.parent_span_id.is_empty() && span.trace_id.len() == 16, "{span:?}");
    assert!(!heard(&partner).contains("traceparent"));

    configure(&lab, &format!("{PLAIN}, sampling: 1, signals: [traces], propagate: true"));
    eventually("the change is live", || call(&lab, &[]).0 == 200 && heard(&partner).contains("traceparent"));
    // Its caller did not sample it, and what is invalid is begun anew.
    assert_eq!(call(&lab, &[&format!("traceparent: 00-{TRACE}-{SPAN}-00")]).0, 200);
    assert_eq!(call(&lab, &["traceparent: 00-bad", "tracestate: a=1"]).0, 200);
    let heard = heard(&partner);
    assert!(!heard.contains("tracestate"), "{heard}");
    let begun = heard.lines().rfind(|line| line.starts_with("traceparent:")).unwrap().to_owned();
    eventually("the span of the last request is there", || {
        let header = |trace: &[u8], span: &[u8]| format!("traceparent: 00-{}-{}-01", hex(trace), hex(span));
        collector.spans().iter().any(|(_, span)| header(&span.trace_id, &span.span_id) == begun)
    });
    assert!(collector.spans().iter().all(|(_, span)| hex(&span.trace_id) != TRACE), "its caller did not sample it");
    let continued = heard.lines().find(|line| line.contains(TRACE)).unwrap();
    assert!(continued.ends_with("-00") && !continued.contains(SPAN), "{continued}");
    assert_eq!((collector.exports("/v1/logs").len(), collector.exports("/v1/metrics").len()), (0, 0));
}

#[test]
fn otlp_export_is_repeated_when_the_collector_says_so_and_not_when_it_rejects() {
    let lab = Lab::new();
    let collector = lab.collector("203.0.113.9", 4318);
    collector.respond(&["429 Too Many Requests\r\nretry-after: 1\r\n", "503 Service Unavailable\r\n"]);
    let (_partner, config) = configured(&lab, &format!("{PLAIN}, sampling: 1, signals: [traces]"));
    let _egret = lab.egret(&config, &[]);
    assert_eq!(call(&lab, &[]).0, 200);
    eventually("it came the third time", || collector.exports("/v1/traces").len() == 3);
    let exports = collector.exports("/v1/traces");
    assert!(exports.iter().all(|export| export.body == exports[0].body));
    assert!(exports[1].time - exports[0].time >= Duration::from_secs(1), "as Retry-After says");
    let counted =
        |name: &str, labels: &str| metric(&lab, &format!("egret_otlp_{name}_total{{signal=\"traces\"{labels}}}"));
    eventually("it is counted once", || counted("sent", "") == Some(1) && counted("failures", "") == Some(2));

    collector.respond(&["400 Bad Request\r\n"]);
    assert_eq!(call(&lab, &[]).0, 200);
    eventually("it is rejected", || counted("dropped", ",reason=\"rejected\"") == Some(1));
    assert_eq!(call(&lab, &[]).0, 200);
    eventually("the next one is taken", || counted("sent", "") == Some(2));
    assert_eq!(collector.exports("/v1/traces").len(), 5, "what was rejected is not sent again");
}

#[test]
fn otlp_token_comes_from_a_file_and_is_sent_over_tls_only() {
    let lab = Lab::new();
    let pki = lab.pki();
    let collector = lab.tls_collector("203.0.113.9", 4318, pki.identity(&["otel.example"], &[]));
    let token = lab.directory().join("token");
    std::fs::write(&token, "first\n").unwrap();
    let settings = |scheme: &str, trusted: &str| {
        format!(
            "endpoint: '{scheme}://otel.example:4318', sampling: 1, headers: {{Authorization: 'Bearer {{{{token}}}}'}}{trusted}"
        )
    };
    let trusted = format!(", tls: {{ca: '{}'}}", pki.ca());
    let value = format!("values:\n  token: {{file: '{}'}}\ntelemetry:\n", token.display());
    let with_value = |path: PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        lab.write_config(&text.replacen("telemetry:\n", &value, 1))
    };
    let (_partner, config) = configured(&lab, &settings("https", &trusted));
    let _egret = lab.egret(&with_value(config), &[]);
    assert_eq!(call(&lab, &[]).0, 200);
    let has = |token: &str| {
        let exports = collector.exports("/v1/traces");
        exports.iter().any(|export| export.head.to_lowercase().contains(&format!("authorization: bearer {token}\r\n")))
    };
    eventually("the token is there", || has("first"));
    std::fs::write(&token, "second\n").unwrap();
    eventually("the new token is there", || {
        assert_eq!(call(&lab, &[]).0, 200);
        has("second")
    });

    with_value(configure(&lab, &settings("http", "")));
    eventually("it is not sent in the clear", || {
        lab.json(&["status"])["config_error"].as_str().is_some_and(|error| error.contains("without TLS"))
    });
    // An authority that Egret does not trust.
    with_value(configure(&lab, &settings("https", "")));
    eventually("the change is live", || lab.json(&["status"])["generation"] == 2);
    let before = collector.exports("/v1/traces").len();
    assert_eq!(call(&lab, &[]).0, 200);
    eventually("it fails", || {
        metric(&lab, "egret_otlp_failures_total{signal=\"traces\"}").is_some_and(|count| count > 0)
    });
    assert_eq!(collector.exports("/v1/traces").len(), before);
}

#[test]
fn heavy_otlp_requests_go_on_while_the_collector_is_silent_and_what_is_lost_is_counted() {
    let lab = Lab::new();
    // It takes connections and says nothing.
    let _silent = lab.listen("203.0.113.9", 4318);
    let (_partner, config) = configured(&lab, &format!("{PLAIN}, sampling: 1, signals: [traces, logs]"));
    let _egret = lab.egret(&config, &[]);
    let url = "http://api.partner.example/orders";
    let output = lab.run("h2load", &["--h1", "-n", "10000", "-c", "4", url]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("10000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
    for signal in ["traces", "logs"] {
        let series = format!("egret_otlp_dropped_total{{signal=\"{signal}\",reason=\"queue_full\"}}");
        eventually("what does not fit is counted", || {
            metric(&lab, &series).is_some_and(|count| (1..10_000).contains(&count))
        });
    }
}

//! The messages of OTLP 1.10: metrics from the text that `/metrics` serves, spans from records of requests, logs from lines of the
//! access log.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ResourceMessage;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};
use prost::Message;

use super::super::RequestSnapshot;
use super::LogLine;
use crate::model::{Reason, Signal};

/// What sends: the attributes that all its telemetry has.
#[derive(Clone, Debug)]
pub struct Resource(ResourceMessage);

impl Resource {
    /// Creates a resource with these attributes.
    pub fn new(attributes: Vec<(String, String)>) -> Self {
        let attributes = attributes.into_iter().map(|(name, value)| text(name, value)).collect();
        Self(ResourceMessage { attributes, ..ResourceMessage::default() })
    }

    /// Returns the export of metrics, from their text in the Prometheus format, and its number of data points. `since` is the start
    /// of the process.
    pub fn metrics(&self, exposition: &str, since: SystemTime, now: SystemTime) -> (Vec<u8>, u64) {
        let (metrics, points) = metrics(exposition, nanos(since), nanos(now));
        let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
        let message = ResourceMetrics { resource: Some(self.0.clone()), scope_metrics, ..ResourceMetrics::default() };
        (ExportMetricsServiceRequest { resource_metrics: vec![message] }.encode_to_vec(), points)
    }

    /// Returns the export of spans.
    pub(super) fn traces(&self, requests: &[RequestSnapshot]) -> Vec<u8> {
        let spans = requests.iter().filter_map(span).collect();
        let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
        let message = ResourceSpans { resource: Some(self.0.clone()), scope_spans, ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![message] }.encode_to_vec()
    }

    /// Returns the export of lines.
    pub(super) fn logs(&self, lines: &[LogLine]) -> Vec<u8> {
        let log_records = lines.iter().map(record).collect();
        let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() }];
        let message = ResourceLogs { resource: Some(self.0.clone()), scope_logs, ..ResourceLogs::default() };
        ExportLogsServiceRequest { resource_logs: vec![message] }.encode_to_vec()
    }
}

/// Returns how many items the collector has not taken, as its successful response says, and why.
pub fn rejected(signal: Signal, response: &[u8]) -> Option<(u64, String)> {
    let (count, why) = match signal {
        Signal::Metrics => {
            let partial = ExportMetricsServiceResponse::decode(response).ok()?.partial_success?;
            (partial.rejected_data_points, partial.error_message)
        }
        Signal::Traces => {
            let partial = ExportTraceServiceResponse::decode(response).ok()?.partial_success?;
            (partial.rejected_spans, partial.error_message)
        }
        Signal::Logs => {
            let partial = ExportLogsServiceResponse::decode(response).ok()?.partial_success?;
            (partial.rejected_log_records, partial.error_message)
        }
    };
    u64::try_from(count).ok().filter(|count| *count > 0).map(|count| (count, why))
}

fn scope() -> Option<InstrumentationScope> {
    let (name, version) = ("egret".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    Some(InstrumentationScope { name, version, ..InstrumentationScope::default() })
}

fn attribute(name: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: name.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(name: impl Into<String>, value: impl Into<String>) -> KeyValue {
    attribute(name, Value::StringValue(value.into()))
}

fn integer(name: &str, value: impl TryInto<i64>) -> KeyValue {
    attribute(name, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The span of a request: named for its operation, with the semantic conventions of HTTP clients.
fn span(request: &RequestSnapshot) -> Option<Span> {
    let context = request.trace.as_ref()?;
    let at = |after: Duration| nanos(request.time + after);
    let (host, path) = request.target.find('/').map_or((&*request.target, ""), |at| request.target.split_at(at));
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let mut attributes = vec![
        text("http.request.method", request.method.clone()),
        text("url.scheme", request.scheme),
        text("server.address", host),
        integer("server.port", request.port),
        text("url.path", path),
        text("egret.api", &*request.api),
        text("egret.outcome", request.outcome),
        text("egret.workload", &*request.workload.identity.name),
        text("egret.owner", &*request.workload.identity.owner),
        integer("egret.flow", request.flow),
        integer("egret.policies_us", micros(request.policies)),
        integer("egret.upstream_us", micros(request.upstream)),
    ];
    attributes.extend(request.operation.as_deref().map(|operation| text("egret.operation", operation)));
    attributes.extend(request.policy.map(|policy| text("egret.policy", policy)));
    attributes.extend((request.status > 0).then(|| integer("http.response.status_code", request.status)));
    let failed = match (request.outcome, request.status) {
        (Reason::OK, status) if status < 400 => None,
        (Reason::OK, status) => Some(status.to_string()),
        (outcome, _) => Some(outcome.to_owned()),
    };
    attributes.extend(failed.clone().map(|why| text("error.type", why)));
    let event = |name: &str, after| Event { time_unix_nano: at(after), name: name.to_owned(), ..Event::default() };
    let events = (request.status > 0).then(|| event("response", request.first_byte)).into_iter();
    let name = match &request.operation {
        Some(operation) => format!("{} {operation}", request.method),
        None => request.method.clone(),
    };
    let remote = if context.parent.is_some() { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    Some(Span {
        trace_id: context.trace.to_vec(),
        span_id: context.span.to_vec(),
        trace_state: context.state.clone(),
        parent_span_id: context.parent.map_or_else(Vec::new, |parent| parent.to_vec()),
        flags: u32::from(context.is_sampled) | SpanFlags::ContextHasIsRemoteMask as u32 | remote,
        name,
        kind: SpanKind::Client.into(),
        start_time_unix_nano: at(Duration::ZERO),
        end_time_unix_nano: at(request.total),
        attributes,
        events: events.collect(),
        status: failed.map(|why| Status { message: why, code: StatusCode::Error.into() }),
        ..Span::default()
    })
}

/// A line of the access log: its fields are the body.
fn record(line: &LogLine) -> LogRecord {
    let fields: serde_json::Value = serde_json::from_str(&line.text).unwrap_or(serde_json::Value::Null);
    let outcome = fields["outcome"].as_str();
    let severity = match outcome {
        None | Some(Reason::OK | "stranger") => SeverityNumber::Info,
        Some(_) => SeverityNumber::Warn,
    };
    let began = fields["time"].as_f64().and_then(|time| Duration::try_from_secs_f64(time).ok());
    let time = began.map_or(line.time, |began| SystemTime::UNIX_EPOCH + began);
    LogRecord {
        time_unix_nano: nanos(time),
        observed_time_unix_nano: nanos(line.time),
        severity_number: severity.into(),
        severity_text: if severity == SeverityNumber::Info { "INFO" } else { "WARN" }.to_owned(),
        attributes: outcome.map(|outcome| text("egret.outcome", outcome)).into_iter().collect(),
        body: value(fields),
        ..LogRecord::default()
    }
}

fn value(json: serde_json::Value) -> Option<AnyValue> {
    let value = match json {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(flag) => Value::BoolValue(flag),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => Value::IntValue(integer),
            None => Value::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::StringValue(text),
        serde_json::Value::Array(values) => {
            let values = values.into_iter().map(|one| value(one).unwrap_or_default()).collect();
            Value::ArrayValue(ArrayValue { values })
        }
        serde_json::Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, field)| !field.is_null());
            let key_value = |(key, field)| KeyValue { key, value: value(field), ..KeyValue::default() };
            Value::KvlistValue(KeyValueList { values: fields.map(key_value).collect() })
        }
    };
    Some(AnyValue { value: Some(value) })
}

/// A line of the Prometheus text format that is no comment: name, labels, value.
type Sample<'a> = (&'a str, Vec<(&'a str, String)>, f64);

/// Reads the text that `/metrics` serves. Returns the metrics and their number of data points.
fn metrics(exposition: &str, since: u64, now: u64) -> (Vec<Metric>, u64) {
    let mut metrics: Vec<(Metric, &str)> = Vec::new();
    let mut help = "";
    let mut samples: BTreeMap<usize, Vec<Sample<'_>>> = BTreeMap::new();
    for line in exposition.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|described| described.split_once(' '))
        {
            let (name, description) = (name.to_owned(), help.to_owned());
            metrics.push((Metric { name, description, ..Metric::default() }, kind));
        } else if let (Some(sample), false) = (sample(line), metrics.is_empty()) {
            samples.entry(metrics.len() - 1).or_default().push(sample);
        }
    }
    let mut points = 0;
    for (index, samples) in samples {
        let (metric, kind) = &mut metrics[index];
        metric.unit = if metric.name.contains("_seconds") {
            "s"
        } else if metric.name.contains("_bytes") {
            "By"
        } else {
            "1"
        }
        .to_owned();
        let (data, count) = data(kind, samples, since, now);
        metric.data = Some(data);
        points += count as u64;
    }
    (metrics.into_iter().map(|(metric, _)| metric).filter(|metric| metric.data.is_some()).collect(), points)
}

fn data(kind: &str, samples: Vec<Sample<'_>>, since: u64, now: u64) -> (Data, usize) {
    let cumulative = AggregationTemporality::Cumulative.into();
    let attributes = |labels: Vec<(&str, String)>| labels.into_iter().map(|(name, value)| text(name, value)).collect();
    let number = |start, (_, labels, value): Sample<'_>| NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    match kind {
        "counter" => {
            let data_points: Vec<_> = samples.into_iter().map(|sample| number(since, sample)).collect();
            let count = data_points.len();
            (Data::Sum(Sum { data_points, aggregation_temporality: cumulative, is_monotonic: true }), count)
        }
        "histogram" => {
            let data_points = histograms(samples, since, now);
            let count = data_points.len();
            (Data::Histogram(Histogram { data_points, aggregation_temporality: cumulative }), count)
        }
        _ => {
            let data_points: Vec<_> = samples.into_iter().map(|sample| number(0, sample)).collect();
            let count = data_points.len();
            (Data::Gauge(Gauge { data_points }), count)
        }
    }
}

/// Joins the lines of histograms, whose buckets count everything up to a bound, to points whose buckets count what is between two.
fn histograms(samples: Vec<Sample<'_>>, since: u64, now: u64) -> Vec<HistogramDataPoint> {
    let mut points: BTreeMap<Vec<(&str, String)>, HistogramDataPoint> = BTreeMap::new();
    for (name, mut labels, value) in samples {
        let bound = labels.iter().position(|(label, _)| *label == "le").map(|at| labels.remove(at).1);
        let point = points.entry(labels.clone()).or_insert_with(|| HistogramDataPoint {
            attributes: labels.into_iter().map(|(name, value)| text(name, value)).collect(),
            start_time_unix_nano: since,
            time_unix_nano: now,
            ..HistogramDataPoint::default()
        });
        match bound {
            Some(bound) => {
                let before: u64 = point.bucket_counts.iter().sum();
                point.bucket_counts.push((value as u64).saturating_sub(before));
                point.explicit_bounds.extend(bound.parse::<f64>().ok().filter(|bound| bound.is_finite()));
            }
            None if name.ends_with("_sum") => point.sum = Some(value),
            None => point.count = value as u64,
        }
    }
    points.into_values().collect()
}

/// Reads `name{label="value",...} value`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let (series, value) = line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?;
    let (name, mut rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = Vec::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in after.char_indices() {
            match (escaped, c) {
                (true, 'n') => value.push('\n'),
                (true, c) => value.push(c),
                (false, '\\') => {}
                (false, '"') => {
                    end = Some(at + 1);
                    break;
                }
                (false, c) => value.push(c),
            }
            escaped = !escaped && c == '\\';
        }
        labels.push((label.trim_start_matches(','), value));
        rest = &after[end?..];
    }
    Some((name, labels, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_keep_their_kind_labels_and_values() {
        let text = "# HELP a_total Some.\n# TYPE a_total counter\na_total{x=\"1\",y=\"a \\\"b\\\\ {c}, d\\n\"} 7\n# HELP g Other.\n\
                    # TYPE g gauge\ng 1.5\n# HELP none None.\n# TYPE none gauge\n# HELP h_seconds Third.\n# TYPE h_seconds histogram\n\
                    h_seconds_bucket{api=\"p\",le=\"0.5\"} 2\nh_seconds_bucket{api=\"p\",le=\"1\"} 3\n\
                    h_seconds_bucket{api=\"p\",le=\"+Inf\"} 5\nh_seconds_sum{api=\"p\"} 9.25\nh_seconds_count{api=\"p\"} 5\n";
        let (metrics, points) = metrics(text, 1, 2);
        let names: Vec<_> = metrics.iter().map(|metric| (&*metric.name, &*metric.description, &*metric.unit)).collect();
        assert_eq!(names, [("a_total", "Some.", "1"), ("g", "Other.", "1"), ("h_seconds", "Third.", "s")]);
        assert_eq!(points, 3);
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
        assert!(sum.is_monotonic && sum.data_points[0].value == Some(Number::AsDouble(7.0)));
        assert_eq!(sum.data_points[0].attributes, [super::text("x", "1"), super::text("y", "a \"b\\ {c}, d\n")]);
        assert_eq!((sum.data_points[0].start_time_unix_nano, sum.data_points[0].time_unix_nano), (1, 2));
        let Some(Data::Gauge(gauge)) = &metrics[1].data else { panic!("{metrics:?}") };
        assert_eq!(gauge.data_points[0].value, Some(Number::AsDouble(1.5)));
        let Some(Data::Histogram(histogram)) = &metrics[2].data else { panic!("{metrics:?}") };
        let point = &histogram.data_points[0];
        assert_eq!((&*point.explicit_bounds, &*point.bucket_counts), (&[0.5, 1.0][..], &[2, 1, 2][..]));
        assert_eq!((point.count, point.sum, &*point.attributes), (5, Some(9.25), &[super::text("api", "p")][..]));
    }

    #[test]
    fn a_line_of_the_log_is_a_record_with_its_fields() {
        let line =
            |text: &str| LogLine { time: SystemTime::UNIX_EPOCH + Duration::from_secs(9), text: text.to_owned() };
        let failed =
            record(&line("{\"time\":1.5,\"outcome\":\"upstream_reset\",\"api\":null,\"request\":{\"status\":0}}"));
        assert_eq!((failed.time_unix_nano, failed.observed_time_unix_nano), (1_500_000_000, 9_000_000_000));
        assert_eq!((failed.severity_number, &*failed.severity_text), (SeverityNumber::Warn.into(), "WARN"));
        let Some(Value::KvlistValue(fields)) = failed.body.unwrap().value else { panic!("no fields") };
        let mut keys: Vec<_> = fields.values.iter().map(|field| &*field.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["outcome", "request", "time"]);
        assert_eq!(record(&line("{\"outcome\":\"ok\"}")).severity_number, i32::from(SeverityNumber::Info));
        assert_eq!(record(&line("{\"time\":-1}")).time_unix_nano, 9_000_000_000);
    }

    #[test]
    fn what_a_collector_has_not_taken_is_known_from_its_response() {
        assert_eq!(rejected(Signal::Traces, b""), None);
        let mut response = ExportTraceServiceResponse::default();
        let mut partial = response.partial_success.take().unwrap_or_default();
        (partial.rejected_spans, partial.error_message) = (3, "too old".into());
        response.partial_success = Some(partial);
        assert_eq!(rejected(Signal::Traces, &response.encode_to_vec()), Some((3, "too old".to_owned())));
    }
}

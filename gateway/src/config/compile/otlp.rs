//! The collector of metrics, traces and logs.

use std::sync::Arc;
use std::time::Duration;

use super::values::{Values, constant};
use super::{Outside, duration, endpoint};
use crate::config::diagnostic::Problem;
use crate::config::file::OtlpFile;
use crate::model::{Otlp, Part, Signal, Template};

/// Shortest and longest time between two exports of metrics.
const INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// How many of a million requests get a span, if not said otherwise.
const SAMPLING: u32 = Otlp::EVERY_REQUEST / 100;

/// Header fields that Egret writes itself (RFC 9112, OTLP 1.10 §"OTLP/HTTP Request").
const OWN: [&str; 6] =
    ["connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"];

pub(super) fn compile(
    file: &OtlpFile,
    values: &Values,
    outside: &Outside<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Otlp>> {
    let written = &file.endpoint;
    let template = Template(vec![Part::Text(written.value.trim().into())]);
    let found = endpoint::url(written, template, file.tls.as_ref(), outside, problems);
    let interval = duration(file.interval.as_ref(), Duration::from_secs(60), problems);
    if let Some(written) = file.interval.as_ref().filter(|_| !INTERVAL.contains(&interval)) {
        problems.push(Problem::at(written, "this interval is not from 1s to 1h", "write 1s to 1h, like 15s"));
    }
    let sampling = file.sampling.as_ref().map_or(SAMPLING, |written| {
        if (0.0..=1.0).contains(&written.value) {
            return (written.value * f64::from(Otlp::EVERY_REQUEST)).round() as u32;
        }
        let rule = format!("`{}` is not a share of requests", written.value);
        problems.push(Problem::at(written, rule, "write a number from 0 to 1, like 0.1"));
        0
    });
    let mut signals = [file.signals.is_none(); Signal::ALL.len()];
    for written in file.signals.iter().flatten() {
        match Signal::ALL.iter().position(|signal| signal.label() == written.value.trim()) {
            Some(signal) => signals[signal] = true,
            None => {
                let rule = format!("`{}` is not a signal", written.value);
                problems.push(Problem::at(written, rule, "write metrics, traces or logs"));
            }
        }
    }
    let mut headers = Vec::new();
    for (name, written) in &file.headers {
        let value = constant(written, values, problems);
        match name.parse::<http::HeaderName>() {
            Ok(name) if OWN.contains(&name.as_str()) => {
                problems.push(Problem::at(written, format!("Egret writes `{name}` itself"), "remove it"));
            }
            Ok(name) => headers.push((name, value)),
            Err(_) => {
                let rule = format!("`{name}` is not the name of a header field");
                problems.push(Problem::at(written, rule, "write a name like Authorization"));
            }
        }
    }
    let (endpoint, target) = found?;
    let base = target.literal().unwrap_or_default();
    if base.contains(['?', '{']) {
        let help = "write a server and perhaps a path, like https://otel.example:4318";
        problems.push(Problem::at(written, "the URL of a collector has no query and no expressions", help));
    }
    if endpoint.tls.is_none()
        && let Some((name, _)) = headers.iter().find(|(_, value)| value.is_secret())
    {
        let help = "write https://: otherwise everybody on the way can read it";
        problems.push(Problem::at(written, format!("the secret in `{name}` would be sent without TLS"), help));
    }
    let base = base.trim_end_matches('/').into();
    Some(Arc::new(Otlp { endpoint, base, headers, interval, sampling, propagate: file.propagate, signals }))
}

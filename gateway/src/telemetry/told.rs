//! Events of policies: lines of the access log, and counters of `emit-metric`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use serde::Serialize;

use super::Telemetry;
use crate::model::{Counted, Logged, Severity, Told, Traced};

/// The request that an event belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Teller<'a> {
    /// The number of its flow, and its own number within the flow.
    pub request: (u64, u64),
    /// The API of the request.
    pub api: &'a str,
    /// The workload that called.
    pub workload: &'a str,
}

impl Telemetry {
    /// Records the events of policies.
    pub fn told(&self, told: Vec<Told>, teller: Teller<'_>) {
        for told in told {
            match told {
                Told::Log(logged) => {
                    self.log.line(teller.workload, &Line::of(teller, |line| line.log = Some((&*logged).into())))
                }
                Told::Metric(counted) => self.metrics.custom().add(counted),
                Told::Trace(traced) => {
                    say(&traced, teller);
                    self.log.line(teller.workload, &Line::of(teller, |line| line.trace = Some((&*traced).into())));
                }
            }
        }
    }
}

fn say(traced: &Traced, Teller { request: (flow, request), api, workload }: Teller<'_>) {
    let source = traced.source.as_deref();
    let (message, metadata) = (&traced.message, listed(&traced.metadata));
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(source, api, workload, request = format!("{flow}-{request}"), metadata, "{message}")
        };
    }
    match traced.severity {
        Severity::Debug => say!(debug),
        Severity::Info => say!(info),
        Severity::Warning => say!(warn),
        Severity::Error => say!(error),
    }
}

/// Returns the metadata as one text for people.
pub(super) fn listed(metadata: &[(Arc<str>, String)]) -> String {
    metadata.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// An event as a line of the log. The facts of a policy are under `log` or `trace`.
#[derive(Serialize)]
struct Line<'a> {
    /// Time in seconds since 1970.
    time: f64,
    flow: u64,
    /// The same as `request.id` in expressions.
    request_id: String,
    api: &'a str,
    workload: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogFacts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceFacts<'a>>,
}

#[derive(Serialize)]
struct LogFacts<'a> {
    section: &'static str,
    policy_id: Option<&'a str>,
    message: Option<&'a str>,
    method: &'a str,
    target: &'a str,
    status: Option<u16>,
    headers: &'a [(String, String)],
    body: Option<&'a str>,
    /// Whether the body was longer.
    body_cut: Option<bool>,
    /// Why the body is missing.
    body_missing: Option<&'a str>,
}

#[derive(Serialize)]
struct TraceFacts<'a> {
    section: &'static str,
    policy_id: Option<&'a str>,
    severity: &'static str,
    source: Option<&'a str>,
    message: &'a str,
    metadata: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn of(teller: Teller<'a>, fill: impl FnOnce(&mut Self)) -> Self {
        let Teller { request: (flow, request), api, workload } = teller;
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut line =
            Self { time, flow, request_id: format!("{flow}-{request}"), api, workload, log: None, trace: None };
        fill(&mut line);
        line
    }
}

impl<'a> From<&'a Logged> for LogFacts<'a> {
    fn from(logged: &'a Logged) -> Self {
        let body = logged.body.as_ref();
        let there = body.and_then(|body| body.as_ref().ok());
        Self {
            section: logged.section.label(),
            policy_id: logged.id.as_deref(),
            message: logged.message.as_deref(),
            method: &logged.method,
            target: &logged.target,
            status: logged.status,
            headers: &logged.headers,
            body: there.map(|body| body.text.as_str()),
            body_cut: there.map(|body| body.cut),
            body_missing: body.and_then(|body| body.as_ref().err()).map(String::as_str),
        }
    }
}

impl<'a> From<&'a Traced> for TraceFacts<'a> {
    fn from(traced: &'a Traced) -> Self {
        Self {
            section: traced.section.label(),
            policy_id: traced.id.as_deref(),
            severity: traced.severity.label(),
            source: traced.source.as_deref(),
            message: &traced.message,
            metadata: traced.metadata.iter().map(|(name, value)| (&**name, value.as_str())).collect(),
        }
    }
}

/// The counters of `emit-metric`, by name. Those of a removed policy stay until the process ends, because a counter never
/// decreases.
#[derive(Clone, Debug, Default)]
pub(super) struct Custom(Arc<Mutex<BTreeMap<Arc<str>, Series>>>);

/// The values of a counter by its labels.
#[derive(Debug, Default)]
struct Series {
    by: BTreeMap<Labels, f64>,
    /// Number of times that a combination did not fit in.
    dropped: u64,
}

type Labels = Vec<(Arc<str>, String)>;

/// Maximum number of combinations of labels of a counter. Further ones are counted as `other`.
const MOST_SERIES: usize = 1000;

impl Custom {
    fn add(&self, Counted { name, value, dimensions }: Counted) {
        let mut series = self.lock();
        let series = series.entry(name).or_default();
        let full = series.by.len() >= MOST_SERIES;
        let labels = if full && !series.by.contains_key(&dimensions) {
            series.dropped += 1;
            dimensions.into_iter().map(|(name, _)| (name, "other".to_owned())).collect()
        } else {
            dimensions
        };
        *series.by.entry(labels).or_default() += value;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Custom {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let counters = self.lock();
        for (name, series) in counters.iter() {
            let (name, help) = (format!("custom_{name}"), "Counted by an emit-metric policy");
            let mut counter = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
            for (labels, value) in &series.by {
                ConstCounter::new(*value).encode(counter.encode_family(labels)?)?;
            }
        }
        let help = "What emit-metric counted as other, by metric: it had too many combinations of dimensions";
        let mut dropped = encoder.encode_descriptor("series_dropped", help, None, MetricType::Counter)?;
        for (name, series) in counters.iter().filter(|(_, series)| series.dropped > 0) {
            let labels = [("metric", &**name)];
            ConstCounter::new(series.dropped).encode(dropped.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Counted, MOST_SERIES};
    use crate::telemetry::{Gauges, Metrics};

    fn counted(customer: &str, value: f64) -> Counted {
        Counted { name: "orders".into(), value, dimensions: vec![("customer".into(), customer.to_owned())] }
    }

    #[test]
    fn counters_have_their_labels() {
        let metrics = Metrics::default();
        metrics.custom().add(counted("a\"b", 1.0));
        metrics.custom().add(counted("a\"b", 2.5));
        metrics.custom().add(Counted { name: "plain".into(), value: 1.0, dimensions: Vec::new() });
        let text = metrics.text(&Gauges::default()).unwrap();
        for line in [
            "# TYPE egret_custom_orders_total counter\n",
            "\negret_custom_orders_total{customer=\"a\\\"b\"} 3.5\n",
            "\negret_custom_plain_total{} 1.0\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn what_does_not_fit_in_is_counted_as_other() {
        let metrics = Metrics::default();
        for number in 0..MOST_SERIES + 7 {
            metrics.custom().add(counted(&number.to_string(), 1.0));
        }
        metrics.custom().add(counted("0", 1.0));
        let text = metrics.text(&Gauges::default()).unwrap();
        for line in [
            "\negret_custom_orders_total{customer=\"0\"} 2.0\n",
            "\negret_custom_orders_total{customer=\"other\"} 7.0\n",
            "\negret_series_dropped_total{metric=\"orders\"} 7\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
        assert_eq!(text.matches("\negret_custom_orders_total{").count(), MOST_SERIES + 1);
    }
}

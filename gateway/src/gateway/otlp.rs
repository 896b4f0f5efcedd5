//! Sends metrics, traces and logs to the collector, each in a task of its own: no signal waits for another, and no request for any.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Request, Response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::metrics::Scraped;
use crate::model::{Host, Model, Otlp, Reason, Signal};
use crate::telemetry::{Backoff, Dropped, Exports, Resource, Verdict, rejected};
use crate::upstream::{Own, Pool};

/// Longest time that spans and lines wait for others to be sent with.
const TOGETHER: Duration = Duration::from_secs(1);

/// Longest wait for a response.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a batch of spans or lines is sent again and again before it is dropped.
const KEPT: Duration = Duration::from_secs(300);

/// Whatever sends one signal.
struct Exporter {
    signal: Signal,
    client: Own,
    exports: Arc<Exports>,
    models: watch::Receiver<Arc<Model>>,
    scraped: Arc<Scraped>,
    attributes: Arc<[(String, String)]>,
    started: SystemTime,
}

/// Sends what the configuration says until stopped.
pub(super) fn spawn_otlp(
    scraped: &Arc<Scraped>,
    pool: &Arc<Pool>,
    addresses: impl Fn(&Host) -> Vec<std::net::IpAddr> + Clone + Send + Sync + 'static,
    models: &watch::Receiver<Arc<Model>>,
    stop: &CancellationToken,
) {
    let exports = Arc::clone(scraped.telemetry.exports());
    exports.set(models.borrow().otlp.clone());
    let attributes: Arc<[_]> = attributes(|name| std::env::var(name).ok(), hostname()).into();
    for signal in Signal::ALL {
        let exporter = Exporter {
            signal,
            client: Own::new(Arc::clone(pool), addresses.clone()),
            exports: Arc::clone(&exports),
            models: models.clone(),
            scraped: Arc::clone(scraped),
            attributes: Arc::clone(&attributes),
            started: SystemTime::now(),
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(exporter.run()));
    }
    let mut models = models.clone();
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        while models.changed().await.is_ok() {
            exports.set(models.borrow_and_update().otlp.clone());
        }
    }));
}

fn hostname() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

/// Returns the attributes of the resource, but for the generation. `OTEL_RESOURCE_ATTRIBUTES` adds and replaces some.
fn attributes(variable: impl Fn(&str) -> Option<String>, host: Option<String>) -> Vec<(String, String)> {
    let known = [
        ("service.name", Some("egret".to_owned())),
        ("service.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("service.instance.id", variable("POD_UID").or_else(|| host.clone())),
        ("host.name", host),
        ("k8s.node.name", variable("NODE_NAME")),
        ("k8s.pod.name", variable("POD_NAME")),
        ("k8s.pod.uid", variable("POD_UID")),
    ];
    let mut attributes: Vec<_> =
        known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let given = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    for (name, value) in given.split(',').filter_map(|pair| pair.split_once('=')) {
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
        attributes.retain(|(known, _)| known != name.trim());
        attributes.push((name.trim().to_owned(), value));
    }
    attributes
}

impl Exporter {
    async fn run(mut self) {
        loop {
            let settings = self.models.borrow().otlp.clone().filter(|otlp| otlp.sends(self.signal));
            let Some(otlp) = settings else {
                if self.models.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if self.signal == Signal::Metrics {
                tokio::time::sleep(otlp.interval).await;
                self.metrics(&otlp).await;
            } else {
                // At the end of the time there may be a part of a batch.
                let _ = tokio::time::timeout(TOGETHER, self.exports.full(self.signal)).await;
                while let Some((body, items)) = self.exports.batch(self.signal, &self.resource()) {
                    self.deliver(body, items, KEPT).await;
                }
            }
        }
    }

    fn resource(&self) -> Resource {
        let mut attributes = self.attributes.to_vec();
        attributes.push(("egret.generation".to_owned(), self.models.borrow().generation.0.to_string()));
        Resource::new(attributes)
    }

    /// Sends the metrics of now. An export that fails is superseded by the next one: counters count from the start of the process.
    async fn metrics(&self, otlp: &Otlp) {
        let (scraped, resource, started) = (Arc::clone(&self.scraped), self.resource(), self.started);
        let collect = move || resource.metrics(&scraped.text(), started, SystemTime::now());
        if let Ok((body, points)) = tokio::task::spawn_blocking(collect).await {
            self.deliver(body, points, otlp.interval).await;
        }
    }

    /// Sends until the collector has taken it, rejects it, or the time is over. The configuration may change meanwhile.
    async fn deliver(&self, body: Vec<u8>, items: u64, within: Duration) {
        let (body, end) = (Bytes::from(body), Instant::now() + within);
        let mut backoff = Backoff::new(f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX));
        loop {
            let settings = self.models.borrow().otlp.clone();
            let Some(otlp) = settings else {
                return self.exports.dropped(self.signal, Dropped::Unreachable, items);
            };
            let (said, why) = match self.post(&otlp, body.clone()).await {
                Ok(response) => match Verdict::of(response.status(), response.headers(), SystemTime::now()) {
                    Verdict::Taken => return self.taken(items, response.body()),
                    Verdict::Rejected => {
                        self.failed(&otlp, &response.status().to_string());
                        return self.exports.dropped(self.signal, Dropped::Rejected, items);
                    }
                    Verdict::Again(said) => (said, response.status().to_string()),
                },
                Err(reason) => (None, reason.to_string()),
            };
            self.failed(&otlp, &why);
            let wait = backoff.wait(said);
            if Instant::now() + wait > end {
                return self.exports.dropped(self.signal, Dropped::Unreachable, items);
            }
            tokio::time::sleep(wait).await;
        }
    }

    fn taken(&self, items: u64, response: &[u8]) {
        let (missing, why) = rejected(self.signal, response).unwrap_or_default();
        if missing > 0 {
            tracing::warn!(signal = self.signal.label(), missing, why, "the collector has not taken everything");
            self.exports.dropped(self.signal, Dropped::Rejected, missing.min(items));
        }
        self.exports.sent(self.signal, items.saturating_sub(missing));
    }

    fn failed(&self, otlp: &Otlp, why: &str) {
        self.exports.failed(self.signal);
        tracing::warn!(signal = self.signal.label(), collector = %otlp.endpoint, why, "an export failed");
    }

    async fn post(&self, otlp: &Otlp, body: Bytes) -> Result<Response<Bytes>, Reason> {
        const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
        const EGRET: HeaderValue = HeaderValue::from_static(concat!("egret/", env!("CARGO_PKG_VERSION")));
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        let path = format!("{}/v1/{}", otlp.base, self.signal.label());
        *request.uri_mut() = path.parse().map_err(|_| Reason::Unresolved)?;
        request.headers_mut().insert(USER_AGENT, EGRET);
        for (name, value) in &otlp.headers {
            let value = value.constant().and_then(|value| HeaderValue::from_bytes(&value).ok());
            let mut value = value.ok_or(Reason::Expression)?;
            value.set_sensitive(true);
            request.headers_mut().insert(name.clone(), value);
        }
        request.headers_mut().insert(CONTENT_TYPE, PROTOBUF);
        self.client.send(&otlp.endpoint, request, PATIENCE).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_node_and_the_pod_and_may_say_more() {
        let of = |variables: &[(&str, &str)]| {
            let variables = variables.to_vec();
            let variable = move |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            let found = attributes(variable, Some("node-1".to_owned()));
            found.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let version = format!("service.version={}", env!("CARGO_PKG_VERSION"));
        assert_eq!(of(&[]), ["service.name=egret", &version, "service.instance.id=node-1", "host.name=node-1"]);
        let more = of(&[
            ("POD_UID", "7"),
            ("NODE_NAME", "n"),
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.cluster.name=a%2Cb, service.name=gate,bad"),
        ]);
        let wanted =
            ["service.instance.id=7", "k8s.node.name=n", "k8s.pod.uid=7", "k8s.cluster.name=a,b", "service.name=gate"];
        assert!(wanted.iter().all(|wanted| more.iter().any(|one| one == wanted)), "{more:?}");
        assert!(!more.contains(&"service.name=egret".to_owned()) && more.len() == 7, "{more:?}");
    }
}

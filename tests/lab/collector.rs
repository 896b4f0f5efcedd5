//! A collector of OpenTelemetry: it takes what is exported to it (OTLP over HTTP, in protobuf), and responds as a test wants.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rustls::{ServerConnection, StreamOwned};

use crate::pki::Identity;

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    exports: Mutex<Vec<Export>>,
    answers: Mutex<VecDeque<&'static str>>,
}

/// An export, as it came.
#[derive(Clone, Debug)]
pub struct Export {
    /// When it was there as a whole.
    pub time: Instant,
    /// Who sent it.
    pub source: IpAddr,
    /// The request line and the header fields.
    pub head: String,
    /// The message.
    pub body: Vec<u8>,
}

impl Collector {
    /// Speaks TLS with an identity.
    pub(crate) fn start(listener: TcpListener, identity: Option<Identity>) -> Self {
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, identity) = (Arc::clone(&serving), identity.clone());
                thread::spawn(move || {
                    let source = stream.peer_addr().expect("a peer").ip();
                    match identity {
                        None => state.serve(source, stream),
                        Some(identity) => {
                            let tls = ServerConnection::new(Arc::clone(&identity.config)).expect("TLS");
                            state.serve(source, StreamOwned::new(tls, stream));
                        }
                    }
                });
            }
        });
        Self { state }
    }

    /// Responds to the next exports with these heads in turn, and to those after them with 200.
    pub fn respond(&self, heads: &[&'static str]) {
        self.state.answers.lock().expect("no panic in a collector").extend(heads);
    }

    /// The exports so far to a path.
    pub fn exports(&self, path: &str) -> Vec<Export> {
        let exports = self.state.exports.lock().expect("no panic in a collector");
        exports.iter().filter(|export| export.head.starts_with(&format!("POST {path} HTTP/1.1\r\n"))).cloned().collect()
    }

    /// The spans so far, each with what sent it.
    pub fn spans(&self) -> Vec<(Resource, Span)> {
        let mut spans = Vec::new();
        for export in self.exports("/v1/traces") {
            let message = ExportTraceServiceRequest::decode(&*export.body).expect("an export of traces");
            for of in message.resource_spans {
                let resource = of.resource.expect("a resource");
                let found = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(found.map(|span| (resource.clone(), span)));
            }
        }
        spans
    }

    /// The metrics of the newest export.
    pub fn metrics(&self) -> Vec<Metric> {
        let Some(export) = self.exports("/v1/metrics").pop() else { return Vec::new() };
        let message = ExportMetricsServiceRequest::decode(&*export.body).expect("an export of metrics");
        let scopes = message.resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
        scopes.flat_map(|scope| scope.metrics).collect()
    }

    /// The records of logs so far.
    pub fn logs(&self) -> Vec<LogRecord> {
        let messages = self.exports("/v1/logs").into_iter().flat_map(|export| {
            ExportLogsServiceRequest::decode(&*export.body).expect("an export of logs").resource_logs
        });
        messages.flat_map(|of| of.scope_logs).flat_map(|scope| scope.log_records).collect()
    }
}

/// Returns an attribute as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(integer) => integer.to_string(),
        other => format!("{other:?}"),
    })
}

impl State {
    fn serve(&self, source: IpAddr, stream: impl Read + Write) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if !matches!(reader.read_line(&mut head), Ok(1..)) {
                    return;
                }
            }
            let lower = head.to_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let time = Instant::now();
            self.exports.lock().expect("no panic in a collector").push(Export { time, source, head, body });
            let answer = self.answers.lock().expect("no panic in a collector").pop_front().unwrap_or("200 OK\r\n");
            let answer = format!("HTTP/1.1 {answer}content-length: 0\r\n\r\n");
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

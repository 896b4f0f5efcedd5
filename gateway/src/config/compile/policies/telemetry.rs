//! Policies that tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_saphyr::Spanned;

use super::list::List;
use crate::config::compile::expression::Kind;
use crate::config::diagnostic::Problem;
use crate::config::file::policies::PolicyFile;
use crate::config::file::policies::telemetry::{EmitMetricFile, LogFile, RedactFile, TraceFile};
use crate::model::{Expression, Pattern, Redact, Severity, Template};
use crate::policy::{EmitMetric, Log, Statement, Trace};

/// Labels of a metric.
const MOST_DIMENSIONS: usize = 5;

/// Bytes of a body on record, if not said otherwise.
const DEFAULT_BYTES: u32 = 4096;

impl<'a> List<'a, '_> {
    /// What is written of them.
    pub(super) fn telemetry(&mut self, file: &'a PolicyFile, statements: &mut Vec<Option<Statement>>) {
        if let Some(emit) = &file.emit_metric {
            statements.push(Some(Statement::EmitMetric(self.emit_metric(emit))));
        }
        if let Some(log) = &file.log {
            statements.push(Some(Statement::Log(self.log(log))));
        }
        if let Some(trace) = &file.trace {
            statements.push(Some(Statement::Trace(self.trace(trace))));
        }
    }

    fn emit_metric(&mut self, file: &EmitMetricFile) -> EmitMetric {
        self.metric_names(Some(&file.name), &file.dimensions, MOST_DIMENSIONS);
        EmitMetric {
            name: file.name.value.as_str().into(),
            value: file.value.as_ref().and_then(|value| self.told_expression(value, Kind::Number)),
            dimensions: self.told_by_name(&file.dimensions),
        }
    }

    /// Of a counter and at most so many labels.
    pub(super) fn metric_names(
        &mut self,
        written: Option<&Spanned<String>>,
        dimensions: &BTreeMap<String, Spanned<String>>,
        most: usize,
    ) {
        if let Some(written) = written {
            let name = written.value.as_str();
            if !is_name(name) {
                // Colons are for rules that record (prometheus.io/docs/concepts/data_model).
                let help = "use letters, digits and _, not a digit first, like partner_orders";
                self.problems.push(Problem::at(
                    written,
                    format!("`{}` is not the name of a metric", written.value),
                    help,
                ));
            } else if let Some(bare) = name.strip_suffix("_total") {
                let help = format!("write name: {bare}; the metric is egret_custom_{bare}_total");
                self.problems.push(Problem::at(written, "Egret adds _total to the name of every counter", help));
            }
        }
        if let Some((_, beyond)) = dimensions.iter().nth(most) {
            let rule = format!("there are more than {most} dimensions");
            let help = "keep the few that say most: each combination of values is a series";
            self.problems.push(Problem::at(beyond, rule, help));
        }
        for (name, value) in dimensions {
            if !is_name(name) || name.starts_with("__") {
                let rule = format!("`{name}` is not a label's name");
                self.problems.push(Problem::at(value, rule, "use letters, digits and _, not a digit or __ first"));
            }
        }
    }

    fn log(&mut self, written: &Spanned<LogFile>) -> Log {
        let file = &written.value;
        if !self.shared.recorded {
            let help = "write telemetry: {access_log: PATH}, or remove `access_log: off`";
            self.problems.push(Problem::at(written, "`log` has no effect: the access log is off", help));
        }
        if let Some(written) = file.max_bytes.as_ref().filter(|_| !file.body) {
            self.problems.push(Problem::at(
                written,
                "`max_bytes` has no effect: the body is not recorded",
                "add body: true",
            ));
        }
        let bytes = file.max_bytes.as_ref().map_or(DEFAULT_BYTES, |written| written.value);
        Log {
            message: file.message.as_ref().map(|message| self.told_body(message)),
            body: file.body,
            max_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            redact: file.redact.as_ref().map(|redact| self.redact(&redact.value, file.body)).unwrap_or_default(),
        }
    }

    fn redact(&mut self, file: &RedactFile, body: bool) -> Redact {
        let mut redact = Redact::default();
        for written in &file.headers {
            match written.value.trim().parse() {
                Ok(name) => redact.headers.push(name),
                Err(_) => self.problems.push(Problem::at(
                    written,
                    format!("`{}` is not the name of a header", written.value),
                    "write a name like X-Customer",
                )),
            }
        }
        if let Some(first) = file.json.first().filter(|_| !body) {
            self.problems.push(Problem::at(first, "`json` has no effect: the body is not recorded", "add body: true"));
        }
        for written in &file.json {
            match written.value.strip_prefix('/').and_then(pointer) {
                Some(place) => redact.json.push(place),
                None => {
                    let help =
                        "write a JSON pointer like /card/number; in a name, write ~ as ~0 and / as ~1 (RFC 6901)";
                    self.problems.push(Problem::at(
                        written,
                        format!("`{}` is not a JSON pointer", written.value),
                        help,
                    ));
                }
            }
        }
        for written in &file.text {
            match Regex::new(&written.value) {
                Ok(regex) => redact.text.push(Pattern(regex)),
                Err(error) => {
                    let error = error.to_string();
                    let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    let help = "use the syntax of RE2 (the Rust crate regex), without look-around and back-references";
                    self.problems.push(Problem::at(written, format!("this is not a regular expression: {why}"), help));
                }
            }
        }
        redact
    }

    fn trace(&mut self, file: &TraceFile) -> Trace {
        let severity = file.severity.as_ref().map_or(Some(Severity::default()), |written| {
            let severity = Severity::ALL.into_iter().find(|severity| severity.label() == written.value);
            if severity.is_none() {
                self.problems.push(Problem::at(
                    written,
                    format!("`{}` is not a severity", written.value),
                    "write debug, info, warning or error",
                ));
            }
            severity
        });
        Trace {
            severity: severity.unwrap_or_default(),
            source: file.source.as_ref().map(|source| source.value.as_str().into()),
            message: self.told(&file.message),
            metadata: self.told_by_name(&file.metadata),
        }
    }

    pub(super) fn told_by_name(&mut self, written: &BTreeMap<String, Spanned<String>>) -> Vec<(Arc<str>, Template)> {
        written.iter().map(|(name, value)| (name.as_str().into(), self.told(value))).collect()
    }

    /// What people will read: no secret.
    pub(super) fn told(&mut self, written: &Spanned<String>) -> Template {
        let template = self.template(written);
        self.no_secret_on_record(template.is_secret(), written);
        template
    }

    /// The same of a text that may be JSON or XML, as it begins.
    fn told_body(&mut self, written: &Spanned<String>) -> Template {
        let template = self.body(written, None);
        self.no_secret_on_record(template.is_secret(), written);
        template
    }

    /// What people will read, or find things by: no secret.
    pub(super) fn told_expression(&mut self, written: &Spanned<String>, kind: Kind) -> Option<Expression> {
        let expression = self.expression(written, kind)?;
        self.no_secret_on_record(expression.is_secret, written);
        Some(expression)
    }

    fn no_secret_on_record(&mut self, is_secret: bool, written: &Spanned<String>) {
        if is_secret {
            let help = "use a value that is not a secret: {value: ...}";
            self.problems.push(Problem::at(written, "a secret would be recorded", help));
        }
    }
}

/// Of a metric or a label (prometheus.io/docs/concepts/data_model).
fn is_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    letters && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// The names of a place in JSON, without the slash before the first (RFC 6901 §3).
fn pointer(text: &str) -> Option<Vec<Arc<str>>> {
    let name = |escaped: &str| {
        let mut escapes = escaped.split('~').skip(1);
        let fits = escapes.all(|after| after.starts_with(['0', '1']));
        fits.then(|| escaped.replace("~1", "/").replace("~0", "~").into())
    };
    text.split('/').map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::pointer;

    #[test]
    fn places_are_read() {
        let read = |text| pointer(text).map(|names| names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        assert_eq!(read("card/number").unwrap(), ["card", "number"]);
        assert_eq!(read("a~1b/m~0n/~01").unwrap(), ["a/b", "m~n", "~1"]);
        assert_eq!(read("").unwrap(), [""]);
        assert_eq!(read("a~2"), None);
        assert_eq!(read("a~"), None);
    }
}

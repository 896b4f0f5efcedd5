//! How much: calls in a short time, in a long one, and at once.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_saphyr::Spanned;

use super::list::List;
use crate::config::compile::duration;
use crate::config::compile::expression::{Kind, Scope};
use crate::config::diagnostic::Problem;
use crate::config::file::policies::{PolicyFile, QuotaFile, RateLimitFile};
use crate::model::{CounterStore, Expression, Length, Periods, RateKind, Section};
use crate::policy::{LimitConcurrency, Quota, RateLimit, Statement};

/// Shortest period of a quota.
const SHORTEST_QUOTA: Duration = Duration::from_secs(60);

/// Longest period of a rate limit.
const LONGEST_PERIOD: Duration = Duration::from_secs(3600);

/// A period of a quota that is no number of seconds.
const MONTH: &str = "month";

impl<'a> List<'a, '_> {
    /// What is written of them.
    pub(super) fn limits(&mut self, file: &'a PolicyFile, statements: &mut Vec<Option<Statement>>) {
        if let Some(limit) = &file.limit_concurrency {
            let key = limit.key.as_ref().and_then(|key| self.key(key));
            let identity = self.identity("limit-concurrency", file, key.as_ref());
            let limit = LimitConcurrency { identity, max: limit.max.value, key };
            statements.push(Some(Statement::LimitConcurrency(limit)));
        }
        for (quota, kind) in [(&file.quota, RateKind::Workload), (&file.quota_by_key, RateKind::Key)] {
            statements.extend(quota.as_ref().map(|quota| Some(self.quota(quota, file, kind))));
        }
        for (limit, kind) in [(&file.rate_limit, RateKind::Workload), (&file.rate_limit_by_key, RateKind::Key)] {
            statements.extend(limit.as_ref().map(|limit| Some(self.rate_limit(limit, file, kind))));
        }
    }

    fn quota(&mut self, written: &Spanned<QuotaFile>, policy: &PolicyFile, kind: RateKind) -> Statement {
        let file = &written.value;
        let key = self.key_of(kind, ["quota", "quota-by-key"], written, file.key.as_ref());
        if file.calls.is_none() && file.bytes.is_none() {
            self.problems.push(Problem::at(
                written,
                "this quota has neither `calls` nor `bytes`",
                "add calls: 10000, bytes: 1000000000, or both",
            ));
        }
        let (condition, by_answer) = self.counts_if(file.condition.as_ref(), file.shared.as_ref());
        Statement::Quota(Quota {
            identity: self.identity("quota", policy, key.as_ref()),
            kind,
            calls: file.calls,
            bytes: file.bytes,
            period: self.quota_period(file.period.as_ref(), file.first_period_start.as_ref()),
            key,
            condition,
            by_answer,
            count: file.count.as_ref().and_then(|count| self.expression(count, Kind::Int)),
            remaining_header: file.remaining_header.as_ref().and_then(|name| self.header(name)),
            remaining_variable: file.remaining_variable.as_ref().map(|name| self.variable(name)),
            shared: self.shared_counters(file.shared.as_ref()),
        })
    }

    fn rate_limit(&mut self, file: &RateLimitFile, policy: &PolicyFile, kind: RateKind) -> Statement {
        let key = self.key_of(kind, ["rate-limit", "rate-limit-by-key"], &file.calls, file.key.as_ref());
        let period = duration(Some(&file.period), Duration::from_secs(60), self.problems);
        if period.is_zero() || period > LONGEST_PERIOD {
            self.problems.push(Problem::at(
                &file.period,
                "this period is not from 1ms to 1h",
                "write a period from 1ms to 1h, or use a quota for longer ones",
            ));
        }
        let (condition, by_answer) = self.counts_if(file.condition.as_ref(), file.shared.as_ref());
        Statement::RateLimit(RateLimit {
            identity: self.identity("rate-limit", policy, key.as_ref()),
            kind,
            calls: file.calls.value,
            period,
            key,
            condition,
            by_answer,
            count: file.count.as_ref().and_then(|count| self.expression(count, Kind::Int)),
            remaining_header: file.remaining_header.as_ref().and_then(|name| self.header(name)),
            remaining_variable: file.remaining_variable.as_ref().map(|name| self.variable(name)),
            total_header: file.total_header.as_ref().and_then(|name| self.header(name)),
            shared: self.shared_counters(file.shared.as_ref()),
        })
    }

    /// What counts, and whether that is known only with the answer.
    fn counts_if(
        &mut self,
        written: Option<&Spanned<String>>,
        shared: Option<&Spanned<bool>>,
    ) -> (Option<Expression>, bool) {
        let Some(written) = written else { return (None, false) };
        let (scope, problems) = self.scope_and_problems();
        let scope = Scope { section: Section::Outbound, ..scope };
        let Some(condition) = scope.expression(written, Kind::Bool, problems) else { return (None, false) };
        let by_answer = condition.program.references().has_variable("response");
        if condition.reads_response_body {
            let help = "use the status or the headers of the response: response.status < 400";
            problems.push(Problem::at(
                written,
                "this condition reads the body of the response, which a limit cannot do",
                help,
            ));
        }
        if let Some(shared) = shared.filter(|shared| shared.value && by_answer) {
            let rule = "a shared limit cannot depend on the response";
            problems.push(Problem::at(shared, rule, "write a condition without `response`, or remove `shared`"));
        }
        (Some(condition), by_answer)
    }

    /// Where a limit is counted for all nodes together, if it is.
    fn shared_counters(&mut self, written: Option<&Spanned<bool>>) -> Option<Arc<CounterStore>> {
        let written = written.filter(|written| written.value)?;
        if !self.shared.has_counters {
            let help = "add counters: {url: \"rediss://counters.example:6380\"} at the top level";
            let rule = "`shared: true` needs a server that counts for all nodes (`counters`)";
            self.problems.push(Problem::at(written, rule, help).lacking(&["counters"]));
        }
        self.shared.counters.clone()
    }

    pub(super) fn quota_period(
        &mut self,
        written: Option<&Spanned<String>>,
        first: Option<&Spanned<String>>,
    ) -> Option<Periods> {
        let start = first.map_or(DateTime::UNIX_EPOCH, |first| {
            first.value.trim().parse::<DateTime<Utc>>().unwrap_or_else(|_| {
                let help = "write a date, a time and a zone, like 2026-01-15T00:00:00+01:00 (RFC 3339)";
                self.problems.push(Problem::at(first, format!("`{}` is not a time", first.value), help));
                DateTime::UNIX_EPOCH
            })
        });
        let Some(written) = written else {
            if let Some(first) = first {
                self.problems.push(Problem::at(
                    first,
                    "`first_period_start` has no effect without `period`",
                    "add a period, like period: month",
                ));
            }
            return None;
        };
        if written.value.trim() == MONTH {
            return Some(Periods { length: Length::Month, start });
        }
        if !written.value.trim().starts_with(|c: char| c.is_ascii_digit()) {
            self.problems.push(Problem::at(
                written,
                format!("`{}` is not a period", written.value),
                "write month, or a number and a unit, like 12h or 30d",
            ));
            return None;
        }
        let length = duration(Some(written), SHORTEST_QUOTA, self.problems);
        if length < SHORTEST_QUOTA {
            self.problems.push(Problem::at(
                written,
                "this period is shorter than 1m",
                "write at least 1m, or use a rate limit for shorter ones",
            ));
        }
        Some(Periods { length: Length::Of(length), start })
    }

    /// What is counted on its own, which one of two policies needs.
    fn key_of<T>(
        &mut self,
        kind: RateKind,
        [by_workload, by_key]: [&str; 2],
        place: &Spanned<T>,
        key: Option<&Spanned<String>>,
    ) -> Option<Expression> {
        match (kind, key) {
            (RateKind::Workload, Some(key)) => {
                let (rule, help) = (
                    format!("`{by_workload}` takes no `key`: it counts by workload"),
                    format!("use {by_key}, or remove `key`"),
                );
                self.problems.push(Problem::at(key, rule, help));
            }
            (RateKind::Key, None) => {
                let help = "add `key`, an expression like workload.owner";
                self.problems.push(Problem::at(place, "`key` is missing", help));
            }
            (RateKind::Workload, None) | (RateKind::Key, Some(_)) => {}
        }
        key.and_then(|key| self.key(key))
    }
}

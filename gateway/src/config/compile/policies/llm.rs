//! Tokens of language models.

use super::list::List;
use crate::config::diagnostic::Problem;
use crate::config::file::policies::PolicyFile;
use crate::config::file::policies::llm::LlmTokenMetricFile;
use crate::policy::{LlmTokenLimit, LlmTokenMetric, Statement};

impl<'a> List<'a, '_> {
    /// What is written of them.
    pub(super) fn llm(&mut self, file: &'a PolicyFile, statements: &mut Vec<Option<Statement>>) {
        if let Some(metric) = &file.llm_emit_token_metric {
            statements.push(Some(Statement::LlmEmitTokenMetric(self.token_metric(metric))));
        }
        if let Some(written) = &file.llm_token_limit {
            let limit = &written.value;
            if limit.tokens_per_minute.is_none() && limit.token_quota.is_none() {
                let help = "add tokens_per_minute: 10000, token_quota: 1000000, or both";
                self.problems.push(Problem::at(
                    written,
                    "this limit has neither `tokens_per_minute` nor `token_quota`",
                    help,
                ));
            }
            if let (Some(period), None) = (&limit.period, &limit.token_quota) {
                self.problems.push(Problem::at(
                    period,
                    "`period` has no effect without `token_quota`",
                    "add `token_quota`, or remove `period`",
                ));
            }
            let key = limit.key.as_ref().and_then(|key| self.key(key));
            let period = self.quota_period(limit.period.as_ref(), None);
            statements.push(Some(Statement::LlmTokenLimit(LlmTokenLimit {
                identity: self.identity("llm-token-limit", file, key.as_ref()),
                key,
                tokens_per_minute: limit.tokens_per_minute,
                quota: limit.token_quota.as_ref().map(|most| (most.value, period)),
                estimate_prompt: limit.estimate_prompt,
                remaining_header: limit.remaining_header.as_ref().and_then(|name| self.header(name)),
            })));
        }
    }

    fn token_metric(&mut self, file: &LlmTokenMetricFile) -> LlmTokenMetric {
        if let Some(kind) = file.dimensions.get("kind") {
            let help = "choose another name: Egret sets `kind` to prompt or completion";
            self.problems.push(Problem::at(kind, "the label `kind` is Egret's own", help));
        }
        self.metric_names(file.name.as_ref(), &file.dimensions, 4);
        LlmTokenMetric {
            name: file.name.as_ref().map_or("llm_tokens", |name| name.value.as_str()).into(),
            dimensions: self.told_by_name(&file.dimensions),
        }
    }
}
